//! `schema`: the JSON Schema of scenario files, for editors.

use clap::Args;
use reports::verdict::ExitCode;

use super::Shell;
use crate::scenario::json_schema;

const EXAMPLES: &str = "\
Example:
  choria-emulator schema > schema.json
A scenario that begins with this line is checked and completed by editors that know the YAML language server:
  # yaml-language-server: $schema=./schema.json";

/// `schema` has no options of its own.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SchemaArgs {}

pub(super) fn run(SchemaArgs {}: &SchemaArgs, shell: &Shell) -> anyhow::Result<ExitCode> {
    shell.screen.print(&format!("{:#}\n", json_schema()))?;
    Ok(ExitCode::Passed)
}
