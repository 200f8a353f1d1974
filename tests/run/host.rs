//! Hosts that refuse: full and read-only disks, too few open files. The real program, in a mount
//! namespace of its own where the disk is to blame.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use reports::verdict::Verdict;

use super::rig::{Ended, Left, Program, left_in, real, scenario};
use crate::support::in_own_mounts;

const RPC: &str = "rpc, request: {agent: emulated0, action: generate}, every: 1s, count: 60";

/// A run with results on a small file system of its own, mounted with these options.
struct SmallDisk {
    folder: tempfile::TempDir,
    program: Program,
}

impl SmallDisk {
    /// `None` where the system does not let us mount one; `more` goes behind the command line.
    async fn run(options: &str, more: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = in_own_mounts("a disk that is full or read-only")?;
        fs::create_dir(folder.path().join("results")).unwrap();
        let text = scenario(&real().await, &["default, nodes: 10"], &[RPC]);
        let run = Program::command(folder.path(), &text);
        // What is left is copied out: the file system is gone with the namespace.
        let steps = format!(
            "mount -t tmpfs -o {options} none results || exit 77; \
             \"$@\"; code=$?; cp -a results kept; exit $code"
        );
        command.args(["sh", "-c", &steps, "sh"]).arg(run.get_program());
        command.args(run.get_args()).args(more);
        let program = Program::start(command, folder.path());
        let seen = format!("/proc/{}/root{}/results", program.pid(), folder.path().display());
        Some(Self { program: program.seen_in(Path::new(&seen)), folder })
    }

    /// Fills it up.
    fn fill(&self) {
        let path = self.seen().join("filler");
        let mut filler = File::create(path).unwrap();
        for size in [4096, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn seen(&self) -> PathBuf {
        let folder = self.folder.path().display();
        PathBuf::from(format!("/proc/{}/root{folder}/results", self.program.pid()))
    }

    fn end(self) -> (Ended, tempfile::TempDir) {
        (self.program.end(), self.folder)
    }
}

fn says(ended: &Ended, texts: &[&str]) {
    for text in texts {
        assert!(ended.said.contains(text), "{text:?} is not in\n{}", ended.said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_nothing_ends_the_run_before_it_begins() {
    for (options, reason, advice) in [
        ("nr_inodes=4", "No space left on device", "free space on that disk"),
        ("ro", "Read-only file system", "choose another place with --out DIR"),
    ] {
        let Some(disk) = SmallDisk::run(options, &[]).await else { return };
        let (ended, _folder) = disk.end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        says(&ended, &["results/", reason, advice]);
        assert!(!ended.said.contains("broker n1"), "nothing was started: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_gets_full_ends_the_run_and_what_was_written_stays_readable() {
    // With worker processes, too: they are dismissed, and what they counted is not lost by them.
    for (size, more) in [("size=4m", &[][..]), ("size=8m", &["--workers", "2"])] {
        let Some(disk) = SmallDisk::run(size, more).await else { return };
        check_full(disk);
    }
}

/// Fills the disk while waves go on.
fn check_full(disk: SmallDisk) {
    disk.program.wait_for("wave", 2);
    disk.fill();
    let (ended, folder) = disk.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    says(&ended, &["No space left on device", "results/luck-", "free space on that disk"]);
    let left = Left::in_folder(&folder.path().join("kept/latest"));
    let summary = &left.summary;
    assert!(summary.partial && summary.verdict != Verdict::Passed, "{:?}", summary.verdict);
    assert!((1..60).contains(&summary.waves.len()), "{} waves", summary.waves.len());
    assert!(summary.waves.iter().all(|wave| wave.on_time == 10));
    let rows = fs::read_to_string(left.folder.join("requests.csv")).unwrap().lines().count();
    assert!(rows > summary.waves.len(), "a row for each wave and the columns: {rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_open_files_are_refused_with_the_arithmetic_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let text = scenario(&real().await, &["default, nodes: 300"], &[RPC]);
    let run = Program::command(folder.path(), &text);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 256 && exec \"$@\"", "sh"]).arg(run.get_program());
    command.args(run.get_args());
    let ended = Program::start(command, folder.path()).end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    says(&ended, &["refused by preflight", "open files, this process", "256", "prlimit"]);
    assert!(!folder.path().join("results").exists(), "nothing was begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_limit_that_falls_during_the_run_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let groups = ["default, nodes: 100, connect: {rate: 20/s}"];
    let text = scenario(&real().await, &groups, &[RPC]);
    let program = Program::run(folder.path(), &text);
    program.wait_until_series("connected", 10);
    let lowered = Command::new("prlimit")
        .args(["--pid", &program.pid().to_string(), "--nofile=40:40"])
        .status()
        .unwrap();
    assert!(lowered.success());
    let ended = program.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let left = left_in(folder.path());
    assert_eq!(left.summary.verdict, Verdict::Error);
    let events = left.lines("events.jsonl");
    let connected = events.iter().find(|event| event["kind"] == "connected").unwrap();
    assert!(connected["out_of_files"].as_u64().unwrap() > 0, "{connected}");
    assert!(left.error().contains("Too many open files"), "{}", left.error());
    assert!(left.error().contains("prlimit"), "{}", left.error());
}
