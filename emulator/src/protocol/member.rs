//! Values of members as Go's decoder puts them into fields: null leaves a field as it was.

use super::json::{Kind, Reader, Result, SyntaxError, Text};

/// Reads a text into `slot`; a null leaves it as it was, as in Go.
pub(crate) fn text<'a>(reader: &mut Reader<'a>, slot: &mut Option<Text<'a>>) -> Result<()> {
    if !is_null(reader)? {
        *slot = Some(reader.text()?);
    }
    Ok(())
}

/// Passes over a null; anything else is left standing.
pub(crate) fn is_null(reader: &mut Reader<'_>) -> Result<bool> {
    let null = reader.kind()? == Kind::Null;
    if null {
        reader.skip()?;
    }
    Ok(null)
}

/// Reads an integer into `slot` as Go does: written as one, in range; a null leaves the slot alone.
pub(crate) fn integer<T: std::str::FromStr>(
    reader: &mut Reader<'_>,
    slot: &mut Option<T>,
) -> Result<()> {
    if !is_null(reader)? {
        *slot = Some(reader.number()?.parse().map_err(|_| SyntaxError::WrongKind)?);
    }
    Ok(())
}
