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

pub fn cgroup_exists(path: &str) -> bool {
    cgroup_mounts(&["cgroup", "cgroup2"]).iter().any(|top| top.join(path.trim_matches('/')).exists())
}

/// Takes away what is mounted below a folder, the innermost first.
pub fn unmount_below(folder: &Path) -> Result<(), Error> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|l| l.split(' ').nth(1)).map(unescape);
    for point in points.filter(|p| p.starts_with(folder)).collect::<Vec<_>>().iter().rev() {
        nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH)
            .during(format!("unmounting {}", point.display()))?;
    }
    Ok(())
}

/// `\\040` and its like, as the kernel writes what would part fields.
fn unescape(text: &str) -> PathBuf {
    let plain = text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n");
    plain.replace("\\134", "\\").into()
}

/// Ends whatever runs in a cgroup or below it.
fn kill_processes(folder: &Path) {
    let procs = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for pid in procs.lines().filter_map(|l| l.parse::<i32>().ok()).filter(|pid| *pid > 0) {
        // It may end by itself in between.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            kill_processes(&entry.path());
        }
    }
}

/// Removes the folders with all below, once their processes are gone; what still runs there is ended.
pub async fn remove_cgroup(path: &str) -> Result<(), Error> {
    for top in cgroup_mounts(&["cgroup", "cgroup2"]) {
        let folder = top.join(path.trim_matches('/'));
        kill_processes(&folder);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_blanks() {
        assert_eq!(unescape("/a\\040b\\134c"), Path::new("/a b\\c"));
    }
}
