//! Reading a scenario file, kindly: what is wrong with the path is said before the parser sees it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Refusal;
use super::named;
use crate::scenario::Scenario;

/// Where scenarios are looked for when a name is no path.
const FOLDER: &str = "scenarios";
/// No scenario is larger; a file that is was named by mistake.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Changes of a scenario.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Params {
    /// Change a value of the scenario, such as fleet.default.nodes=500; may be repeated
    #[arg(short = 'P', long = "param", value_name = "KEY=VALUE")]
    pub(super) params: Vec<String>,
}

/// A scenario as it was read.
pub(super) struct Read {
    pub(super) scenario: Scenario,
    /// The file's text, with the overrides written in.
    pub(super) text: String,
}

/// Reads and checks the scenario at `path`.
pub(super) fn read(path: &Path, params: &Params) -> anyhow::Result<Read> {
    let text = text(path)?;
    let file = path.display().to_string();
    let folder = path.parent().unwrap_or(Path::new(""));
    let beside = |named: &str| named_file(&folder.join(named));
    let scenario = Scenario::parse_with(&text, &file, &params.params, &beside)?;
    let text = Scenario::text_as_run(&text, &file, &params.params)?;
    Ok(Read { scenario, text })
}

fn text(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let meta = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Refusal::usage(not_found(path)),
        _ => cannot_read(path, &error),
    })?;
    if meta.is_dir() {
        let advice = match scenarios_in(path).first() {
            Some(file) => format!("name a file in it, such as {}", file.display()),
            None => "name a scenario file; `choria-emulator init` writes one".to_owned(),
        };
        return Err(Refusal::usage(format!("{shown} is a folder\n{advice}")));
    }
    let bytes = named::bytes(path, MAX_BYTES).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => {
            Refusal::usage(format!("{shown}: {error}, which no scenario has\nname a scenario file"))
        }
        _ => cannot_read(path, &error),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Refusal::usage(format!("{shown} is not UTF-8 text, from byte {at} on\nsave it as UTF-8"))
    })?;
    if text.trim().is_empty() {
        return Err(Refusal::usage(format!(
            "{shown} is empty\n`choria-emulator init` writes a scenario to start from"
        )));
    }
    Ok(text)
}

/// The text of a file that a scenario names.
fn named_file(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let meta = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            format!("there is no file {shown}\nname it with a path from the scenario's folder")
        }
        _ => format!("cannot read {shown}: {error}\ncheck the path and its permissions"),
    })?;
    if !meta.is_file() || meta.len() > MAX_BYTES {
        return Err(format!("{shown} is no file that a scenario could mean\nname a smaller file"));
    }
    fs::read_to_string(path)
        .map_err(|error| format!("cannot read {shown}: {error}\nsave it as UTF-8 text"))
}

fn cannot_read(path: &Path, error: &std::io::Error) -> anyhow::Error {
    let shown = path.display();
    Refusal::usage(format!("cannot read {shown}: {error}\ncheck the path and its permissions"))
}

/// What was named, and what was probably meant: the same name with the usual ending, or in the usual
/// folder.
fn not_found(path: &Path) -> String {
    let name = path.file_stem().unwrap_or_default();
    let beside = ["yaml", "yml"].map(|extension| path.with_extension(extension));
    let meant = beside.into_iter().chain([Path::new(FOLDER).join(name).with_extension("yaml")]);
    let advice = match meant.into_iter().find(|meant| meant != path && meant.is_file()) {
        Some(meant) => format!("did you mean {}?", meant.display()),
        None => {
            let there = ["", FOLDER].map(|folder| scenarios_in(Path::new(folder)));
            let there: Vec<_> =
                there.iter().flatten().map(|path| path.display().to_string()).collect();
            match there.is_empty() {
                true => "`choria-emulator init` writes a scenario to start from".to_owned(),
                false => format!("there are: {}", there.join(", ")),
            }
        }
    };
    format!("there is no file {}\n{advice}", path.display())
}

/// The YAML files of a folder, by name.
fn scenarios_in(folder: &Path) -> Vec<PathBuf> {
    let here = if folder == Path::new("") { Path::new(".") } else { folder };
    let entries = fs::read_dir(here).into_iter().flatten().flatten();
    let is_yaml =
        |path: &PathBuf| path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml");
    let shown = entries.map(|entry| folder.join(entry.file_name()));
    let mut found: Vec<PathBuf> = shown.filter(is_yaml).collect();
    found.sort();
    found
}
