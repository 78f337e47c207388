//! `differential`: see the library. Ends with `N passed, N failed`, and with 1 if any failed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use differential_tests::cases::Cases;
use differential_tests::{Error, Result, audit, compare, documents, servers};

/// Sends the same requests to upstream's kube-apiserver and to ours and compares the answers.
#[derive(Parser)]
struct Options {
    /// Stories to tell: parts of the names of files in `requests`, `documents` among them. By default all.
    only: Vec<String>,
    /// Where upstream's kube-apiserver and etcd are. By default the testbed's cache.
    #[arg(long)]
    binaries: Option<PathBuf>,
    /// Show known differences too.
    #[arg(long)]
    verbose: bool,
    /// Where the servers' files go; by default a temporary folder that is removed.
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("differential: {error}");
            ExitCode::FAILURE
        }
    }
}

fn binaries(given: Option<PathBuf>) -> Result<PathBuf> {
    let cache = || {
        let cache = std::env::var_os("TESTBED_CACHE").map(PathBuf::from);
        cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/testbed")))
    };
    let folder = given.or_else(|| Some(cache()?.join("bin")));
    let folder = folder.ok_or_else(|| Error::Setup("neither --binaries nor HOME is given".into()))?;
    for name in ["kube-apiserver", "etcd"] {
        if !folder.join(name).exists() {
            let why = format!("no {name} in {}: `make differential` builds it", folder.display());
            return Err(Error::Setup(why));
        }
    }
    Ok(folder)
}

async fn run(options: Options) -> Result<ExitCode> {
    const DOCUMENTS: &str = "documents";
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let whole = options.only.is_empty() || options.only.iter().any(|o| DOCUMENTS.contains(o.as_str()));
    let cases = Cases::load(own, &options.only)?;
    let binaries = binaries(options.binaries)?;
    let temporary = tempfile::tempdir().map_err(|e| Error::File("a temporary folder".into(), e))?;
    let folder = options.folder.unwrap_or_else(|| temporary.path().to_owned());
    let folder = std::path::absolute(&folder).map_err(|e| Error::File(folder.display().to_string(), e))?;
    std::fs::create_dir_all(&folder).map_err(|e| Error::File(folder.display().to_string(), e))?;
    servers::prepare(&folder)?;
    let (there, here) = tokio::join!(servers::upstream(&binaries, &folder), servers::ours(&folder));
    let (there, here) = (there?, here?);
    let mut score = compare::Score::default();
    if whole {
        // First: what the stories leave behind would be published too.
        score = documents::run(own, &there.client, &here.client, options.verbose).await?;
    }
    score = score.and(compare::run(&cases, &there.client, &here.client, options.verbose).await?);
    score = score.and(audit::run(own, &folder, options.verbose)?);
    let (same, known) = (score.of("same"), score.of("known"));
    let failed = score.of("different") + score.of("gone");
    println!("{same} the same, {known} known to differ, {failed} not as expected");
    println!("{} passed, {failed} failed", same + known);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
