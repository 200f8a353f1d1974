//! Brokers, what happens to them, and networks that are there already.

use super::*;

#[test]
fn brokers_that_cannot_be_meant_are_refused() {
    let watched =
        |url: &str| format!("topology: external\n  urls: [\"nats://a\"]\n  monitoring: [{url:?}]");
    for (that, says) in [
        ("size: 3", "`size` is for how brokers are joined, not for topology `single`"),
        ("topology: cluster\n  size: 1", "for one broker write `topology: single`"),
        ("topology: cluster\n  size: 101", "from 2 to 100"),
        ("topology: cluster\n  size: 999999999999", "from 2 to 100"),
        ("topology: supercluster\n  clusters: 20\n  size: 20", "at most 100 brokers"),
        ("topology: supercluster\n  clusters: 1", "write `topology: cluster`"),
        ("topology: leafnodes\n  clusters: 2", "`topology: supercluster` beside it"),
        ("topology: leafnodes\n  leaves: 0", "without leaves"),
        ("topology: leafnodes\n  nats: 1.4.1", "no leafnodes: 2.0.0 is the first release"),
        ("topology: supercluster\n  nats: 1.4.1", "no gateways: 2.0.0 is the first release"),
        ("topology: cluster\n  nats: {n1: 2.9.25, n2: 1.4.1}", "2.0.0 is the first release"),
        ("topology: cluster\n  nats: {n1: 2.9.25, n7: 2.14.5}", "there is no broker `n7`"),
        ("topology: cluster\n  nats: {n1: newest}", "three numbers"),
        ("topology: cluster\n  nats: [2.9.25, 2.14.5]", "`{n1: \"2.9.25\"}`"),
        ("nats: 2.14.5\n  path: {n1: /bin/nats-server}", "both say which nats-server n1 is"),
        ("config: {port: 4222}", "`port` is ours to say"),
        ("config: {Host: 0.0.0.0}", "`Host` is ours to say"),
        ("config: {net: 0.0.0.0}", "`net` is ours to say"),
        ("config_for: {n1: {monitor_port: 8222}}", "`monitor_port` is ours to say"),
        ("config: {http_base_path: /nats}", "`http_base_path` is ours to say"),
        ("config: 'Port: 4222'", "`Port` in line 1 of the text is ours to say"),
        ("config: \"debug: true\\n'NET' = a\"", "`NET` in line 2 of the text is ours to say"),
        ("config: \"debug on; HTTP_Base_Path /nats\"", "`HTTP_Base_Path` in line 1 of the text"),
        ("config: 'Max_Payload: 9'", "`max_payload` elsewhere: chance"),
        ("config_for: {n1: 'max_conn: 9'}", "write `max_connections`"),
        ("config: \"Debug: true\\ndebug: false\"", "write `Debug`"),
        (
            "config: 'trace: true'\n  config_for: {n1: 'TRACE: false'}",
            "`TRACE` in line 1 of the text is `trace` elsewhere",
        ),
        (
            "config: {Accounts: {A: {}}}\n  config_for: {\"n*\": \"accounts {\\n A {}\\n}\"}",
            "`accounts` in line 1 of the text is `Accounts` in a map",
        ),
        (
            "topology: cluster\n  config: 'Cluster {pool_size: 1}'",
            "would take the place of ours, by which brokers find each other",
        ),
        ("topology: supercluster\n  config: 'gateway {}'", "merged: `{gateway: {...}}`"),
        ("topology: leafnodes\n  config_for: {leaf1: 'leaf {}'}", "merged: `{leafnodes: {...}}`"),
        ("topology: cluster\n  config: {Cluster: {Port: 1}}", "`Port` in `Cluster` is ours to say"),
        (
            "topology: cluster\n  config_for: {n1: {cluster: {routes: []}}}",
            "`routes` in `cluster` is ours to say: brokers must find each other",
        ),
        ("topology: leafnodes\n  config: {leaf: {remotes: []}}", "`remotes` in `leaf` is ours"),
        ("topology: supercluster\n  config: {gateway: {gateways: []}}", "`gateways` in `gateway`"),
        ("topology: cluster\n  config: {Cluster: 5}", "`Cluster` would take the place of ours"),
        ("topology: cluster\n  config: {cluster: '{}'}", "merged: `{cluster: {...}}`"),
        ("topology: leafnodes\n  config_for: {hub1: {leaf: []}}", "`leaf` would take the place"),
        ("topology: cluster\n  config: {cluster: {$: CLUSTER}}", "would take the place of ours"),
        ("config: {max_conn: 7, Max_Connections: 8}", "`Max_Connections` is `max_conn` again"),
        ("config: {debug: true, DEBUG: false}", "`DEBUG` is `debug` again: chance"),
        ("config: {tls: {Timeout: 1, timeout: 2}}", "`timeout` is `Timeout` again"),
        ("config: {authorization: {user: a, username: b}}", "`username` is `user` again"),
        ("config: {accounts: {A: {users: [{pass: a, password: b}]}}}", "`password` is `pass`"),
        ("config: {websocket: {listen: a, Net: b}}", "`listen` and `Net` both say where it"),
        ("config: {cluster: {Listen: a, port: 1}}", "`Listen` and `port` both say where it"),
        (
            "config: {mqtt: {port: 1}}\n  config_for: {n1: {MQTT: {listen: a}}}",
            "`listen` and `port` both say where it listens, in maps for the same broker",
        ),
        ("config: {token: {$: \"A B\"}}", "not the name of a variable alone"),
        ("config: {a: [{$: \"A\\nport: 1\"}]}", "not the name of a variable alone"),
        ("config: {token: {$: A, b: 1}}", "nothing beside it"),
        ("config: {$: A}", "stands for a variable, and this is no value"),
        ("listen: 10.0.0.5\n  config: {Prof_Port: 1}", "`Prof_Port`, beside `listen`"),
        (
            "listen: 10.0.0.5\n  config_for: {n1: \"debug: -1#\\nprof_port: 1\"}",
            "the profiling port would be open where clients are",
        ),
        ("profiling: true\n  config: 'Prof_Port: 1'", "write `prof_port`"),
        ("nats: 2.+1.5", "three numbers"),
        ("nats: 2.14.5-../../etc", "three numbers"),
        ("nats: 2.0.0-RC1", "2.0.0 is the first release"),
        ("path: \"\"", "an empty path"),
        ("config: 7", "a map or text"),
        ("config_for: {leaf1: {debug: true}}", "there is no broker `leaf1`"),
        ("environment: {\"GO-GC\": 50}", "cannot name a variable"),
        ("environment: {GOGC: [50]}", "expected"),
        ("form_within: 0s", "above zero"),
        ("listen: 10.0.0.5\n  profiling: true", "leave one of the two out"),
        ("listen: 0.0.0.0", "the address by which other hosts reach this one"),
        ("listen: broker1", "no IPv4 address"),
        ("listen: 4222", "no IPv4 address"),
        (
            "topology: external\n  urls: [\"nats://a\"]\n  listen: 10.0.0.5",
            "`listen` is for brokers that are started here",
        ),
        ("urls: [\"nats://a\"]", "`topology: external` beside it"),
        ("monitoring: [\"http://a\"]", "`topology: external` beside it"),
        ("system_creds: sys.creds", "`topology: external` beside it"),
        ("topology: external\n  urls: [\"nats://a\", \"nats://a\"]", "the URL of n1 again"),
        ("topology: external\n  urls: [\"nats://a/b\"]", "more than an address"),
        (&watched("nats://a:4222"), "no URL of a web server"),
        (&watched("a:8222"), "no URL of a web server"),
        (&watched("http://bob:pass@a"), "a user or a password"),
        (&watched("http://a/varz?x=1"), "more than an address"),
        ("topology: external\n  urls: [\"nats://a\"]\n  profiling: true", "started here"),
    ] {
        let told = refusal(&FULL.replace("topology: single\n  nats: 2.12.15", that), &[]);
        assert!(told.contains(says), "{that}: {told}");
        assert!(told.starts_with("full.yaml:"), "{told}");
    }
    let leaves = FULL.replace("topology: single", "topology: leafnodes");
    for (key, value, says) in [
        ("fleet.web.brokers", "leef1", "did you mean `leaf1`?"),
        ("fleet.web.brokers", "[]", "no broker at all"),
        ("fleet.web.brokers", "{leaf1: 0}", "from 1 to 1000"),
        ("fleet.web.brokers", "7", "`{leaf1: 3, leaf2: 1}`"),
        ("fleet.web.fallback", "[n1]", "there is no broker `n1`"),
        ("client.brokers", "c1", "there is no broker `c1`"),
    ] {
        let told = refusal(&leaves, &[&format!("{key}={value}")]);
        assert!(told.contains(says), "{key}={value}: {told}");
    }
}

#[test]
fn what_is_said_once_may_be_said_in_text_or_in_a_map() {
    for that in [
        "config: \"max_payload: 9\\nauthorization { timeout: 3 }\\ninclude own.conf\"",
        "config: 'Cluster { name: own, Listen: 127.0.0.1:-1 }'",
        "topology: cluster\n  config: {Max_Conn: 9, cluster: {name: a, pool_size: 1, no_advertise: true}}",
        "topology: cluster\n  config: {debug: true}\n  config_for: {n1: {DEBUG: false}, n2: 'trace: true'}",
        "topology: cluster\n  config_for: {n1: 'trace: true', n2: {Trace: true}, n3: 'TRACE: true'}",
        "config: 'Prof_Port: -1'",
        "config: {PROF_PORT: -1}",
        "topology: leafnodes\n  config: 'cluster { name: own }'",
        "topology: leafnodes\n  config: {cluster: {listen: \"127.0.0.1:-1\", routes: []}}",
        "topology: leafnodes\n  size: 2\n  config_for: {\"leaf*\": 'cluster { name: own }'}",
        "topology: leafnodes\n  config_for: {hub1: {leaf: {remotes: []}}, leaf1: {leaf: {port: 1}}}",
        "topology: cluster\n  config: {leafnodes: {port: 1}, gateway: {port: 1}}",
        "config: {cluster: 5, accounts: {A: {}, a: {}, port: {}, listen: {}}, mappings: {X: y, x: z}}",
        "config: {token: {$: A_1}}",
        "topology: leafnodes\n  config: 'mqtt { port: 1883 }'\n  config_for: {hub1: {leafnodes: {min_version: 2.8.0}}}",
    ] {
        let parsed = parse(&FULL.replace("topology: single\n  nats: 2.12.15", that), &[]);
        assert!(parsed.is_ok(), "{that}: {}", parsed.unwrap_err());
    }
}

#[test]
fn secrets_in_urls_are_refused_and_not_repeated() {
    for url in ["nats://bob:hunter2@broker:4222", "nats://hunter2@broker", "bob:hunter2@broker"] {
        let told = refusal(&FULL.replace("nats: 2.12.15", &format!("urls: [{url:?}]")), &[]);
        assert!(told.contains("a user, a password or a token"), "{told}");
        assert!(told.contains("--creds") && told.contains("@broker"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
        let told = refusal(FULL, &[&format!("brokers.urls=[{url:?}]")]);
        assert!(told.contains("-P brokers.urls") && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn only_a_network_that_is_there_already_may_have_nodes_of_its_own() {
    let text = "version: 1\nname: there\nfleet: []\nwaves: [{name: a, request: {agent: package, action: status}}]\n";
    assert!(refusal(text, &[]).contains("a fleet without groups"));
    let external =
        format!("{text}brokers: {{topology: external, urls: [\"nats://127.0.0.1:4222\"]}}\n");
    let scenario = parse(&external, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let plan = crate::plan::resolve(&scenario).expect("resolves");
    assert_eq!((plan.nodes(), plan.entries[0].collective.as_str()), (0, MAIN_COLLECTIVE));
}

#[test]
fn a_timeline_that_cannot_be_carried_out_is_refused_with_what_to_write() {
    let base = "version: 1\nname: t\nfleet: [{group: a, nodes: 1}]\n\
                waves: [{name: rpc, discover: {}, every: 1s, count: 5}]\n";
    for (more, says) in [
        ("timeline: [{at: 1s, restart: n2}]", &["no broker `n2`", "did you mean `n1`?"][..]),
        ("timeline: [{at: 1s, restart: []}]", &["no broker is named", "n1"]),
        ("timeline: [{restart: n1}]", &["without its time", "at: 20s"]),
        ("timeline: [{at: 1s, after: {wave: rpc}, restart: n1}]", &["both say when"]),
        ("timeline: [{after: {wave: rpd}, restart: n1}]", &["no wave `rpd`", "`rpc`"]),
        ("timeline: [{after: {wave: rpc, number: 6}, kill: n1}]", &["no wave rpc 6", "1 to 5"]),
        ("timeline: [{after: {wave: rpc}, kill: n1}]", &["no wave is sent after", "at 4s"]),
        ("timeline: [{at: 5s, kill: n1}]", &["no wave is sent after", "at 4s"]),
        ("timeline: [{at: 1s}]", &["does nothing", "`lame_duck`"]),
        ("timeline: [{at: 1s, kill: n1, start: n1}]", &["one thing: `start` or `kill`"]),
        ("timeline: [{at: 1s, pause: n1}]", &["pause without its length", "for: 5s"]),
        ("timeline: [{at: 1s, kill: n1, for: 1s}]", &["`for` has no meaning for `kill`"]),
        ("timeline: [{at: 1s, replace: n1}]", &["nothing to replace it with"]),
        ("timeline: [{at: 1s, replace: n1, nats: new}]", &["no version of nats-server"]),
        ("timeline: [{at: 1s, restart: n1, rolling: hole}]", &["`whole`"]),
        (
            "timeline: [{at: 1s, restart: n1, for: 1s, rolling: 18446744073709551615s}]",
            &["pause is longer than a week"],
        ),
        ("timeline: [{at: 1s, kill: n1}, {at: 2s, kill: n1}]", &["is called `kill` as well"]),
        ("timeline: [{at: 1s, restrat: n1}]", &["did you mean `restart`?"]),
        ("timeline: [{at: 1s, start: n1}]", &["nothing ends n1 before", "`stop: n1`"]),
        (
            "brokers: {topology: cluster}\ntimeline: [{at: 1s, kill: n1}, {at: 2s, start: \"*\"}]",
            &["nothing ends n2 before"],
        ),
        ("timeline: [{at: 1s, replace: n1, path: \"\"}]", &["an empty path"]),
        (
            "brokers: {topology: external, urls: [\"nats://a:4222\"]}\n\
             timeline: [{at: 1s, kill: n1}]",
            &["brokers that are started here"],
        ),
        (
            "timeline: [{at: 1s, kill: n1}]\n\
             thresholds: {\"recovery.nodes_lost{step:kil}\": [\"max == 0\"]}",
            &["no step `kil`", "did you mean `kill`?"],
        ),
        (
            "thresholds: {recovery.time_to_full: [\"max < 1s\"]}",
            &["nothing is done to the brokers", "timeline: ["],
        ),
    ] {
        let text = format!("{base}{more}\n");
        let told = refusal(&text, &[]);
        for say in says {
            assert!(told.contains(say), "{more}: no {say:?} in: {told}");
        }
    }
}
