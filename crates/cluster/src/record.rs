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
            control_plane: None,
            nodes: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            kubeconfig: None,
            previous_context: None,
        }
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
        let Ok(entries) = fs::read_dir(layout::all_states()) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            found.extend(read(&entry.path().join("cluster.json"))?);
        }
        found.sort_by(|a: &Self, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The lowest index that no cluster has.
    pub fn free_index(all: &[Self]) -> Option<u8> {
        (0..100).find(|i| all.iter().all(|r| r.index != *i))
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
        let why = format!(
            "format {} is newer than this program's {FORMAT}; use the keelson that wrote it",
            record.format
        );
        return Err(Error::Record { path: path.into(), why });
    }
    Ok(Some(record))
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
