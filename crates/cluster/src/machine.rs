//! Settings of the whole machine that a cluster changes and `down` puts back: limits, cgroup folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{During, Error};

/// Many pods watch many files: the defaults of the kernel are too low for two nodes on one machine.
const RAISED: &[(&str, u64)] = &[
    ("fs/inotify/max_user_instances", 8192),
    ("fs/inotify/max_user_watches", 1_048_576),
    ("kernel/keys/root_maxkeys", 1_000_000),
    ("kernel/keys/root_maxbytes", 25_000_000),
    ("net/ipv4/ip_forward", 1),
];

pub fn folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).during(format!("making {}", path.display()))
}

fn sysctl(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

/// Raises what is lower and remembers what was. A setting that cannot be written is left: not every machine
/// lets a container do it, and most work without.
pub fn raise_limits(before: &mut BTreeMap<String, String>) {
    for (name, wanted) in RAISED {
        let Ok(text) = fs::read_to_string(sysctl(name)) else { continue };
        let now = text.trim().to_owned();
        if now.parse::<u64>().is_ok_and(|n| n < *wanted)
            && fs::write(sysctl(name), wanted.to_string()).is_ok()
        {
            before.entry((*name).to_owned()).or_insert(now);
        }
    }
}

pub fn restore_limits(before: &BTreeMap<String, String>) {
    for (name, value) in before {
        let _ = fs::write(sysctl(name), value);
    }
}

/// The mount points of cgroup hierarchies: all of version 1, else the one of version 2.
pub fn cgroup_mounts(kinds: &[&str]) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fields = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>());
    fields.filter(|f| f.len() > 2 && kinds.contains(&f[2])).map(|f| PathBuf::from(f[1])).collect()
}

/// Makes a folder in each hierarchy. A version 1 cpuset must be told its processors before it takes a process.
pub fn make_cgroup(path: &str) -> Result<(), Error> {
    let v1 = cgroup_mounts(&["cgroup"]);
    let tops = if v1.is_empty() { cgroup_mounts(&["cgroup2"]) } else { v1 };
    for top in tops {
        let mut folder = top.clone();
        for part in path.trim_matches('/').split('/') {
            folder = folder.join(part);
            self::folder(&folder)?;
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let own = fs::read_to_string(folder.join(file)).unwrap_or_default();
                if own.trim().is_empty() && folder.join(file).exists() {
                    let above =
                        folder.parent().map(|p| p.join(file)).and_then(|p| fs::read_to_string(p).ok());
                    let _ = fs::write(folder.join(file), above.unwrap_or_default());
                }
            }
        }
    }
    Ok(())
}

/// Removes the folders with all below, once their processes are gone.
pub async fn remove_cgroup(path: &str) -> Result<(), Error> {
    for top in cgroup_mounts(&["cgroup", "cgroup2"]) {
        let folder = top.join(path.trim_matches('/'));
        for _ in 0..200 {
            remove_tree(&folder);
            if !folder.exists() {
                break;
            }
            // The kernel empties a group a moment after its last process has ended, and tells nobody.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        if folder.exists() {
            return Err(Error::Failed(format!("{} still holds processes", folder.display())));
        }
    }
    Ok(())
}

fn remove_tree(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        remove_tree(&entry.path());
    }
    let _ = fs::remove_dir(folder);
}
