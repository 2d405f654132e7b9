//! A server of objects in memory: the part of S3, of Google Cloud Storage and of its metadata server that is
//! used, with TLS or without.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::Identity;

/// Runs until the test's process ends.
pub(crate) struct StoreServer {
    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`.
    pub(crate) address: String,
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl StoreServer {
    /// A server that is empty; with TLS if it has an identity.
    pub(crate) fn start(identity: Option<Identity>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let address = match identity {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let tls = identity.map(|identity| Arc::new(tls_of(identity)));
        let objects = Arc::new(Mutex::new(BTreeMap::new()));
        let shared = objects.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that hangs up is no fault of the server; the test looks at what is stored.
                let _ = match &tls {
                    None => serve(stream, &shared),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls.clone()).unwrap();
                        serve(StreamOwned::new(connection, stream), &shared)
                    }
                };
            }
        });
        Self { address, objects }
    }

    /// The paths of all objects, ascending.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }

    /// The object at a path.
    pub(crate) fn object(&self, path: &str) -> Option<Vec<u8>> {
        self.objects.lock().unwrap().get(path).cloned()
    }
}

fn tls_of(Identity { certificate, key }: Identity) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], rustls::pki_types::PrivatePkcs8KeyDer::from(key).into())
        .unwrap()
}

/// Answers one request and closes the connection.
fn serve(stream: impl Read + Write, objects: &Mutex<BTreeMap<String, Vec<u8>>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
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
    let authorization = headers.get("authorization").map_or("", |a| a);
    let may_write = match path.split('/').nth(1) {
        Some("bucket") => {
            authorization.starts_with("AWS4-HMAC-SHA256 Credential=ID/")
                && authorization.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=")
        }
        Some("cloud") => authorization == "Bearer TOKEN",
        _ => true,
    };
    let token = "/computeMetadata/v1/instance/service-accounts/default/token";
    let is_asking = path == token && headers.get("metadata-flavor").is_some_and(|f| f == "Google");
    let moved = path.strip_prefix("/moved").map(|to| format!("location: {to}\r\n")).unwrap_or_default();
    let (status, answer) = match (&*method, may_write) {
        _ if !moved.is_empty() => ("302 Found", Vec::new()),
        ("PUT", true) => {
            objects.lock().unwrap().insert(path, body);
            ("200 OK", Vec::new())
        }
        ("GET", _) if is_asking => ("200 OK", br#"{"access_token":"TOKEN","expires_in":3599}"#.to_vec()),
        ("GET", _) => match objects.lock().unwrap().get(&path) {
            Some(bytes) => ("200 OK", bytes.clone()),
            None => ("404 Not Found", Vec::new()),
        },
        _ => ("403 Forbidden", b"AccessDenied".to_vec()),
    };
    let stream = reader.get_mut();
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{moved}content-length: {}\r\nconnection: close\r\n\r\n",
        answer.len()
    )?;
    stream.write_all(&answer)?;
    stream.flush()
}
