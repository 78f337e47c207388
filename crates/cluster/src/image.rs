//! `keelson image load`: local image archives into the nodes' containerds.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::layout::Layout;
use crate::preflight::Runtime;
use crate::record::Record;
use crate::{During, Error, preflight};

/// Imports archives (OCI or docker) into every node, the nodes side by side.
pub async fn load(name: &str, archives: &[PathBuf]) -> Result<(), Error> {
    let record = Record::load(name)?
        .ok_or_else(|| Error::Failed(format!("no cluster {name} is up; `keelson up` first")))?;
    let runtime = preflight::runtime(Some(&record.containerd))?;
    if let Some(missing) = archives.iter().find(|a| !a.is_file()) {
        return Err(Error::Failed(format!("{}: there is no such file", missing.display())));
    }
    let layout = record.layout();
    let jobs = record.nodes.keys().map(|node| {
        let (layout, runtime) = (&layout, &runtime);
        async move {
            for archive in archives {
                import_file(layout, runtime, node, archive).await?;
            }
            Ok(())
        }
    });
    futures::future::try_join_all(jobs).await.map(drop)
}

fn ctr(layout: &Layout, runtime: &Runtime, node: &str) -> Command {
    let mut command = Command::new(&runtime.ctr);
    command.arg("--address").arg(layout.containerd_socket(node)).args([
        "--namespace",
        "k8s.io",
        "images",
        "import",
    ]);
    // 2.x would unpack through its transfer service, which knows no `--local` on 1.6.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

async fn import_file(layout: &Layout, runtime: &Runtime, node: &str, archive: &Path) -> Result<(), Error> {
    let out = ctr(layout, runtime, node).arg(archive).output().await.during("running ctr")?;
    check(node, &archive.display().to_string(), out)
}

/// Imports an archive that is in memory.
pub async fn import(
    layout: &Layout,
    runtime: &Runtime,
    node: &str,
    what: &str,
    archive: &[u8],
) -> Result<(), Error> {
    let mut command = ctr(layout, runtime, node);
    let mut child = command.arg("-").stdin(Stdio::piped()).spawn().during("running ctr")?;
    if let Some(mut input) = child.stdin.take() {
        // A broken pipe here is told better by its exit and its words.
        let _ = input.write_all(archive).await;
    }
    check(node, what, child.wait_with_output().await.during("running ctr")?)
}

fn check(node: &str, what: &str, out: std::process::Output) -> Result<(), Error> {
    if out.status.success() {
        return Ok(());
    }
    Err(Error::Failed(format!(
        "importing {what} into {node}: {}",
        String::from_utf8_lossy(&out.stderr).trim()
    )))
}
