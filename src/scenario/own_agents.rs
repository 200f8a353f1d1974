//! The files that a scenario names: DDLs of the user's own agents, and what those reply.
//!
//! They are read where the scenario is read, by whoever knows where it lies; what they say stands in
//! the scenario from then on, and in the plan. What is wrong with them is told by the checks.

use std::collections::BTreeMap;

use emulator::agents::ddl::{Ddl, DdlAgent, FixedReply};

use super::error::Finding;
use super::tree::Place;
use super::types::{self, Scenario};
use super::{read, yaml};

/// Gives the text of a file that a scenario names, or says why not and what to do.
pub type Files<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// Replies that are made up from the outputs.
const GENERATED: &str = "generated";

/// What the files of an agent say.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum DdlContent {
    /// They were not read.
    #[default]
    Unread,
    /// An agent that nodes can host.
    Agent(Box<DdlAgent>),
    /// Something else.
    Wrong {
        /// The key that names the file.
        key: &'static str,
        /// What is wrong; lines after the first are advice.
        told: String,
    },
}

/// Reads the files that a scenario names.
pub(super) fn read_files(scenario: &mut Scenario, files: Files<'_>) {
    for agent in scenario.fleet.iter_mut().flat_map(|group| group.ddl_agents.iter_mut().flatten()) {
        agent.content = match content(agent, files) {
            Ok(agent) => DdlContent::Agent(Box::new(agent)),
            Err((key, told)) => DdlContent::Wrong { key, told },
        };
    }
}

fn content(given: &types::DdlAgent, files: Files<'_>) -> Result<DdlAgent, (&'static str, String)> {
    let wrong = |key| move |told: String| (key, told);
    let text = files(&given.ddl).map_err(wrong("ddl"))?;
    let ddl = Ddl::parse(&text).map_err(|error| ("ddl", error.to_string()))?;
    let replies = match given.replies.as_deref() {
        None | Some(GENERATED) => BTreeMap::new(),
        Some(file) => {
            replies(file, &files(file).map_err(wrong("replies"))?).map_err(wrong("replies"))?
        }
    };
    let agent = DdlAgent { ddl, replies };
    agent.check().map_err(|error| ("replies", error.to_string()))?;
    Ok(agent)
}

fn replies(file: &str, text: &str) -> Result<BTreeMap<String, FixedReply>, String> {
    let told = |finding: &Finding| match finding.place {
        Place::File { line, .. } => format!("{file}, line {line}: {}", finding.message),
        Place::Override(_) => format!("{file}: {}", finding.message),
    };
    let tree = yaml::parse(text)
        .map_err(|error| told(&Finding { place: error.place, message: error.message }))?;
    read::read(&tree).map_err(|found| found.first().map(told).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "\
version: 1
name: small
fleet:
  - group: web
    nodes: 3
    agents: 2
  - {group: db, nodes: 2}
waves:
  - {name: rpc, request: {agent: rpcutil, action: ping}}
";

    /// A DDL of agent `parcel`.
    const DDL: &str = r#"{
        "metadata": {"name": "parcel", "timeout": 5, "version": "1.0.0"},
        "actions": [
            {"action": "send", "input": {"to": {"type": "string", "maxlength": 5}}, "output": {"where": {}}},
            {"action": "list", "output": {}}
        ]
    }"#;

    /// Files beside a scenario.
    fn files(name: &str) -> Result<String, String> {
        match name {
            "parcel.json" => Ok(DDL.to_owned()),
            "rpcutil.json" => Ok(DDL.replace("parcel", "rpcutil")),
            "bad.json" => Ok("{".to_owned()),
            "replies.yaml" => Ok("send: {data: {where: \"{group}-{index}\"}}\n".to_owned()),
            "unknown.yaml" => Ok("sned: {}\n".to_owned()),
            "misspelt.yaml" => Ok("list: {}\nsend:\n  dta: {}\n".to_owned()),
            "pattern.yaml" => Ok("send: {data: {where: \"{nope}\"}}\n".to_owned()),
            _ => Err(format!("there is no file {name}\nname it")),
        }
    }

    fn with_ddl(agents: &str, request: &str) -> Result<Scenario, String> {
        let text = SMALL.replace("    agents: 2", &format!("    agents: 2\n    {agents}"));
        let text = text.replace("{agent: rpcutil, action: ping}", request);
        Scenario::parse_with(&text, "small.yaml", &[], &files).map_err(|errors| errors.to_string())
    }

    #[test]
    fn agents_come_from_files_beside_the_scenario() {
        let agents = "ddl_agents: [{ddl: parcel.json, replies: replies.yaml}]";
        let request = "{agent: parcel, action: send, data: {to: bob}}";
        let scenario = with_ddl(agents, request).unwrap_or_else(|told| panic!("{told}"));
        assert!(scenario.fleet[0].hosts("parcel") && !scenario.fleet[1].hosts("parcel"));
        let own = scenario.fleet[0].own_agents().next().expect("an agent");
        assert_eq!(own.replies["send"].data["where"], "{group}-{index}");
        let text = SMALL.replace("agents: 2", "ddl_agents: [{ddl: parcel.json}]");
        let told =
            Scenario::parse(&text, "small.yaml", &[]).expect_err("must be refused").to_string();
        assert!(told.contains("no files are read here, such as parcel.json"), "{told}");
    }

    #[test]
    fn agents_whose_files_are_wrong_are_refused_where_they_are_named() {
        for (agents, says) in [
            ("ddl_agents: [{ddl: nosuch.json}]", &["there is no file nosuch.json"][..]),
            ("ddl_agents: [{ddl: bad.json}]", &["no DDL in JSON", "choria plugin generate"]),
            ("ddl_agents: [{ddl: rpcutil.json}]", &["`rpcutil` is one that nodes bring along"]),
            (
                "ddl_agents: [{ddl: parcel.json}, {ddl: parcel.json}]",
                &["`parcel` is there already"],
            ),
            (
                "ddl_agents: [{ddl: parcel.json, replies: none.yaml}]",
                &["there is no file none.yaml"],
            ),
            ("ddl_agents: [{ddl: parcel.json, replies: unknown.yaml}]", &["no action sned"]),
            (
                "ddl_agents: [{ddl: parcel.json, replies: misspelt.yaml}]",
                &["misspelt.yaml, line 3: unknown key `dta`", "did you mean `data`?"],
            ),
            ("ddl_agents: [{ddl: parcel.json, replies: pattern.yaml}]", &["output where", "nope"]),
            ("ddl_agents: [{dll: parcel.json}]", &["did you mean `ddl`?"]),
            ("stock_agents: [scuot]", &["did you mean `scout`?"]),
            ("stock_agents: [scout, scout]", &["agent `scout` is listed twice"]),
        ] {
            let told =
                with_ddl(agents, "{agent: rpcutil, action: ping}").expect_err("must be refused");
            assert!(told.starts_with("small.yaml:7:"), "{agents}: {told}");
            for say in says {
                assert!(told.contains(say), "{agents}: no {say:?} in: {told}");
            }
        }
    }

    #[test]
    fn requests_are_held_against_the_ddl_of_their_agent() {
        let agents = "stock_agents: [scout]\n    ddl_agents: [{ddl: parcel.json}]";
        for (request, says) in [
            ("{agent: parcle, action: send}", "did you mean `parcel`?"),
            ("{agent: scuot, action: checks}", "did you mean `scout`?"),
            ("{agent: scout, action: chekcs}", "did you mean `checks`?"),
            ("{agent: parcel, action: sned}", "did you mean `send`?"),
            ("{agent: parcel, action: send}", "input 'to' is required"),
            ("{agent: parcel, action: send, data: {ot: bob}}", "did you mean `to`?"),
            ("{agent: parcel, action: send, data: {to: bobby1}}", "is longer than 5 characters"),
            ("{agent: parcel, action: list, data: {to: bob}}", "it has no inputs"),
        ] {
            let told = with_ddl(agents, request).expect_err("must be refused");
            assert!(told.starts_with("small.yaml:11:") && told.contains(says), "{request}: {told}");
        }
    }
}
