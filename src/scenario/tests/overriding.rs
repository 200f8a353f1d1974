//! Overrides reach what they name, and what was run is written down.

use super::*;

#[test]
fn overrides_reach_maps_lists_by_name_and_by_index_and_what_is_not_written_yet() {
    let scenario = parse(
        FULL,
        &[
            "seed=8",
            "fleet.db.nodes=500",
            "fleet.0.agents=4",
            "waves.rpc.count=9",
            "client.identity=me.example.net",
            "brokers.nats=2.10.29",
            "fleet.db.behaviour.reply_delay={lognormal: {median: 40ms, sigma: 0.6}}",
            "thresholds.broker.slow_consumers=[\"count == 0\"]",
        ],
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(scenario.seed, Some(Count(8)));
    assert_eq!(scenario.fleet[1].nodes, Count(500));
    assert_eq!(scenario.fleet[0].agents, Some(Count(4)));
    assert_eq!(scenario.waves[0].count, Some(Count(9)));
    assert_eq!(scenario.client.and_then(|c| c.identity).as_deref(), Some("me.example.net"));
    let nats = scenario.brokers.and_then(|brokers| brokers.nats);
    assert_eq!(nats, Some(PerBroker::All("2.10.29".to_owned())));
    assert_eq!(scenario.thresholds.map(|t| t.0.len()), Some(2));
    assert!(scenario.fleet[1].behaviour.is_some());
}

#[test]
fn an_override_that_finds_nothing_names_what_is_there() {
    for (text, says) in [
        ("seed", "fleet.default.nodes=500"),
        ("=5", "empty name"),
        ("fleet.dbb.nodes=5", "did you mean `db`?"),
        ("fleet.default.nodes=5", "entries here: web, db"),
        ("fleet.9.nodes=5", "entries here: web, db"),
        ("fleet.web.classes.5=x", "index from 0 to 0"),
        ("fleet.web.noodes=5", "did you mean `nodes`?"),
        ("fleet.web.nodes.x=5", "end the path there"),
        ("fleet.web.nodes=0", "zero nodes"),
        ("waves.rpc.every=5", "`5s` for seconds"),
        ("seed=[1", "YAML value after the `=`"),
    ] {
        let told = refusal(FULL, &[text]);
        assert!(told.starts_with(&format!("-P {text}: ")), "{text}: {told}");
        assert!(told.contains(says), "{text}: no {says:?} in: {told}");
    }
}

#[test]
fn what_was_run_is_the_file_with_its_overrides_written_in() {
    let overrides = ["fleet.db.nodes=500", "seed=8", "client={identity: \"a: #b\"}", "name=2.10"];
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    let commented = format!("# A question?\n{FULL}");
    let written = |overrides: &[String]| Scenario::text_as_run(&commented, "full.yaml", overrides);
    assert_eq!(written(&[]).expect("as it stands"), commented);
    let text = written(&overrides[..2]).expect("written");
    assert!(
        text.starts_with("# A question?\n# run with -P fleet.db.nodes=500\n# run with -P seed=8\n")
    );
    let read =
        |text: &str, overrides| Scenario::parse(text, "full.yaml", overrides).expect("valid");
    assert_eq!(read(&text, &[]), read(FULL, &overrides[..2]));
    // Texts that look like something else stay texts.
    let odd = yaml::parse(&written(&overrides).expect("written")).expect("yaml");
    let odd = read::read::<serde_json::Value>(&odd).expect("any value");
    assert_eq!(odd["client"]["identity"], "a: #b");
    assert!(Scenario::text_as_run(FULL, "full.yaml", &["fleet.x.nodes=1".to_owned()]).is_err());
}
