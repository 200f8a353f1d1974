//! Panics of tasks, kept as texts: a fleet that lost a node this way is not what was asked for, and the
//! run must say so instead of going on smaller.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::Notify;

/// A few tell the story; a fleet of them would only fill the memory.
const KEPT: usize = 16;
/// Characters of each: they are part of every pulse of a worker.
const LONGEST: usize = 400;

/// The failures of a fleet.
#[derive(Debug)]
pub(crate) struct Failures {
    texts: Mutex<Vec<String>>,
    progress: Arc<Notify>,
}

impl Failures {
    /// None yet; `progress` is told of each.
    pub(crate) fn new(progress: Arc<Notify>) -> Self {
        Self { texts: Mutex::default(), progress }
    }

    /// Runs `life`, and remembers its panic under the name of `whose`. No `async fn`: that would hold
    /// room for `life` twice, for every node.
    pub(crate) fn guard(
        &self,
        whose: impl FnOnce() -> String,
        life: impl Future,
    ) -> impl Future<Output = ()> {
        AssertUnwindSafe(life).catch_unwind().map(|ended| {
            if let Err(panic) = ended {
                self.remember(&whose(), panic.as_ref());
            }
        })
    }

    /// True if nothing failed.
    pub(crate) fn is_empty(&self) -> bool {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The texts of the first ones.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, whose: &str, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if texts.len() < KEPT {
            let text = format!("{whose} panicked: {}", text.unwrap_or("no message"));
            texts.push(text.chars().take(LONGEST).collect());
        }
        drop(texts);
        self.progress.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_a_failure_and_wakes_who_waits() {
        let progress = Arc::new(Notify::new());
        let failures = Failures::new(Arc::clone(&progress));
        let woken = progress.notified();
        failures.guard(|| "fine".to_owned(), async {}).await;
        assert!(failures.is_empty());
        let whose = || "node web1".to_owned();
        failures.guard(whose, async { panic!("a fixed text") }).await;
        let number = 7;
        failures.guard(whose, async { panic!("text {number}") }).await;
        failures.guard(whose, async { std::panic::panic_any(number) }).await;
        let texts = ["a fixed text", "text 7", "no message"];
        assert_eq!(failures.texts(), texts.map(|text| format!("node web1 panicked: {text}")));
        woken.await;
    }

    #[tokio::test]
    async fn the_first_sixteen_are_kept_and_the_beginning_of_each() {
        let failures = Failures::new(Arc::default());
        for number in 0..20 {
            failures.guard(|| number.to_string(), async { panic!("o{:h>999}", "") }).await;
        }
        assert_eq!(failures.texts().len(), KEPT);
        assert!(failures.texts()[0].starts_with("0 panicked: ohh"));
        assert!(failures.texts().iter().all(|text| text.len() == LONGEST));
    }
}
