//! `init`: a commented scenario to start from.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use reports::verdict::ExitCode;

use super::Shell;
use super::failure::Refusal;
use crate::scenario::json_schema;

const EXAMPLES: &str = "\
Examples:
  choria-emulator init                         writes first-look.yaml and schema.json here
  choria-emulator init my-network scenarios    writes scenarios/my-network.yaml
  choria-emulator init --list                  shows the templates";

/// A scenario that comes with the tool: its name and its text.
type Template = (&'static str, &'static str);

/// The templates, the first one first: the scenarios that are shipped.
const TEMPLATES: [Template; 6] = [
    ("first-look", include_str!("../../scenarios/first-look.yaml")),
    ("agents-and-collectives", include_str!("../../scenarios/agents-and-collectives.yaml")),
    ("slow-and-silent", include_str!("../../scenarios/slow-and-silent.yaml")),
    ("many-clients", include_str!("../../scenarios/many-clients.yaml")),
    ("direct-and-batch", include_str!("../../scenarios/direct-and-batch.yaml")),
    ("fifteen-thousand", include_str!("../../scenarios/fifteen-thousand.yaml")),
];

/// The file that editors check a scenario with.
const SCHEMA: &str = "schema.json";

/// Options of `init`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InitArgs {
    /// Name of the scenario and its file [default: the template's]
    name: Option<String>,
    /// Folder to write it to
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The shipped scenario to start from
    #[arg(short, long, default_value = TEMPLATES[0].0)]
    #[arg(value_parser = PossibleValuesParser::new(TEMPLATES.map(|(name, _)| name)))]
    template: String,
    /// Show the templates and what each of them asks
    #[arg(long)]
    list: bool,
    /// Replace a file that is there
    #[arg(short, long)]
    force: bool,
}

pub(super) fn run(args: &InitArgs, shell: &Shell) -> anyhow::Result<ExitCode> {
    if args.list {
        let lines = TEMPLATES.iter().map(|(name, text)| format!("{name}\n  {}\n", question(text)));
        shell.screen.print(&lines.collect::<String>())?;
        return Ok(ExitCode::Passed);
    }
    let name = args.name.as_deref().unwrap_or(&args.template);
    check_name(name)?;
    let chosen = TEMPLATES.iter().find(|(template, _)| *template == args.template);
    let text = chosen.map_or("", |(_, text)| text);
    let text = text.replacen(&format!("\nname: {}", args.template), &format!("\nname: {name}"), 1);
    fs::create_dir_all(&args.dir).map_err(|error| cannot_write(&args.dir, &error))?;
    let file = args.dir.join(name).with_extension("yaml");
    write(&file, &text, args.force)?;
    let schema = args.dir.join(SCHEMA);
    write_schema(&schema, args.force, shell)?;
    let shown = file.display();
    shell.screen.print(&format!(
        "{shown} is written; {} is for editors\n\
         next: choria-emulator plan {shown}\n      choria-emulator run {shown}\n",
        schema.display()
    ))?;
    Ok(ExitCode::Passed)
}

/// Writes the schema that the scenario's first line names; a file that says something else stays.
fn write_schema(path: &Path, force: bool, shell: &Shell) -> anyhow::Result<()> {
    let text = format!("{:#}\n", json_schema());
    match fs::read_to_string(path) {
        Ok(there) if there == text => Ok(()),
        Ok(_) if !force => {
            let shown = path.display();
            shell.screen.say(&format!(
                "{shown} is another one and was not touched; replace it with: choria-emulator schema > {shown}"
            ));
            Ok(())
        }
        _ => write(path, &text, force),
    }
}

/// The first comment of a scenario that is no hint for editors: its question.
fn question(text: &str) -> &str {
    let mut comments = text.lines().filter_map(|line| line.strip_prefix("# "));
    comments.find(|line| !line.starts_with("yaml-language-server")).unwrap_or_default()
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(plain) {
        return Ok(());
    }
    let advice = match Path::new(name).extension() {
        Some(_) => "give the name without `.yaml`, and the folder after it: init NAME DIR",
        None => "use letters, digits, `-` and `_`",
    };
    Err(Refusal::usage(format!("{name:?} cannot be the name of a scenario\n{advice}")))
}

fn write(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let mut options = File::options();
    options.write(true).truncate(force).create(force).create_new(!force);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Refusal::usage(format!(
            "{} is there already and was not touched\nchoose another name, or replace it with --force",
            path.display()
        )),
        _ => cannot_write(path, &error),
    })
}

fn cannot_write(path: &Path, error: &std::io::Error) -> anyhow::Error {
    Refusal::usage(format!(
        "cannot write {}: {error}\ncheck that folder, or name another one: init NAME DIR",
        path.display()
    ))
}
