//! How late tasks of this process get their turn: a timer that fires late had to wait for a processor or
//! for other tasks, and so has every reply that arrived meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reports::latency::Latency;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How often the lag is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Book {
    recording: bool,
    lag: Latency,
    largest: Duration,
}

/// Looks at the lag of the runtime that it was started on until it is dropped.
pub struct LagWatch {
    book: Arc<Mutex<Book>>,
    // Dropped with this value, and the task with it.
    _task: JoinSet<()>,
}

impl LagWatch {
    /// Starts looking.
    #[must_use]
    pub fn start() -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let mut task = JoinSet::new();
        task.spawn(look(Arc::clone(&book)));
        Self { book, _task: task }
    }

    /// From now on, or no longer, lags go into the distribution.
    pub fn record(&self, on: bool) {
        self.lock().recording = on;
    }

    /// The lags while recording was on.
    #[must_use]
    pub fn distribution(&self) -> Latency {
        self.lock().lag.clone()
    }

    /// The largest lag since this was last asked.
    #[must_use]
    pub fn take_largest(&self) -> Duration {
        std::mem::take(&mut self.lock().largest)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look(book: Arc<Mutex<Book>>) {
    loop {
        let next = Instant::now() + INTERVAL;
        sleep_until(next).await;
        let lag = next.elapsed();
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        book.largest = book.largest.max(lag);
        if book.recording {
            book.lag.record(lag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_blocked_runtime_shows_as_lag() {
        let watch = LagWatch::start();
        watch.record(true);
        // Let the watch arm its timer, then hold the only thread.
        tokio::task::yield_now().await;
        let blocked = std::time::Instant::now();
        while blocked.elapsed() < Duration::from_millis(120) {
            std::hint::spin_loop();
        }
        while watch.distribution().count() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(watch.take_largest() >= Duration::from_millis(100 - 2));
        assert!(watch.distribution().histogram().max() >= 98_000);
    }
}
