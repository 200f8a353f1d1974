//! The ways into a control broker that was there before: conductor and workers are let in, or told why not, and
//! what is secret stands nowhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use choria_emulator::broker::Broker;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::run::apart::{TOKEN, conductor_over, control_broker_with, worker};
use crate::run::rig::{Program, broker_with, readable, real, scenario};

const NODES: u64 = 20;

/// A control broker, and what conductor and workers are given to get in.
struct Door {
    folder: tempfile::TempDir,
    control: Broker,
}

impl Door {
    async fn open(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = control_broker_with(folder.path(), config).await;
        Self { folder, control }
    }

    /// Its URL with this before the host.
    fn url(&self, before: &str) -> String {
        let port = self.control.client().port();
        format!("{before}127.0.0.1:{port}")
    }
}

async fn text() -> String {
    let wave = "rpc, request: {agent: emulated0, action: generate}, every: 500ms, count: 2";
    scenario(&real().await, &[&format!("default, nodes: {NODES}")], &[wave])
}

/// A run of two workers, all let in by the same words; none of `secrets` is in anything that they leave.
async fn check_let_in(url: &str, login: &[&str], secrets: &[&str]) {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let program = conductor_over((url, login), folders[0].path(), &text().await, "2");
    let workers = [("east", &folders[1]), ("west", &folders[2])]
        .map(|(name, folder)| Program::start(worker(url, name, login), folder.path()));
    let ended = program.end();
    for worker in workers {
        let ended = worker.end();
        assert_eq!(ended.code, Some(0), "{}", ended.said);
    }
    let left = readable(folders[0].path());
    assert_eq!(left.code_on_a_quiet_machine(), 0, "{}", ended.said);
    assert_eq!((left.summary.fleet.workers, left.summary.fleet.answered), (2, 2 * NODES));
    for folder in &folders {
        for file in files(folder.path()) {
            let bytes = fs::read(&file).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            let shown = secrets.iter().find(|secret| text.contains(**secret));
            assert_eq!(shown, None, "in {}", file.display());
        }
    }
}

/// All files under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let of = |entry: fs::DirEntry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => files(&entry.path()),
        kind if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    };
    entries.flat_map(of).collect()
}

/// Conductor and worker end with exit code 4 and these words.
async fn check_kept_out(url: &str, login: &[&str], says: &[&str]) {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let program = conductor_over((url, login), folders[0].path(), &text().await, "1");
    let worker = Program::start(worker(url, "east", login), folders[1].path());
    for ended in [program.end(), worker.end()] {
        assert_eq!(ended.code, Some(4), "{}", ended.said);
        for text in says {
            assert!(ended.said.contains(text), "{text:?} is not in {}", ended.said);
        }
    }
}

const REFUSED: [&str; 2] =
    ["cannot be reached", "check that a nats-server listens there, and the token"];

#[tokio::test(flavor = "multi_thread")]
async fn user_and_password_or_a_token_in_the_url() {
    let door = Door::open("authorization { user: conductor, password: \"hidden-word\" }").await;
    check_let_in(&door.url("nats://conductor:hidden-word@"), &[], &["hidden-word"]).await;
    check_kept_out(&door.url("nats://conductor:guess@"), &[], &REFUSED).await;
    check_kept_out(&door.url("nats://"), &[], &REFUSED).await;
    door.control.stop(Duration::ZERO).await;
    let door = Door::open("authorization { token: \"hidden-word\" }").await;
    check_let_in(&door.url("nats://hidden-word@"), &[], &["hidden-word"]).await;
    check_kept_out(&door.url("nats://guess@"), &[], &REFUSED).await;
    door.control.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_the_authority_that_vouches_for_the_control_broker() {
    let file = |name: &str| format!("{}/tests/data/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let tls = format!(
        "tls {{ cert_file: \"{cert}\", key_file: \"{key}\" }}\nauthorization {{ token: secret }}"
    );
    let door = Door::open(&tls).await;
    let trusting = [&TOKEN[..], &["--control-tlsca", &cert]].concat();
    for scheme in ["tls://", "nats://"] {
        check_let_in(&door.url(scheme), &trusting, &[]).await;
    }
    check_kept_out(&door.url("tls://"), &TOKEN, &["UnknownIssuer", "--control-tlsca"]).await;
    door.control.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_a_user_whom_an_account_vouches_for() {
    let operator = Operator::new();
    let door = Door::open(&operator.config()).await;
    let file = |name: &str, user: &User| {
        let path = door.folder.path().join(name);
        fs::write(&path, user.credentials()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let user = User::of(&operator.account);
    let creds = file("worker.creds", &user);
    let login = ["--control-creds", &creds];
    check_let_in(&door.url("nats://"), &login, &[&user.token, &user.key.seed().unwrap()]).await;
    let stranger = file("stranger.creds", &User::of(&KeyPair::new_account()));
    check_kept_out(&door.url("nats://"), &["--control-creds", &stranger], &REFUSED).await;
    check_kept_out(&door.url("nats://"), &["--control-token", "guess"], &REFUSED).await;
    door.control.stop(Duration::ZERO).await;
}

/// Who vouches for accounts, of which one may use JetStream.
struct Operator {
    key: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

impl Operator {
    fn new() -> Self {
        let [account, system] = [(); 2].map(|()| KeyPair::new_account());
        Self { key: KeyPair::new_operator(), account, system }
    }

    /// What a server needs to know.
    fn config(&self) -> String {
        let Self { key, account, system } = self;
        let operator = signed(key, key, "operator", json!({}));
        let every = json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1,
            "consumer": -1, "wildcards": true });
        let of_account = |account| signed(account, key, "account", json!({ "limits": every }));
        format!(
            "operator: {operator}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{\n{}: {}\n{}: {}\n}}",
            system.public_key(),
            account.public_key(),
            of_account(account),
            system.public_key(),
            signed(
                system,
                key,
                "account",
                json!({ "limits": { "subs": -1, "data": -1, "payload": -1,
                "conn": -1, "imports": -1, "exports": -1, "wildcards": true } })
            ),
        )
    }
}

/// Whom an account vouches for.
struct User {
    key: KeyPair,
    token: String,
}

impl User {
    fn of(account: &KeyPair) -> Self {
        let key = KeyPair::new_user();
        let token = signed(&key, account, "user", json!({ "subs": -1, "data": -1, "payload": -1 }));
        Self { key, token }
    }

    /// The file that `nsc` makes.
    fn credentials(&self) -> String {
        let (token, seed) = (&self.token, self.key.seed().unwrap());
        format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// What `issuer` says of `subject`, as NATS has it (version 2 of its claims).
fn signed(subject: &KeyPair, issuer: &KeyPair, kind: &str, mut claims: Value) -> String {
    claims["type"] = kind.into();
    claims["version"] = 2.into();
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let payload = json!({ "jti": kind, "iat": 1_700_000_000, "name": kind, "nats": claims,
        "iss": issuer.public_key(), "sub": subject.public_key() });
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encoded(&header), encoded(&payload));
    let signature = issuer.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_broker_without_jetstream_is_refused_with_what_to_start_instead() {
    let folder = tempfile::tempdir().unwrap();
    let token = "authorization { token: secret }";
    let control = broker_with(folder.path(), token).await;
    let place = tempfile::tempdir().unwrap();
    let ended = conductor_over((&control.url(), &TOKEN), place.path(), &text().await, "1").end();
    assert_eq!(ended.code, Some(4), "{}", ended.said);
    for text in ["no stream can be made", "nats-server -js"] {
        assert!(ended.said.contains(text), "{text:?} is not in {}", ended.said);
    }
    control.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_for_a_stream_is_refused_and_does_not_wait_for_it() {
    let door = Door::open(
        "authorization { users: [{user: emulator, password: secret, \
         permissions: {publish: {deny: \"$JS.>\"}}}] }",
    )
    .await;
    let place = tempfile::tempdir().unwrap();
    let url = door.url("nats://emulator:secret@");
    let ended = conductor_over((&url, &[]), place.path(), &text().await, "1").end();
    assert_eq!(ended.code, Some(4), "{}", ended.said);
    assert!(ended.said.contains("no stream can be made: nothing was heard"), "{}", ended.said);
    door.control.stop(Duration::ZERO).await;
}
