//! Filters against what the real server's libraries make of them (`testdata/filters`, see its README).

use std::borrow::Cow;

use emulator::filter::facts::write_go_json;
use emulator::filter::path::FactPath;
use emulator::filter::{CompiledFilter, FactFilter, Filter, Subject, parse_fact};
use serde_json::{Value, json};

const AGENTS: [&str; 4] = ["choria_util", "discovery", "rpcutil", "scout"];
const CLASSES: [&str; 4] = ["role::web", "base", "Profile::Nginx", "profile::tls"];

/// The node that the libraries were run on.
struct Node {
    identity: String,
    facts: Value,
}

impl Node {
    fn new() -> Self {
        Self {
            identity: "web1.example.net".into(),
            facts: serde_json::from_str(&text("facts.json")).unwrap(),
        }
    }

    fn matches(&self, filter: &Filter) -> bool {
        CompiledFilter::new(filter.clone()).matches(self)
    }

    /// `None`: an error, as one entry of several tells it apart from false.
    fn compound(&self, expression: &str) -> Option<bool> {
        let of = |entries: &[&str]| Filter {
            compound: entries.iter().map(|entry| vec![(*entry).to_owned()]).collect(),
            ..Filter::default()
        };
        match self.matches(&of(&[expression])) {
            true => Some(true),
            false => self.matches(&of(&[expression, "true", "true"])).then_some(false),
        }
    }
}

impl Subject for Node {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn any_agent(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        AGENTS.iter().any(|agent| test(agent))
    }

    fn any_class(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        CLASSES.iter().any(|class| test(class))
    }

    fn fact(&self, path: &FactPath) -> Option<Cow<'_, Value>> {
        path.get(&self.facts)
    }

    fn data(&self, plugin: &str, query: Option<&str>) -> Option<Value> {
        match (plugin, query) {
            ("config_item", Some("ttl")) => Some(json!({ "present": true, "value": 60 })),
            ("config_item", Some(_)) => Some(json!({ "present": false, "value": null })),
            ("machine_state", Some("toggle")) => Some(json!({
                "name": "toggle", "version": "0.2.0", "state": "off", "path": "/m/t", "id": "x",
                "start_time": 1_718_444_000, "available_transitions": ["on"], "scout": false,
            })),
            ("machine_state", Some(_)) => Some(Value::Null),
            ("scout", Some(_)) => Some(json!({})),
            ("choria", None) => Some(json!({ "cpus": 2, "version": "0.30.2" })),
            _ => None,
        }
    }
}

fn text(file: &str) -> String {
    let path = format!("{}/testdata/filters/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Checks every row of a file, and that there are as many as there should be.
fn check<R: serde::de::DeserializeOwned>(
    file: &str,
    rows: usize,
    check: impl Fn(R) -> Option<String>,
) {
    let text = text(file);
    let wrong: Vec<String> = text
        .lines()
        .filter_map(|line| {
            check(serde_json::from_str(line).unwrap()).map(|got| format!("{line}: {got}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{file}, {} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(text.lines().count(), rows, "{file}");
}

/// What was got, if it is not what was wanted.
fn unless_equal<T: PartialEq + std::fmt::Debug>(got: T, wanted: &T) -> Option<String> {
    (got != *wanted).then(|| format!("got {got:?}"))
}

fn go_json(value: &Value) -> String {
    let mut out = String::new();
    write_go_json(value, &mut out);
    out
}

#[test]
fn paths_find_what_gjson_finds() {
    let node = Node::new();
    check("paths.jsonl", 152, |(path, wanted): (String, Option<String>)| {
        let found = node.fact(&FactPath::parse(&path)).map(|value| go_json(&value));
        unless_equal(found, &wanted)
    });
}

#[test]
fn fact_filters_match_as_in_the_real_server() {
    let node = Node::new();
    type Row = (String, String, String, bool);
    check("facts.jsonl", 1200, |(fact, operator, value, wanted): Row| {
        let fact = FactFilter { fact, operator, value };
        unless_equal(node.matches(&Filter { fact: vec![fact], ..Filter::default() }), &wanted)
    });
}

#[test]
fn typed_fact_filters_are_split_as_by_the_real_client() {
    check("typed-facts.jsonl", 150, |(text, wanted): (String, Option<[String; 3]>)| {
        let split =
            parse_fact(&text).ok().map(|filter| [filter.fact, filter.operator, filter.value]);
        unless_equal(split, &wanted)
    });
}

#[test]
fn regular_expressions_match_as_in_go() {
    check(
        "regular-expressions.jsonl",
        891,
        |(expression, identity, wanted): (String, String, bool)| {
            let node = Node { identity, ..Node::new() };
            let filter = Filter { identity: vec![format!("/{expression}/")], ..Filter::default() };
            unless_equal(node.matches(&filter), &wanted)
        },
    );
}

#[test]
fn compound_expressions_are_what_expr_makes_of_them() {
    let node = Node::new();
    check("expressions.jsonl", 503, |(expression, wanted): (String, Option<bool>)| {
        unless_equal(node.compound(&expression), &wanted)
    });
}

#[test]
fn expressions_on_machines_are_what_expr_makes_of_them() {
    let node = Node::new();
    check("machines.jsonl", 851, |(expression, wanted): (String, Option<bool>)| {
        unless_equal(node.compound(&expression), &wanted)
    });
}

#[test]
fn versions_meet_constraints_as_in_the_real_library() {
    let node = Node::new();
    check(
        "versions.jsonl",
        400,
        |(version, constraint, wanted): (String, String, Option<bool>)| {
            unless_equal(
                node.compound(&format!("semver({}, {})", json!(version), json!(constraint))),
                &wanted,
            )
        },
    );
}

/// The documentation of `filter::compound` and `filter::path` lists what is not understood.
#[test]
fn what_is_not_understood_matches_nothing() {
    let node = Node::new();
    for expression in [
        "facts != nil",
        "any(agents, {# == 'scout'})",
        "lower('A') == 'a'",
        "'abc'[1:] == 'bc'",
        "{a: 1}.a == 1",
        "let x = 1; x == 1",
        "if true { true } else { false }",
        "2 in 1..3",
        "$env.agents == agents",
        "true ?: false",
        "agents | len() == 4",
        "b'a' == b'a'",
        "'a'.length() == 1",
    ] {
        assert_eq!(node.compound(expression), None, "{expression}");
    }
    for path in ["{os,role}", "[os,role]", "!\"x\"", "tags.@join", "tags.#(==~true)", "os.@keys:1"]
    {
        assert_eq!(node.fact(&FactPath::parse(path)), None, "{path}");
    }
}

#[test]
fn several_compound_entries_are_counted_not_combined() {
    let node = Node::new();
    for (entries, expected) in [
        (vec![vec!["true"], vec!["true"], vec!["false"]], true),
        (vec![vec!["true"], vec!["false"]], false),
        (vec![vec!["true"], vec!["true"], vec!["(("]], false),
        (vec![vec!["true", "true"]], false),
        (vec![vec![]], false),
        (vec![vec![""]], false),
        (vec![], true),
    ] {
        let compound =
            entries.iter().map(|e| e.iter().map(|t| (*t).to_owned()).collect()).collect();
        assert_eq!(
            node.matches(&Filter { compound, ..Filter::default() }),
            expected,
            "{entries:?}"
        );
    }
}

#[test]
fn names_are_compared_with_the_quirks_of_the_real_server() {
    let node = Node::new();
    let filter = |list: &str, needles: &[&str]| {
        let needles = needles.iter().map(|needle| (*needle).to_owned()).collect();
        match list {
            "identity" => Filter { identity: needles, ..Filter::default() },
            "class" => Filter { cf_class: needles, ..Filter::default() },
            _ => Filter { agent: needles, ..Filter::default() },
        }
    };
    for (list, needles, expected) in [
        ("identity", &["web1.example.net"][..], true),
        ("identity", &["WEB1.example.net"], false),
        ("identity", &["nope", "/^web/"], true),
        ("identity", &["/^WEB/"], false),
        ("identity", &["/"], true),
        ("identity", &["//"], true),
        ("identity", &["/(((/"], false),
        ("identity", &["web1.example.net\n"], false),
        ("class", &["role::web", "base"], true),
        ("class", &["role::web", "nope"], false),
        ("class", &["ROLE::WEB"], true),
        ("class", &["Profile::Nginx"], false),
        ("class", &["profile::nginx"], false),
        ("class", &["/^profile::nginx$/"], true),
        ("class", &["/"], true),
        ("class", &[""], false),
        ("agent", &["rpcutil", "scout"], true),
        ("agent", &["rpcutil", "nope"], false),
        ("agent", &["RPCUTIL"], false),
        ("agent", &["/^RPC/"], false),
        ("agent", &["/util$/", "rpcutil"], true),
    ] {
        assert_eq!(node.matches(&filter(list, needles)), expected, "{list} {needles:?}");
    }
}

/// On a thread with as little stack as a runtime's.
#[test]
fn hostile_filters_are_refused_or_cheap() {
    let repeat = |text: &str| text.repeat(100_000);
    let check = move || {
        let node = Node::new();
        for expression in [
            repeat("("),
            repeat("["),
            repeat("not "),
            repeat("-"),
            format!("1{} > 0", repeat("+1")),
            format!("true{}", repeat(" and true")),
            format!("{}true{}", "(1 < (".repeat(40), " ? 1 : 2) < 3)".repeat(40)),
            format!("{}1{}", "with(".repeat(49), ")".repeat(49)),
            repeat("fact('@this')?"),
        ] {
            assert_ne!(node.compound(&expression), Some(true), "{}", &expression[..20]);
        }
        // The deepest trees that are accepted.
        for expression in [
            format!("1{} > 0", "+1".repeat(190)),
            format!("{}true{}", "(".repeat(49), ")".repeat(49)),
        ] {
            assert_eq!(node.compound(&expression), Some(true), "{expression}");
        }
        for path in [
            repeat("@this."),
            repeat("@tostr|"),
            repeat("os."),
            repeat("#."),
            repeat("#(a."),
            repeat("*"),
            format!("@this{}", "|@tostr".repeat(10)),
            format!("tags.#(%\"{}\")", repeat("*a")),
        ] {
            assert_eq!(node.fact(&FactPath::parse(&path)), None, "{}", &path[..5]);
        }
        let filter = Filter { identity: vec![r"/\pL{50}/".into(); 10_000], ..Filter::default() };
        assert!(!node.matches(&filter));
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(check).unwrap().join().unwrap();
}

proptest::proptest! {
    #[test]
    fn no_text_in_a_filter_does_harm(text in r#"[a-z0-9'"()\[\].,#*?@|=<>!&/+\-% ]{0,60}|\PC*"#) {
        let node = Node::new();
        let fact = FactFilter { fact: text.clone(), operator: "=~".into(), value: text.clone() };
        for filter in [
            Filter { fact: vec![fact], ..Filter::default() },
            Filter { compound: vec![vec![text.clone()]], ..Filter::default() },
            Filter { identity: vec![format!("/{text}/")], ..Filter::default() },
        ] {
            node.matches(&filter);
        }
    }
}
