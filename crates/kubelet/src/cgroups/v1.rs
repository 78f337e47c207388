//! cgroups version 1: one tree of folders a controller.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Hierarchy, Limits, Usage};

/// The mounted controllers.
pub struct V1 {
    mount: PathBuf,
    trees: Vec<PathBuf>,
}

impl V1 {
    /// Every folder below `mount` that is a tree of version 1 (or the empty tree of version 2 beside them).
    #[must_use]
    pub fn new(mount: &Path) -> Self {
        let entries = fs::read_dir(mount).into_iter().flatten().flatten();
        let folders = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path());
        let mut trees: Vec<_> = folders.filter(|path| path.join("cgroup.procs").exists()).collect();
        trees.sort();
        Self { mount: mount.to_path_buf(), trees }
    }

    fn file(&self, controller: &str, path: &str, file: &str) -> PathBuf {
        self.mount.join(controller).join(path.trim_start_matches('/')).join(file)
    }

    fn write(&self, controller: &str, path: &str, file: &str, value: i64) -> io::Result<()> {
        let target = self.file(controller, path, file);
        if !target.exists() {
            return Ok(());
        }
        fs::write(&target, value.to_string()).map_err(|error| {
            io::Error::new(error.kind(), format!("write {value} to {}: {error}", target.display()))
        })
    }

    fn number(&self, controller: &str, path: &str, file: &str) -> io::Result<u64> {
        let text = fs::read_to_string(self.file(controller, path, file))?;
        text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, file.to_owned()))
    }
}

/// A new group of the cpuset controller is empty until it gets its parent's processors.
fn inherit_cpuset(folder: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = folder.join(file);
        let Some(parent) = folder.parent().map(|parent| parent.join(file)) else { continue };
        let empty = fs::read_to_string(&own).is_ok_and(|text| text.trim().is_empty());
        if empty && parent.exists() {
            fs::write(&own, fs::read_to_string(parent)?.trim())?;
        }
    }
    Ok(())
}

/// Removes folders from the deepest up; the files in them are the kernel's.
pub(super) fn remove_tree(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(super) fn folders(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The number after a word in a file of `word number` lines.
pub(super) fn field(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}

impl Hierarchy for V1 {
    fn create(&self, path: &str) -> io::Result<()> {
        for tree in &self.trees {
            let mut folder = tree.clone();
            for part in path.split('/').filter(|part| !part.is_empty()) {
                folder.push(part);
                match fs::create_dir(&folder) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    other => other?,
                }
                if tree.ends_with("cpuset") {
                    inherit_cpuset(&folder)?;
                }
            }
        }
        Ok(())
    }

    fn apply(&self, path: &str, limits: &Limits) -> io::Result<()> {
        if let Some(shares) = limits.shares {
            self.write("cpu", path, "cpu.shares", shares)?;
        }
        if let Some(quota) = limits.quota {
            self.write("cpu", path, "cpu.cfs_period_us", limits.period)?;
            self.write("cpu", path, "cpu.cfs_quota_us", quota)?;
        }
        if let Some(memory) = limits.memory {
            self.write("memory", path, "memory.limit_in_bytes", memory)?;
        }
        if let Some(pids) = limits.pids {
            self.write("pids", path, "pids.max", pids)?;
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.trees.iter().try_for_each(|tree| remove_tree(&tree.join(path.trim_start_matches('/'))))
    }

    fn children(&self, path: &str) -> Vec<String> {
        let mut names: Vec<_> =
            self.trees.iter().flat_map(|tree| folders(&tree.join(path.trim_start_matches('/')))).collect();
        names.sort();
        names.dedup();
        names
    }

    fn usage(&self, path: &str) -> io::Result<Usage> {
        let memory = self.number("memory", path, "memory.usage_in_bytes")?;
        let stat = fs::read_to_string(self.file("memory", path, "memory.stat"))?;
        let inactive = field(&stat, "total_inactive_file").unwrap_or(0);
        Ok(Usage {
            cpu_nanos: self.number("cpuacct", path, "cpuacct.usage")?,
            memory,
            working_set: memory.saturating_sub(inactive),
            rss: field(&stat, "total_rss").unwrap_or(0),
            // the root group has no such file
            pids: self.number("pids", path, "pids.current").unwrap_or(0),
        })
    }

    fn version(&self) -> u8 {
        1
    }
}
