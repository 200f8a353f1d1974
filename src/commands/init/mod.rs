//! `init`: a commented scenario to start from, or the unit file of a worker.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use clap::builder::PossibleValuesParser;
use reports::verdict::ExitCode;

use super::Shell;
use super::failure::Refusal;
use crate::crew::TOKEN_VARIABLE;
use crate::scenario::json_schema;

const EXAMPLES: &str = "\
Examples:
  choria-emulator init                          writes first-look.yaml and schema.json here
  choria-emulator init my-network               writes my-network.yaml
  choria-emulator init scenarios/my-network.yaml -t many-clients
  choria-emulator init --list                   shows the templates
  choria-emulator init --unit                   writes a systemd unit for a worker of runs that are conducted elsewhere";

/// A scenario that comes with the tool: its name and its text.
type Template = (&'static str, &'static str);

/// The templates, the first one first: the scenarios that are shipped.
const TEMPLATES: [Template; 7] = [
    ("first-look", include_str!("../../../scenarios/first-look.yaml")),
    ("agents-and-collectives", include_str!("../../../scenarios/agents-and-collectives.yaml")),
    ("slow-and-silent", include_str!("../../../scenarios/slow-and-silent.yaml")),
    ("many-clients", include_str!("../../../scenarios/many-clients.yaml")),
    ("direct-and-batch", include_str!("../../../scenarios/direct-and-batch.yaml")),
    ("fifteen-thousand", include_str!("../../../scenarios/fifteen-thousand.yaml")),
    ("fifty-thousand", include_str!("../../../scenarios/fifty-thousand.yaml")),
];

/// The unit of a worker; what stands for the program is written in.
const UNIT: &str = include_str!("worker.service");
/// Where it is written.
const UNIT_FILE: &str = "choria-emulator-worker.service";

/// The file that editors check a scenario with.
const SCHEMA: &str = "schema.json";

/// Options of `init`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InitArgs {
    /// The scenario to write, as a name or a path [default: the template's name]
    #[arg(value_name = "NAME")]
    path: Option<PathBuf>,
    /// Folder to write it to, made where it is not there [default: that of NAME]
    dir: Option<PathBuf>,
    /// The shipped scenario to start from
    #[arg(short, long, default_value = TEMPLATES[0].0)]
    #[arg(value_parser = PossibleValuesParser::new(TEMPLATES.map(|(name, _)| name)))]
    template: String,
    /// Show the templates and what each of them asks
    #[arg(long)]
    list: bool,
    /// Write choria-emulator-worker.service, a systemd unit that runs `worker`, instead of a scenario
    #[arg(long, conflicts_with_all = ["path", "template", "list"])]
    unit: bool,
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
    if args.unit {
        return write_unit(args.force, shell);
    }
    let Target { name, file } = args.target()?;
    let chosen = TEMPLATES.iter().find(|(template, _)| *template == args.template);
    let text = chosen.map_or("", |(_, text)| text);
    let text = text.replacen(&format!("\nname: {}", args.template), &format!("\nname: {name}"), 1);
    let folder = file.parent().unwrap_or(Path::new(""));
    // A file without a folder before it goes where we are.
    if folder != Path::new("") {
        fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    }
    write(&file, &text, args.force)?;
    let schema = folder.join(SCHEMA);
    write_schema(&schema, args.force, shell)?;
    let shown = file.display();
    shell.screen.print(&format!(
        "{shown} is written; {} is for editors\n\
         next: choria-emulator plan {shown}\n      choria-emulator run {shown}\n",
        schema.display()
    ))?;
    Ok(ExitCode::Passed)
}

/// Writes the unit of a worker, for this program.
fn write_unit(force: bool, shell: &Shell) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let text = UNIT.replacen("PROGRAM", &program.display().to_string(), 1);
    write(Path::new(UNIT_FILE), &text, force)?;
    shell.screen.print(&format!(
        "{UNIT_FILE} is written; next, on each host of a worker:\n\
         \x20 install -D -m 600 /dev/stdin /etc/choria-emulator/worker.env    (CHORIA_EMULATOR_CONTROL=nats://HOST:PORT,\n\
         \x20                                                                  {TOKEN_VARIABLE}=...)\n\
         \x20 install -m 644 {UNIT_FILE} /etc/systemd/system/\n\
         \x20 systemctl daemon-reload && systemctl enable --now {UNIT_FILE}\n\
         and where the run is conducted: choria-emulator run SCENARIO --workers N --control nats://HOST:PORT\n"
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

/// What is to be written.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    /// Name of the scenario.
    name: String,
    /// Its file.
    file: PathBuf,
}

impl InitArgs {
    /// Takes a name, or a path with or without `.yaml`; one that ends in a slash is a folder.
    fn target(&self) -> anyhow::Result<Target> {
        let given = self.path.as_deref().unwrap_or(Path::new(&self.template));
        let is_folder = given.as_os_str().as_encoded_bytes().ends_with(b"/");
        let (parent, last) = match given.file_name() {
            Some(last) if !is_folder => (given.parent(), Path::new(last)),
            _ if given.as_os_str().is_empty() => (None, given),
            _ => (Some(given), Path::new(&self.template)),
        };
        let is_yaml = |extension: &OsStr| extension == "yaml" || extension == "yml";
        let (stem, file) = match last.extension() {
            Some(extension) if is_yaml(extension) => (last.with_extension(""), last.to_owned()),
            _ => (last.to_owned(), PathBuf::from(format!("{}.yaml", last.display()))),
        };
        let name = stem.display().to_string();
        check_name(&name)?;
        let folder = self.dir.clone().unwrap_or_default();
        let file = folder.join(parent.unwrap_or(Path::new(""))).join(file);
        Ok(Target { name, file: file.strip_prefix(".").map(Path::to_owned).unwrap_or(file) })
    }
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(plain) {
        return Ok(());
    }
    Err(Refusal::usage(format!(
        "{name:?} cannot be the name of a scenario\n\
         use letters, digits, `-` and `_`, as in my-network or scenarios/my-network.yaml"
    )))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_named_by_itself_or_by_its_path() {
        for (path, dir, expected) in [
            (None, None, Ok(("first-look", "first-look.yaml"))),
            (Some("mine"), None, Ok(("mine", "mine.yaml"))),
            (Some("mine.yaml"), None, Ok(("mine", "mine.yaml"))),
            (Some("mine.yml"), None, Ok(("mine", "mine.yml"))),
            (Some("./mine"), None, Ok(("mine", "mine.yaml"))),
            (Some("a/b/mine.yaml"), None, Ok(("mine", "a/b/mine.yaml"))),
            (Some("/a/mine"), None, Ok(("mine", "/a/mine.yaml"))),
            (Some("mine"), Some("a"), Ok(("mine", "a/mine.yaml"))),
            (Some("b/mine.yaml"), Some("a"), Ok(("mine", "a/b/mine.yaml"))),
            (Some("a/"), None, Ok(("first-look", "a/first-look.yaml"))),
            (Some("."), None, Ok(("first-look", "first-look.yaml"))),
            (Some(".."), None, Ok(("first-look", "../first-look.yaml"))),
            (Some("my.network"), None, Err("\"my.network\" cannot be the name")),
            (Some("my network.yaml"), None, Err("\"my network\" cannot be the name")),
            (Some(".yaml"), None, Err("\".yaml\" cannot be the name")),
            (Some(""), None, Err("\"\" cannot be the name")),
        ] {
            let args = InitArgs {
                path: path.map(PathBuf::from),
                dir: dir.map(PathBuf::from),
                template: "first-look".to_owned(),
                list: false,
                unit: false,
                force: false,
            };
            match (args.target(), expected) {
                (Ok(target), Ok((name, file))) => {
                    assert_eq!(
                        (target.name.as_str(), target.file.as_path()),
                        (name, Path::new(file))
                    );
                }
                (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error}"),
                (found, _) => panic!("{path:?} {dir:?}: {found:?}"),
            }
        }
    }
}
