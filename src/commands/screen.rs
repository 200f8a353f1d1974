//! Where text goes: stdout for what was asked for, stderr for everything said on the way.
//!
//! A reader that went away (`| head`) is no error: what it does not read is dropped. Bars and lines
//! share stderr through one owner, so that a line never lands inside a bar.

use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::Context as _;
use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::fmt::MakeWriter;

use super::cli::Color;
use super::environment::Environment;

/// `EIO` of Linux: what a write to a terminal gets that was closed.
const GONE: i32 = 5;

/// stdout and stderr.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    bars: MultiProgress,
    out_is_terminal: bool,
    color_out: bool,
    color_err: bool,
}

impl Screen {
    /// Looks at what the streams are connected to.
    pub(super) fn new(color: Color, environment: &Environment) -> Self {
        let suits = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto if environment.no_color => false,
            Color::Auto if environment.force_color => true,
            Color::Auto => terminal && !environment.dumb,
        };
        Self {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            out_is_terminal: io::stdout().is_terminal(),
            color_out: suits(io::stdout().is_terminal()),
            color_err: suits(io::stderr().is_terminal()),
        }
    }

    /// Whether stdout may show colours.
    pub(super) fn color_out(&self) -> bool {
        self.color_out
    }

    /// Whether stderr may show colours.
    pub(super) fn color_err(&self) -> bool {
        self.color_err
    }

    /// The owner of all bars.
    pub(super) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Prints what was asked for.
    ///
    /// # Errors
    /// When stdout is a file that cannot be written, for example on a full disk.
    pub(super) fn print(&self, text: &str) -> anyhow::Result<()> {
        let write = || {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        };
        match unless_closed(self.bars.suspend(write)) {
            Err(error) if self.out_is_terminal && error.raw_os_error() == Some(GONE) => Ok(()),
            written => written.context("cannot write to stdout"),
        }
    }

    /// The terminal is gone: bars, which cannot do without, are drawn no more.
    pub(super) fn hang_up(&self) {
        self.bars.set_draw_target(ProgressDrawTarget::hidden());
    }

    /// Says a line on the way. What cannot be said is not worth an end.
    pub(super) fn say(&self, line: &str) {
        let _ = self.bars.suspend(|| writeln!(io::stderr().lock(), "{line}"));
    }
}

/// Writers for `tracing`: its events do not land inside bars.
impl<'a> MakeWriter<'a> for Screen {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        LogWriter(self.bars.clone())
    }
}

/// Writes whole events to stderr.
#[derive(Debug)]
pub(super) struct LogWriter(MultiProgress);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.suspend(|| io::stderr().lock().write_all(bytes));
        unless_closed(written).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
