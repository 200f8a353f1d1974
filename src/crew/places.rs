//! The workers that a scenario has clients at, held against those that take part: as early as their names are known.
//!
//! A name that nobody has is a mistake in the scenario or on the command line, and no fault of any host.

use reports::verdict::ExitCode;

use super::{CrewError, Workers};

/// Our own workers that are named one by one.
const NAMED: u64 = 4;

/// Our own worker of this number, from 1.
pub(super) fn own_name(number: u64) -> String {
    format!("w{number}")
}

/// Whether `count` workers can be called like the `places`, before any of them is there.
pub(crate) fn check(places: &[&str], workers: &Workers, count: u64) -> Result<(), CrewError> {
    let names = places.len() as u64;
    let own = |place: &str| (1..=count).any(|number| own_name(number) == place);
    let unknown: Vec<_> = places.iter().copied().filter(|place| !own(place)).collect();
    match workers {
        _ if places.is_empty() => Ok(()),
        _ if count == 0 => Err(without_workers(places)),
        Workers::Elsewhere(_) if names > count => Err(mistake(format!(
            "the scenario has clients at {names} workers ({}), and {count} take part\n\
             run it with --workers {names}, or write fewer names for `at`",
            places.join(", "),
        ))),
        Workers::AsNeeded | Workers::Here(_) if !unknown.is_empty() => {
            Err(nobody_is_called(&unknown, &own_names(count)))
        }
        _ => Ok(()),
    }
}

/// No worker is called so; `known` are those that there are.
pub(super) fn nobody_is_called(places: &[&str], known: &str) -> CrewError {
    let places: Vec<_> = places.iter().map(|place| format!("`{place}`")).collect();
    mistake(format!(
        "the scenario has clients at {}, and no worker is called so\n\
         write one of these for `at`: conductor, {known}",
        places.join(", "),
    ))
}

fn without_workers(places: &[&str]) -> CrewError {
    let number = |place: &&str| place.strip_prefix('w')?.parse::<usize>().ok();
    let workers = places.iter().filter_map(number).max().unwrap_or(0).max(places.len());
    mistake(format!(
        "the scenario has clients at {}, and no worker is part of this run\n\
         run it with --workers {workers} (they are called w1, w2, ...), or write `at: conductor`",
        places.join(", "),
    ))
}

fn own_names(count: u64) -> String {
    if count > NAMED {
        return format!("{} to {}", own_name(1), own_name(count));
    }
    (1..=count).map(own_name).collect::<Vec<_>>().join(", ")
}

fn mistake(message: String) -> CrewError {
    CrewError { code: ExitCode::Usage, message }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::crew::{ControlAt, Elsewhere};
    use crate::driver::ConnectionOptions;

    #[test]
    fn names_that_nobody_can_have_are_mistakes_before_anybody_comes() {
        let elsewhere = || {
            let control = ControlAt::Given(Box::<ConnectionOptions>::default());
            Workers::Elsewhere(Box::new(Elsewhere { count: 2, control, wait: Duration::MAX }))
        };
        for (places, workers, count, says) in [
            (&[][..], Workers::AsNeeded, 0, None),
            (&["w1"], Workers::Here(2), 2, None),
            (&["east", "west"], elsewhere(), 2, None),
            (&["w4"], Workers::AsNeeded, 0, Some("run it with --workers 4")),
            (&["w0", "w2"], Workers::Here(2), 2, Some("at `w0`, and no worker is called so")),
            (&["w01"], Workers::Here(3), 3, Some("conductor, w1, w2, w3")),
            (&["w21"], Workers::AsNeeded, 20, Some("conductor, w1 to w20")),
            (&["a", "b", "c"], elsewhere(), 2, Some("run it with --workers 3")),
        ] {
            let checked = check(places, &workers, count);
            let error = checked.as_ref().err();
            assert!(error.is_none_or(|error| error.code == ExitCode::Usage), "{places:?}");
            let said = error.map(|error| error.message.as_str());
            assert_eq!(said.is_some(), says.is_some(), "{places:?}: {said:?}");
            assert!(said.unwrap_or_default().contains(says.unwrap_or_default()), "{said:?}");
        }
    }
}
