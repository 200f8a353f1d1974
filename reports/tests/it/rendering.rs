//! The reports as a whole: a passed, a failed and an invalid run, at a terminal and as Markdown.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use reports::missing::{Cause, MissingNode};
use reports::render::{markdown, terminal};
use reports::run::{Ending, GroupTotals, Origin, RunResult};
use reports::summary::Summary;
use reports::verdict::ExitCode;
use reports::wave::WaveKind;

use crate::examples;

const FOLDER: &str = "results/first-look-20261005T142233Z-7f3a";

fn at_terminal(run: &RunResult, color: bool) -> String {
    let style = terminal::Style { color };
    terminal::render(&Summary::of(run), Some(Path::new(FOLDER)), style)
}

#[test]
fn a_passed_run_at_a_terminal() {
    insta::assert_snapshot!("terminal_passed", at_terminal(&examples::passed(), false));
}

#[test]
fn a_failed_run_at_a_terminal() {
    insta::assert_snapshot!("terminal_failed", at_terminal(&examples::failed(), false));
}

#[test]
fn an_invalid_run_at_a_terminal() {
    insta::assert_snapshot!("terminal_invalid", at_terminal(&examples::invalid(), false));
}

#[test]
fn a_run_over_several_brokers_says_which_part_is_slow() {
    insta::assert_snapshot!("terminal_placed", at_terminal(&examples::placed(), false));
}

#[test]
fn runs_as_markdown() {
    for (name, run) in [
        ("markdown_passed", examples::passed()),
        ("markdown_failed", examples::failed()),
        ("markdown_invalid", examples::invalid()),
    ] {
        insta::assert_snapshot!(name, markdown::render(&Summary::of(&run)));
    }
}

#[test]
fn a_run_that_did_not_reach_its_end_says_so() {
    for (ending, expected) in [
        (Ending::Running, "INTERRUPTED: partial"),
        (Ending::Interrupted, "INTERRUPTED: partial"),
        (
            Ending::Failed(ExitCode::BrokerUnreachable, "broker n1 died\nsee its log".to_owned()),
            "ERROR: broker n1 died",
        ),
    ] {
        let run = RunResult { ending, ..examples::passed() };
        assert!(at_terminal(&run, false).contains(expected));
        assert!(markdown::render(&Summary::of(&run)).contains(expected));
    }
}

#[test]
fn of_several_groups_those_that_did_not_answer_are_named() {
    let mut run = examples::failed();
    assert!(!at_terminal(&run, false).contains("by group"), "one group tells nothing");
    run.tally.fleet.groups.insert("db".to_owned(), GroupTotals::default());
    assert!(at_terminal(&run, false).contains("\n  by group: web 14\n"));
}

#[test]
fn a_foreign_fleet_has_a_report_without_what_is_not_known_of_it() {
    let RunResult { about, duration, ending, .. } = examples::passed();
    let mut run = RunResult { about, duration, ending, ..RunResult::default() };
    let mut wave = examples::wave(WaveKind::Discover, Duration::ZERO, 1_990);
    wave.unexpected = 3;
    run.tally.waves.add(examples::key("discovery", 1), &wave);
    run.tally.missing.add(&MissingNode::new(
        &examples::key("discovery", 1),
        "db7.example.net",
        Cause::Unknown,
    ));
    run.about.scenario = "measure".to_owned();
    run.about.origin = Origin::Counted { expected: 2_000, seen: 1_997 };
    run.tally.fleet.planned = 2_000;
    insta::assert_snapshot!("terminal_foreign", at_terminal(&run, false));
    for (origin, says) in [
        (Origin::Counted { expected: 2_000, seen: 1_997 }, "2,000 expected, 1,997 answered"),
        (Origin::Discovered, "2,000 nodes: all that answered a first discovery"),
        (Origin::Listed, "2,000 nodes: listed by name"),
    ] {
        run.about.origin = origin;
        for text in [at_terminal(&run, false), markdown::render(&Summary::of(&run))] {
            assert!(text.contains(says), "{text}");
            assert!(!text.contains("connected") && !text.contains("subscription"), "{text}");
        }
    }
}

#[test]
fn the_report_of_a_folder_is_the_report_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    for run in [examples::passed(), examples::failed(), examples::invalid(), RunResult::default()] {
        let json = Summary::of(&run).to_json().unwrap();
        std::fs::write(folder.path().join("summary.json"), json).unwrap();
        let read = Summary::read(folder.path()).unwrap();
        let style = terminal::Style { color: true };
        let again = terminal::render(&read, Some(Path::new(FOLDER)), style);
        assert_eq!(again, at_terminal(&run, true));
    }
}

#[test]
fn colours_change_nothing_but_colours() {
    for run in [examples::passed(), examples::failed(), examples::invalid()] {
        let colored = at_terminal(&run, true);
        assert!(colored.contains("\x1b["));
        let mut bare = String::new();
        for (i, part) in colored.split("\x1b[").enumerate() {
            bare.push_str(if i == 0 { part } else { part.split_once('m').unwrap().1 });
        }
        assert_eq!(bare, at_terminal(&run, false));
    }
}

#[test]
fn no_control_sequence_of_the_network_reaches_a_terminal() {
    let mut run = examples::failed();
    run.about.scenario = "evil\x1b[2J\x07".to_owned();
    assert!(!at_terminal(&run, false).contains(['\x1b', '\x07']));
    run.about.scenario = "one\ttwo".to_owned();
    assert!(at_terminal(&run, false).starts_with("one two"));
}

#[test]
fn a_report_begins_with_the_second_in_which_the_run_began() {
    for began in ["2026-10-05T14:22:33Z", "2026-10-05T14:22:33.708643461Z"] {
        let mut run = examples::passed();
        run.about.started_at = began.to_owned();
        let text = at_terminal(&run, false);
        assert!(text.lines().next().unwrap().ends_with(" 2026-10-05T14:22:33Z"), "{text}");
    }
}

#[test]
fn names_are_no_markup() {
    let mut run = examples::passed();
    run.about.scenario = "<script>|*_`".to_owned();
    let text = markdown::render(&Summary::of(&run));
    assert!(text.starts_with("## &lt;script&gt;\\|\\*\\_\\` · 2,000 nodes"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_line_of_sentences_is_wider_than_the_page(words in "([a-z]{1,30} ){1,40}") {
        let mut run = examples::invalid();
        run.about.departures = vec![words.clone()];
        let text = at_terminal(&run, false);
        prop_assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let joined: Vec<_> = text.split_whitespace().collect();
        let sought: Vec<_> = words.split_whitespace().collect();
        prop_assert!(joined.windows(sought.len()).any(|window| window == sought), "no word is lost");
    }
}
