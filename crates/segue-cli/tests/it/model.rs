//! Shows that an artifact survives the way to other places and back, byte by byte, and that what is
//! damaged or does not fit is refused.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::Cli;

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
fn a_model_goes_through_an_s3_bucket_and_is_read_over_plain_http() {
    let cli = trained();
    let server = Bucket::start();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_segue"))
            .args(arguments)
            .current_dir(cli.path())
            .env("AWS_ENDPOINT_URL", &server.address)
            .env("AWS_ACCESS_KEY_ID", "ID")
            .env("AWS_SECRET_ACCESS_KEY", "SECRET")
            .output()
            .unwrap();
        let text = [&output.stdout[..], &output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let push = ["model", "push", "next", "s3://bucket/a b/next", "--home", "h"];
    let (done, text) = run(&push);
    assert!(done, "{text}");
    let objects: Vec<String> = server.objects.lock().unwrap().keys().cloned().collect();
    assert_eq!(objects, FILES.map(|file| format!("/bucket/a%20b/next/{file}")));
    let pull = ["model", "pull", "s3://bucket/a b/next", "--name", "s3", "--publish", "--home", "other"];
    let (done, text) = run(&pull);
    assert!(done, "{text}");
    let url = format!("{}/bucket/a%20b/next", server.address);
    let (done, text) = run(&["model", "pull", &url, "--name", "http", "--home", "other"]);
    assert!(done, "{text}");
    let (done, text) = run(&["model", "pull", "https://example.org/next", "--name", "x"]);
    assert!(!done && text.contains("speaks no TLS"), "{text}");
}

/// The part of S3 that is used: `PUT` of signed requests, and `GET`.
struct Bucket {
    address: String,
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Bucket {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let objects = Arc::new(Mutex::new(BTreeMap::new()));
        let shared = objects.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, &shared);
            }
        });
        Self { address, objects }
    }
}

/// Answers one request and closes the connection.
fn serve(mut stream: TcpStream, objects: &Mutex<BTreeMap<String, Vec<u8>>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let (method, path) = {
        let mut words = line.split(' ');
        (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned())
    };
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let n = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; n];
    reader.read_exact(&mut body)?;
    let signed = headers.get("authorization").is_some_and(|a| {
        a.starts_with("AWS4-HMAC-SHA256 Credential=ID/")
            && a.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=")
    });
    let (status, answer) = match (&*method, signed) {
        ("PUT", true) => {
            objects.lock().unwrap().insert(path, body);
            ("200 OK", Vec::new())
        }
        ("GET", _) => match objects.lock().unwrap().get(&path) {
            Some(bytes) => ("200 OK", bytes.clone()),
            None => ("404 Not Found", Vec::new()),
        },
        _ => ("403 Forbidden", b"AccessDenied".to_vec()),
    };
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len())?;
    stream.write_all(&answer)
}
