//! Finding and obtaining nats-server: from a path, the cache, the search path, an archive, Go.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use choria_emulator::broker::obtain::{
    Attempt, ObtainError, Obtained, Origin, Progress, Reason, Request, Sources, Unusable, install,
    list, obtain,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::releases::{Releases, archive, packed, sums};
use crate::support::{
    is_running, left_out, nats_server, number_in, path_folders, script, wait_until,
};

/// The version of the programs in these tests that only say a version.
const VERSION: &str = "2.14.5";

fn says(version: &str) -> String {
    format!("echo 'nats-server: v{version}'")
}

/// A cache, a folder on the search path, and nothing else.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    fn cached(&self, version: &str) -> PathBuf {
        self.cache().join("nats-server").join(version).join("nats-server")
    }

    /// Releases that nobody serves: the port is closed.
    fn sources(&self) -> Sources {
        let releases = "http://127.0.0.1:1".to_owned();
        Sources { cache: Some(self.cache()), search: vec![self.bin()], releases }
    }

    fn sources_with(&self, releases: &Releases) -> Sources {
        Sources { releases: releases.url(), ..self.sources() }
    }

    /// What lies in the cache: paths below it, without the lock files.
    fn kept(&self) -> Vec<String> {
        let mut kept = Vec::new();
        let folder = self.cache().join("nats-server");
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !name.starts_with(".lock-") {
                kept.push(name);
            }
        }
        kept
    }
}

fn version(version: &str) -> Request {
    Request { version: Some(version.to_owned()), path: None }
}

async fn find(request: Request, sources: Sources) -> Result<Obtained, ObtainError> {
    obtain(request, sources, |_| {}).await
}

async fn tried(request: Request, sources: Sources) -> Vec<Attempt> {
    match find(request, sources).await {
        Err(ObtainError::NothingDid { tried, .. }) => tried,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_named_program_is_taken_or_the_error_says_what_is_wrong_with_it() {
    let world = World::new();
    let at = |name: &str| world.bin().join(name);
    script(&at("good"), &says("2.9.10"));
    script(&at("fails"), "echo broken libc >&2; echo no; exit 1");
    script(&at("garbage"), r"printf '\377\376 hello'");
    script(&at("silent"), "true");
    script(&at("talks"), "echo; echo 'talks (GNU coreutils) 9.1'; echo Copyright; echo License");
    script(&at("old"), "echo 'nats-server version 1.4.1'");
    let number = world.folder.path().join("number");
    let body = format!("sleep 1000 & echo $! > {}; {}", number.display(), says("2.9.10"));
    script(&at("holds-the-pipe"), &body);
    fs::write(at("data"), "no program").unwrap();
    fs::create_dir(at("folder")).unwrap();
    for (name, wanted, expected) in [
        ("good", None, Ok("2.9.10")),
        ("good", Some("2.9.10"), Ok("2.9.10")),
        ("holds-the-pipe", None, Ok("2.9.10")),
        ("good", Some("2.9.11"), Err("it is 2.9.10\nchange brokers.path or the version")),
        ("absent", None, Err("it does not exist\nset brokers.path to a nats-server")),
        ("folder", None, Err("it is not a file\n")),
        ("data", None, Err("it is not executable\nmake it executable: chmod +x")),
        ("fails", None, Err("--version ended with exit status: 1: no\n")),
        (
            "garbage",
            None,
            Err("--version printed no version of nats-server 2.x: \u{fffd}\u{fffd} h"),
        ),
        ("silent", None, Err("--version printed no version of nats-server 2.x: (nothing)\n")),
        ("old", None, Err("nats-server version 1.4.1\n")),
        ("talks", None, Err("nats-server 2.x: talks (GNU coreutils) 9.1\nset")),
    ] {
        let request = Request { version: wanted.map(str::to_owned), path: Some(at(name)) };
        match (find(request, world.sources()).await, expected) {
            (Ok(found), Ok(version)) => {
                assert_eq!(
                    (found.version.to_string().as_str(), found.origin),
                    (version, Origin::Named)
                );
            }
            (Err(error), Err(said)) => assert!(error.to_string().contains(said), "{name}: {error}"),
            (other, _) => panic!("{name}: {other:?}"),
        }
    }
    let holds_the_pipe = number_in(&number);
    assert!(is_running(holds_the_pipe), "it was waited for");
    kill(Pid::from_raw(holds_the_pipe), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_version_that_is_none_is_refused_before_anything_is_tried() {
    for wanted in ["latest", "2.14", "1.4.1", "../2.14.5"] {
        let error = find(version(wanted), World::new().sources()).await.unwrap_err();
        assert!(matches!(error, ObtainError::Version(_)), "{wanted}: {error}");
    }
}

#[tokio::test]
async fn the_cache_comes_before_the_search_path_and_another_version_does_not_do() {
    let world = World::new();
    script(&world.bin().join("nats-server"), &says("2.9.10"));
    let found = find(version("v2.9.10"), world.sources()).await.unwrap();
    assert_eq!((found.origin, found.path), (Origin::Search, world.bin().join("nats-server")));
    script(&world.cached("2.9.10"), &says("2.9.10"));
    let found = find(version("2.9.10"), world.sources()).await.unwrap();
    assert_eq!((found.origin, found.path), (Origin::Cache, world.cached("2.9.10")));

    let tried = tried(version("2.9.11"), world.sources()).await;
    let reasons: Vec<String> = tried.iter().map(|attempt| attempt.reason.to_string()).collect();
    assert_eq!(reasons[..2], ["it does not exist", "it is 2.9.10"]);
}

#[tokio::test]
async fn without_a_version_the_newest_at_hand_is_taken_and_nothing_downloaded() {
    let releases = Releases::serve([]).await;
    for (cached, searched, expected) in [
        (&["2.9.10", "2.12.1"][..], Some("2.10.1"), ("2.12.1", Origin::Cache)),
        (&["2.9.10"], Some("2.10.1"), ("2.10.1", Origin::Search)),
        (&["2.10.1"], Some("2.10.1"), ("2.10.1", Origin::Cache)),
        (&[], Some("2.0.0"), ("2.0.0", Origin::Search)),
    ] {
        let world = World::new();
        for version in cached {
            script(&world.cached(version), &says(version));
        }
        if let Some(version) = searched {
            script(&world.bin().join("nats-server"), &says(version));
        }
        let found = find(Request::default(), world.sources_with(&releases)).await.unwrap();
        assert_eq!((found.version.to_string().as_str(), found.origin), expected);
    }
    assert_eq!(releases.requests(), 0);
}

#[tokio::test]
async fn a_release_archive_is_checked_unpacked_and_kept() {
    let real = nats_server().await;
    let version = real.version.to_string();
    let packed = archive(&version, &fs::read(&real.path).unwrap());
    let releases = Releases::of(&version, &packed, &sums(&version, &packed)).await;
    let world = World::new();
    let downloads = Arc::new(Mutex::new(Vec::new()));
    let progress = {
        let downloads = Arc::clone(&downloads);
        move |step| {
            if let Progress::Downloading { total_bytes, .. } = step {
                downloads.lock().unwrap().push(total_bytes);
            }
        }
    };
    let installed =
        install(version.clone(), world.sources_with(&releases), progress).await.unwrap();
    assert_eq!((installed.origin, &installed.path), (Origin::Release, &world.cached(&version)));
    assert_eq!(fs::read(&installed.path).unwrap(), fs::read(&real.path).unwrap());
    assert_eq!(downloads.lock().unwrap().first(), Some(&Some(packed.len() as u64)));
    assert_eq!(world.kept(), [version.as_str()]);

    let again = install(version.clone(), world.sources(), |_| {}).await.unwrap();
    assert_eq!(again.origin, Origin::Cache);
    let listed = list(&world.sources());
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].program.version.to_string(), version);
    assert!(listed[0].go.as_deref().is_some_and(|go| go.starts_with("go1.")), "{listed:?}");
    script(&world.bin().join("nats-server"), &says("2.99.0"));
    let listed = list(&world.sources());
    let listed: Vec<_> = listed.iter().map(|l| (l.program.origin, l.go.is_some())).collect();
    assert_eq!(listed, [(Origin::Search, false), (Origin::Cache, true)], "newest first");
}

#[tokio::test]
async fn an_archive_that_is_not_right_is_not_kept_and_the_reason_is_told() {
    let script = format!("#!/bin/sh\n{}\n", says(VERSION));
    let good = archive(VERSION, script.as_bytes());
    let other = archive(VERSION, format!("#!/bin/sh\n{}\n", says("2.14.4")).as_bytes());
    let empty = packed(VERSION, &[("README.md", b"NATS")]);
    let half = good[..good.len() / 2].to_vec();
    let garbage = b"<html>not found</html>".to_vec();
    let right = |bytes: &[u8]| sums(VERSION, bytes);
    for (name, bytes, sums, expected) in [
        ("wrong sum", &good, right(b"else"), "it was not kept"),
        ("no sum", &good, "abc  readme\n".to_owned(), "SHA256SUMS does not name nats-server-v2"),
        ("truncated", &half, right(&half), "cannot unpack the archive: "),
        ("garbage", &garbage, right(&garbage), "cannot unpack the archive: "),
        ("no program", &empty, right(&empty), "there is no nats-server in it"),
        ("other version", &other, right(&other), "it is 2.14.4"),
    ] {
        let releases = Releases::of(VERSION, bytes, &sums).await;
        let world = World::new();
        let tried = tried(version(VERSION), world.sources_with(&releases)).await;
        let reasons: Vec<String> = tried.iter().map(ToString::to_string).collect();
        assert_eq!(reasons.len(), 4, "{name}: {reasons:#?}");
        assert!(reasons[2].contains(expected), "{name}: {reasons:#?}");
        assert!(matches!(tried[3].reason, Reason::NoGo), "{name}: {reasons:#?}");
        assert_eq!(world.kept(), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn when_nothing_does_everything_tried_is_listed_with_what_would_help() {
    let nothing = Releases::serve([]).await;
    for (wanted, releases, expected) in [
        (VERSION, nothing.url(), "SHA256SUMS: http status: 404"),
        (VERSION, "http://127.0.0.1:1".to_owned(), "Connection refused"),
        ("2.1.8", nothing.url(), "release archive: the project has only .zip archives"),
    ] {
        let world = World::new();
        let sources = Sources { releases, ..world.sources() };
        let error = find(version(wanted), sources).await.unwrap_err().to_string();
        for part in [
            format!("no nats-server {wanted} was found or obtained\n").as_str(),
            "nats-server: it does not exist\n",
            "  tried search path: no nats-server there\n",
            expected,
            "  tried go install: no go on the search path\n",
            "\n  apt-get install nats-server",
            &format!("\n  choria-emulator broker install {wanted}"),
            "brokers: {path: ",
        ] {
            assert!(error.contains(part), "{part:?} is not in {error}");
        }
    }
}

#[tokio::test]
async fn nothing_at_hand_and_no_version_asked_brings_the_newest_known() {
    let script = format!("#!/bin/sh\n{}\n", says(VERSION));
    let packed = archive(VERSION, script.as_bytes());
    let releases = Releases::of(VERSION, &packed, &sums(VERSION, &packed)).await;
    let world = World::new();
    let found = find(Request::default(), world.sources_with(&releases)).await.unwrap();
    assert_eq!((found.version.to_string().as_str(), found.origin), (VERSION, Origin::Release));
}

#[tokio::test]
async fn a_broken_program_in_the_cache_is_replaced() {
    let script_text = format!("#!/bin/sh\n{}\n", says(VERSION));
    let packed = archive(VERSION, script_text.as_bytes());
    let releases = Releases::of(VERSION, &packed, &sums(VERSION, &packed)).await;
    let world = World::new();
    script(&world.cached(VERSION), "exit 1");
    let left_by_a_killed_run =
        world.cache().join("nats-server").join(format!(".partial-{VERSION}"));
    fs::create_dir_all(left_by_a_killed_run.join("bin")).unwrap();
    let found = find(version(VERSION), world.sources_with(&releases)).await.unwrap();
    assert_eq!(found.origin, Origin::Release);
    assert_eq!(fs::read_to_string(found.path).unwrap(), script_text);
    assert_eq!(world.kept(), [VERSION]);
}

#[tokio::test]
async fn runs_that_want_the_same_version_at_once_download_it_once() {
    let script = format!("#!/bin/sh\n{}\n", says(VERSION));
    let packed = archive(VERSION, script.as_bytes());
    let releases = Releases::of(VERSION, &packed, &sums(VERSION, &packed)).await;
    let world = World::new();
    let run = || find(version(VERSION), world.sources_with(&releases));
    let (a, b, c) = tokio::join!(run(), run(), run());
    for found in [a, b, c] {
        assert_eq!(found.unwrap().path, world.cached(VERSION));
    }
    assert_eq!(releases.requests(), 2, "the sums and the archive");
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_named() {
    let world = World::new();
    let file = world.folder.path().join("file");
    fs::write(&file, "").unwrap();
    // sysfs takes no folders, not even from root.
    for cache in [file.as_path(), Path::new("/sys")] {
        let sources = Sources { cache: Some(cache.to_owned()), ..world.sources() };
        let tried = tried(version(VERSION), sources).await;
        let last = tried.last().unwrap();
        assert!(
            matches!(&last.reason, Reason::Cache { path, .. } if path.starts_with(cache)),
            "{last}"
        );
    }
}

#[tokio::test]
async fn go_builds_what_no_archive_offers() {
    let world = World::new();
    let search = path_folders();
    if !search.iter().any(|folder| folder.join("go").is_file()) {
        return left_out("go builds what no archive offers", "there is no go here");
    }
    // Not what is on the search path: Go itself is found there, a nats-server shall not be.
    let version = nats_server().await.version.to_string();
    let built = install(version.clone(), Sources { search, ..world.sources() }, |_| {}).await;
    let built = built.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((built.origin, &built.path), (Origin::GoInstall, &world.cached(&version)));
    assert_eq!(world.kept(), [version]);
}

#[tokio::test]
async fn go_that_fails_is_quoted() {
    let world = World::new();
    script(&world.bin().join("go"), "echo go: no network >&2; exit 1");
    let attempts = tried(version(VERSION), world.sources()).await;
    let last = attempts.last().unwrap().to_string();
    assert_eq!(last, "go install: ended with exit status: 1\n      go: no network");
    script(&world.bin().join("go"), "exit 0");
    let attempts = tried(version(VERSION), world.sources()).await;
    let last = &attempts.last().unwrap().reason;
    assert!(matches!(last, Reason::Unusable(Unusable::Missing)), "{last}");
}

#[tokio::test]
async fn abandoned_work_ends_what_it_started() {
    for program in ["go", "nats-server"] {
        let world = World::new();
        let number = world.folder.path().join("number");
        let hangs = format!("echo $$ > {}; exec sleep 1000", number.display());
        script(&world.bin().join(program), &hangs);
        let pid = tokio::select! {
            found = find(version(VERSION), world.sources()) => panic!("{found:?}"),
            pid = tokio::task::spawn_blocking(move || number_in(&number)) => {
                pid.unwrap()
            }
        };
        wait_until(&format!("{program} is ended"), || !is_running(pid));
        wait_until("the half-done work is removed", || world.kept().is_empty());
    }
}
