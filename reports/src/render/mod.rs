//! Reports: one file per format, each a pure function of a [`Summary`](crate::summary::Summary).
//!
//! What is said, and in which order, is decided once in [`content`]; a format only lays it out:
//!
//! | file | format |
//! | --- | --- |
//! | `terminal` | plain text for a person, with colours if asked |
//! | `markdown` | `summary.md`, also the job summary of a CI system |
//!
//! [`scaling`] says what a series of sizes gave, in the same terms. A further format is a further file and a line here.

pub mod content;
pub mod markdown;
pub mod scaling;
pub mod terminal;
