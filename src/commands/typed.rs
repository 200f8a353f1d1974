//! Which options a person typed: the environment is there for every command, so what it says must not
//! be refused where the same option on the command line would be.

use std::collections::BTreeSet;

use clap::ArgMatches;
use clap::parser::ValueSource;

/// Names of the options that stand on the command line itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Typed(BTreeSet<String>);

impl Typed {
    /// Those of the innermost sub-command.
    pub(super) fn of(mut matches: &ArgMatches) -> Self {
        while let Some((_, inner)) = matches.subcommand() {
            matches = inner;
        }
        let typed =
            |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        Self(matches.ids().filter(typed).map(|id| id.as_str().to_owned()).collect())
    }

    /// Whether the option with this name (as its field) was typed.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}
