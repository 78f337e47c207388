//! What is known of a cluster between two commands: `cluster.json` in its state folder. Written by rename, so
//! that a kill leaves the old one or the new one.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::layout::{self, Layout};
use crate::process::Process;
use crate::{During, Error};

/// The format that this version writes and the newest that it reads.
const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub format: u32,
    pub name: String,
    pub index: u8,
    pub containerd: PathBuf,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub etcd_servers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_mirror: Option<String>,
    /// The boot of the machine in which the processes below were started.
    #[serde(default)]
    pub boot: String,
    #[serde(default)]
    pub control_plane: Option<Process>,
    #[serde(default)]
    pub nodes: BTreeMap<String, Node>,
    /// Settings of the whole machine before `up` changed them.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// The user's kubeconfig into which the context was merged, and its context before.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    #[serde(default)]
    pub previous_context: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub number: u8,
    /// Holds the node's namespaces.
    #[serde(default)]
    pub init: Option<Process>,
    #[serde(default)]
    pub containerd: Option<Process>,
    /// kubelet, kube-proxy, flannel and DNS.
    #[serde(default)]
    pub agent: Option<Process>,
}

impl Record {
    pub fn new(name: &str, index: u8, containerd: PathBuf) -> Self {
        Self {
            format: FORMAT,
            name: name.into(),
            index,
            containerd,
            etcd_servers: Vec::new(),
            registry_mirror: None,
            boot: boot_id(),
            control_plane: None,
            nodes: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            kubeconfig: None,
            previous_context: None,
        }
    }

    /// Every process that the record knows.
    pub fn processes(&self) -> Vec<Process> {
        let of_nodes = self.nodes.values().flat_map(|n| [&n.init, &n.containerd, &n.agent]);
        [&self.control_plane].into_iter().chain(of_nodes).flatten().cloned().collect()
    }

    /// After a reboot a pid and its start time can be those of somebody else.
    fn forget_other_boots(mut self, boot: String) -> Self {
        if self.boot != boot {
            if !self.boot.is_empty() {
                self.control_plane = None;
                self.nodes.values_mut().for_each(|n| *n = Node { number: n.number, ..Node::default() });
            }
            self.boot = boot;
        }
        self
    }

    pub fn layout(&self) -> Layout {
        Layout::new(&self.name, self.index)
    }

    pub fn save(&self) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::Record { path: self.layout().record(), why: e.to_string() })?;
        write_whole(&self.layout().record(), text.as_bytes(), 0o600)
    }

    /// The cluster of that name; None if there is none.
    pub fn load(name: &str) -> Result<Option<Self>, Error> {
        read(&layout::all_states().join(name).join("cluster.json"))
    }

    /// Every cluster of this machine, by name.
    pub fn all() -> Result<Vec<Self>, Error> {
        Self::all_but("")
    }

    /// Every cluster but the one of this name, whose record may be broken.
    pub fn all_but(name: &str) -> Result<Vec<Self>, Error> {
        let Ok(entries) = fs::read_dir(layout::all_states()) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in entries.flatten().filter(|e| e.file_name() != name) {
            match read(&entry.path().join("cluster.json")) {
                Ok(record) => found.extend(record),
                // One that cannot be read must not stand in the way of the others.
                Err(error) => eprintln!("keelson: left out: {error}"),
            }
        }
        found.sort_by(|a: &Self, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The lowest index that no cluster has, nor one whose record cannot be read but whose bridge is there.
    pub fn free_index(all: &[Self]) -> Option<u8> {
        let bridge = |index| Path::new("/sys/class/net").join(Layout::new("", index).bridge());
        (0..100).find(|i| all.iter().all(|r| r.index != *i) && !bridge(*i).exists())
    }
}

fn read(path: &Path) -> Result<Option<Record>, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).during(format!("reading {}", path.display())),
    };
    let record: Record =
        serde_json::from_slice(&text).map_err(|e| Error::Record { path: path.into(), why: e.to_string() })?;
    if record.format > FORMAT {
        return Err(Error::Newer { path: path.into(), format: record.format, known: FORMAT });
    }
    Ok(Some(record.forget_other_boots(boot_id())))
}

/// Another one after each start of the machine.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Replaces a file as a whole.
pub fn write_whole(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).during(format!("making {}", folder.display()))?;
    }
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let write = || -> std::io::Result<()> {
        let mut file =
            fs::OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(&part)?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&part, path)
    };
    write().during(format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_another_boot_are_nobody() {
        let process = Process { pid: 7, start: 9 };
        let mut record = Record::new("a", 0, "/c".into());
        record.control_plane = Some(process.clone());
        let node = Node { number: 3, init: Some(process.clone()), containerd: None, agent: Some(process) };
        record.nodes.insert("node3".into(), node);
        let same = record.clone().forget_other_boots(record.boot.clone());
        assert_eq!(same.processes().len(), 3);
        let other = record.forget_other_boots("another".into());
        assert!(other.processes().is_empty());
        assert_eq!((other.nodes["node3"].number, other.boot.as_str()), (3, "another"));
    }
}
