//! The filter as it stands in a request (protocol document 5.1). What it means is not known here.

use super::escape;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_example_of_the_protocol_document() {
        let filter = Filter {
            fact: vec![FactFilter {
                fact: "os.family".into(),
                operator: "==".into(),
                value: "Debian".into(),
            }],
            cf_class: vec!["role::web".into()],
            agent: vec!["rpcutil".into()],
            identity: vec!["/^web/".into()],
            compound: vec![vec!["with('role::web')".into()]],
        };
        let mut out = Vec::new();
        filter.write(&mut out);
        let expected = concat!(
            r#"{"fact":[{"fact":"os.family","operator":"==","value":"Debian"}],"#,
            r#""cf_class":["role::web"],"agent":["rpcutil"],"identity":["/^web/"],"#,
            r#""compound":[[{"expr":"with('role::web')"}]]}"#
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
