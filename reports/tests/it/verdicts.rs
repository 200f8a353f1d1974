//! Exit codes and verdicts: the table of the command line, and which code wins.

use reports::missing::Cause;
use reports::run::Ending;
use reports::verdict::{ExitCode, Verdict};

use crate::examples;

#[test]
fn every_exit_code_has_its_number_and_is_found_by_it() {
    let numbers: Vec<_> = ExitCode::all().map(ExitCode::number).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 97, 98, 99, 130, 143]);
    for code in ExitCode::all() {
        assert_eq!(ExitCode::from_number(code.number()), Some(code));
        assert!(!code.meaning().is_empty());
    }
    assert_eq!(ExitCode::from_number(42), None);
}

#[test]
fn of_several_codes_the_strongest_wins_in_any_order() {
    use ExitCode::{Invalid, Passed, Regression, ThresholdsFailed, WorkerLost};
    let ranking = [WorkerLost, Invalid, ThresholdsFailed, Regression, Passed];
    for (i, stronger) in ranking.into_iter().enumerate() {
        for weaker in &ranking[i..] {
            assert_eq!(ExitCode::strongest([stronger, *weaker]), stronger);
            assert_eq!(ExitCode::strongest([*weaker, stronger]), stronger);
        }
    }
    assert_eq!(ExitCode::strongest([]), Passed);
    for code in ExitCode::all() {
        assert_eq!(ExitCode::strongest([code]), code, "{code:?} has a place in the ranking");
    }
}

#[test]
fn a_run_ends_with_the_strongest_of_what_speaks_against_it() {
    let with = |mut run: reports::run::RunResult, ending: Ending| {
        run.ending = ending;
        (run.exit_code().number(), run.verdict())
    };
    let lost = || Ending::Failed(ExitCode::WorkerLost, "worker 3 is gone".to_owned());
    for (run, ending, expected) in [
        (examples::passed(), Ending::Completed, (0, Verdict::Passed)),
        (examples::failed(), Ending::Completed, (99, Verdict::ThresholdsFailed)),
        (examples::invalid(), Ending::Completed, (97, Verdict::Invalid)),
        (examples::invalid(), lost(), (5, Verdict::Error)),
        (examples::passed(), lost(), (5, Verdict::Error)),
        (examples::passed(), Ending::Running, (130, Verdict::Interrupted)),
        (examples::failed(), Ending::Interrupted, (130, Verdict::Interrupted)),
        (examples::passed(), Ending::Terminated, (143, Verdict::Interrupted)),
    ] {
        assert_eq!(with(run, ending.clone()), expected, "{ending:?}");
    }
}

#[test]
fn names_in_files_are_those_of_the_types() {
    for cause in Cause::ALL {
        assert_eq!(serde_json::to_value(cause).unwrap(), cause.name());
    }
    for code in ExitCode::all() {
        let verdict = code.verdict();
        assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.name());
    }
}
