//! Who is lost by silence, with whom, and how many nodes are there then.

mod accounts;

use emulator::fleet::counts::StepTimes;

use super::*;
use crate::control::Build;
use crate::control::messages::Card;
use crate::doctor::Host;

/// Workers a, b and c with ten nodes each.
fn board() -> Board {
    let board = Board::new(30);
    for name in ["a", "b", "c"] {
        let build = Build { protocol: 1, version: String::new(), digest: String::new() };
        let card = Card { name: name.to_owned(), build, host: Host::read().unwrap(), pid: 1 };
        board.seen().workers.push(Worker::new(card, 10));
    }
    board
}

/// Ticks in which `heard` are heard.
fn ticks(board: &Board, count: usize, heard: &[usize]) {
    for _ in 0..count {
        heard.iter().for_each(|at| board.seen().workers[*at].silence.heard());
        board.tick();
    }
}

fn check_lost(board: &Board, names: &[&str]) {
    let told = board.lost_beyond(0.0).map(|lost| lost.message).unwrap_or_default();
    for name in ["a", "b", "c"] {
        let said = told.contains(&format!("worker {name} "));
        assert_eq!(said, names.contains(&name), "{name}: {told}");
    }
}

#[test]
fn each_node_of_a_lost_worker_counts_once_whatever_it_was_before() {
    let board = board();
    let counts = FleetCounts { connected: 5, closed_for_good: 1, left: 3, returned: 1, ..zero() };
    board.seen().workers[0].counts = counts;
    board.seen().workers[1].counts = FleetCounts { connected: 7, ..zero() };
    assert_eq!(board.settled(), 5 + 1 + 2 + 7);
    board.lose(0, "it is gone");
    assert_eq!(board.settled(), 10 + 7);
}

fn zero() -> FleetCounts {
    FleetCounts::default()
}

#[test]
fn who_falls_silent_with_another_is_lost_with_it() {
    let board = board();
    ticks(&board, 2, &[1, 2]);
    // For a these are four seconds, for b a tick less.
    ticks(&board, 14, &[2]);
    check_lost(&board, &[]);
    ticks(&board, 1, &[2]);
    check_lost(&board, &["a", "b"]);
}

#[test]
fn who_is_heard_again_at_the_last_moment_is_not_lost_and_holds_up_nobody() {
    let board = board();
    ticks(&board, 2, &[1, 2]);
    ticks(&board, 14, &[2]);
    check_lost(&board, &[]);
    ticks(&board, 1, &[1, 2]);
    check_lost(&board, &["a"]);
}

fn pulse(counts: Vec<u64>) -> Pulse {
    let (failures, spent) = (Vec::new(), Spent::default());
    Pulse { counts, lag_us_max: 0, spent, failures, clients_away: 0 }
}

#[test]
fn a_pulse_that_comes_after_the_account_does_not_take_its_place() {
    let board = board();
    let counts = FleetCounts { replies: 7, ..zero() }.numbers();
    let steps = Steps::of(&StepTimes::default());
    board.release(0);
    board.report(0, &Report { slices: 0, counts, steps, spent: Spent::default() });
    let before = FleetCounts { replies: 6, connected: 1, ..zero() }.numbers();
    assert_eq!(board.pulse(0, pulse(before)), None);
    assert_eq!((board.counts().replies, board.counts().connected), (7, 0));
}

#[test]
fn who_has_missed_the_conductor_is_lost_with_those_that_fall_silent_then() {
    let board = board();
    ticks(&board, 14, &[2]);
    let exit = Exit { code: Some(5), signal: None, log_tail: Vec::new() };
    board.ended("a", &exit);
    check_lost(&board, &[]);
    assert_eq!(board.pulse(0, pulse(Vec::new())), None, "what it said before is heard after");
    ticks(&board, 2, &[2]);
    check_lost(&board, &["a", "b"]);
    let told = board.take_losses().join("\n");
    assert!(told.contains("is lost: it exited with code 5 "), "{told}");
}

#[test]
fn nobody_waits_for_more_than_half_a_second_for_others_to_follow() {
    let board = board();
    ticks(&board, 2, &[1, 2]);
    ticks(&board, 2, &[2]);
    ticks(&board, 13, &[]);
    check_lost(&board, &[]);
    ticks(&board, 1, &[]);
    check_lost(&board, &["a", "b"]);
}
