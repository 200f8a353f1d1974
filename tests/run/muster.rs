//! Who is let into a run, and how whoever was let in hears that it is over.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use async_nats::connection::State;
use choria_emulator::control::messages::{Answer, Assignment, Beat, Order, Reach, Welcome};
use choria_emulator::control::{Line, LineError, Subjects};
use choria_emulator::driver::{ConnectionOptions, Secret};
use choria_emulator::plan::Plan;
use emulator::spec::{Login, Server, Share};
use futures_util::{FutureExt as _, StreamExt as _};
use nix::sys::signal::Signal;
use reports::verdict::Verdict;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::apart::{
    TOKEN, conduct, conductor, conductor_over, conductor_with, control_broker, worker,
};
use super::handmade::{ConductorByHand, WorkerByHand, line, next};
use super::rig::{self, Ended, Program, broker_with, left_in, processes_about, readable};
use super::workers::{LONG, text};
use crate::support::{SOON, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_listen_yet_hears_that_it_is_to_leave_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (program, url) = conductor(folder.path(), &text(LONG, "").await, "2");
    let mut slow = WorkerByHand::at(&url, "slow").await;
    let number = slow.join().await;
    program.signal(Signal::SIGINT);
    sleep(Duration::from_secs(1)).await;
    slow.leave(number).await;
    assert_eq!(program.end().code, Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_welcome_was_lost_is_welcomed_again_with_the_same_number() {
    let folder = tempfile::tempdir().unwrap();
    let (program, url) = conductor(folder.path(), &text(LONG, "").await, "2");
    let mut worker = WorkerByHand::at(&url, "east").await;
    let number = worker.join().await;
    // For all that it knows nobody has answered.
    assert_eq!(worker.ask().await, Welcome::Accepted { number, of: 2 });
    worker.card.pid += 1;
    let Welcome::Refused(reason) = worker.ask().await else { panic!("another process") };
    assert!(reason.contains("has a worker east already"), "{reason}");
    program.signal(Signal::SIGINT);
    worker.leave(number).await;
    assert_eq!(program.end().code, Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_not_answered_asks_again_as_the_same_worker() {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut conductor = ConductorByHand::start(folders[0].path()).await;
    let url = conductor.broker.url();
    let program = Program::start(worker(&url, "east", &TOKEN), folders[1].path());
    let (_, unanswered) = conductor.asked().await;
    assert_eq!(conductor.let_in().await, unanswered);
    program.wait_until_said("worker 1 of 1");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().code, Some(143));
    conductor.broker.stop(Duration::ZERO).await;
}

/// A share of a plan that has its clients at worker `w1`, and a broker that takes connections and says nothing.
pub(super) async fn mute_assignment(folder: &Path) -> (TcpListener, Plan, Assignment, Reach) {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap();
    let url = format!("nats://{address}");
    let plan = super::setup(&text(LONG, "client: {at: w1}\n").await, &[], folder).await.plan;
    let assignment = Assignment {
        digest: plan.digest(),
        share: Share::WHOLE,
        shards: 1,
        servers: vec![Server::at(address)],
        source_addresses: Vec::new(),
        login: Login::default(),
    };
    // The worker gives up after 20 s.
    let connection =
        ConnectionOptions { timeout: Some(Duration::from_secs(60)), ..Default::default() };
    (mute, plan, assignment, Reach { urls: vec![url], connection, nonce: 0 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_reads_another_plan_than_was_sent_refuses_it_with_both_digests() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut conductor = ConductorByHand::start(folders[0].path()).await;
    let url = conductor.broker.url();
    let program = Program::start(worker(&url, "w1", &TOKEN), folders[1].path());
    conductor.let_in().await;
    let (_mute, mut plan, assignment, _) = mute_assignment(folders[2].path()).await;
    plan.seed += 1;
    let (sent, read) = (assignment.digest.clone(), plan.digest());
    let answer = conductor.prepare(&plan, assignment).await;
    let told = format!("w1: the plan was sent as {sent} and is read as {read}");
    assert_eq!(answer, Answer::Refused(told.clone()));
    conductor.dismiss().await;
    let ended = program.end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains(&told), "{}", ended.said);
    conductor.broker.stop(Duration::ZERO).await;
}

/// Does something to a worker while it tries to connect a client to a broker that says nothing: it ends so, and not
/// because of the broker.
async fn check_interrupted(happens: impl AsyncFnOnce(&mut ConductorByHand, &Program)) -> Ended {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut conductor = ConductorByHand::start(folders[0].path()).await;
    let url = conductor.broker.url();
    let program = Program::start(worker(&url, "w1", &TOKEN), folders[1].path());
    conductor.let_in().await;
    let (mute, plan, assignment, reach) = mute_assignment(folders[2].path()).await;
    assert_eq!(conductor.prepare(&plan, assignment).await, Answer::Done);
    let inbox = conductor.line.client().new_inbox();
    let mut answers = conductor.line.listen(&inbox).await.unwrap();
    let connect = Order::Connect(Box::new(reach));
    let connect = serde_json::to_vec(&conductor.numbered(&connect)).unwrap();
    let client = conductor.line.client();
    client.publish_with_reply(conductor.orders(), inbox, connect.into()).await.unwrap();
    let _connection = timeout(SOON, mute.accept()).await.unwrap().unwrap();
    happens(&mut conductor, &program).await;
    let ended = program.end();
    conductor.line.client().flush().await.unwrap();
    let answer = answers.next().now_or_never();
    assert!(answer.is_none(), "it waited for the broker: {answer:?}");
    conductor.broker.stop(Duration::ZERO).await;
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_carries_out_an_order_hears_a_signal() {
    let ended = check_interrupted(async |_, program| program.signal(Signal::SIGTERM)).await;
    assert_eq!(ended.code, Some(143), "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_carries_out_an_order_misses_its_conductor() {
    let ended = check_interrupted(async |conductor, _| conductor.beats.shutdown().await).await;
    assert_eq!(ended.code, Some(5), "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_carries_out_an_order_hears_that_it_is_to_leave() {
    let ended = check_interrupted(async |conductor, _| conductor.dismiss().await).await;
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains("nobody wants it"), "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_waited_for_where_a_worker_of_a_name_cannot_come_any_more() {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let text = text(&format!("{LONG}, clients: 2"), "client: {at: [east, west]}\n").await;
    let (program, url) = conductor(folders[0].path(), &text, "2");
    // The second place is for both of them.
    let north = Program::start(worker(&url, "north", &TOKEN), folders[1].path());
    let ended = program.end();
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(ended.said.contains("clients at `east`, `west`, and no worker"), "{}", ended.said);
    assert_eq!(north.end().code, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_a_broker_would_read_as_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for token in ["12345", "$HOME", "a b", "", "\"quo"] {
        let more = ["--control-listen", "127.0.0.1:0", "--control-token", token];
        let ended = conduct(folder.path(), &text(LONG, "").await, "1", &more).end();
        assert_eq!(ended.code, Some(2), "{token:?}: {}", ended.said);
        assert!(ended.said.contains("openssl rand"), "{}", ended.said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_made_up_is_told_and_one_that_was_given_is_not() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let text = text(LONG, "").await;
    let (given, _) = conductor(folders[0].path(), &text, "1");
    given.signal(Signal::SIGINT);
    let said = given.end().said;
    assert!(said.contains("CHORIA_EMULATOR_CONTROL_TOKEN=... choria-emulator"), "{said}");
    assert!(!said.contains("secret"), "{said}");
    let listen = ["--control-listen", "127.0.0.1:0"];
    let made_up = conduct(folders[1].path(), &text, "1", &listen);
    made_up.wait_until_said("worker --control nats://");
    let said = std::fs::read_to_string(folders[1].path().join("said")).unwrap();
    let behind = |what: &str| said.split(what).nth(1).unwrap().split_whitespace().next().unwrap();
    let (token, url) = (behind("CHORIA_EMULATOR_CONTROL_TOKEN="), behind("--control "));
    let east = worker(url, "east", &["--control-token", token]);
    let east = Program::start(east, folders[2].path());
    made_up.wait_for("wave", 1);
    made_up.signal(Signal::SIGINT);
    assert_eq!((made_up.end().code, east.end().code), (Some(130), Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_broker_that_is_away_when_somebody_begins_to_listen_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker_with(folder.path(), "authorization { token: secret }").await;
    let line = line(&broker.url(), "test").await;
    broker.stop(Duration::ZERO).await;
    wait_until("a lost connection", || line.client().connection_state() != State::Connected);
    let heard = timeout(SOON, line.listen("anything")).await.expect("an end");
    assert!(matches!(heard, Err(LineError::Subscribe { .. })), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_may_not_open_enough_files_for_their_share_are_refused_with_the_arithmetic() {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let (program, url) = conductor(folders[0].path(), &text(LONG, "").await, "1");
    let like = worker(&url, "narrow", &TOKEN);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 300 && exec \"$@\"", "sh"]).arg(like.get_program());
    command.args(like.get_args());
    let narrow = Program::start(command, folders[1].path());
    let ended = program.end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains("open files, each worker"), "{}", ended.said);
    assert_eq!(narrow.end().code, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_carry_its_share_any_more_refuses_it_and_says_what_it_has() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let (program, url) = conductor(folders[0].path(), &text(LONG, "").await, "2");
    let start =
        |at: usize, name: &str| Program::start(worker(&url, name, &TOKEN), folders[at].path());
    let east = start(1, "east");
    east.wait_until_said("worker 1 of 2");
    // What it said of its host when it came is not true any more.
    let mut lower = Command::new("prlimit");
    lower.args(["--pid", &east.pid().to_string(), "--nofile=270:270"]);
    assert!(lower.status().unwrap().success());
    let west = start(2, "west");
    let ended = program.end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    let left = left_in(folders[0].path());
    let says = ["worker east on ", "may open 270 files", "which is 13 nodes", "has up to 30"];
    for text in says.iter().chain(&["LimitNOFILE=", "take more workers"]) {
        assert!(ended.said.contains(text), "{text:?} is not in {}", ended.said);
        assert!(left.error().contains(text), "{text:?} is not in {}", left.error());
    }
    assert_eq!((left.summary.exit_code, left.summary.fleet.ever_connected), (3, 0));
    let (east, west) = (east.end(), west.end());
    assert_eq!((east.code, west.code), (Some(3), Some(3)), "{}\n{}", east.said, west.said);
    assert!(east.said.contains("may open 270 files"), "{}", east.said);
    assert!(west.said.contains("the run has ended"), "{}", west.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_a_run_that_was_killed_is_told_of_the_next_and_leaves() {
    let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let control = control_broker(folders[0].path(), "").await;
    let url = control.url();
    let text = text(LONG, "").await;
    let beats = line(&url, "listener").await;
    let mut beats = beats.listen(Subjects::BEAT).await.unwrap();
    let conduct = |at: usize| conductor_over((&url, &TOKEN), folders[at].path(), &text, "1");
    let first = conduct(1);
    let east = Program::start(worker(&url, "east", &TOKEN), folders[3].path());
    first.wait_for("wave", 1);
    let of_first = next::<Beat>(&mut beats).await.1.run;
    // It has no chance to notice that its run is over before there is another.
    east.signal(Signal::SIGSTOP);
    first.signal(Signal::SIGKILL);
    assert_eq!(first.end().code, None);
    let second = conduct(2);
    let run = loop {
        let run = next::<Beat>(&mut beats).await.1.run;
        if run != of_first {
            break run;
        }
    };
    east.signal(Signal::SIGCONT);
    let ended = east.end();
    assert_eq!(ended.code, Some(5), "{}", ended.said);
    let told = format!("its run is over, and run {run} is conducted over the control broker");
    for text in ["the conductor was not heard any more", &told, "start this worker again"] {
        assert!(ended.said.contains(text), "{text:?} is not in {}", ended.said);
    }
    second.signal(Signal::SIGINT);
    let ended = second.end();
    assert_eq!(ended.code, Some(130), "{}", ended.said);
    assert!(left_in(folders[2].path()).summary.workers.is_empty(), "nobody joined it");
    control.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_muster_that_is_interrupted_sends_those_home_who_came() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
        let (program, url) = conductor(folders[0].path(), &text(LONG, "").await, "2");
        let east = Program::start(worker(&url, "east", &TOKEN), folders[1].path());
        east.wait_until_said("worker 1 of 2");
        program.signal(signal);
        let ended = program.end();
        assert_eq!(ended.code, Some(code), "{}", ended.said);
        let left = readable(folders[0].path());
        assert_eq!(left.summary.verdict, Verdict::Interrupted);
        assert!(left.lines("events.jsonl").iter().all(|event| event["kind"] != "mustered"));
        let ended = east.end();
        assert_eq!(ended.code, Some(3), "{}", ended.said);
        assert!(ended.said.contains("the run has ended"), "{}", ended.said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_muster_of_its_own_workers_that_is_interrupted_leaves_none_of_them() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let folder = tempfile::tempdir().unwrap();
        let program = conduct(folder.path(), &text(LONG, "").await, "20", &[]);
        // As soon as the control broker is there it stands still, and nobody can come.
        let control = || {
            let mut all = processes_about(folder.path()).into_iter();
            let program = |pid: &i32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
            let told = |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).ok();
            all.find(|pid| {
                program(pid).is_some_and(|it| it.ends_with("nats-server"))
                    && told(pid).is_some_and(|it| it.ends_with(b"control.conf\0"))
            })
        };
        wait_until("a control broker", || control().is_some());
        rig::signal(control().unwrap(), Signal::SIGSTOP);
        program.signal(signal);
        let ended = program.end();
        assert_eq!(ended.code, Some(code), "{}", ended.said);
        let left = readable(folder.path());
        assert_eq!(left.summary.verdict, Verdict::Interrupted);
        assert!(left.lines("events.jsonl").iter().all(|event| event["kind"] != "mustered"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_other_hosts_dial_out_and_who_comes_too_late_or_twice_is_told_so() {
    let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let (program, url) = conductor(folders[0].path(), &text(LONG, "").await, "2");
    let east = Program::start(worker(&url, "east", &TOKEN), folders[1].path());
    east.wait_until_said("worker 1 of 2");
    let twice = Program::start(worker(&url, "east", &TOKEN), folders[3].path()).end();
    assert_eq!(twice.code, Some(3), "{}", twice.said);
    assert!(twice.said.contains("has a worker east already"), "{}", twice.said);
    let west = Program::start(worker(&url, "west", &TOKEN), folders[2].path());
    program.wait_for("wave", 1);
    let late = Program::start(worker(&url, "late", &TOKEN), folders[3].path()).end();
    assert_eq!(late.code, Some(3), "{}", late.said);
    assert!(late.said.contains("comes too late"), "{}", late.said);
    let stranger =
        Program::start(worker(&url, "stranger", &["--control-token", "guess"]), folders[3].path())
            .end();
    assert_eq!(stranger.code, Some(4), "{}", stranger.said);
    program.signal(Signal::SIGINT);
    assert_eq!(program.end().code, Some(130));
    for worker in [east, west] {
        let ended = worker.end();
        assert_eq!(ended.code, Some(0), "the run is over: {}", ended.said);
    }
    let left = left_in(folders[0].path());
    assert_eq!(left.summary.fleet.workers, 2);
    assert!(left.summary.workers.iter().map(|worker| worker.name.as_str()).eq(["east", "west"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_another_build_is_turned_away_with_both_builds_named() {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let (program, url) = conductor(folders[0].path(), &text(LONG, "").await, "1");
    // The same program with a byte more is another build.
    let other = folders[1].path().join("other-build");
    let mut bytes = std::fs::read(env!("CARGO_BIN_EXE_choria-emulator")).unwrap();
    bytes.push(0);
    std::fs::write(&other, bytes).unwrap();
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let like = worker(&url, "other", &TOKEN);
    let mut command = Command::new(&other);
    command.args(like.get_args());
    let turned_away = Program::start(command, folders[1].path()).end();
    assert_eq!(turned_away.code, Some(3), "{}", turned_away.said);
    assert!(turned_away.said.contains("and the conductor is"), "{}", turned_away.said);
    assert!(turned_away.said.contains("install the same build on both"), "{}", turned_away.said);
    program.wait_until_said("install the same build on both");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().code, Some(143));
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_do_not_come_in_time_are_told_with_those_that_did() {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let wait = ["--expect-max-wait", "5s"];
    let (program, url) = conductor_with(folders[0].path(), &text(LONG, "").await, "2", &wait);
    let only = Program::start(worker(&url, "only", &TOKEN), folders[1].path());
    let ended = program.end();
    assert_eq!(ended.code, Some(5), "{}", ended.said);
    for text in ["1 of 2 workers came within 5s", "only on ", "--expect-max-wait"] {
        assert!(ended.said.contains(text), "{text:?} is not in {}", ended.said);
    }
    let alone = only.end();
    assert_eq!(alone.code, Some(3), "{}", alone.said);
    assert!(alone.said.contains("the run has ended"), "{}", alone.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_broker_that_lets_anybody_in_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker_with(folder.path(), "").await;
    let ended = conductor_over((&broker.url(), &TOKEN), folder.path(), &text(LONG, "").await, "1");
    let said = || std::fs::read_to_string(folder.path().join("said")).unwrap();
    wait_until("the refusal", || said().contains("lets anybody in"));
    broker.stop(Duration::ZERO).await;
    assert_eq!(ended.end().code, Some(4), "{}", said());
}

/// Whether a control broker with this configuration lets strangers command workers, as far as we find.
async fn is_open(config: &str, options: ConnectionOptions) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker_with(folder.path(), config).await;
    let options = ConnectionOptions { servers: vec![broker.url()], ..options };
    let connected = Line::connect(&options, "test").await.map(drop);
    broker.stop(Duration::ZERO).await;
    match connected {
        Err(LineError::Open(_)) => true,
        connected => connected.map(|()| false).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_broker_is_open_if_a_stranger_commands_workers_whatever_it_asks_for() {
    let user = |name: &str| ConnectionOptions {
        user: Some(name.to_owned()),
        password: Some(Secret::new("secret")),
        ..ConnectionOptions::default()
    };
    let file = |name: &str| format!("{}/tests/data/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let users = "{user: ours, password: secret}";
    let guest = "no_auth_user: guest\n";
    let same = format!("{guest}authorization {{ users: [{users}, {{user: guest, password: x}}] }}");
    let elsewhere = format!(
        "{guest}accounts {{ a: {{users: [{users}]}}, b: {{users: [{{user: guest, password: x}}]}} }}"
    );
    let mute = "{user: guest, password: x, permissions: {publish: {deny: \">\"}}}";
    let mute = format!("{guest}authorization {{ users: [{users}, {mute}] }}");
    let tls = format!("cert_file: {cert:?}, key_file: {key:?}, ca_file: {cert:?}, verify: true");
    let mutual = ConnectionOptions {
        tls_cert: Some(cert.clone().into()),
        tls_key: Some(key.into()),
        tls_ca: Some(cert.into()),
        ..ConnectionOptions::default()
    };
    for (config, options, open) in [
        ("", ConnectionOptions::default(), true),
        (&same, user("ours"), true),
        (&elsewhere, user("ours"), false),
        (&mute, user("ours"), false),
        (&format!("tls {{ {tls} }}"), mutual, false),
    ] {
        assert_eq!(is_open(config, options).await, open, "{config}");
    }
}
