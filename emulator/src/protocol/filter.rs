//! The filter as it stands in a request (protocol document 5.1): written as the real client does,
//! read with the rules of the request's schema. What it means is the business of [`crate::filter`].

use super::json::{self, Reader, SyntaxError, Text};
use super::{escape, member};

/// Which nodes a request is for. Empty lists ask for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Facts that the node must have.
    pub fact: Vec<FactFilter>,
    /// Classes that the node must have.
    pub cf_class: Vec<String>,
    /// Agents that the node must host.
    pub agent: Vec<String>,
    /// Identities, of which the node must have one.
    pub identity: Vec<String>,
    /// Compound entries; each is a list that holds exactly one expression in a well-made request.
    pub compound: Vec<Vec<String>>,
}

/// A comparison of a fact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FactFilter {
    /// Path of the fact.
    pub fact: String,
    /// One of [`OPERATORS`].
    pub operator: String,
    /// The text to compare with.
    pub value: String,
}

/// The operators that the request's schema allows.
pub const OPERATORS: [&str; 7] = [">=", "<=", "<", ">", "!=", "==", "=~"];

impl Filter {
    /// Whether every list is empty: the filter matches every node.
    pub fn is_empty(&self) -> bool {
        self.fact.is_empty()
            && self.cf_class.is_empty()
            && self.agent.is_empty()
            && self.identity.is_empty()
            && self.compound.is_empty()
    }

    /// Appends the filter as JSON: all five lists, in the order of the real client.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"fact\":");
        push_list(&self.fact, out, |fact, out| {
            out.extend_from_slice(b"{\"fact\":");
            escape::push_quoted(&fact.fact, out);
            out.extend_from_slice(b",\"operator\":");
            escape::push_quoted(&fact.operator, out);
            out.extend_from_slice(b",\"value\":");
            escape::push_quoted(&fact.value, out);
            out.push(b'}');
        });
        let texts = [("cf_class", &self.cf_class), ("agent", &self.agent)];
        for (name, list) in texts.into_iter().chain([("identity", &self.identity)]) {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            push_list(list, out, |text, out| escape::push_quoted(text, out));
        }
        out.extend_from_slice(b",\"compound\":");
        push_list(&self.compound, out, |entry, out| {
            push_list(entry, out, |expression, out| {
                out.extend_from_slice(b"{\"expr\":");
                escape::push_quoted(expression, out);
                out.push(b'}');
            });
        });
        out.push(b'}');
    }
}

fn push_list<T>(list: &[T], out: &mut Vec<u8>, mut push: impl FnMut(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (at, item) in list.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push(item, out);
    }
    out.push(b']');
}

/// Elements of a list from which on the rest is counted first: a vector that grows takes three times
/// its place for a moment.
const MANY: usize = 64;

/// How many elements of a list stand next, whatever they are.
fn rest(reader: &Reader<'_>) -> json::Result<usize> {
    let (mut ahead, mut elements, mut count) = (reader.clone(), json::Items::begun(), 1);
    ahead.skip()?;
    while ahead.element(&mut elements)? {
        ahead.skip()?;
        count += 1;
    }
    Ok(count)
}

/// A list being read: what a decoder has of it, and whether the schema saw it.
#[derive(Debug)]
struct List<T> {
    value: Option<Vec<T>>,
    /// Whether the member of that exact name is valid; `None` if there is none.
    exact: Option<bool>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { value: None, exact: None }
    }
}

impl<T> List<T> {
    fn read<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        exact: bool,
        mut element: impl FnMut(&mut Reader<'a>) -> json::Result<T>,
    ) -> json::Result<()> {
        if member::is_null(reader)? {
            self.value = None;
            if exact {
                self.exact = Some(false);
            }
            return Ok(());
        }
        let mut list = Vec::new();
        let mut elements = reader.array()?;
        while reader.element(&mut elements)? {
            if list.len() == MANY {
                list.reserve_exact(rest(reader)?);
            }
            list.push(element(reader)?);
        }
        self.value = Some(list);
        if exact {
            self.exact = Some(true);
        }
        Ok(())
    }
}

/// A filter being read.
#[derive(Debug, Default)]
pub(super) struct FilterReader {
    fact: List<FactFilter>,
    cf_class: List<String>,
    agent: List<String>,
    identity: List<String>,
    compound: List<Vec<String>>,
}

impl FilterReader {
    /// The schema looks at the last filter of that exact name only.
    pub(super) fn forget_exact(&mut self) {
        self.fact.exact = None;
        self.cf_class.exact = None;
        self.agent.exact = None;
        self.identity.exact = None;
        self.compound.exact = None;
    }

    /// Reads a filter object; `exact` if the schema will look at it.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, exact: bool) -> json::Result<()> {
        let text = |reader: &mut Reader<'_>| Ok(reader.text()?.decode().into_owned());
        let mut members = reader.object()?;
        while let Some(name) = reader.member(&mut members)? {
            if name.folds_to("fact") {
                self.fact.read(reader, exact && name.is("fact"), read_fact)?;
            } else if name.folds_to("cf_class") {
                self.cf_class.read(reader, exact && name.is("cf_class"), text)?;
            } else if name.folds_to("agent") {
                self.agent.read(reader, exact && name.is("agent"), text)?;
            } else if name.folds_to("identity") {
                self.identity.read(reader, exact && name.is("identity"), text)?;
            } else if name.folds_to("compound") {
                self.compound.read(reader, exact && name.is("compound"), read_compound)?;
            } else {
                reader.skip()?;
            }
        }
        Ok(())
    }

    /// Whether the schema accepts it: all lists but `agent` must be there, and none may be null.
    pub(super) fn is_valid(&self) -> bool {
        let exact = [
            self.fact.exact,
            self.cf_class.exact,
            self.identity.exact,
            self.compound.exact,
            self.agent.exact.or(Some(true)),
        ];
        exact.into_iter().all(|valid| valid == Some(true))
    }

    /// Whether a server can write the filter again, as it does while it builds the reply: there
    /// `agent` must be there too (protocol document 3.5).
    pub(super) fn is_complete(&self) -> bool {
        let Self { fact, cf_class, agent, identity, compound } = self;
        fact.value.is_some()
            && cf_class.value.is_some()
            && agent.value.is_some()
            && identity.value.is_some()
            && compound.value.is_some()
    }

    /// The filter as decoded.
    pub(super) fn finish(self) -> Filter {
        Filter {
            fact: self.fact.value.unwrap_or_default(),
            cf_class: self.cf_class.value.unwrap_or_default(),
            agent: self.agent.value.unwrap_or_default(),
            identity: self.identity.value.unwrap_or_default(),
            compound: self.compound.value.unwrap_or_default(),
        }
    }
}

/// A fact filter: three texts of exactly these names, not empty, a known operator.
fn read_fact(reader: &mut Reader<'_>) -> json::Result<FactFilter> {
    let (mut fact, mut operator, mut value) = (None, None, None);
    let mut members = reader.object()?;
    while let Some(name) = reader.member(&mut members)? {
        if name.is("fact") {
            fact = Some(reader.text()?);
        } else if name.is("operator") {
            operator = Some(reader.text()?);
        } else if name.is("value") {
            value = Some(reader.text()?);
        } else {
            reader.skip()?;
        }
    }
    let filled = |text: Option<Text<'_>>| {
        let text = text.ok_or(SyntaxError::WrongKind)?;
        if text.is_empty() { Err(SyntaxError::WrongKind) } else { Ok(text.decode().into_owned()) }
    };
    let operator = filled(operator)?;
    if !OPERATORS.contains(&operator.as_str()) {
        return Err(SyntaxError::WrongKind);
    }
    Ok(FactFilter { fact: filled(fact)?, operator, value: filled(value)? })
}

/// A compound entry: a list of objects with the text `expr`.
fn read_compound(reader: &mut Reader<'_>) -> json::Result<Vec<String>> {
    let mut entry = Vec::new();
    let mut elements = reader.array()?;
    while reader.element(&mut elements)? {
        let mut expression = None;
        let mut members = reader.object()?;
        while let Some(name) = reader.member(&mut members)? {
            if name.is("expr") {
                expression = Some(reader.text()?.decode().into_owned());
            } else {
                reader.skip()?;
            }
        }
        entry.push(expression.ok_or(SyntaxError::WrongKind)?);
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = concat!(
        r#"{"fact":[{"fact":"os.family","operator":"==","value":"Debian"}],"#,
        r#""cf_class":["role::web"],"agent":["rpcutil"],"identity":["/^web/"],"#,
        r#""compound":[[{"expr":"with('role::web')"}]]}"#
    );

    #[test]
    fn the_example_of_the_protocol_document_is_read_and_written_again() {
        let mut reader = FilterReader::default();
        reader.read(&mut Reader::new(EXAMPLE.as_bytes()), true).unwrap();
        assert!(reader.is_valid() && reader.is_complete());
        let filter = reader.finish();
        assert_eq!(filter.fact.len() + filter.cf_class.len() + filter.agent.len(), 3);
        assert_eq!(filter.identity, ["/^web/"]);
        assert_eq!(filter.compound, [["with('role::web')"]]);
        let mut out = Vec::new();
        filter.write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), EXAMPLE);
    }

    #[test]
    fn fact_filters_need_three_texts_and_a_known_operator() {
        for (text, valid) in [
            (r#"{"fact":"a","operator":"=~","value":"b","x":[]}"#, true),
            (r#"{"fact":"a","operator":"=","value":"b"}"#, false),
            (r#"{"fact":"a","operator":"==","value":""}"#, false),
            (r#"{"fact":"a","operator":"=="}"#, false),
            (r#"{"FACT":"a","operator":"==","value":"b"}"#, false),
            (r#"{"fact":"a","operator":"==","value":5}"#, false),
            (r#"["a","==","b"]"#, false),
        ] {
            assert_eq!(read_fact(&mut Reader::new(text.as_bytes())).is_ok(), valid, "{text}");
        }
    }
}
