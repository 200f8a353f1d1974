//! `scale`: a scenario at several sizes, the law behind them, and what a further size would take.

use std::path::Path;

use clap::Args;
use reports::format;
use reports::render::{self, terminal};
use reports::run::Ending;
use reports::scaling::{Scaling, Size, Unit};
use reports::verdict::ExitCode;

use super::Shell;
use super::cli;
use super::failure::Refusal;
use super::progress::{Shown, Style};
use super::run::{self, RunArgs};
use super::scenario_file;
use super::signals;
use crate::conductor::{self, Setup, Stop};
use crate::doctor::Verdict;
use crate::scale::{self, Series};
use crate::scenario::Scenario;

const EXAMPLES: &str = "\
Examples:
  choria-emulator scale first-look.yaml --nodes 1000,2000,5000,10000 --predict 50000
  choria-emulator scale first-look.yaml --nodes 500,1000,2000,4000 --depart 40% --json

Each size is a run with a result folder of its own; groups keep their shares. A straight line goes through
every figure by least squares: time of each wave (the median), CPU time per answer, memory. The largest
size is held against the line through the smaller ones; above the bound the exit code is 98.
Ctrl-C ends the series early: sizes so far are kept.";

/// Examples and the table of exit codes.
pub(super) fn after_help() -> String {
    format!("{EXAMPLES}\n\n{}", cli::exit_codes())
}

/// Options of `scale`.
#[derive(Debug, Args)]
pub(super) struct ScaleArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Sizes of the whole fleet, from small to large; at least three
    #[arg(long, value_name = "N,N,N", value_delimiter = ',', required = true)]
    nodes: Vec<u64>,
    /// Sizes whose figures are worked out and not run
    #[arg(long, value_name = "N", value_delimiter = ',')]
    predict: Vec<u64>,
    /// How much more than expected the largest size may take
    #[arg(long, value_name = "SHARE", default_value = "25%", value_parser = share)]
    depart: f64,
    /// Print the series as JSON, as scaling.json has it
    #[arg(long)]
    json: bool,
}

/// A share with its unit, above zero; it may be more than the whole.
fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        Some(percent) if percent.is_finite() && percent > 0.0 => Ok(percent / 100.0),
        _ => Err("write a percentage above zero, such as 25%".to_owned()),
    }
}

/// What a size needs to be run.
struct Step {
    nodes: u64,
    setup: Setup,
}

pub(super) fn run(args: ScaleArgs, shell: &Shell) -> anyhow::Result<ExitCode> {
    let scenario = scenario_file::read(&args.run.scenario, &args.run.params)?.scenario;
    scale::check_sizes(&args.nodes, scenario.fleet.len())
        .map_err(|error| Refusal::usage(format!("--nodes: {error}")))?;
    if args.predict.contains(&0) {
        return Err(Refusal::usage("--predict: 0 nodes\nname a size that a fleet can have"));
    }
    let steps = args.nodes.iter().map(|nodes| step(&args.run, &scenario, *nodes, shell));
    let steps = steps.collect::<anyhow::Result<Vec<_>>>()?;
    check_host(&steps)?;
    let series =
        Series::begin(&args.run.out.out, &scenario.name, args.nodes, args.predict, args.depart)?;
    let told = shell.clone();
    let json = args.json;
    signals::run(&shell.screen, "stopping; sizes so far are kept", async move |stop| {
        let folder = series.path().to_owned();
        let (scaling, failure) = conduct(steps, series, &stop, &told).await?;
        print(&scaling, &folder, json, &told)?;
        match failure {
            Some(failure) => Err(failure),
            None => Ok(ExitCode::from_number(scaling.exit_code).unwrap_or(ExitCode::Unexpected)),
        }
    })
}

/// The scenario with so many nodes, as if each group's number had been changed by `-P`.
fn step(args: &RunArgs, scenario: &Scenario, nodes: u64, shell: &Shell) -> anyhow::Result<Step> {
    let groups: Vec<u64> = scenario.fleet.iter().map(|group| group.nodes.0).collect();
    let mut args = args.clone();
    let dealt = scenario.fleet.iter().zip(scale::apportion(&groups, nodes));
    let params = dealt.map(|(group, nodes)| format!("fleet.{}.nodes={nodes}", group.group));
    args.params.params.extend(params);
    Ok(Step { nodes, setup: run::setup(args, shell)? })
}

/// Holds every size against this host, as its run will, before the first is run: the doctor's word is known then.
fn check_host(steps: &[Step]) -> anyhow::Result<()> {
    for step in steps.iter().rev() {
        // Workers of other hosts are examined when they are there.
        let Some(examined) = conductor::examine(&step.setup)? else { return Ok(()) };
        if examined.verdict() == Verdict::Fail {
            let nodes = format::count(step.nodes);
            let text = format!("with {nodes} nodes:\n{}", examined.to_text());
            return Err(Refusal::of(ExitCode::Refused, text));
        }
    }
    Ok(())
}

/// Runs one size after the other until all are there, one broke, or somebody asked to stop.
async fn conduct(
    steps: Vec<Step>,
    mut series: Series,
    stop: &Stop,
    shell: &Shell,
) -> anyhow::Result<(Scaling, Option<anyhow::Error>)> {
    let mut ended = None;
    let mut failure = None;
    for Step { nodes, mut setup } in steps {
        say(&format!("{} nodes", format::count(nodes)), shell);
        setup.out = series.path().to_owned();
        let (progress, shown) = Shown::start(shell);
        let finished = conductor::run(setup, stop.clone(), progress).await;
        shown.finish().await;
        match finished {
            Ok(finished) => {
                let size = series.add(nodes, &finished)?;
                say(&told(size), shell);
                if finished.result.ending != Ending::Completed {
                    ended = Some(finished.result.exit_code());
                }
            }
            Err(error) => {
                ended = Some(error.code);
                failure = Some(error.into());
            }
        }
        if ended.is_some() {
            break;
        }
    }
    Ok((series.finish(ended)?, failure))
}

/// A line on the way, for whoever wants to see how it goes.
fn say(line: &str, shell: &Shell) {
    if shell.progress != Style::None {
        shell.screen.say(line);
    }
}

/// A size in one line.
fn told(size: &Size) -> String {
    let waves = size.waves.iter().map(|wave| {
        let median = wave.median_ms.map_or_else(|| "-".to_owned(), |ms| Unit::Ms.show(ms));
        format!("{} {} of {} complete, {median}", wave.name, wave.complete_waves, wave.waves)
    });
    let parts: Vec<_> = waves.chain([size.verdict.name().to_owned()]).collect();
    format!("{} nodes: {}", format::count(size.nodes), parts.join("; "))
}

fn print(scaling: &Scaling, folder: &Path, json: bool, shell: &Shell) -> anyhow::Result<()> {
    let text = match json {
        true => serde_json::to_string_pretty(scaling)? + "\n",
        false => {
            let style = terminal::Style { color: shell.screen.color_out() };
            terminal::page(&render::scaling::content(scaling), Some(folder), style)
        }
    };
    shell.screen.print(&text)
}
