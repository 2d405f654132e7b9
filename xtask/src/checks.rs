//! The checks, one function each.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, data_dir, ensure_debian, has, read, root, run, target_dir};

/// Pages that the program writes about itself: file → arguments of `segue`.
const GENERATED: &[(&str, &[&str])] = &[("docs/configuration.md", &["dev", "reference"])];

/// Real sets that the smoke check imports, prepares, trains, evaluates and serves.
const REAL_SETS: &[&str] = &["ml-100k", "lastfm-1k-sample", "hetrec2011-lastfm-2k"];

/// What the tests of the PyTorch twins import.
const TORCH_PACKAGES: &[&str] = &[
    "torch==2.15.0",
    "ray[train]==2.60.0",
    "numpy==2.4.6",
    "pyarrow==26.0.1",
    "pytest==9.2.0",
    "safetensors==0.8.0",
    "xxhash==4.1.0",
];

pub(crate) fn format() -> Result<()> {
    run(&mut cargo(&["fmt", "--all", "--check"]))
}

pub(crate) fn lint() -> Result<()> {
    run(&mut cargo(&[
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))
}

/// `cargo deny`, installed into the target folder. The advisory database lives in a git repository
/// that not every machine reaches; without it advisories are skipped, and it is said.
pub(crate) fn deny() -> Result<()> {
    let tools = target_dir().join("tools");
    let program = tools.join("bin/cargo-deny");
    if !program.is_file() {
        let mut install = cargo(&["install", "cargo-deny", "--locked", "--quiet", "--debug", "--root"]);
        run(install.arg(&tools).env_remove("CARGO_TARGET_DIR"))?;
    }
    run(Command::new(&program).args(["--all-features", "check", "licenses", "bans", "sources"]))?;
    if run(Command::new(&program).args(["check", "advisories"])).is_err() {
        if Command::new(&program).args(["fetch"]).status().is_ok_and(|s| s.success()) {
            bail!("an advisory applies to a dependency; see above");
        }
        println!("skipped: advisories, their database cannot be reached from here");
    }
    Ok(())
}

pub(crate) fn unit() -> Result<()> {
    // One seed of the property tests, so that the same commit gives the same verdict everywhere.
    run(cargo(&["test", "--release", "--workspace", "--no-fail-fast"]).env("PROPTEST_RNG_SEED", "20261121"))
}

pub(crate) fn generated() -> Result<()> {
    for (page, arguments) in GENERATED {
        let fresh = read(segue()?.args(*arguments))?;
        let path = root().join(page);
        let kept = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        if fresh != kept {
            bail!("{page} is not what `segue {}` prints; run `cargo xtask generate`", arguments.join(" "));
        }
    }
    Ok(())
}

pub(crate) fn generate() -> Result<()> {
    for (page, arguments) in GENERATED {
        let fresh = read(segue()?.args(*arguments))?;
        std::fs::write(root().join(page), fresh)?;
        println!("wrote {page}");
    }
    Ok(())
}

pub(crate) fn smoke() -> Result<()> {
    let home = scratch("smoke-world")?;
    println!("{}", read(segue()?.args(["demo", "--smoke", "--json", "--home"]).arg(&home))?);
    let Some(data) = data_dir() else {
        println!("skipped: real sets, no folder of datasets (set SEGUE_DATA)");
        return Ok(());
    };
    for set in REAL_SETS {
        if !data.join(set).is_dir() {
            println!("skipped: {set}, not in {}", data.display());
            continue;
        }
        let home = scratch(&format!("smoke-{set}"))?;
        let mapping = root().join("examples").join(set);
        let mut demo = segue()?;
        demo.args(["demo", "--smoke", "--json", "--home"]).arg(&home);
        println!("{}", read(demo.arg("--data").arg(data.join(set)).arg("--mapping").arg(mapping))?);
    }
    Ok(())
}

/// Parity with the PyTorch twins, both ways, in an environment outside the clone. Network and disk are not
/// what it checks: without PyTorch it says so and passes.
pub(crate) fn torch() -> Result<()> {
    if std::env::var_os("SEGUE_WITHOUT_TORCH").is_some_and(|v| v == "1") {
        println!("skipped: PyTorch twins, SEGUE_WITHOUT_TORCH is 1");
        return Ok(());
    }
    let venv = std::env::var_os("SEGUE_TORCH_VENV")
        .map_or_else(|| target_dir().join("tools/torch-venv"), |d| root().join(PathBuf::from(d)));
    let python = venv.join("bin/python");
    if !has_torch(&python)
        && let Err(reason) = install_torch(&venv)
    {
        println!("skipped: PyTorch twins, {reason:#}");
        return Ok(());
    }
    // Builds the examples too.
    segue()?;
    let mut tests = Command::new(&python);
    tests.args(["-m", "pytest", "-q", "-s", "-p", "no:cacheprovider"]).arg(root().join("python/segue_torch"));
    tests.env("SEGUE_PARITY", target_dir().join("release/examples/torch_parity"));
    run(tests.env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// Whether an environment has all that the tests import.
fn has_torch(python: &Path) -> bool {
    let imports = "import numpy, pyarrow, pytest, ray.train, safetensors, torch, xxhash";
    let mut command = Command::new(python);
    command.args(["-c", imports]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Makes the environment, which takes one to two minutes and 6 GB (9 GB while it unpacks).
fn install_torch(venv: &Path) -> Result<()> {
    const NEEDED_GIB: u64 = 10;
    std::fs::create_dir_all(venv)?;
    let free = read(Command::new("df").arg("-Pk").arg(venv))?;
    let free = free.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    let free_gib = free.context("`df` does not say how much disk is free")? >> 20;
    if free_gib < NEEDED_GIB {
        bail!("{} has {free_gib} GiB free; the environment needs {NEEDED_GIB}", venv.display());
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(venv))?;
    let temporary = venv.join("tmp");
    std::fs::create_dir_all(&temporary)?;
    // A network that is too slow is as good as none.
    let mut pip = Command::new("timeout");
    pip.arg("600").arg(venv.join("bin/python")).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-cache-dir",
        "--disable-pip-version-check",
    ]);
    pip.args(["--retries", "1", "--timeout", "60"]).args(TORCH_PACKAGES).env("TMPDIR", &temporary);
    let installed = run(&mut pip);
    std::fs::remove_dir_all(&temporary)?;
    installed?;
    if !has_torch(&venv.join("bin/python")) {
        bail!("the packages were installed into {} and cannot be imported", venv.display());
    }
    Ok(())
}

pub(crate) fn browser() -> Result<()> {
    ensure_debian("chromium", "chromium")?;
    if !has("node") {
        ensure_debian("node", "nodejs")?;
        ensure_debian("npm", "npm")?;
    }
    let tests = root().join("console/test");
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--prefix"]).arg(&tests))?;

    // The world the smoke check left is served as it is; alone, this check makes it first.
    let home = target_dir().join("checks/smoke-world");
    if !home.join("segue.toml").is_file() {
        smoke()?;
    }
    // A browser that starts on two cores can hold a source up for longer than it may take; the journey is about
    // the page, not about deadlines.
    let settings = home.join("segue.toml");
    let text = std::fs::read_to_string(&settings)?;
    if !text.contains("source_budget_ms") {
        let budgets =
            "\n[serving]\nsource_budget_ms = 5000\nhydrate_budget_ms = 5000\nscore_budget_ms = 5000\n";
        std::fs::write(&settings, text + budgets)?;
    }
    let server = Server::start(&home)?;
    let screenshots = root().join(".ci-output/screenshots");
    std::fs::create_dir_all(&screenshots)?;
    run(Command::new("node").arg(tests.join("journey.mjs")).arg(&server.address).arg(&screenshots))
}

/// The `segue` binary, built first. The whole workspace with its tests, so that dependencies have the
/// features they have in `unit` and are compiled once.
fn segue() -> Result<Command> {
    run(&mut cargo(&["build", "--release", "--quiet", "--workspace", "--all-targets"]))?;
    Ok(Command::new(target_dir().join("release/segue")))
}

/// An empty folder for one check, under the target folder.
fn scratch(name: &str) -> Result<PathBuf> {
    let dir = target_dir().join("checks").join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// A running `segue serve`, ended when dropped.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(home: &Path) -> Result<Self> {
        let port_file = home.join("address");
        let _ = std::fs::remove_file(&port_file);
        let mut command = segue()?;
        command.args(["serve", "--listen", "127.0.0.1:0", "--client-clock", "--home"]).arg(home);
        command.arg("--address-file").arg(&port_file).stdout(Stdio::null());
        let mut process = command.spawn().context("segue serve")?;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            if let Ok(address) = std::fs::read_to_string(&port_file) {
                return Ok(Self { process, address: address.trim().to_owned() });
            }
            if let Some(status) = process.try_wait()? {
                bail!("segue serve ended with {status} before it listened");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = process.kill();
        bail!("segue serve did not listen within 60 s")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
