//! The loop over real HTTP, against a server of a few lines that speaks the contract.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use segue_sim::client::{SessionsConfig, run_sessions};
use segue_sim::{HttpService, SlateService, World, WorldConfig};
use segue_types::Surface;
use segue_types::api::{ErrorResponse, EventsRequest, EventsResponse, SlateRequest, SlateResponse};

use crate::loop_::slate;

#[derive(Default)]
struct Seen {
    n_connections: AtomicU64,
    n_requests: AtomicU64,
    n_events: AtomicU64,
}

/// Serves the given tracks to everybody on a free port.
fn serve(items: Vec<u32>) -> (String, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let seen = Arc::new(Seen::default());
    let shared = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (items, seen) = (items.clone(), Arc::clone(&shared));
            seen.n_connections.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || while answer(&stream, &items, &seen).is_some() {});
        }
    });
    (url, seen)
}

fn answer(mut stream: &TcpStream, items: &[u32], seen: &Seen) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    seen.n_requests.fetch_add(1, Ordering::Relaxed);
    let (status, text) = respond(&path, &body, items, seen);
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    )
    .ok()
}

fn respond(path: &str, body: &[u8], items: &[u32], seen: &Seen) -> (u16, String) {
    match path {
        "/v1/home" | "/v1/now-playing" => {
            let request: SlateRequest = serde_json::from_slice(body).expect("the contract's body");
            assert!(request.now.is_some(), "a simulated listener brings its own clock");
            let surface = if path == "/v1/home" { Surface::Home } else { Surface::NowPlaying };
            let slate = slate(&request, surface, &[items.to_vec()]);
            (200, json(&SlateResponse { slate, record: None }))
        }
        "/v1/events" => {
            let request: EventsRequest = serde_json::from_slice(body).expect("the contract's body");
            assert!(request.events.len() <= 1_000);
            let n_accepted = request.events.len() as u32;
            seen.n_events.fetch_add(u64::from(n_accepted), Ordering::Relaxed);
            (202, json(&EventsResponse { n_accepted, n_duplicates: 0, rejected: Vec::new() }))
        }
        _ => {
            let (code, message) = ("not_found".to_owned(), "no such path".to_owned());
            (404, json(&ErrorResponse { code, message, hint: None }))
        }
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("types of the contract are JSON")
}

#[test]
fn listeners_use_a_server_over_http_with_few_connections() {
    let world = World::new(WorldConfig::smoke(8)).unwrap();
    let (url, seen) = serve(world.attention().chart(world.config().end_day()).to_vec());
    let config = SessionsConfig {
        n_users: 20,
        from: world.config().end_day(),
        n_days: 3,
        ..SessionsConfig::default()
    };
    let report = run_sessions(&world, &url, &config).unwrap();
    let counts = report.counts;
    assert_eq!(counts.n_errors, 0, "{:?}", report.messages);
    assert!(counts.n_slates > 10 && counts.n_slate_plays > 5, "{counts:?}");
    assert_eq!(counts.n_events_accepted, seen.n_events.load(Ordering::Relaxed));
    let (connections, requests) =
        (seen.n_connections.load(Ordering::Relaxed), seen.n_requests.load(Ordering::Relaxed));
    assert!(connections * 5 < requests, "{connections} connections for {requests} requests");
}

#[test]
fn errors_of_the_server_name_the_call_and_its_code() {
    let (url, _) = serve(Vec::new());
    let service = HttpService::new(&format!("{url}nowhere"), Duration::from_secs(5));
    let error = service.home(&SlateRequest::default()).unwrap_err().to_string();
    assert_eq!(error, "service: /v1/home: status 404 Not Found, not_found: no such path");
    let service = HttpService::new("https://127.0.0.1:1", Duration::from_secs(5));
    let error = service.home(&SlateRequest::default()).unwrap_err().to_string();
    assert!(error.contains("https://127.0.0.1:1/v1/home: simulated listeners speak plain HTTP"), "{error}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let service = HttpService::new(&format!("http://{closed}"), Duration::from_secs(5));
    assert!(
        service
            .report(Vec::new(), segue_types::TimestampMs(0))
            .unwrap_err()
            .to_string()
            .starts_with("service: /v1/events: ")
    );
}
