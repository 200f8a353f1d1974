//! The status of a node, as registrations carry it and as it stands in the status file (protocol
//! document 10.1; recorded in `testdata/captures/status-file.json`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::node::NodeView;

/// What stands where no time is known: Go's zero time.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// The status as JSON. `last_message_unix` is 0 before the first message.
#[must_use]
pub fn compose(node: &NodeView<'_>, last_message_unix: i64, now_unix: i64) -> String {
    let counters = &*node.counters;
    let text = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        concat!(
            r#"{{"identity":{},"uptime":{},"connected_server":{},"last_message":{},"#,
            r#""provisioning_mode":false,"stats":{{"total":{},"valid":{},"invalid":{},"#,
            r#""passed":{},"filtered":{},"replies":{},"ttlexpired":{},"events":{}}},"#,
            r#""certificate_expires":"{}","token_expires":"{}"}}"#
        ),
        text(node.identity),
        now_unix.saturating_sub(node.started_unix),
        text(node.broker),
        last_message_unix,
        counters.total,
        counters.validated,
        counters.unvalidated,
        counters.passed,
        counters.filtered,
        counters.replies,
        counters.ttl_expired,
        counters.events,
        NO_TIME,
        NO_TIME,
    )
}

/// Replaces the file of a node in `folder`: who reads it meanwhile sees the old or the new one, whole.
///
/// # Errors
///
/// When the folder cannot be written to, or the identity cannot name a file.
pub fn write(folder: &Path, identity: &str, status: &str) -> io::Result<()> {
    if identity.contains(['/', '\0']) {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    let fresh = folder.join(format!(".{identity}.new"));
    fs::write(&fresh, status)?;
    fs::rename(&fresh, path(folder, identity))
}

/// The file of a node.
pub(crate) fn path(folder: &Path, identity: &str) -> PathBuf {
    folder.join(format!("{identity}.json"))
}
