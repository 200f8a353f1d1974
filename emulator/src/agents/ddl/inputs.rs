//! Inputs held against a DDL as the real server does for an external agent (go-choria
//! `providers/agent/mcorpc/ddl`: `Action.ValidateRequestJSON`, `InputItem.ValidateValue`), in its words,
//! because they are part of the reply.
//!
//! No tree is built of what was sent: of inputs that the DDL does not know, one name is kept.

use std::net::IpAddr;

use regex::Regex;
use serde_json::{Map, Value};

use super::{Action, Input};
use crate::filter::regexp::Budget;
use crate::protocol::json::{self, Kind, Reader};

/// A member that old clients send and the real server ignores.
const PROCESS_RESULTS: &str = "process_results";

/// The inputs of an action, their rules worked out.
#[derive(Debug)]
pub struct Interface {
    /// Sorted by name, as they are judged.
    inputs: Vec<(String, Input, Option<Regex>)>,
}

/// A value that was sent, as far as rules look at it.
#[derive(Debug)]
enum Given {
    Text(String),
    Number(f64),
    Other(Kind),
}

impl Interface {
    /// Works out the rules of an action.
    #[must_use]
    pub fn new(action: &Action) -> Self {
        let regex = |input: &Input| Budget::default().compile(&input.validation, false);
        let inputs = action.inputs.iter();
        Self {
            inputs: inputs
                .map(|(name, input)| (name.clone(), input.clone(), regex(input)))
                .collect(),
        }
    }

    /// Names of the inputs, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|(name, ..)| name.as_str())
    }

    /// What the real server says of these inputs.
    ///
    /// # Errors
    /// What is wrong with them; the first thing, in the order of the names.
    pub fn check(&self, data: &Map<String, Value>) -> Result<(), String> {
        // A map that was read as JSON can be written.
        self.check_json(&serde_json::to_vec(data).unwrap_or_default())
    }

    /// The same of inputs as they were sent. Of several that are not declared the real server names any.
    pub(super) fn check_json(&self, data: &[u8]) -> Result<(), String> {
        let (given, undeclared) = self.read(data)?;
        for ((name, input, regex), given) in self.inputs.iter().zip(given) {
            match given {
                None if input.optional => {}
                None => return Err(format!("input '{name}' is required")),
                Some(given) => judge(input, regex.as_ref(), &given)
                    .map_err(|why| format!("validation failed for input '{name}': {why}"))?,
            }
        }
        match undeclared {
            None => Ok(()),
            Some(_) if self.inputs.is_empty() => {
                Err("request contains inputs while none are declared in the DDL".to_owned())
            }
            Some(name) => {
                let names = self.names().collect::<Vec<_>>().join(", ");
                Err(format!(
                    "request contains an input '{name}' that is not declared in the DDL. Valid inputs are: {names}"
                ))
            }
        }
    }

    /// The inputs that are declared, by their positions, and one that is not.
    fn read(&self, data: &[u8]) -> Result<(Vec<Option<Given>>, Option<String>), String> {
        let mut given: Vec<Option<Given>> = self.inputs.iter().map(|_| None).collect();
        let mut undeclared = None;
        json::check(data).map_err(|error| error.to_string())?;
        let mut reader = Reader::new(data);
        match reader.kind().map_err(|error| error.to_string())? {
            Kind::Object => {}
            Kind::Null => return Ok((given, undeclared)),
            kind => {
                let kind = kind.name();
                return Err(format!(
                    "json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
                ));
            }
        }
        let mut walk = || -> json::Result<()> {
            let mut members = reader.object()?;
            while let Some(name) = reader.member(&mut members)? {
                let position = self.inputs.iter().position(|(known, ..)| name.is(known));
                if name.is(PROCESS_RESULTS) {
                    reader.skip()?;
                } else if let Some(slot) = position.and_then(|at| given.get_mut(at)) {
                    *slot = Some(Given::read(&mut reader)?);
                } else {
                    undeclared.get_or_insert_with(|| name.decode().into_owned());
                    reader.skip()?;
                }
            }
            Ok(())
        };
        walk().map_err(|error| error.to_string())?;
        Ok((given, undeclared))
    }
}

impl Given {
    fn read(reader: &mut Reader<'_>) -> json::Result<Self> {
        Ok(match reader.kind()? {
            Kind::String => Self::Text(reader.text()?.decode().into_owned()),
            Kind::Number => Self::Number(reader.number()?.parse().unwrap_or(f64::NAN)),
            kind => {
                reader.skip()?;
                Self::Other(kind)
            }
        })
    }
}

/// What is wrong with one value.
fn judge(input: &Input, regex: Option<&Regex>, given: &Given) -> Result<(), String> {
    let must = |holds: bool, problem: &str| if holds { Ok(()) } else { Err(problem.to_owned()) };
    match (input.kind.to_lowercase().as_str(), given) {
        ("integer" | "int", given) => {
            must(matches!(given, Given::Number(number) if is_whole(*number)), "is not an integer")
        }
        ("number", given) => must(matches!(given, Given::Number(_)), "is not a number"),
        ("float", given) => must(matches!(given, Given::Number(_)), "is not a float"),
        ("boolean", given) => must(matches!(given, Given::Other(Kind::Bool)), "is not a boolean"),
        ("hash", given) => must(matches!(given, Given::Other(Kind::Object)), "is not a hash map"),
        ("array", given) => must(matches!(given, Given::Other(Kind::Array)), "is not an array"),
        ("string", Given::Text(text)) => judge_text(input, regex, text),
        ("string", _) => Err("is not a string".to_owned()),
        ("list", _) if input.choices.is_empty() => {
            Err("input type of list without a valid list of items in DDL".to_owned())
        }
        ("list", Given::Text(text)) if input.choices.contains(text) => Ok(()),
        ("list", Given::Text(_)) => Err(format!("should be one of {}", input.choices.join(", "))),
        ("list", _) => Err("should be a string".to_owned()),
        _ => Err(format!("unsupported input type '{}'", input.kind)),
    }
}

/// Whether a number survives Go's conversion to `int` and back.
#[expect(clippy::float_cmp, reason = "the real server compares so")]
fn is_whole(number: f64) -> bool {
    const INT_END: f64 = 9_223_372_036_854_775_808.0;
    (-INT_END..INT_END).contains(&number) && number.trunc() == number
}

/// QUIRK: without a `maxlength` the real server looks at nothing else either.
fn judge_text(input: &Input, regex: Option<&Regex>, text: &str) -> Result<(), String> {
    if input.bytes_max == 0 {
        return Ok(());
    }
    if text.len() > input.bytes_max {
        return Err(format!("is longer than {} characters", input.bytes_max));
    }
    let address = text.parse::<IpAddr>().ok();
    let is_v4 = address.is_some_and(|address| address.to_canonical().is_ipv4());
    let must = |holds: bool, what: &str| {
        if holds { Ok(()) } else { Err(format!("{text} is not an {what} address")) }
    };
    match input.validation.as_str() {
        "" => Ok(()),
        "shellsafe" => {
            const UNSAFE: [&str; 7] = ["`", "$", ";", "|", "&&", ">", "<"];
            match UNSAFE.into_iter().find(|bad| text.contains(bad)) {
                Some(bad) => Err(format!("may not contain '{bad}'")),
                None => Ok(()),
            }
        }
        "ipv4address" => must(is_v4, "IPv4"),
        "ipv6address" => must(address.is_some() && !is_v4, "IPv6"),
        "ipaddress" => must(address.is_some(), "IP"),
        // A validator that the real server does not know is a warning in its log.
        named if named.starts_with(|c: char| c.is_ascii_lowercase()) => Ok(()),
        expression => match regex {
            None => Err(format!("invalid regex '{expression}'")),
            Some(regex) if regex.is_match(text) => Ok(()),
            Some(_) => Err(format!("input does not match '{expression}'")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Ddl, tests::DDL};
    use super::*;

    fn check(action: &str, data: &str) -> Result<(), String> {
        let ddl = Ddl::parse(DDL).unwrap();
        Interface::new(ddl.action(action).unwrap()).check_json(data.as_bytes())
    }

    #[test]
    fn values_are_judged_in_the_words_of_the_real_server() {
        for (name, value, problem) in [
            ("to", r#""abc""#, None),
            ("to", r#""abcdef""#, Some("is longer than 5 characters")),
            ("to", r#""éé""#, Some("input does not match '^[a-z]+$|x'")),
            ("to", r#""ééé""#, Some("is longer than 5 characters")),
            ("to", "1", Some("is not a string")),
            ("to", "null", Some("is not a string")),
            ("safe", r#""ls -l""#, None),
            ("safe", r#""a & b""#, None),
            ("safe", r#""a && $b""#, Some("may not contain '$'")),
            ("safe", r#""a && b""#, Some("may not contain '&&'")),
            ("safe", r#""a > b""#, Some("may not contain '>'")),
            ("v4", r#""192.0.2.1""#, None),
            ("v4", r#""::ffff:192.0.2.1""#, None),
            ("v4", r#""192.0.2.01""#, Some("192.0.2.01 is not an IPv4 address")),
            ("v4", r#""::1""#, Some("::1 is not an IPv4 address")),
            ("v6", r#""::1""#, None),
            ("v6", r#""::ffff:192.0.2.1""#, Some("::ffff:192.0.2.1 is not an IPv6 address")),
            ("v6", r#""fe80::1%lo""#, Some("fe80::1%lo is not an IPv6 address")),
            ("ip", r#""192.0.2.1""#, None),
            ("ip", r#""x""#, Some("x is not an IP address")),
            ("re", r#""12""#, None),
            ("re", r#""1x""#, Some(r"input does not match '^\d+$'")),
            ("bad", r#""x""#, Some("invalid regex '['")),
            ("free", r#""whatever""#, None),
            ("count", "7", None),
            ("count", "7.0", None),
            ("count", "7.5", Some("is not an integer")),
            ("count", "1e19", Some("is not an integer")),
            ("count", "9223372036854775808", Some("is not an integer")),
            ("count", r#""7""#, Some("is not an integer")),
            ("weight", "7.5", None),
            ("weight", "true", Some("is not a number")),
            ("ratio", "7", None),
            ("ratio", "[]", Some("is not a float")),
            ("now", "false", None),
            ("now", "0", Some("is not a boolean")),
            ("speed", r#""fast""#, None),
            ("speed", r#""Fast""#, Some("should be one of slow, fast")),
            ("speed", "1", Some("should be a string")),
            ("none", r#""x""#, Some("input type of list without a valid list of items in DDL")),
            ("tags", "[1]", None),
            ("tags", "{}", Some("is not an array")),
            ("opts", "{}", None),
            ("opts", "[]", Some("is not a hash map")),
            ("odd", "1", Some("unsupported input type 'thing'")),
        ] {
            let data = match name {
                "to" => format!(r#"{{"to":{value}}}"#),
                name => format!(r#"{{"to":"a","{name}":{value}}}"#),
            };
            let problem = problem.map(|why| format!("validation failed for input '{name}': {why}"));
            assert_eq!(check("send", &data).err(), problem, "{data}");
        }
    }

    #[test]
    fn inputs_are_those_of_the_ddl() {
        let names = "bad, count, free, ip, none, now, odd, opts, ratio, re, safe, speed, tags, to, v4, v6, weight";
        let undeclared = |name: &str| {
            Some(format!(
                "request contains an input '{name}' that is not declared in the DDL. Valid inputs are: {names}"
            ))
        };
        let said = |text: &str| Some(text.to_owned());
        for (action, data, problem) in [
            ("send", "{}", said("input 'to' is required")),
            ("send", "null", said("input 'to' is required")),
            ("send", r#"{"TO":"a"}"#, said("input 'to' is required")),
            ("send", r#"{"to":"a","x":1}"#, undeclared("x")),
            ("send", r#"{"to":"a","process_results":true}"#, None),
            ("send", r#"{"to":1,"to":"a"}"#, None),
            (
                "send",
                "[]",
                said("json: cannot unmarshal array into Go value of type map[string]interface {}"),
            ),
            ("lose", "{}", None),
            ("lose", "null", None),
            ("lose", r#"{"process_results":true}"#, None),
            (
                "lose",
                r#"{"x":1}"#,
                said("request contains inputs while none are declared in the DDL"),
            ),
        ] {
            assert_eq!(check(action, data).err(), problem, "{action} {data}");
        }
    }
}
