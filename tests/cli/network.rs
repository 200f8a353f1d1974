//! Networks that are there already: how they are named, and what is refused before anything is sent.

use std::fs;
use std::path::Path;

use super::{SMALL, ask, folder_with, program, said};

fn refused(folder: &Path, words: &[&str], says: &[&str]) {
    let said = ask(folder, words);
    assert_eq!(said.code, Some(2), "{words:?}: {said:?}");
    for text in says {
        assert!(said.err.contains(text), "{words:?}: {text:?} is not in\n{}", said.err);
    }
}

#[test]
fn no_network_is_guessed() {
    let folder = tempfile::tempdir().unwrap();
    for words in [&["emulate", "-i", "2"][..], &["measure"], &["measure", "1", "2", "flat", "out"]]
    {
        refused(folder.path(), words, &["no network is named", "--server"]);
    }
}

#[test]
fn a_scenario_with_its_own_broker_takes_no_connection_flags() {
    let folder = folder_with("small.yaml", SMALL.as_bytes());
    for (flag, value) in [
        ("--server", "nats://127.0.0.1:1"),
        ("--user", "bob"),
        ("--monitor", "http://127.0.0.1:1"),
        ("--system-user", "bob"),
    ] {
        let words = ["run", "small.yaml", flag, value];
        refused(folder.path(), &words, &[flag, "starts its own broker", "topology: external"]);
    }
}

#[test]
fn what_nodes_cannot_do_yet_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let emulate = ["emulate", "-i", "1", "-s", "nats://127.0.0.1:1"];
    for (words, says) in [
        (&["--creds", "x"][..], "--creds"),
        (&["--credentials", "x"], "--creds"),
        (&["--nkey", "x"], "--nkey"),
        (&["--tlsca", "x"], "--tlsca"),
        (&["--tls"], "--tls"),
        (&["--verify"], "--verify"),
        (&["--secure"], "--secure"),
        (&["--audit", "log-%d"], "--audit"),
        (&["--config", "client.conf"], "--config"),
        (&["-P", "fleet.default.nodes=2"], "--scenario"),
    ] {
        refused(folder.path(), &[&emulate[..], words].concat(), &[says]);
    }
    refused(folder.path(), &["emulate", "-i", "1", "-s", "tls://127.0.0.1"], &["tls://"]);
}

#[test]
fn a_run_whose_nodes_would_need_more_than_they_can_show_is_told_what_to_write_instead() {
    let text = format!("{SMALL}brokers: {{topology: external, urls: [\"nats://127.0.0.1:1\"]}}\n");
    let folder = folder_with("there.yaml", text.as_bytes());
    for (words, what) in [
        (&["--creds", "x"][..], "a credentials file (--creds)"),
        (&["--nkey", "x"], "an NKEY (--nkey)"),
        (&["--tlsca", "x"], "certificate authorities (--tlsca)"),
        (&["--tlscert", "x", "--tlskey", "y"], "a TLS certificate (--tlscert)"),
        (&["--tlsfirst"], "TLS (--tlsfirst)"),
        (&["--server", "tls://127.0.0.1:1"], "a server with tls://"),
    ] {
        let says = [what, "write --user and --password, or --token, instead", "`measure`"];
        refused(folder.path(), &[&["run", "there.yaml"], words].concat(), &says);
    }
}

#[test]
fn the_servers_of_a_scenario_count_where_none_is_named() {
    // No port is named, and the name is reserved to be unknown (RFC 6761).
    let text = format!("{SMALL}brokers: {{topology: external, urls: [\"nats://no.invalid\"]}}\n");
    let folder = folder_with("there.yaml", text.as_bytes());
    let said = ask(folder.path(), &["emulate", "--scenario", "there.yaml", "-p", "0"]);
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("nats://no.invalid:4222 cannot be looked up"), "{}", said.err);
}

#[test]
fn measure_takes_both_of_its_forms_and_tells_them_apart() {
    let folder = folder_with("nodes", b"a b\n");
    for (words, says) in [
        (&["ten", "5", "flat", "out"][..], "COUNT EXPECT DESCRIPTION OUTDIR"),
        (&["1", "5", "flat", "out", "--count", "3"], "cannot be used with"),
        (&["--expect", "0"], "nobody is expected"),
        (&["--expect", "5", "--discover"], "cannot be used with"),
        (&["--nodes-file", "missing"], "list of nodes missing"),
        (&["--nodes-file", "nodes"], "no identity"),
        (&["--threshold", "nonsense"], "min == 100%"),
        (&["--threshold", "fleet.connected: rate == 100%"], "not ours"),
        (&["--every", "5"], "`5s`"),
        (&["--discovery-timeout", "0s"], "nobody answers in no time"),
        (&["--discovery-timeout", "2s", "--nodes-file", "nodes"], "cannot be used with"),
        (&["--agent", "rpcutil", "--data", "[]"], "JSON object"),
    ] {
        let measure = ["measure", "-s", "nats://127.0.0.1:1"];
        refused(folder.path(), &[&measure[..], words].concat(), &[says]);
    }
}

#[test]
fn contexts_of_the_nats_cli_are_read_and_their_mistakes_named() {
    let folder = tempfile::tempdir().unwrap();
    let contexts = folder.path().join("config/nats/context");
    fs::create_dir_all(&contexts).unwrap();
    fs::write(contexts.join("signed.json"), r#"{"url": "nats://127.0.0.1:1", "creds": "/x"}"#)
        .unwrap();
    fs::write(contexts.join("broken.json"), "{").unwrap();
    fs::write(contexts.join("far.json"), r#"{"url": "nats://h", "nsc": "nsc://a/b/c"}"#).unwrap();
    for (name, says) in [
        ("signed", "--creds"),
        ("broken", "no context of the nats CLI"),
        ("far", "nsc"),
        ("other", "there are: broken, far, signed"),
        ("../x", "cannot be the name"),
    ] {
        refused(folder.path(), &["emulate", "-i", "1", "--context", name], &[says]);
    }
    let output = program(folder.path())
        .args(["emulate", "-i", "1"])
        .env("NATS_CONTEXT", "signed")
        .output()
        .unwrap();
    assert!(said(output).err.contains("--creds"));
}

#[test]
fn a_server_that_is_no_address_does_not_show_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["emulate", "-i", "1", "-s", "nats://bob:secret@broker:port"];
    let said = ask(folder.path(), &words);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("broker:port") && !said.err.contains("secret"), "{}", said.err);
}
