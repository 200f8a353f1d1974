//! The scenarios that are shipped, as plans.

use super::*;

#[test]
fn every_shipped_scenario_is_valid_and_says_its_question() {
    let validator = jsonschema::validator_for(&crate::scenario::json_schema()).expect("a schema");
    let mut names = Vec::new();
    for (name, text) in shipped() {
        let plan = plan(&text);
        assert_eq!(plan.name, name);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("# yaml-language-server: $schema=./schema.json"), "{name}");
        let question = lines.next().unwrap_or_default();
        assert!(question.starts_with("# ") && question.ends_with('?'), "{name}: {question}");
        let value = crate::scenario::as_json(&text).expect("yaml");
        let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        names.push(name);
    }
    names.sort();
    let expected = [
        "agents-and-collectives",
        "autonomous-agents",
        "broker-restart",
        "churn",
        "cluster-of-five",
        "cluster-of-three",
        "direct-and-batch",
        "drivers-apart",
        "fifteen-thousand",
        "fifty-thousand",
        "first-look",
        "leafnodes",
        "lifecycle-storm",
        "many-clients",
        "mixed-versions",
        "one-stuck-node",
        "own-agents",
        "registration-storm",
        "rolling-upgrade",
        "slow-and-silent",
        "supercluster",
        "two-hundred-thousand",
    ];
    assert_eq!(names, expected);
}

#[test]
fn what_the_first_scenario_has_in_comments_can_be_taken_in() {
    let (_, mut text) = shipped().find(|(name, _)| name == "first-look").expect("shipped");
    for key in ["nats:", "behaviour:", "mode:", "\"response_time"] {
        let commented = format!("# {key}");
        assert_eq!(text.matches(&commented).count(), 1, "{commented}");
        text = text.replace(&commented, key);
    }
    assert_eq!(plan(&text).entries[1].mode, reports::wave::WaveMode::Direct);
}

#[test]
fn ten_agents_in_five_collectives_are_55_subscriptions() {
    let (_, text) = shipped().find(|(name, _)| name == "agents-and-collectives").expect("shipped");
    let plan = plan(&text);
    assert_eq!(
        (plan.groups[0].agents_per_node(), plan.groups[0].subscriptions_per_node()),
        (10, 55)
    );
}

#[test]
fn agents_of_the_users_own_are_planned_with_what_their_files_say() {
    let (_, text) = shipped().find(|(name, _)| name == "own-agents").expect("shipped");
    let plan = plan(&text);
    let agents: Vec<_> = plan
        .groups
        .iter()
        .map(|group| {
            (group.agents_per_node(), group.subscriptions_per_node(), group.hosts("patching"))
        })
        .collect();
    // Three of every node, scout and the user's own; and the node's own subject.
    assert_eq!(agents, [(5, 6, true), (5, 6, true), (3, 4, false)]);
    assert_eq!(Demand::of(&plan).subscriptions, 500 * (6 + 6 + 4));
    let inputs = plan.entries.iter().map(|entry| match &entry.question {
        Question::Request { data, .. } => serde_json::to_string(data).expect("json"),
        Question::Discover => String::new(),
    });
    let expected = ["", r#"{"severity":"any"}"#, r#"{"name":"openssl","dry_run":false}"#, "{}"];
    assert_eq!(inputs.collect::<Vec<_>>(), expected);
    let expected: Vec<_> =
        plan.entries.iter().map(|entry| (entry.expected.nodes, entry.expected.exact)).collect();
    assert_eq!(expected, [(1000, true), (1000, true), (1000, false), (1000, true)]);
    let locked = &plan.groups[1].ddl_agents[0];
    assert_eq!((locked.ddl.name(), locked.replies["install"].statuscode), ("patching", 1));
    let seat = Seat {
        share: emulator::spec::Share::WHOLE,
        shards: 1,
        servers: Vec::new(),
        source_addresses: Vec::new(),
        login: emulator::spec::Login::default(),
    };
    let more = &plan.fleet_spec(&seat).groups[1].more_agents;
    assert_eq!((&more.stock, &more.ddl), (&vec!["scout".to_owned()], &plan.groups[1].ddl_agents));
}
