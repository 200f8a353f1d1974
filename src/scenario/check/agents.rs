//! Agents that nodes host only where it is said, autonomous ones too: that their files could be read, that
//! a server would start them, and each is there once.

use super::{at, told};
use crate::scenario::DdlContent;
use crate::scenario::error::Problem;
use crate::scenario::types::Group;

/// Most machines of a node: what each remembers is kept for every node.
const MAX_MACHINES: usize = 100;

/// Everything that is wrong with the agents of group `index`.
pub(super) fn check(found: &mut Vec<Problem>, index: usize, group: &Group) {
    let stock = group.stock_agents.as_deref().unwrap_or_default();
    for (position, agent) in stock.iter().enumerate() {
        if stock[..position].contains(agent) {
            let at = at!["fleet", index, "stock_agents", position];
            let message = format!("agent `{}` is listed twice", agent.name());
            found.push(Problem::new(at, message, "keep one of them"));
        }
    }
    check_machines(found, index, group);
    let mut names: Vec<&str> = Vec::new();
    for (position, agent) in group.ddl_agents.iter().flatten().enumerate() {
        let at = |key: &str| at!["fleet", index, "ddl_agents", position, key];
        match &agent.content {
            DdlContent::Unread => {
                let message = format!("{} was not read", agent.ddl);
                found.push(Problem::new(at("ddl"), message, "read the scenario from its file"));
            }
            DdlContent::Wrong { key, told: wrong } => found.push(told(at(key), wrong)),
            DdlContent::Agent(own) => {
                let name = own.ddl.name();
                if names.contains(&name) {
                    let message = format!("agent `{name}` is there already");
                    let advice = "a node hosts an agent once: keep one of its DDLs";
                    found.push(Problem::new(at("ddl"), message, advice));
                }
                names.push(name);
            }
        }
    }
}

fn check_machines(found: &mut Vec<Problem>, index: usize, group: &Group) {
    let machines = group.machines.as_deref().unwrap_or_default();
    if machines.len() > MAX_MACHINES {
        let message = format!("{} machines", machines.len());
        let advice = format!("a node has at most {MAX_MACHINES} machines");
        found.push(Problem::new(at!["fleet", index, "machines"], message, advice));
    }
    for (position, machine) in machines.iter().enumerate() {
        let at = || at!["fleet", index, "machines", position];
        if machines[..position].iter().any(|other| other.name == machine.name) {
            let message = format!("machine `{}` is there already", machine.name);
            found.push(Problem::new(at(), message, "give each machine a name of its own"));
        }
        match machine.resolve() {
            Ok(machine) => {
                if let Err(error) = machine.check() {
                    let message = format!("machine `{}` {}", error.machine, error.problem);
                    found.push(Problem::new(at(), message, error.advice));
                }
            }
            Err((message, advice)) => found.push(Problem::new(at(), message, advice)),
        }
    }
}
