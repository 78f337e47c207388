//! `keelson status`: processes of a cluster with their memory and processor time.

use crate::Error;
use crate::process::{Process, Usage, usage};
use crate::record::Record;

/// One line of the status.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub pid: i32,
    pub alive: bool,
    pub usage: Usage,
}

/// The processes of a cluster: control plane first, then node by node.
pub fn rows(record: &Record) -> Vec<Row> {
    let row = |name: String, process: &Option<Process>| {
        let process = process.as_ref()?;
        let alive = process.is_alive();
        Some(Row {
            name,
            pid: process.pid,
            alive,
            usage: if alive { usage(process.pid) } else { Usage::default() },
        })
    };
    let mut rows: Vec<Row> = row("control-plane".into(), &record.control_plane).into_iter().collect();
    for (name, node) in &record.nodes {
        rows.extend(row(name.clone(), &node.agent));
        rows.extend(row(format!("{name}/containerd"), &node.containerd));
    }
    rows
}

/// The rows as a table.
pub fn table(record: &Record) -> String {
    let mut text = format!("{:<24}{:>8}  {:<6}{:>10}{:>10}\n", "PROCESS", "PID", "STATE", "PSS MiB", "CPU s");
    for row in rows(record) {
        let state = if row.alive { "up" } else { "DEAD" };
        let memory = row.usage.pss as f64 / f64::from(1 << 20);
        text += &format!("{:<24}{:>8}  {state:<6}{memory:>10.1}{:>10.2}\n", row.name, row.pid, row.usage.cpu);
    }
    text
}

/// The cluster of that name, or why there is none.
pub fn find(name: &str) -> Result<Record, Error> {
    Record::load(name)?
        .ok_or_else(|| Error::Failed(format!("no cluster {name} is up; `keelson up` starts one")))
}
