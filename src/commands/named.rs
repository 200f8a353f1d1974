//! Files that the command line names. They are read up to a bound: a device that never ends, named by
//! mistake, must not fill the memory.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

/// Most bytes of a file with names, secrets or settings: a million identities of 60 bytes.
const TEXT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The bytes of a file that has at most so many.
///
/// # Errors
/// When it cannot be read; [`ErrorKind::FileTooLarge`] when it has more.
pub(super) fn bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => {
            Err(io::Error::new(ErrorKind::FileTooLarge, format!("it has more than {most} bytes")))
        }
        false => Ok(bytes),
    }
}

/// The text of a file.
///
/// # Errors
/// When it cannot be read, is larger than any such file, or is no text.
pub(super) fn text(path: &Path) -> io::Result<String> {
    let bytes = bytes(path, TEXT_BYTES_MAX)?;
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_refused_and_what_just_fits_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "abc").unwrap();
        assert_eq!(bytes(&file, 3).unwrap(), b"abc");
        for (path, most) in [(file.as_path(), 2), (Path::new("/dev/zero"), 1000)] {
            assert_eq!(bytes(path, most).unwrap_err().kind(), ErrorKind::FileTooLarge, "{path:?}");
        }
        std::fs::write(&file, b"caf\xe9").unwrap();
        assert_eq!(text(&file).unwrap_err().to_string(), "it is not UTF-8 text");
    }
}
