//! A node as filters see it: its group's patterns, and the data plugins that compound expressions
//! may call (protocol document 5.4).

use super::NodeView;
use crate::agents;
use crate::filter::Subject;
use crate::filter::facts::FactRef;
use crate::filter::path::FactPath;
use crate::pattern::PatternSubject;
use serde_json::Value;
use std::borrow::Cow;

/// A node that a filter is held against.
pub(super) struct NodeSubject<'a> {
    pub(super) shown: PatternSubject<'a>,
    pub(super) node: &'a NodeView<'a>,
    pub(super) now_unix: i64,
}

impl Subject for NodeSubject<'_> {
    fn identity(&self) -> &str {
        self.shown.identity()
    }

    fn any_agent(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        self.shown.any_agent(test)
    }

    fn any_class(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        self.shown.any_class(test)
    }

    fn fact(&self, path: &FactPath) -> Option<Cow<'_, Value>> {
        self.shown.fact(path)
    }

    fn judge_fact(&self, path: &FactPath, judge: &mut dyn FnMut(FactRef<'_>) -> bool) -> bool {
        self.shown.judge_fact(path, judge)
    }

    fn data(&self, plugin: &str, query: Option<&str>) -> Option<Value> {
        agents::plugin_data(self.node, plugin, query, self.now_unix)
    }
}
