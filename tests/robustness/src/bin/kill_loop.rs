//! `kill-loop`: see the library. Ends with `N passed, N failed`, and with 1 if any failed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use robustness_tests::rounds::{self, Settings};
use robustness_tests::servers::Plan;
use robustness_tests::{Error, Result, cluster};

/// Kills a kube-apiserver at random moments under load and checks that nothing acknowledged is lost.
#[derive(Parser)]
struct Options {
    /// Program and first arguments of the server; flags for ports, keys and the store are added. By default
    /// `keelson kube-apiserver`.
    #[arg(long, default_value = "")]
    server: String,
    /// The keelson binary. By default $KEELSON_BIN, or `keelson` beside this program.
    #[arg(long)]
    keelson: Option<PathBuf>,
    /// Over a real etcd, which is killed in turn: its binary ($KILL_LOOP_ETCD by default).
    #[arg(long, num_args = 0..=1, default_missing_value = "etcd")]
    etcd: Option<PathBuf>,
    #[arg(long, default_value_t = 100)]
    rounds: u64,
    /// By default from the clock; printed, so that a failure can be run again.
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, default_value_t = 12)]
    writers: u64,
    /// Where the server's files go; by default a temporary folder that is removed.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Kill the control plane of this running `keelson up` cluster instead, and look at its pods.
    #[arg(long)]
    cluster: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kill-loop: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<ExitCode> {
    let seed = options.seed.unwrap_or_else(from_clock);
    println!("seed {seed}");
    let settings = Settings { rounds: options.rounds, seed, writers: options.writers };
    let score = match &options.cluster {
        Some(name) => cluster::run(name, &keelson(&options)?, settings).await?,
        None => {
            let temporary = tempfile::tempdir()?;
            let folder = options.folder.clone().unwrap_or_else(|| temporary.path().to_owned());
            rounds::run(&plan(&options, folder)?, settings).await?
        }
    };
    println!("{} passed, {} failed", score.passed, score.failed);
    Ok(if score.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn from_clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |d| d.as_nanos() as u64)
}

fn keelson(options: &Options) -> Result<PathBuf> {
    if let Some(path) = options.keelson.clone().or_else(|| std::env::var_os("KEELSON_BIN").map(PathBuf::from))
    {
        return Ok(path);
    }
    let beside = std::env::current_exe()?.with_file_name("keelson");
    if beside.exists() {
        Ok(beside)
    } else {
        Err(Error::Setup("no keelson binary: give --keelson or KEELSON_BIN".into()))
    }
}

fn plan(options: &Options, folder: PathBuf) -> Result<Plan> {
    let mut command: Vec<String> = options.server.split_whitespace().map(str::to_owned).collect();
    if command.is_empty() {
        command = vec![keelson(options)?.display().to_string(), "kube-apiserver".into()];
    }
    let named = options.etcd.clone();
    let etcd = match named {
        Some(name) if name.as_os_str() == "etcd" => {
            Some(std::env::var_os("KILL_LOOP_ETCD").map_or(name, PathBuf::from))
        }
        other => other,
    };
    Ok(Plan { command, etcd, folder })
}
