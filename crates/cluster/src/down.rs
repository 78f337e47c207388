//! `keelson down`: everything that `up` made is gone: processes, mounts, namespaces, links, rules, cgroups, files.
//! Also what is left of a cluster that was half made, half removed, or whose record is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::layout::{self, Layout};
use crate::record::{Node, Record};
use crate::{During, Error, kubeconfig, machine, network, strays};

/// Takes a cluster down by name.
pub async fn down(name: &str) -> Result<(), Error> {
    layout::check_name(name)?;
    let record = match Record::load(name) {
        Ok(Some(record)) => record,
        Ok(None) => lost(name).ok_or_else(|| Error::Failed(format!("no cluster {name} is up")))?,
        Err(error @ Error::Newer { .. }) => return Err(error),
        Err(error) => lost(name).ok_or(error)?,
    };
    remove(record).await
}

/// What can be told of a cluster without its record; None where there is nothing of it.
fn lost(name: &str) -> Option<Record> {
    let at = |index| Layout::new(name, index);
    let any = at(0);
    let found = any.state().exists()
        || any.run().exists()
        || machine::cgroup_exists(&any.cgroup())
        || !strays::find(&any).is_empty();
    let index = index_of(&any);
    if !found {
        return None;
    }
    // Without an index nothing says which links are this cluster's: one beyond all has none.
    let mut record = Record::new(name, index.unwrap_or(u8::MAX), "containerd".into());
    if index.is_some() {
        let all = (1..=100).map(|n| (layout::node_name(n), Node { number: n, ..Node::default() }));
        record.nodes = all.collect();
    }
    record.kubeconfig = Some(kubeconfig::users_file()).filter(|f| f.exists());
    Some(record)
}

/// The index, from the copy in the run folder or from the server's address in the kubeconfig.
fn index_of(layout: &Layout) -> Option<u8> {
    let copy = fs::read_to_string(layout.index_copy()).ok();
    copy.and_then(|text| text.trim().parse().ok()).or_else(|| {
        let text = fs::read_to_string(layout.admin_kubeconfig()).ok()?;
        (0..100).find(|index| text.contains(&Layout::new(&layout.name, *index).server()))
    })
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
    let mut stuck = Vec::new();
    for process in record.processes() {
        if !process.wait(Duration::from_secs(20)).await {
            stuck.push(process);
        }
    }
    stuck.extend(strays::end(&layout, &record.processes()).await);
    if let Some(process) = stuck.first() {
        return Err(Error::Failed(format!(
            "process {} does not end; call `keelson down` again",
            process.pid
        )));
    }
    network::remove(&layout, record.nodes.values().map(|n| n.number)).await?;
    machine::remove_cgroup(&layout.cgroup()).await?;
    match Record::all()?.into_iter().find(|other| other.name != record.name) {
        None => machine::restore_limits(&record.sysctls),
        Some(heir) => hand_over(heir, record.sysctls)?,
    }
    // The user's file last: what is wrong with it is told, and nothing else is left.
    let in_kubeconfig = record
        .kubeconfig
        .as_ref()
        .map(|file| kubeconfig::remove_from(file, &layout.context(), record.previous_context.as_deref()));
    for folder in [layout.run(), layout.state()] {
        machine::unmount_below(&folder)?;
        remove_folder(&folder)?;
        // The folder of all clusters goes with the last one.
        let _ = folder.parent().map(fs::remove_dir);
    }
    in_kubeconfig.unwrap_or(Ok(()))
}

/// What was raised for this cluster another one still needs; its `down` puts it back.
fn hand_over(mut heir: Record, settings: BTreeMap<String, String>) -> Result<(), Error> {
    if settings.is_empty() {
        return Ok(());
    }
    for (name, before) in settings {
        heir.sysctls.entry(name).or_insert(before);
    }
    heir.save()
}

fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).during(format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}
