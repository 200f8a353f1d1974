//! The files of one broker: what it is told, what it says, and what its last words mean.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{StartError, StartSpec};
use crate::broker::config::{LeftOut, ServerConfig};
use crate::broker::ready::Unready;
use crate::child::{Exit, Launcher, Log};

/// The files of one broker.
pub(super) struct Files {
    config: PathBuf,
    pub(super) log: PathBuf,
}

impl Files {
    pub(super) fn new(spec: &StartSpec) -> Self {
        let file = |extension| spec.folder.join(format!("{}.{extension}", spec.name));
        Self { config: file("conf"), log: file("log") }
    }

    pub(super) fn write_config(
        &self,
        spec: &StartSpec,
        client_port: u16,
        monitor_port: u16,
    ) -> Result<Vec<LeftOut>, StartError> {
        let config = ServerConfig {
            name: spec.name.clone(),
            host: spec.host,
            client_port,
            monitor_port,
            ports_folder: spec.folder.clone(),
            limits: spec.limits,
            profiling: spec.profiling,
            wiring: spec.wiring.clone(),
            own: spec.own_config.clone(),
            extra: spec.extra_config.clone(),
        };
        let rendered = config.render(&spec.program.version);
        fs::create_dir_all(&spec.folder).map_err(unwritable(spec, &spec.folder))?;
        fs::write(&self.config, rendered.text).map_err(unwritable(spec, &self.config))?;
        Ok(rendered.left_out)
    }

    pub(super) fn command(
        &self,
        spec: &StartSpec,
        launcher: &Launcher,
    ) -> Result<(Log, Command), StartError> {
        let (log, output) = Log::open(&self.log).map_err(unwritable(spec, &self.log))?;
        let errors = output.try_clone().map_err(unwritable(spec, &self.log))?;
        let program = spec.program.path.clone().into_os_string();
        let config = self.config.clone().into_os_string();
        let mut command = launcher.command([program, "-c".into(), config]);
        command
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // Ctrl-C in a terminal goes to the whole foreground group: the broker is stopped by
            // us, after its clients.
            .process_group(0);
        Ok((log, command))
    }

    pub(super) fn died(
        &self,
        spec: &StartSpec,
        client: u16,
        monitor: u16,
        exit: Exit,
    ) -> StartError {
        let name = spec.name.clone();
        let says = |what: &str| exit.log_tail.iter().any(|line| line.contains(what));
        let is_elsewhere = |line: &String| {
            line.contains("cannot assign requested address")
                && line.contains(&spec.host.to_string())
        };
        if exit.log_tail.iter().any(is_elsewhere) {
            StartError::NotHere { name, host: spec.host, exit }
        } else if says("address already in use") {
            let ports = [client, monitor].into_iter().chain(spec.wiring.ports()).collect();
            StartError::PortInUse { name, ports, exit }
        } else {
            StartError::Died { name, exit, log: self.log.clone() }
        }
    }

    pub(super) fn unready(&self, spec: &StartSpec, unready: Unready, log: &Log) -> StartError {
        let (name, unready, file) = (spec.name.clone(), Box::new(unready), self.log.clone());
        if unready.is_final() {
            return StartError::Misled { name, unready, log: file };
        }
        let (within, log_tail) = (spec.ready_within, log.tail());
        StartError::NotReady { name, within, unready, log_tail, log: file }
    }
}

fn unwritable<'a>(
    spec: &'a StartSpec,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> StartError + 'a {
    |source| StartError::Write { name: spec.name.clone(), path: path.to_owned(), source }
}
