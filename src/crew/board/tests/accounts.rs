//! What a worker says it counted in all, held against the sum of what it sent.

use emulator::fleet::counts::{ConnectStep, StepTimes};
use hdrhistogram::Histogram;

use super::*;

/// Counts with this number in one place, by its position.
fn counts(at: usize, number: u64) -> Vec<u64> {
    let mut numbers = FleetCounts::default().numbers();
    numbers[at] = number;
    numbers
}

/// The times of one connection that took so long.
fn steps(us: u64) -> Steps {
    let mut histogram = Histogram::new_with_bounds(1, 600_000_000, 2).unwrap();
    histogram.record(us).unwrap();
    let mut times = StepTimes::default();
    assert!(times.add(ConnectStep::Tcp, &histogram));
    Steps::of(&times)
}

fn slice(number: u64, counts: Vec<u64>, steps: Option<Steps>) -> Slice {
    let (at_us, lag_us_max, spent) = (0, 0, Spent::default());
    Slice { number, at_us, counts, steps, lag_us_max, spent }
}

/// What worker a sent: 3 and 4 in one place, with the times of one connection.
fn board_of(at: usize) -> Board {
    let board = board();
    board.slice(0, &slice(1, counts(at, 3), Some(steps(500)))).unwrap();
    board.slice(0, &slice(2, counts(at, 4), None)).unwrap();
    board
}

fn report(slices: u64, counts: Vec<u64>, steps: Steps) -> Report {
    Report { slices, counts, steps, spent: Spent::default() }
}

#[test]
fn an_account_that_is_the_sum_of_its_slices_is_in_order_whatever_was_counted() {
    for at in 0..FleetCounts::default().numbers().len() {
        let board = board_of(at);
        assert_eq!(board.compare(0, &report(2, counts(at, 7), steps(500))), None, "{at}");
    }
}

#[test]
fn any_counter_that_differs_is_named_with_both_numbers() {
    let mut named = Vec::new();
    for at in 0..FleetCounts::default().numbers().len() {
        let told = board_of(at).compare(0, &report(2, counts(at, 8), steps(500)));
        let told = told.unwrap_or_else(|| panic!("counter {at} is not compared"));
        assert!(told.starts_with("worker a counted 8 "), "{told}");
        assert!(told.ends_with(", and its slices add up to 7"), "{told}");
        named.push(told);
    }
    named.sort();
    named.dedup();
    assert_eq!(named.len(), FleetCounts::default().numbers().len(), "each by its own name");
}

#[test]
fn slices_that_are_missing_and_times_that_differ_are_named() {
    let board = board_of(0);
    for (account, says) in [
        (report(3, counts(0, 7), steps(500)), "worker a sent 3 slices and 2 arrived"),
        (report(2, counts(0, 7), steps(700)), "the connection times of worker a are not those"),
        (report(2, vec![7], steps(500)), "the account of worker a cannot be read"),
    ] {
        let told = board.compare(0, &account).unwrap();
        assert!(told.contains(says), "{told}");
    }
}

#[test]
fn a_slice_that_comes_twice_counts_once_and_one_after_a_gap_does_not_count() {
    let board = board_of(0);
    board.slice(0, &slice(2, counts(0, 4), None)).unwrap();
    assert!(board.slice(0, &slice(4, counts(0, 9), None)).unwrap_err().contains("came after 2"));
    assert_eq!(board.compare(0, &report(2, counts(0, 7), steps(500))), None);
}

#[test]
fn a_slice_whose_arrival_its_worker_had_not_heard_of_is_part_of_the_sum() {
    let board = board_of(0);
    assert_eq!(board.compare(0, &report(1, counts(0, 7), steps(500))), None);
    let told = board.compare(0, &report(1, counts(0, 3), steps(500))).unwrap();
    assert!(told.ends_with(", and its slices add up to 7"), "{told}");
}
