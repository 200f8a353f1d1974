//! What nodes publish without being asked: intervals that can be kept, subjects that are some.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use emulator::pattern::{Pattern, Vars};

use super::{at, check_span, check_subject_part};
use crate::plan::{IDENTITY, STATUS_NODES};
use crate::scenario::error::Problem;
use crate::scenario::types::Group;

/// The shortest interval of alive events; the real server's is 30 minutes.
const ALIVE_EVERY_MIN: Duration = Duration::from_millis(100);
/// Most nodes of a group that write status files.
const STATUS_NODES_MAX: u64 = 1000;

/// Everything that is wrong with what the group's nodes say without being asked.
pub(super) fn check(found: &mut Vec<Problem>, index: usize, group: &Group) {
    if let Some(every) = group.events.as_ref().and_then(|events| events.alive_every) {
        let at = at!["fleet", index, "events", "alive_every"];
        if every.0 < ALIVE_EVERY_MIN {
            let message = format!("alive events every {every}");
            found.push(Problem::new(at.clone(), message, "write `100ms` or more"));
        }
        check_span(found, at, "interval of alive events", every.0);
    }
    check_registration(found, index, group);
    check_status_files(found, index, group);
}

/// Each status file is one node's: nodes that share an identity would replace each other's.
pub(super) fn check_twins(found: &mut Vec<Problem>, fleet: &[Group]) {
    let mut written: HashSet<PathBuf> = HashSet::new();
    let mut first = 0;
    for (position, group) in fleet.iter().enumerate() {
        let index = first;
        first += group.nodes.0;
        let pattern = Pattern::parse(group.identity.as_deref().unwrap_or(IDENTITY));
        let (Some(files), Ok(pattern)) = (&group.status_files, pattern) else { continue };
        let writing = files.nodes.map_or(STATUS_NODES, |nodes| nodes.0).min(group.nodes.0);
        let folder = Path::new(&files.folder).components();
        let folder: PathBuf = folder.filter(|part| *part != Component::CurDir).collect();
        for index in index..index + writing {
            let mut name = String::new();
            pattern.render(&Vars { index, group: &group.group }, &mut name);
            let file = folder.join(name + ".json");
            // Where identities are not to be shared, that is said already.
            if written.contains(&file) && group.shares_identities() {
                let message = format!("two nodes write the status file `{}`", file.display());
                let advice =
                    "let one of them write it (`nodes: 1`), or give groups folders of their own";
                found.push(Problem::new(at!["fleet", position, "status_files"], message, advice));
                break;
            }
            written.insert(file);
        }
    }
}

fn check_registration(found: &mut Vec<Problem>, index: usize, group: &Group) {
    let Some(registration) = &group.registration else { return };
    if let Some(interval) = registration.interval {
        let at = at!["fleet", index, "registration", "interval"];
        if interval.0.is_zero() || interval.0.subsec_nanos() != 0 {
            let message = format!("a server cannot register every {interval}");
            found.push(Problem::new(at.clone(), message, "write whole seconds, such as `300s`"));
        }
        check_span(found, at, "interval of registrations", interval.0);
    }
    if let Some(target) = &registration.target
        && let Err(why) = check_subject_part(target)
    {
        let at = at!["fleet", index, "registration", "target"];
        found.push(Problem::new(at, why, "write a subject such as `inventory.in`"));
    }
}

fn check_status_files(found: &mut Vec<Problem>, index: usize, group: &Group) {
    let Some(files) = &group.status_files else { return };
    if files.folder.is_empty() {
        let at = at!["fleet", index, "status_files", "folder"];
        found.push(Problem::new(at, "a folder without a name", "write a path such as `status`"));
    }
    if let Some(every) = files.every {
        let at = at!["fleet", index, "status_files", "every"];
        if every.0.is_zero() || every.0.subsec_nanos() != 0 {
            let message = format!("a server cannot write a status file every {every}");
            found.push(Problem::new(at.clone(), message, "write whole seconds, such as `30s`"));
        }
        check_span(found, at, "interval of status files", every.0);
    }
    if let Some(nodes) = files.nodes
        && !(1..=STATUS_NODES_MAX).contains(&nodes.0)
    {
        let at = at!["fleet", index, "status_files", "nodes"];
        let advice = format!("write a number from 1 to {STATUS_NODES_MAX}");
        found.push(Problem::new(at, format!("status files of {} nodes", nodes.0), advice));
    }
}
