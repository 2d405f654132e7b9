//! Shows that an artifact survives the way to other places and back, byte by byte, and that what is
//! damaged or does not fit is refused.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use crate::Cli;
use crate::certificates::{Authority, Identity};
use crate::store_server::StoreServer;

const FILES: [&str; 4] = ["README.md", "config.json", "manifest.json", "model.safetensors"];

/// A home with one trained sequence model, `next`.
fn trained() -> Cli {
    let cli = Cli::new();
    let mut csv = String::from("user_id,item_id,occurred_at\n");
    for user in 0..20_u64 {
        for step in 0..10_u64 {
            let at = 1_700_000_000_000 + (step * 20 + user) * 3_600_000;
            csv += &format!("u{user},i{},{at}\n", (user + step) % 7);
        }
    }
    cli.write("plays.csv", &csv);
    cli.write(
        "h/segue.toml",
        "[model.next]\nkind = \"esasrec\"\nd = 8\nn_blocks = 1\nhidden = 16\nmax_history = 6\n\
         training = { rounds = 1, round_steps = 2 }\nnegatives = { count = 4 }\n",
    );
    for command in [&["import", "plays.csv"][..], &["prepare"], &["train", "--models", "next"]] {
        let mut arguments = command.to_vec();
        arguments.extend(["--home", "h", "--quiet", "--json"]);
        let output = cli.run(&arguments);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    cli
}

fn json(cli: &Cli, arguments: &[&str]) -> serde_json::Value {
    let output = cli.run(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_model_goes_to_a_folder_and_back_and_damage_is_refused() {
    let cli = trained();
    let listed = json(&cli, &["model", "list", "--home", "h"]);
    let id = listed[0]["artifact_id"].as_str().unwrap();
    assert_eq!(listed[0]["serves"], true);
    let shown = json(&cli, &["model", "show", "next", "--id", &id[..8], "--home", "h"]);
    let shape = |name: &str| {
        let tensors = shown["tensors"].as_array().unwrap();
        tensors.iter().find(|t| t["name"] == name).unwrap()["shape"].clone()
    };
    assert_eq!(shape("item.weight"), serde_json::json!([7, 8]));
    assert_eq!(shape("block.0.qkv.weight"), serde_json::json!([24, 8]));
    assert_eq!(shape("block.0.qkv.bias"), serde_json::json!([24]));

    json(&cli, &["model", "push", "next", "out", "--home", "h"]);
    let card = fs::read_to_string(cli.path().join("out/README.md")).unwrap();
    assert!(card.starts_with("---\nlibrary_name: segue\n") && card.contains("`esasrec`"), "{card}");
    let pulled = json(&cli, &["model", "pull", "out", "--name", "twin", "--publish", "--home", "other"]);
    assert_eq!(pulled["artifact_id"], id);
    for file in FILES {
        let kept = fs::read(cli.path().join("other/artifacts/twin").join(id).join(file)).unwrap();
        assert_eq!(kept, fs::read(cli.path().join("out").join(file)).unwrap(), "{file}");
    }

    // One changed byte of the weights.
    let path = cli.path().join("out/model.safetensors");
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&path, &bad).unwrap();
    let pull = ["model", "pull", "out", "--name", "bad", "--home", "other"];
    let text = cli.text(&pull);
    assert!(
        text.contains("exit 1") && text.contains("expected SHA-256") && text.contains(", got "),
        "{text}"
    );

    // Without a manifest, as PyTorch writes it: a manifest is made, and the settings have to fit the shapes.
    fs::write(&path, &good).unwrap();
    fs::remove_file(cli.path().join("out/manifest.json")).unwrap();
    let pulled = json(&cli, &["model", "pull", "out", "--name", "bare", "--home", "other"]);
    assert_eq!((&pulled["kind"], &pulled["n_items"]), (&"esasrec".into(), &7.into()));
    let made = pulled["artifact_id"].as_str().unwrap();
    let shown = json(&cli, &["model", "show", "bare", "--id", made, "--home", "other"]);
    assert_eq!(shown["manifest"]["meta"]["notes"]["origin"], "out");
    let config = fs::read_to_string(cli.path().join("out/config.json")).unwrap();
    cli.write("out/config.json", &config.replace("\"hidden\": 16", "\"hidden\": 24"));
    let text = cli.text(&pull);
    assert!(text.contains("`block.0.mlp.up.weight` of shape [48, 8], got shape [32, 8]"), "{text}");
    // Nothing of a refused model is left behind.
    assert_eq!(fs::read_dir(cli.path().join("other/artifacts/bad")).unwrap().count(), 0);
    let missing = cli.text(&["model", "pull", "nowhere", "--name", "x", "--home", "other"]);
    assert!(missing.contains("nowhere holds no config.json"), "{missing}");
}

#[test]
fn the_card_of_a_pushed_model_says_what_evaluate_measured_of_its_settings() {
    let cli = trained();
    let pushed = |place: &str| {
        let output = cli.run(&["model", "push", "next", place, "--home", "h"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let card = fs::read_to_string(cli.path().join(place).join("README.md")).unwrap();
        (card, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (card, said) = pushed("before");
    assert!(card.contains("Nothing was measured") && !said.contains("evaluation"), "{card} {said}");

    let report = json(&cli, &["evaluate", "--models", "next", "--home", "h", "--quiet"]);
    let (card, _) = pushed("after");
    assert!(card.contains("| metric | value | 95 % interval over listeners | listeners |"), "{card}");
    let metrics = report["retrieval"]["models"][0]["metrics"].as_array().unwrap();
    let ndcg = metrics.iter().find(|m| m["metric"] == "ndcg").unwrap()["value"].as_f64().unwrap();
    assert!(card.contains(&format!("| ndcg@10 | {ndcg:.6} | ")), "{card}");
    assert!(!card.contains("Nothing was measured"), "{card}");
    let shown = json(&cli, &["model", "show", "next", "--home", "h"]);
    assert_eq!(shown["measured"]["metrics"][1]["name"], "ndcg@10");
    // The artifact is what it was: a card is no part of it.
    json(&cli, &["model", "pull", "after", "--name", "twin", "--home", "other"]);

    // Of other settings: not of this model.
    let settings = fs::read_to_string(cli.path().join("h/segue.toml")).unwrap();
    cli.write("h/segue.toml", &settings.replace("hidden = 16", "hidden = 24"));
    json(&cli, &["evaluate", "--models", "next", "--home", "h", "--quiet"]);
    let (card, said) = pushed("other-settings");
    assert!(card.contains("Nothing was measured"), "{card}");
    assert!(said.contains("without its evaluation: it is of `hidden` 24, the artifact of 16"), "{said}");
}

#[test]
fn a_model_goes_through_an_s3_bucket_and_is_read_over_plain_http() {
    let cli = trained();
    let server = StoreServer::start(None);
    let run = |arguments: &[&str]| run_at(&cli, arguments, &aws(&server.address));
    let (done, text) = run(&["model", "push", "next", "s3://bucket/a b/next", "--home", "h"]);
    assert!(done, "{text}");
    assert_eq!(server.paths(), FILES.map(|file| format!("/bucket/a%20b/next/{file}")));
    let pull = ["model", "pull", "s3://bucket/a b/next", "--name", "s3", "--publish", "--home", "other"];
    let (done, text) = run(&pull);
    assert!(done, "{text}");
    let url = format!("{}/bucket/a%20b/next", server.address);
    let (done, text) = run(&["model", "pull", &url, "--name", "http", "--home", "other"]);
    assert!(done, "{text}");
}

#[test]
fn a_model_goes_through_stores_with_tls_whose_authority_is_trusted() {
    let cli = trained();
    let authority = Authority::new("Segue test authority");
    cli.write("ca.pem", &authority.pem());
    let server = StoreServer::start(Some(authority.identity("localhost")));
    let mut settings = aws(&server.address);
    settings.push(("SSL_CERT_FILE", "ca.pem"));
    settings.push(("STORAGE_EMULATOR_HOST", &server.address));
    settings.push(("GOOGLE_OAUTH_ACCESS_TOKEN", "TOKEN"));
    let run = |arguments: &[&str]| run_at(&cli, arguments, &settings);
    let sent = |file: &str| fs::read(cli.path().join("out").join(file)).unwrap();
    json(&cli, &["model", "push", "next", "out", "--home", "h"]);

    let https = format!("{}/open/next", server.address);
    assert!(https.starts_with("https://localhost:"), "{https}");
    for (name, place, path) in [
        ("https", &*https, "/open/next"),
        ("s3", "s3://bucket/next", "/bucket/next"),
        ("gs", "gs://cloud/next", "/cloud/next"),
    ] {
        let (done, text) = run(&["model", "push", "next", place, "--home", "h"]);
        assert!(done, "{place}: {text}");
        for file in FILES {
            assert_eq!(server.object(&format!("{path}/{file}")), Some(sent(file)), "{place}: {file}");
        }
        let (done, text) = run(&["model", "pull", place, "--name", name, "--publish", "--home", "other"]);
        assert!(done, "{place}: {text}");
    }
    let listed = json(&cli, &["model", "list", "--home", "other"]);
    assert_eq!(listed.as_array().unwrap().len(), 3, "{listed}");
}

#[test]
fn a_server_whose_certificate_does_not_hold_gets_nothing() {
    let cli = trained();
    let authority = Authority::new("Segue test authority");
    cli.write("ca.pem", &authority.pem());
    cli.write("other.pem", &Authority::new("Another authority").pem());
    cli.write("empty.pem", "no certificate\n");
    let push_to = |identity: Identity, ca: &str| {
        let server = StoreServer::start(Some(identity));
        let place = format!("{}/next", server.address);
        let (done, text) =
            run_at(&cli, &["model", "push", "next", &place, "--home", "h"], &[("SSL_CERT_FILE", ca)]);
        assert!(!done && server.paths().is_empty(), "{text}");
        (place, text)
    };

    let (place, text) = push_to(authority.identity("localhost"), "other.pem");
    let told = format!(
        "{place}/model.safetensors: the server is not trusted and nothing was sent: invalid peer certificate: \
         UnknownIssuer; trusted authorities: 1, of other.pem; SSL_CERT_FILE names a PEM file of others, \
         such as the one of your own store"
    );
    assert!(text.contains(&told), "{text}");

    let (_, text) = push_to(authority.identity("models.example"), "ca.pem");
    assert!(text.contains("not valid for name \"localhost\""), "{text}");
    assert!(text.contains("call the server by a name that its certificate holds"), "{text}");

    let (_, text) = push_to(authority.identity_until("localhost", "20200101000000Z"), "ca.pem");
    assert!(text.contains("expired") && text.contains("renew it, or set this machine's clock"), "{text}");

    let (_, text) = push_to(authority.identity("localhost"), "empty.pem");
    assert!(text.contains("SSL_CERT_FILE: empty.pem holds no certificate"), "{text}");
    let (_, text) = push_to(authority.identity("localhost"), "absent.pem");
    assert!(text.contains("SSL_CERT_FILE: absent.pem: No such file"), "{text}");

    // A server of plain HTTP says so to whoever begins with something else.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("https://{}/next", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
        }
    });
    let (done, text) =
        run_at(&cli, &["model", "pull", &place, "--name", "x"], &[("SSL_CERT_FILE", "ca.pem")]);
    assert!(!done && text.contains("try http://, or the port of TLS"), "{text}");
}

#[test]
fn a_place_that_has_moved_takes_nothing_and_is_read_only_over_tls() {
    let cli = trained();
    let authority = Authority::new("Segue test authority");
    cli.write("ca.pem", &authority.pem());
    let plain = StoreServer::start(None);
    let safe = StoreServer::start(Some(authority.identity("localhost")));
    for server in [&plain, &safe] {
        let run = |arguments: &[&str]| run_at(&cli, arguments, &[("SSL_CERT_FILE", "ca.pem")]);
        let (place, moved) = (format!("{}/next", server.address), format!("{}/moved/next", server.address));
        let (done, text) = run(&["model", "push", "next", &place, "--home", "h"]);
        assert!(done, "{text}");
        let (done, text) = run(&["model", "push", "next", &moved, "--home", "h"]);
        assert!(!done && text.contains("302") && text.contains("which leads to /next/"), "{text}");
        let (done, text) = run(&["model", "pull", &moved, "--name", "moved", "--home", "other"]);
        assert_eq!(done, moved.starts_with("https:"), "{text}");
    }
}

#[test]
fn a_bucket_of_google_asks_the_metadata_server_for_a_token() {
    let cli = trained();
    let server = StoreServer::start(None);
    let host = server.address.replace("http://", "");
    let push = ["model", "push", "next", "gs://cloud/next", "--home", "h"];
    let (done, text) = run_at(&cli, &push, &[("STORAGE_EMULATOR_HOST", &host), ("GCE_METADATA_HOST", &host)]);
    assert!(done, "{text}");
    assert_eq!(server.paths(), FILES.map(|file| format!("/cloud/next/{file}")));

    // An emulator of which nothing more is said is sent no token: it says no.
    let (done, text) = run_at(&cli, &push, &[("STORAGE_EMULATOR_HOST", &host)]);
    assert!(!done && text.contains("403"), "{text}");

    let closed = [("STORAGE_EMULATOR_HOST", &*host), ("GCE_METADATA_HOST", "127.0.0.1:1")];
    let (done, text) = run_at(&cli, &push, &closed);
    assert!(
        !done && text.contains("needs GOOGLE_OAUTH_ACCESS_TOKEN (`gcloud auth print-access-token`)"),
        "{text}"
    );
}

/// The keys that [`StoreServer`] takes, and where it is.
fn aws(address: &str) -> Vec<(&'static str, &str)> {
    vec![("AWS_ENDPOINT_URL", address), ("AWS_ACCESS_KEY_ID", "ID"), ("AWS_SECRET_ACCESS_KEY", "SECRET")]
}

/// Whether the command went well, and all it said.
fn run_at(cli: &Cli, arguments: &[&str], settings: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_segue"))
        .args(arguments)
        .current_dir(cli.path())
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}
