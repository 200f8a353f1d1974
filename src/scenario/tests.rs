//! A scenario is read, overridden and refused as promised.

use super::*;

/// The smallest scenario.
const SMALL: &str = "\
version: 1
name: small
fleet:
  - group: default
    nodes: 10
waves:
  - name: rpc
    request: {agent: rpcutil, action: ping}
";

fn parse(text: &str, overrides: &[&str]) -> Result<Scenario, ScenarioErrors> {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    Scenario::parse(text, "small.yaml", &overrides)
}

fn refused(text: &str, overrides: &[&str]) -> String {
    parse(text, overrides).expect_err("must be refused").to_string()
}

#[test]
fn an_unknown_key_is_refused_with_its_line_a_caret_and_a_suggestion() {
    let text = SMALL.replace("nodes", "noodes");
    insta::assert_snapshot!(refused(&text, &[]), @r"
    small.yaml:5:5: unknown key `noodes`
      5 |     noodes: 10
        |     ^^^^^^
      did you mean `nodes`?
    ");
}

#[test]
fn a_scenario_resolves_to_the_same_plan_every_time() {
    let plan = || crate::plan::resolve(&parse(SMALL, &[]).expect("valid")).expect("resolves");
    assert_eq!(plan(), plan());
    assert_eq!(plan().digest(), plan().digest());
}
