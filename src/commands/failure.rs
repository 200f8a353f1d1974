//! How a command ends when it does not do what was asked: one text and one exit code, and no panic
//! reaches a user.

use std::backtrace::BacktraceStatus;
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo, UnwindSafe};
use std::process::ExitCode;

use reports::verdict;

use super::exit_code;
use crate::broker::obtain::ObtainError;
use crate::conductor::RunError;
use crate::driver::OptionsError;
use crate::plan::ResolveErrors;
use crate::scenario::ScenarioErrors;

/// A refusal with the exit code that it stands for. The last line says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refusal {
    code: verdict::ExitCode,
    message: String,
}

impl Refusal {
    /// The command line or a file it names is wrong.
    pub(super) fn usage(message: impl Into<String>) -> anyhow::Error {
        Self::of(verdict::ExitCode::Usage, message)
    }

    /// A refusal with another exit code.
    pub(super) fn of(code: verdict::ExitCode, message: impl Into<String>) -> anyhow::Error {
        Self { code, message: message.into() }.into()
    }
}

/// An end before the end: a usage error, a help text, or something that went wrong.
#[derive(Debug)]
pub struct Early(Kind);

#[derive(Debug)]
enum Kind {
    /// What the command line parser has to say: help and version go to stdout.
    CommandLine(Box<clap::Error>),
    /// What a command has to say.
    Failed(anyhow::Error),
}

impl From<clap::Error> for Early {
    fn from(error: clap::Error) -> Self {
        Self(Kind::CommandLine(Box::new(error)))
    }
}

impl From<anyhow::Error> for Early {
    fn from(error: anyhow::Error) -> Self {
        Self(Kind::Failed(error))
    }
}

impl Early {
    /// Prints what is to be said, and tells the exit code.
    fn end(self) -> ExitCode {
        match self.0 {
            Kind::CommandLine(error) => {
                // Whoever closed the terminal does not want to know.
                let _ = error.print();
                let code = u8::try_from(error.exit_code()).unwrap_or(1);
                ExitCode::from(code)
            }
            Kind::Failed(error) => {
                let code = code_of(&error);
                let _ = writeln!(io::stderr(), "{}", told(&error, code));
                exit_code(code)
            }
        }
    }
}

/// Runs the program: prints what ends it early and turns a panic into one line and exit code 1.
pub fn guard(program: impl FnOnce() -> Result<ExitCode, Early> + UnwindSafe) -> ExitCode {
    let default_hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // Nothing is left to tell if even stderr is gone.
        let _ = writeln!(io::stderr(), "{}", panic_line(info));
        if std::backtrace::Backtrace::capture().status() == BacktraceStatus::Captured {
            default_hook(info);
        }
    }));
    match panic::catch_unwind(program) {
        Ok(Ok(code)) => code,
        Ok(Err(early)) => early.end(),
        Err(_) => exit_code(verdict::ExitCode::Unexpected),
    }
}

fn panic_line(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
    let repository = env!("CARGO_PKG_REPOSITORY");
    format!("internal error: {text}{place}; please report it at {repository}/issues")
}

/// An error as it is printed: a scenario's begin with their place, as editors like it, and those of the
/// preflight are a table.
fn told(error: &anyhow::Error, code: verdict::ExitCode) -> String {
    if error.is::<ScenarioErrors>() {
        error.to_string()
    } else if code == verdict::ExitCode::Refused {
        format!("error: {}\n{}", code.meaning(), error.to_string().trim_end())
    } else {
        format!("error: {error:#}")
    }
}

/// The exit code of an error: each kind has its own.
fn code_of(error: &anyhow::Error) -> verdict::ExitCode {
    use verdict::ExitCode;
    let is_usage = error.is::<ScenarioErrors>()
        || error.is::<ResolveErrors>()
        || error.is::<OptionsError>()
        || matches!(
            error.downcast_ref::<ObtainError>(),
            Some(ObtainError::Version(_) | ObtainError::Named { .. } | ObtainError::NoCache { .. })
        );
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        refusal.code
    } else if let Some(run) = error.downcast_ref::<RunError>() {
        run.code
    } else if is_usage {
        ExitCode::Usage
    } else if error.is::<ObtainError>() {
        ExitCode::BrokerUnreachable
    } else {
        ExitCode::Unexpected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn a_panic_becomes_exit_code_1() {
        let code = guard(|| panic!("of a test"));
        drop(panic::take_hook());
        assert_eq!(code, ExitCode::from(1));
    }

    #[test]
    fn every_kind_of_error_has_its_exit_code() {
        use verdict::ExitCode as Code;
        let unreachable = RunError { code: Code::BrokerUnreachable, message: "away".to_owned() };
        for (error, code) in [
            (Refusal::usage("no"), Code::Usage),
            (Refusal::of(Code::Refused, "no"), Code::Refused),
            (unreachable.into(), Code::BrokerUnreachable),
            (Scenario::parse("a: [", "x.yaml", &[]).unwrap_err().into(), Code::Usage),
            (anyhow::anyhow!("nobody foresaw it"), Code::Unexpected),
        ] {
            assert_eq!(code_of(&error), code, "{error}");
        }
    }
}
