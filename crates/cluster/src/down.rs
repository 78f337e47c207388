//! `keelson down`: everything that `up` made is gone: processes, mounts, namespaces, links, rules, cgroups, files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::layout;
use crate::record::Record;
use crate::{During, Error, kubeconfig, machine, network};

/// Takes a cluster down by name.
pub async fn down(name: &str) -> Result<(), Error> {
    layout::check_name(name)?;
    let record = Record::load(name)?.ok_or_else(|| Error::Failed(format!("no cluster {name} is up")))?;
    remove(record).await
}

/// Ends and removes all of a cluster. Stops at the first thing that will not go, with the record kept, so that it
/// can be called again.
pub async fn remove(record: Record) -> Result<(), Error> {
    let layout = record.layout();
    if let Some(process) = &record.control_plane {
        process.stop(Duration::from_secs(5)).await;
    }
    // The first process of a node takes all others of its namespace with it.
    for init in record.nodes.values().filter_map(|n| n.init.as_ref()) {
        init.signal(Signal::SIGKILL);
    }
    for node in record.nodes.values() {
        for process in [&node.init, &node.agent, &node.containerd].into_iter().flatten() {
            if !process.wait(Duration::from_secs(20)).await {
                return Err(Error::Failed(format!(
                    "process {} does not end; call `keelson down` again",
                    process.pid
                )));
            }
        }
    }
    network::remove(&layout, record.nodes.values().map(|n| n.number)).await?;
    machine::remove_cgroup(&layout.cgroup()).await?;
    if let Some(file) = &record.kubeconfig {
        kubeconfig::remove_from(file, &layout.context(), record.previous_context.as_deref())?;
    }
    if Record::all()?.len() <= 1 {
        machine::restore_limits(&record.sysctls);
    }
    for folder in [layout.run(), layout.state()] {
        remove_folder(&folder)?;
        // The folder of all clusters goes with the last one.
        let _ = folder.parent().map(fs::remove_dir);
    }
    Ok(())
}

fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).during(format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}
