//! Reads the scenario's types from a [`Node`] tree: a serde deserializer that knows, for whatever
//! goes wrong, where it stands.
//!
//! Keys that a type does not know are collected (with a suggestion) instead of ending the reading,
//! so that a person sees all of them at once; keys that begin with `x-` are skipped.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};

use super::error::{Finding, nearest};
use super::tree::{Key, Node, Place, Value};

/// Reads a `T` from `tree`, or everything that stands in the way.
pub(super) fn read<'a, T: de::Deserialize<'a>>(tree: &'a Node) -> Result<T, Vec<Finding>> {
    let unknown = RefCell::new(Vec::new());
    let result = T::deserialize(Reader { node: tree, unknown: &unknown });
    let unknown = unknown.into_inner();
    let mut findings: Vec<Finding> = unknown.iter().map(|key| key.finding.clone()).collect();
    match result {
        Ok(value) if findings.is_empty() => return Ok(value),
        // A key that is missing because it is misspelt is one error, not two.
        Err(ReadError { missing: Some(field), .. })
            if unknown.iter().any(|key| key.meant == Some(field)) => {}
        Err(ReadError { place, message, .. }) => {
            findings.push(Finding { place: place.unwrap_or(tree.place), message });
        }
        Ok(_) => {}
    }
    Err(findings)
}

/// A key that its type does not know.
struct UnknownKey {
    finding: Finding,
    /// The key that was probably meant.
    meant: Option<&'static str>,
}

/// A serde error on its way to the place where it happened.
#[derive(Debug)]
struct ReadError {
    place: Option<Place>,
    message: String,
    /// The key that is missing, when that is the error.
    missing: Option<&'static str>,
}

impl ReadError {
    fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { place: None, message: message.to_string(), missing: None }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format!("expected {expected}, found {}", kind(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format!("expected {expected}, found {found}"))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::custom(format!("expected {expected}, found {length} entries"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(unknown("unknown value", variant, expected, "values"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(unknown("unknown key", field, expected, "keys"))
    }

    fn missing_field(field: &'static str) -> Self {
        let message = format!("`{field}` is missing\nadd a line `{field}: ...` here");
        Self { place: None, message, missing: Some(field) }
    }
}

fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Str(_) | Unexpected::Char(_) => "text",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a map",
        Unexpected::Unit | Unexpected::Option => "nothing",
        _ => "something else",
    }
}

/// `unknown key `x`` and, as advice, the nearest of `known` or all of them.
pub(super) fn unknown(what: &str, name: &str, known: &[&str], plural: &str) -> String {
    let advice = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if plural == "keys" => {
            format!("{plural} here: {}, and `x-...` for your own", known.join(", "))
        }
        None => format!("{plural} here: {}", known.join(", ")),
    };
    format!("{what} `{name}`\n{advice}")
}

/// Reads one node.
#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    unknown: &'a RefCell<Vec<UnknownKey>>,
}

impl<'a> Reader<'a> {
    fn below(&self, node: &'a Node) -> Self {
        Self { node, ..*self }
    }

    fn mismatch(&self, expected: &dyn Expected) -> ReadError {
        let message = format!("expected {expected}, found {}", self.node.kind());
        ReadError { place: Some(self.node.place), message, missing: None }
    }

    fn entries(self, entries: Vec<&'a (Key, Node)>) -> Entries<'a> {
        Entries { reader: self, entries: entries.into_iter(), value: None }
    }

    fn map<'de, V: Visitor<'de>>(
        self,
        keep: impl Fn(&Key) -> bool,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let Value::Map(entries) = &self.node.value else { return Err(self.mismatch(&visitor)) };
        let entries = entries.iter().filter(|(key, _)| keep(key)).collect();
        visitor.visit_map(self.entries(entries)).map_err(|error| error.at(self.node.place))
    }
}

/// Scalars are handed over as what they are; the place is added on the way back.
macro_rules! as_they_are {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.deserialize_any(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let result = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number, _) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (None, Some(value), _) => visitor.visit_i64(value),
                (None, None, value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
            },
            Value::Text(text) => visitor.visit_str(text),
            Value::List(list) => visitor.visit_seq(Items { reader: self, items: list.iter() }),
            Value::Map(_) => return self.map(|_| true, visitor),
        };
        result.map_err(|error| error.at(self.node.place))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Text(text) | Value::Number(_, text) => {
                visitor.visit_str(text).map_err(|error: ReadError| error.at(self.node.place))
            }
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.map(|key| !key.name.starts_with("x-"), visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let known = |key: &Key| {
            if fields.contains(&key.name.as_str()) {
                return true;
            }
            if !key.name.starts_with("x-") {
                let message = unknown("unknown key", &key.name, fields, "keys");
                self.unknown.borrow_mut().push(UnknownKey {
                    finding: Finding { place: key.place, message },
                    meant: nearest(&key.name, fields.iter().copied()),
                });
            }
            false
        };
        self.map(known, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let text = match &self.node.value {
            Value::Text(text) | Value::Number(_, text) => text.as_str(),
            _ => {
                let message = format!("expected one of {}", variants.join(", "));
                return Err(ReadError { place: Some(self.node.place), message, missing: None });
            }
        };
        let variant: StrDeserializer<'_, ReadError> = text.into_deserializer();
        visitor.visit_enum(variant).map_err(|error| error.at(self.node.place))
    }

    as_they_are! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32
        deserialize_f64 deserialize_char deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_seq deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_any(visitor)
    }
}

struct Items<'a> {
    reader: Reader<'a>,
    items: std::slice::Iter<'a, Node>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(node) = self.items.next() else { return Ok(None) };
        seed.deserialize(self.reader.below(node)).map(Some).map_err(|error| error.at(node.place))
    }
}

struct Entries<'a> {
    reader: Reader<'a>,
    entries: std::vec::IntoIter<&'a (Key, Node)>,
    value: Option<&'a Node>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        let name: StrDeserializer<'_, ReadError> = key.name.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|error| error.at(key.place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let node = self.value.take().ok_or_else(|| de::Error::custom("a value without a key"))?;
        seed.deserialize(self.reader.below(node)).map_err(|error| error.at(node.place))
    }
}
