//! `segue serve`: the HTTP API and the console.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use segue_engine::Engine;
use segue_serve::{Clock, Console, Server};
use segue_types::TimestampMs;

use crate::Global;
use crate::config::Config;
use crate::output;

/// Serve Home, Now Playing and the console over HTTP.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue serve
  segue serve --listen 0.0.0.0:8080
  segue serve --client-clock          old or simulated data, served as of its own days

Ctrl-C finishes the requests in flight, moves events to the log and stops.")]
pub(crate) struct Args {
    /// Address to listen on; port 0 takes a free one [default: `server.listen` of segue.toml]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Requests may bring their own `now`; the clock starts at the end of the log
    #[arg(long)]
    client_clock: bool,
    /// Serve the console from this folder instead of the embedded one
    #[arg(long, value_name = "DIR")]
    console: Option<PathBuf>,
    /// Write the address to this file once the server listens
    #[arg(long, value_name = "FILE")]
    address_file: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    let config = Config::load(&global.home)?;
    let listen = args.listen.clone().unwrap_or_else(|| config.server.listen.clone());
    let console = Console { folder: args.console.clone() };
    let running = Running::start(&global.home, &config, &listen, args.client_clock, console)?;
    for note in &running.engine.status(super::machine_now()).notes {
        global.say(note);
    }
    let address = running.address();
    if let Some(file) = &args.address_file {
        super::write_whole(file, address.as_bytes())?;
    }
    if global.json {
        output::json(&serde_json::json!({ "address": address }))?;
    } else {
        output::line(&format!("Segue listens on {address}"));
        global.say("Ctrl-C stops it");
    }
    running.until_interrupted()
}

/// A server that runs in the background of this process.
pub(crate) struct Running {
    /// The engine behind it.
    pub(crate) engine: Arc<Engine>,
    local: SocketAddr,
    runtime: tokio::runtime::Runtime,
    stop: tokio::sync::oneshot::Sender<()>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Running {
    /// Opens the engine and listens; requests are answered when this returns.
    pub(crate) fn start(
        home: &Path,
        config: &Config,
        listen: &str,
        client_clock: bool,
        console: Console,
    ) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().context("async runtime")?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind(listen)).with_context(|| {
            format!("cannot listen on `{listen}`\nhint: is another server there? `--listen 127.0.0.1:0` takes a free port")
        })?;
        let local = listener.local_addr()?;
        let start = super::data_end(home).unwrap_or_else(super::machine_now);
        let now = if client_clock { start } else { super::machine_now() };
        let engine = Arc::new(Engine::open(home, config.engine(), now)?);
        engine.warm_up(now)?;
        let clock = if client_clock { Clock::client(latest(&engine, start)) } else { Clock::machine() };
        let server = Server::new(Arc::clone(&engine), clock, console);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = runtime.spawn(server.run(listener, async {
            // A dropped sender stops the server just as a message does.
            let _ = stopped.await;
        }));
        Ok(Self { engine, local, runtime, stop, served })
    }

    /// `http://host:port`.
    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.local)
    }

    /// Waits for Ctrl-C or a termination signal, then stops.
    pub(crate) fn until_interrupted(self) -> Result<()> {
        self.runtime.block_on(interrupted())?;
        self.stop()
    }

    /// Finishes the requests in flight, drains the engine and closes it.
    pub(crate) fn stop(self) -> Result<()> {
        let _ = self.stop.send(());
        self.runtime.block_on(self.served)??;
        self.engine.shutdown()?;
        Ok(())
    }
}

/// With a client's clock the server's moment is the latest it knows of: data or recovered events.
fn latest(engine: &Engine, start: TimestampMs) -> TimestampMs {
    engine.status(start).now.max(start)
}

async fn interrupted() -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
