//! A node as filters see it, made of its group's patterns.

use std::borrow::Cow;
use std::cell::Cell;

use serde_json::Value;

use super::{FactTemplate, Pattern, Vars};
use crate::filter::Subject;
use crate::filter::facts::FactRef;
use crate::filter::path::FactPath;

/// A node of a group. Judging it with identity, agent, class and plain fact filters allocates
/// nothing once `scratch` has grown.
#[derive(Clone, Copy)]
pub struct PatternSubject<'a> {
    /// The identity, rendered.
    pub identity: &'a str,
    /// Names of the hosted agents.
    pub agents: &'a [String],
    /// The group's classes.
    pub classes: &'a [Pattern],
    /// The group's facts.
    pub facts: &'a FactTemplate,
    /// The node.
    pub vars: Vars<'a>,
    /// Where values are rendered; may be shared by all nodes of a thread.
    pub scratch: &'a Cell<String>,
}

impl Subject for PatternSubject<'_> {
    fn identity(&self) -> &str {
        self.identity
    }

    fn any_agent(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        self.agents.iter().any(|agent| test(agent))
    }

    fn any_class(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        let mut text = self.scratch.take();
        let found = self.classes.iter().any(|class| match class.constant() {
            Some(class) => test(class),
            None => {
                text.clear();
                class.render(&self.vars, &mut text);
                test(&text)
            }
        });
        self.scratch.set(text);
        found
    }

    fn fact(&self, path: &FactPath) -> Option<Cow<'_, Value>> {
        self.facts.get(path, &self.vars)
    }

    fn judge_fact(&self, path: &FactPath, judge: &mut dyn FnMut(FactRef<'_>) -> bool) -> bool {
        self.facts.judge(path, &self.vars, self.scratch, judge)
    }
}
