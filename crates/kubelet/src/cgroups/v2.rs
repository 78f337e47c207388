//! cgroups version 2: one tree, controllers switched on from the top.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::v1::{field, folders, remove_tree};
use super::{Hierarchy, Limits, Usage};

const CONTROLLERS: &str = "+cpu +cpuset +io +memory +pids";

/// The unified tree.
pub struct V2 {
    mount: PathBuf,
}

impl V2 {
    /// The tree mounted at `mount`.
    #[must_use]
    pub fn new(mount: &Path) -> Self {
        Self { mount: mount.to_path_buf() }
    }

    fn folder(&self, path: &str) -> PathBuf {
        self.mount.join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, file: &str, value: &str) -> io::Result<()> {
        let target = self.folder(path).join(file);
        if !target.exists() {
            return Ok(());
        }
        fs::write(&target, value).map_err(|error| {
            io::Error::new(error.kind(), format!("write {value} to {}: {error}", target.display()))
        })
    }
}

/// The weight (1 to 10000) of version 1's shares (2 to 262144), by the formula that runtimes use.
#[must_use]
pub(super) fn weight(shares: i64) -> i64 {
    if shares == 0 {
        return 0;
    }
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    (10f64.powf(exponent).ceil() as i64).clamp(1, 10_000)
}

fn bounded(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

impl Hierarchy for V2 {
    fn create(&self, path: &str) -> io::Result<()> {
        let mut folder = self.mount.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            // a controller that the kernel lacks refuses the whole line: switch on what there is
            let available = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
            let wanted: Vec<_> = CONTROLLERS
                .split(' ')
                .filter(|word| available.split_whitespace().any(|name| word.strip_prefix('+') == Some(name)))
                .collect();
            fs::write(folder.join("cgroup.subtree_control"), wanted.join(" "))?;
            folder.push(part);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn apply(&self, path: &str, limits: &Limits) -> io::Result<()> {
        if let Some(shares) = limits.shares {
            self.write(path, "cpu.weight", &weight(shares).to_string())?;
        }
        if let Some(quota) = limits.quota {
            self.write(path, "cpu.max", &format!("{} {}", bounded(quota), limits.period))?;
        }
        if let Some(memory) = limits.memory {
            self.write(path, "memory.max", &bounded(memory))?;
        }
        if let Some(pids) = limits.pids {
            self.write(path, "pids.max", &bounded(pids))?;
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        remove_tree(&self.folder(path))
    }

    fn children(&self, path: &str) -> Vec<String> {
        folders(&self.folder(path))
    }

    fn usage(&self, path: &str) -> io::Result<Usage> {
        let folder = self.folder(path);
        let cpu = fs::read_to_string(folder.join("cpu.stat"))?;
        let stat = fs::read_to_string(folder.join("memory.stat"))?;
        let current = fs::read_to_string(folder.join("memory.current"));
        let anonymous = field(&stat, "anon").unwrap_or(0);
        // the root group has no memory.current
        let memory = current
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or_else(|| anonymous + field(&stat, "file").unwrap_or(0));
        Ok(Usage {
            cpu_nanos: field(&cpu, "usage_usec").unwrap_or(0) * 1000,
            memory,
            working_set: memory.saturating_sub(field(&stat, "inactive_file").unwrap_or(0)),
            rss: anonymous,
            pids: fs::read_to_string(folder.join("pids.current"))
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0),
        })
    }

    fn version(&self) -> u8 {
        2
    }
}
