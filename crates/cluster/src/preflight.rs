//! What a cluster needs of this machine, looked at before anything is changed. Each finding says what is missing
//! and how to get it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::layout::Layout;

/// The programs of the container runtime.
#[derive(Clone, Debug)]
pub struct Runtime {
    pub containerd: PathBuf,
    pub ctr: PathBuf,
    pub runc: PathBuf,
    /// 1 or 2: the configuration's format differs.
    pub major: u32,
}

/// Finds containerd, its shim, `ctr` and runc: beside `--containerd`, else in PATH.
pub fn runtime(named: Option<&Path>) -> Result<Runtime, Error> {
    let containerd = match named {
        Some(path) if path.is_file() => path.to_owned(),
        Some(path) => return Err(Error::Preflight(format!("--containerd {}: there is no such file", path.display()))),
        None => find("containerd", &[]).ok_or_else(|| {
            Error::Preflight(
                "containerd is not installed. `apt-get install containerd` (1.6 works), or name one with --containerd PATH; \
                 `make up` of the project builds the current one"
                    .into(),
            )
        })?,
    };
    let beside: Vec<PathBuf> = containerd.parent().map(Path::to_owned).into_iter().collect();
    let need = |program: &str, package: &str| {
        find(program, &beside).ok_or_else(|| {
            Error::Preflight(format!(
                "{program} is neither beside {} nor in PATH; `apt-get install {package}`",
                containerd.display()
            ))
        })
    };
    need("containerd-shim-runc-v2", "containerd")?;
    let (ctr, runc) = (need("ctr", "containerd")?, need("runc", "runc")?);
    let major = version(&containerd)?;
    Ok(Runtime { containerd, ctr, runc, major })
}

fn find(program: &str, first: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    first.iter().cloned().chain(std::env::split_paths(&path)).map(|d| d.join(program)).find(|p| p.is_file())
}

/// From `containerd --version`: `containerd github.com/containerd/containerd/v2 2.4.2 ...` or `... v1.6.20~ds1 ...`.
fn version(containerd: &Path) -> Result<u32, Error> {
    let bad = |why: String| Error::Preflight(format!("{} --version: {why}", containerd.display()));
    let out = Command::new(containerd).arg("--version").output().map_err(|e| bad(e.to_string()))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    major(&text).ok_or_else(|| bad(format!("no version in {text:?}")))
}

fn major(text: &str) -> Option<u32> {
    let number = text.split_whitespace().nth(2)?.trim_start_matches('v').split('.').next()?.parse().ok()?;
    (1..=9).contains(&number).then_some(number)
}

/// Everything but the runtime. `layout` is a cluster that is not up.
pub fn machine(layout: &Layout) -> Result<(), Error> {
    let mut missing = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::Preflight(
            "nodes are made of namespaces and mounts, which needs root; run it with sudo".into(),
        ));
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|l| l.trim_end().ends_with("overlay")) && !module("overlay") {
        missing.push("the kernel has no overlay file system; `modprobe overlay`".into());
    }
    missing.extend(cgroups());
    if let Err(e) = TcpListener::bind(("0.0.0.0", 6443)).map(drop)
        && e.kind() == std::io::ErrorKind::AddrInUse
        && wildcard_listener(6443)
    {
        missing.push(
            "port 6443 is taken on every address of this machine; stop the program that listens there".into(),
        );
    }
    if Path::new("/sys/class/net").join(layout.bridge()).exists() {
        missing.push(format!(
            "a link {} is there already; `ip link del {0}` if nobody needs it",
            layout.bridge()
        ));
    }
    match missing.as_slice() {
        [] => Ok(()),
        _ => Err(Error::Preflight(missing.join("\n"))),
    }
}

/// Whether some process listens on this port at 0.0.0.0 or [::].
fn wildcard_listener(port: u16) -> bool {
    let hex = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|file| {
        fs::read_to_string(file).unwrap_or_default().lines().skip(1).any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1).copied().unwrap_or_default();
            let any = local.split(':').next().is_some_and(|a| a.bytes().all(|b| b == b'0'));
            any && local.ends_with(&hex) && fields.get(3) == Some(&"0A")
        })
    })
}

fn module(name: &str) -> bool {
    Command::new("modprobe").arg(name).output().is_ok_and(|o| o.status.success())
}

/// Version 2, or the hierarchies of version 1 that pods need.
fn cgroups() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let kinds: Vec<(&str, &str)> = mounts
        .lines()
        .filter_map(|l| {
            let f: Vec<&str> = l.split(' ').collect();
            Some((*f.get(2)?, *f.get(3)?))
        })
        .collect();
    let v1: Vec<&str> =
        kinds.iter().filter(|(k, _)| *k == "cgroup").flat_map(|(_, o)| o.split(',')).collect();
    if v1.is_empty() && kinds.iter().any(|(k, _)| *k == "cgroup2") {
        return Vec::new();
    }
    ["memory", "cpu", "pids"]
        .into_iter()
        .filter(|c| !v1.contains(c))
        .map(|c| format!("no cgroup hierarchy has the {c} controller; mount version 2 at /sys/fs/cgroup"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_lines_are_read() {
        assert_eq!(major("containerd github.com/containerd/containerd/v2 2.4.2 "), Some(2));
        assert_eq!(
            major("containerd github.com/containerd/containerd v1.6.20~ds1 1.6.20~ds1-1+deb12u1"),
            Some(1)
        );
        assert_eq!(major("containerd"), None);
    }

    #[test]
    fn a_runtime_that_is_not_there_is_named() {
        let error = runtime(Some(Path::new("/nowhere/containerd"))).unwrap_err().to_string();
        assert!(error.contains("--containerd /nowhere/containerd"), "{error}");
    }
}
