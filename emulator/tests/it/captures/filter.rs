//! Every recorded request: its filter matches exactly the servers that answered.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emulator::filter::path::FactPath;
use emulator::filter::{CompiledFilter, FactFilter, Filter, Subject};
use serde_json::{Value, json};

use super::lines;

/// A recorded server.
struct Server<'a>(&'a Value);

impl Server<'_> {
    fn any_of(&self, list: &str, test: &mut dyn FnMut(&str) -> bool) -> bool {
        self.0[list].as_array().unwrap().iter().any(|name| test(name.as_str().unwrap()))
    }
}

impl Subject for Server<'_> {
    fn identity(&self) -> &str {
        self.0["identity"].as_str().unwrap()
    }

    fn any_agent(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        self.any_of("agents", test)
    }

    fn any_class(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        self.any_of("classes", test)
    }

    fn fact(&self, path: &FactPath) -> Option<Cow<'_, Value>> {
        path.get(&self.0["facts"])
    }

    /// The one item that a recorded filter asks for, with its default.
    fn data(&self, plugin: &str, query: Option<&str>) -> Option<Value> {
        (plugin == "config_item" && query == Some("ttl"))
            .then(|| json!({ "present": true, "value": 60 }))
    }
}

/// The filter of a request that has one; strict, as the real server's schema is.
fn filter_of(line: &Value) -> Option<Filter> {
    let transport: Value = serde_json::from_str(line["request"]["payload"].as_str()?).ok()?;
    let secure = STANDARD.decode(transport["data"].as_str()?).ok()?;
    let secure: Value = serde_json::from_slice(&secure).ok()?;
    let request: Value = serde_json::from_str(secure["message"].as_str()?).ok()?;
    let filter = request["envelope"]["filter"].as_object()?;
    let names = |list: &str| -> Option<Vec<String>> {
        let list = filter.get(list)?.as_array()?;
        list.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let fact = filter.get("fact")?.as_array()?.iter().map(|entry| {
        let member = |name: &str| entry[name].as_str().map(str::to_owned);
        Some(FactFilter {
            fact: member("fact")?,
            operator: member("operator")?,
            value: member("value")?,
        })
    });
    let compound = filter.get("compound")?.as_array()?.iter().map(|entry| {
        entry.as_array()?.iter().map(|entry| entry["expr"].as_str().map(str::to_owned)).collect()
    });
    Some(Filter {
        fact: fact.collect::<Option<_>>()?,
        cf_class: names("cf_class")?,
        agent: names("agent")?,
        identity: names("identity")?,
        compound: compound.collect::<Option<_>>()?,
    })
}

#[test]
fn filters_match_the_servers_that_answered() {
    let mut counted = BTreeMap::new();
    for line in lines("exchanges.jsonl") {
        let filter = filter_of(&line).unwrap_or_else(|| panic!("no filter: {}", line["id"]));
        let expected = line["outcome"] == "reply";
        let matches = CompiledFilter::new(filter.clone()).matches(&Server(&line["server"]));
        assert_eq!(matches, expected, "{} {filter:?}", line["id"]);
        *counted.entry(line["outcome"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counted, BTreeMap::from([("reply".into(), 236), ("silence".into(), 195)]));
}

#[test]
fn odd_filters_match_when_the_real_server_answered() {
    let mut counted = BTreeMap::new();
    for line in lines("edge-cases.jsonl") {
        let why = line["why"].as_str().unwrap().to_owned();
        // Everything else was decided before or after the filter.
        if why != "answered" && why != "filtered" {
            continue;
        }
        // A few are encoded so oddly that only the node's own decoder reads them.
        let Some(filter) = filter_of(&line) else { continue };
        let matches = CompiledFilter::new(filter.clone()).matches(&Server(&line["server"]));
        assert_eq!(matches, why == "answered", "{} {filter:?}", line["id"]);
        *counted.entry(why).or_insert(0) += 1;
    }
    assert_eq!(counted, BTreeMap::from([("answered".into(), 125), ("filtered".into(), 37)]));
}
