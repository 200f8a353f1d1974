//! Two hosts that have a network between them: network namespaces, which are gone with the test.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::unistd::geteuid;

use crate::support::left_out;

/// They exist inside the namespaces only.
pub(super) const HERE: &str = "10.213.78.1";
const THERE: &str = "10.213.78.2";

/// A host: a network namespace, held by a process that ends when this is dropped, also with the test.
pub(super) struct Host {
    holder: Child,
    _holds: ChildStdin,
}

impl Host {
    /// A new one; where we are not root, the first has a user namespace too, and others are made `within`.
    fn new(within: Option<&Self>) -> Result<Self, String> {
        let mut command =
            within.map_or_else(|| Command::new("unshare"), |host| host.command("unshare"));
        if within.is_none() && !geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--net", "sh", "-c", "echo here; exec cat"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let (holds, said) = (holder.stdin.take().unwrap(), holder.stdout.take().unwrap());
        let mut first = String::new();
        BufReader::new(said).read_line(&mut first).unwrap();
        let host = Self { holder, _holds: holds };
        if first.is_empty() { Err("no network namespace".to_owned()) } else { Ok(host) }
    }

    /// A command that is at work there; its process is that of the program.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--net"]);
        if !geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg(program);
        command
    }

    /// The same for a command that is ready made.
    pub(super) fn with(&self, ready: &Command) -> Command {
        let mut command = self.command(ready.get_program().to_str().unwrap());
        command.args(ready.get_args());
        command
    }

    pub(super) fn ip(&self, words: &str) -> Result<(), String> {
        let said = self.command("ip").args(words.split(' ')).output();
        let said = said.map_err(|error| format!("ip: {error}"))?;
        let told = String::from_utf8_lossy(&said.stderr).trim().to_owned();
        if said.status.success() { Ok(()) } else { Err(format!("ip {words}: {told}")) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Two hosts and the cable between them.
pub(super) struct Hosts {
    pub(super) here: Host,
    pub(super) there: Host,
}

impl Hosts {
    /// `None`, and said, where the system lets us have no networks of our own.
    pub(super) fn for_test(test: &str) -> Option<Self> {
        match Self::new() {
            Ok(hosts) => Some(hosts),
            Err(why) => {
                left_out(test, &format!("this system lets us make no network of our own ({why})"));
                None
            }
        }
    }

    fn new() -> Result<Self, String> {
        let here = Host::new(None)?;
        let there = Host::new(Some(&here))?;
        here.ip("link set lo up")?;
        there.ip("link set lo up")?;
        let far = there.holder.id();
        here.ip(&format!("link add cable type veth peer name cable netns {far}"))?;
        for (host, address) in [(&here, HERE), (&there, THERE)] {
            host.ip(&format!("addr add {address}/24 dev cable"))?;
            host.ip("link set cable up")?;
        }
        Ok(Self { here, there })
    }
}
