//! Compound filters: expressions of the `expr` language (protocol document 5.4; go-choria
//! `filter/compound`; expr-lang 1.17).
//!
//! Understood: literals (numbers, texts, `true`, `false`, `nil`, lists), `and or not && || !`,
//! comparisons and chains of them, arithmetic, `in`, `matches`, `contains`, `startsWith`, `endsWith`
//! and their `not` forms, `??`, `? :`, members, indexes and `?.`, `len()`, `with()`, `fact()`,
//! `include()`, `semver()`, `agents`, `classes`, names of nothing (nil), and data plugins as far as
//! the [`Subject`] has them. Types are checked before anything is run, as the real server does.
//!
//! Not understood, so that such an expression matches nothing: `let`, `if`, `;` between expressions,
//! pipes, closures (`any(…)`, `#`), maps, slices, ranges (`..`), `?:`, byte texts, methods, `$env`, the
//! variable `facts` (bytes in the real server, not the facts), and all other functions of the
//! language. The same goes for expressions of more than 16 KiB, 400 nodes or 50 nested brackets, and
//! to more than 64 expressions in one filter.
//!
//! Judged otherwise: numbers that data plugins find are floats (`%` is an error), and lists that they find can be
//! given to `include()`; the types of `? :` and `??` are others where both sides are lists or one is a name of nothing.

mod check;
mod eval;
mod lexer;
mod parser;
mod semver;
mod tree;
mod value;

use eval::eval;
use tree::Expr;
use value::Val;

use super::Subject;
use super::regexp::Budget;

/// Most compound entries of a filter.
const ENTRIES_MAX: usize = 64;

/// The compound entries of a filter.
#[derive(Debug)]
pub(super) struct Compound {
    /// `None`: one of them is an error on every node, and nothing passes.
    entries: Option<Vec<Expr>>,
}

impl Compound {
    /// Compiles entries, each of which holds one expression if it is well-made.
    pub(super) fn new(entries: &[Vec<String>], budget: &mut Budget) -> Self {
        if entries.len() > ENTRIES_MAX {
            return Self { entries: None };
        }
        let compiled = entries.iter().map(|entry| match entry.as_slice() {
            [text] => parser::parse(text, budget).filter(check::is_condition),
            _ => None,
        });
        Self { entries: compiled.collect() }
    }

    /// QUIRK: more entries must be true than false, not all (protocol document 5.4). An error in one is
    /// no match.
    pub(super) fn matches(&self, node: &dyn Subject) -> bool {
        let Some(entries) = &self.entries else { return false };
        if entries.is_empty() {
            return true;
        }
        let mut ahead = 0_i64;
        for entry in entries {
            match eval(entry, node) {
                Ok(Val::Bool(true)) => ahead += 1,
                Ok(Val::Bool(false) | Val::Nil) => ahead -= 1,
                _ => return false,
            }
        }
        ahead > 0
    }
}
