//! The flags of `measure`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::super::connection::NatsArgs;
use super::super::failure::Refusal;
use super::super::watch::WatchArgs;
use crate::scenario::Span;

const EXAMPLES: &str = "\
Examples:
  choria-emulator measure -s nats://broker:4222 --discover
  choria-emulator measure -s broker --agent rpcutil --action ping --count 20 --every 2s --expect 5000
  choria-emulator measure -s broker --nodes-file estate.txt --mode direct -F country=mt
  choria-emulator measure -s broker --expect 5000 --threshold 'response_time: p(99) < 2s'
The predecessor's form:
  choria-emulator measure 10 5000 \"one broker\" results -s broker --size 100 --timeout 10s

Without --expect, --nodes-file or --discover a first discovery tells who must answer. It takes as
long as --discovery-timeout says.";

/// Reply size that the predecessor asked for, in bytes.
const PREDECESSOR_SIZE: u64 = 100;
/// Waves of a measurement that does not say.
const COUNT: u64 = 10;

/// Options of `measure`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::commands) struct MeasureArgs {
    /// The predecessor's form: waves, nodes expected, a description, folder for results
    #[arg(num_args = 4, value_names = ["COUNT", "EXPECT", "DESCRIPTION", "OUTDIR"])]
    #[arg(conflicts_with_all = ["count", "expect", "nodes_file", "discover", "description", "out"])]
    predecessor: Vec<String>,

    /// Agent to ask [default: rpcutil, or emulated0 when a reply size is asked for]
    #[arg(long, value_name = "AGENT", help_heading = "Request")]
    pub(super) agent: Option<String>,
    /// Its action [default: ping, or generate when a reply size is asked for]
    #[arg(long, value_name = "ACTION", requires = "agent", help_heading = "Request")]
    pub(super) action: Option<String>,
    /// The action's input as a JSON object
    #[arg(long, value_name = "JSON", requires = "agent", help_heading = "Request")]
    pub(super) data: Option<String>,
    /// Bytes that each node shall answer, by the action generate of emulated nodes
    #[arg(long, visible_alias = "payload", value_name = "BYTES", help_heading = "Request")]
    #[arg(conflicts_with = "data")]
    size: Option<u64>,
    /// Sub collective to ask
    #[arg(short = 'T', long, visible_alias = "target", value_name = "NAME")]
    #[arg(default_value = "mcollective", help_heading = "Request")]
    pub(super) collective: String,
    /// Only nodes with this identity, or /regular expression/; may be repeated
    #[arg(short = 'I', long = "wi", visible_alias = "with-identity", value_name = "IDENTITY")]
    #[arg(help_heading = "Request")]
    pub(super) identity: Vec<String>,
    /// Only nodes with this class, or /regular expression/; may be repeated
    #[arg(short = 'C', long = "wc", visible_alias = "with-class", value_name = "CLASS")]
    #[arg(help_heading = "Request")]
    pub(super) class: Vec<String>,
    /// Only nodes with this fact, such as country=mt; may be repeated
    #[arg(short = 'F', long = "wf", visible_alias = "with-fact", value_name = "FACT")]
    #[arg(help_heading = "Request")]
    pub(super) fact: Vec<String>,
    /// Only nodes for which this expression is true; may be repeated
    #[arg(short = 'S', long = "select", value_name = "EXPRESSION", help_heading = "Request")]
    pub(super) compound: Vec<String>,
    /// Only nodes that host this agent; may be repeated
    #[arg(short = 'A', long = "wa", visible_alias = "with-agent", value_name = "AGENT")]
    #[arg(help_heading = "Request")]
    pub(super) hosts: Vec<String>,

    /// How many waves [default: 10]
    #[arg(short = 'n', long, value_name = "N", help_heading = "Waves")]
    count: Option<u64>,
    /// Time from one wave to the next
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = Span::parse)]
    #[arg(help_heading = "Waves")]
    pub(super) every: Span,
    /// Replies after this are late
    #[arg(long, visible_alias = "timeout", value_name = "DURATION", default_value = "10s")]
    #[arg(value_parser = Span::parse, help_heading = "Waves")]
    pub(super) deadline: Span,
    /// Waves before the counted ones
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Waves")]
    pub(super) warmup: u64,
    /// How the request reaches the nodes
    #[arg(long, value_enum, value_name = "MODE", default_value_t, help_heading = "Waves")]
    mode: ModeArg,
    /// Nodes of a slice in mode batch
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Waves")]
    pub(super) batch: u64,
    /// Pause between slices in mode batch
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = Span::parse)]
    #[arg(help_heading = "Waves")]
    pub(super) batch_sleep: Span,
    /// Clients that send each wave at the same instant
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Waves")]
    pub(super) clients: u64,
    /// The predecessor's flag for --mode direct
    #[arg(long, conflicts_with = "mode", help_heading = "Waves")]
    force_direct: bool,
    /// Connections of each client that receive replies
    #[arg(long, visible_alias = "workers", value_name = "N", help_heading = "Waves")]
    pub(super) receivers: Option<u64>,

    /// So many nodes must answer; a first discovery gives their names
    #[arg(long, value_name = "N", group = "expected", help_heading = "Who must answer")]
    expect: Option<u64>,
    /// The nodes in this file must answer, one identity a line
    #[arg(long, value_name = "FILE", group = "expected", help_heading = "Who must answer")]
    pub(super) nodes_file: Option<PathBuf>,
    /// Whoever answers a first discovery must answer: the default
    #[arg(long, group = "expected", help_heading = "Who must answer")]
    discover: bool,
    /// How long a first discovery waits for answers [default: the deadline]
    #[arg(long, value_name = "DURATION", value_parser = positive)]
    #[arg(conflicts_with = "nodes_file", help_heading = "Who must answer")]
    pub(super) discovery_timeout: Option<Span>,
    /// What must hold instead of 'completeness: min == 100%'; may be repeated
    #[arg(long, value_name = "METRIC: EXPRESSION", help_heading = "Who must answer")]
    pub(super) threshold: Vec<String>,

    /// What is measured, for the report
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Folder in which result folders are made [default: results]
    #[arg(short, long, value_name = "DIR", env = "CHORIA_EMULATOR_OUT", hide_env_values = true)]
    out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) nats: NatsArgs,
    #[command(flatten)]
    pub(super) watch: WatchArgs,
    /// Time for one connection to come up [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = Span::parse)]
    #[arg(env = "NATS_TIMEOUT", hide_env_values = true)]
    #[arg(help_heading = "Connection, as the nats CLI has it")]
    pub(super) connect_timeout: Option<Span>,
}

/// How the request reaches the nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ModeArg {
    /// One message on the agent's subject
    #[default]
    Broadcast,
    /// One message per node
    Direct,
    /// Direct, in slices with a pause between them
    Batch,
}

impl MeasureArgs {
    /// How many counted waves.
    pub(super) fn count(&self) -> anyhow::Result<u64> {
        match self.positional(0) {
            Some(text) => number("COUNT", text),
            None => Ok(self.count.unwrap_or(COUNT)),
        }
    }

    /// How many nodes must answer, if that is said.
    pub(super) fn expected(&self) -> anyhow::Result<Option<u64>> {
        let expected = match self.positional(1) {
            Some(text) => Some(number("EXPECT", text)?),
            None => self.expect,
        };
        match expected {
            Some(0) => Err(Refusal::usage(
                "nobody is expected to answer\nexpect at least 1 node, or use --discover",
            )),
            other => Ok(other),
        }
    }

    /// What is measured.
    pub(super) fn description(&self) -> Option<String> {
        self.positional(2).map(str::to_owned).or_else(|| self.description.clone())
    }

    /// Where results go.
    pub(super) fn out(&self) -> PathBuf {
        let positional = self.positional(3).map(PathBuf::from);
        positional.or_else(|| self.out.clone()).unwrap_or_else(|| PathBuf::from("results"))
    }

    /// The reply size that is asked for, if that is how the request is chosen.
    pub(super) fn size(&self) -> Option<u64> {
        let predecessor = !self.predecessor.is_empty() && self.agent.is_none();
        self.size.or(predecessor.then_some(PREDECESSOR_SIZE))
    }

    pub(super) fn mode(&self) -> ModeArg {
        if self.force_direct { ModeArg::Direct } else { self.mode }
    }

    fn positional(&self, index: usize) -> Option<&str> {
        self.predecessor.get(index).map(String::as_str)
    }
}

/// A duration in which something can happen.
fn positive(text: &str) -> Result<Span, String> {
    match Span::parse(text)? {
        Span(Duration::ZERO) => Err("nobody answers in no time\nwrite one such as 2s".to_owned()),
        span => Ok(span),
    }
}

fn number(what: &str, text: &str) -> anyhow::Result<u64> {
    text.parse().map_err(|_| {
        Refusal::usage(format!(
            "{what} is {text:?}, which is no number\nwrite measure COUNT EXPECT DESCRIPTION OUTDIR, or use flags"
        ))
    })
}
