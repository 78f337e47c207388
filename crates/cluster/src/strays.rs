//! Processes of a cluster that its record does not know: an `up` that was killed between starting one and writing it
//! down, or a record that is lost. They are found by their command lines, which name the cluster's own files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::layout::Layout;
use crate::process::Process;

/// Every process of the cluster, known or not.
pub fn find(layout: &Layout) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let own = std::process::id() as i32;
    pids.filter(|pid| *pid != own && belongs(layout, &arguments(*pid))).filter_map(Process::of).collect()
}

/// What carries the pods of a node: it outlives containerd and the control plane, and no record names it.
pub fn shims(layout: &Layout, node: &str) -> Vec<Process> {
    let run = layout.node_run(node);
    let of_node = |process: &Process| {
        let arguments = arguments(process.pid);
        let shim = arguments.first().is_some_and(|program| program.ends_with("/containerd-shim-runc-v2"));
        shim && arguments.windows(2).any(|w| w[0] == "-address" && Path::new(&w[1]).starts_with(&run))
    };
    find(layout).into_iter().filter(of_node).collect()
}

/// Kills those that are not in `known`; the ones that would not go.
pub async fn end(layout: &Layout, known: &[Process]) -> Vec<Process> {
    let mut left: Vec<Process> = find(layout).into_iter().filter(|p| !known.contains(p)).collect();
    left.iter().for_each(|p| p.signal(Signal::SIGKILL));
    let mut stuck = Vec::new();
    for process in left.drain(..) {
        if !process.wait(Duration::from_secs(20)).await {
            stuck.push(process);
        }
    }
    stuck
}

fn arguments(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|b| *b == 0).map(|a| String::from_utf8_lossy(a).into_owned()).collect()
}

/// Whether a command line is one that a cluster starts. Files of the cluster among the arguments of other programs
/// (an editor, `tail`, `kubectl`) say nothing.
fn belongs(layout: &Layout, arguments: &[String]) -> bool {
    let (Some(program), Some(first)) = (arguments.first(), arguments.get(1)) else { return false };
    let base = Path::new(program).file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let (state, run) = (layout.state(), layout.run());
    let below = |path: &str, folder: &Path| Path::new(path).starts_with(folder);
    let has = |flag: &str, folder: &Path| {
        let joined = format!("{flag}=");
        let apart = arguments.windows(2).any(|w| w[0] == flag && below(&w[1], folder));
        apart || arguments.iter().any(|a| a.strip_prefix(&joined).is_some_and(|p| below(p, folder)))
    };
    match base {
        "pause" => Path::new(program) == state.join("pause"),
        "containerd-shim-runc-v2" => has("-address", &run),
        _ if base.starts_with("containerd") => has("--config", &state),
        _ => {
            matches!(first.as_str(), "control-plane" | "node")
                && arguments.contains(&format!("--name={}", layout.name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_cluster_starts_is_its_own() {
        let layout = Layout::new("ci", 3);
        for (line, own) in [
            ("/usr/bin/keelson control-plane --name=ci", true),
            ("/usr/bin/keelson control-plane --name=ci-2", false),
            ("/x/keelson.new node --name=ci --node=node1", true),
            ("/usr/bin/keelson status --name=ci", false),
            ("/var/lib/keelson/ci/pause ", true),
            ("/var/lib/keelson/ci-2/pause ", false),
            ("/pause ", false),
            ("/usr/bin/containerd --config=/var/lib/keelson/ci/nodes/node1/containerd.toml", true),
            ("/usr/bin/containerd --config=/etc/containerd/config.toml", false),
            (
                "/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id a -address /run/keelson/ci/node1/c.sock",
                true,
            ),
            (
                "/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id a -address /run/containerd/c.sock",
                false,
            ),
            ("tail -f /var/lib/keelson/ci/log/node1.log", false),
            ("kubectl --kubeconfig=/var/lib/keelson/ci/admin.conf get pods", false),
        ] {
            let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(belongs(&layout, &arguments), own, "{line}");
        }
    }

    #[tokio::test]
    async fn a_stray_ends_and_a_known_one_stays() {
        let layout = Layout::new("keelson-strays-test", 99);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("control-plane"), "read line").unwrap();
        let start = || {
            let mut command = std::process::Command::new("sh");
            command.args(["control-plane", "--name=keelson-strays-test"]).current_dir(folder.path());
            let child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
            let pid = child.id() as i32;
            // A program has no arguments yet when the kernel tells its parent that it runs.
            while arguments(pid).len() < 3 {
                std::thread::yield_now();
            }
            (Process::of(pid).unwrap(), child)
        };
        let ((known, mut child), (stray, mut other)) = (start(), start());
        assert!(end(&layout, std::slice::from_ref(&known)).await.is_empty());
        assert!(known.is_alive() && !stray.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        other.wait().unwrap();
    }
}
