//! Orders under way: their books are opened in time, whatever else goes on, and they are known by their keys
//! until their waves are over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reports::wave::WaveKey;

use crate::crew::Books;
use crate::driver::{Epoch, WaveOrder};
use crate::watch::{Activity, note_beginnings};

/// How long before its instant the book of a wave is opened.
const BOOK_LEAD: Duration = Duration::from_millis(500);

/// Orders whose waves are not over.
pub(super) struct Pending(HashMap<WaveKey, WaveOrder>);

impl Pending {
    pub(super) fn new(orders: &[WaveOrder]) -> Self {
        Self(orders.iter().map(|order| (order.key.clone(), order.clone())).collect())
    }

    pub(super) fn take(&mut self, key: &WaveKey) -> Option<WaveOrder> {
        self.0.remove(key)
    }
}

/// Opens each book before its wave is sent, and notes when waves begin. A task of its own: nothing that
/// is written down or looked at meanwhile makes it late.
pub(super) struct Attendant {
    epoch: Epoch,
    books: Option<Books>,
    activity: Arc<Mutex<Activity>>,
    opening: Vec<(Duration, String)>,
    beginning: Vec<Duration>,
}

impl Attendant {
    pub(super) fn new(
        orders: &[WaveOrder],
        epoch: Epoch,
        books: Option<Books>,
        activity: Arc<Mutex<Activity>>,
    ) -> Self {
        let opening = |order: &WaveOrder| {
            (order.intended_at.saturating_sub(BOOK_LEAD), order.request_id.clone())
        };
        Self {
            epoch,
            books,
            activity,
            opening: orders.iter().map(opening).collect(),
            beginning: orders.iter().map(|order| order.intended_at).collect(),
        }
    }

    /// Attends until the last wave has begun.
    pub(super) async fn attend(self) {
        let opening = async {
            for (at, request_id) in &self.opening {
                tokio::time::sleep_until(self.epoch.instant(*at)).await;
                if let Some(books) = &self.books {
                    books.open(request_id).await;
                }
            }
        };
        let beginning = note_beginnings(&self.activity, self.epoch, &self.beginning);
        tokio::join!(opening, beginning);
    }
}
