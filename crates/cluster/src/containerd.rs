//! A node's containerd: its configuration, start, and what else it needs on disk. The system's own containerd is
//! never touched: root, state and socket are the node's.

use std::fs;
use std::path::{Path, PathBuf};

use crate::layout::Layout;
use crate::notify::Notifications;
use crate::pause_image::REFERENCE;
use crate::preflight::Runtime;
use crate::process::{Process, spawn};
use crate::record::{Record, write_whole};
use crate::{During, Error};

/// A containerd that was just started; it says itself when it takes requests (sd_notify(3)).
pub struct Starting {
    pub process: Process,
    said: Notifications,
    name: String,
}

fn service(node: &str) -> String {
    format!("{node}'s containerd")
}

/// Writes the configuration and starts it in the node's namespaces.
pub fn start(record: &Record, runtime: &Runtime, node: &str, init: &Process) -> Result<Starting, Error> {
    let layout = record.layout();
    let (home, run) = (layout.node(node), layout.node_run(node));
    for folder in [home.join("containerd"), home.join("cni/net.d"), home.join("bin"), run.clone()] {
        fs::create_dir_all(&folder).during(format!("making {}", folder.display()))?;
    }
    let config = home.join("containerd.toml");
    write_whole(&config, configuration(record, runtime, node).as_bytes(), 0o644)?;
    mirror(record, &home)?;
    let _ = fs::remove_file(layout.containerd_socket(node));
    // The shim is looked up in PATH.
    let path = format!(
        "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        runtime.containerd.parent().unwrap_or(Path::new("/usr/bin")).display()
    );
    let notify = run.join("containerd-notify.sock");
    let said = Notifications::of_service(&notify, service(node))?;
    let arguments = [
        format!("PATH={path}"),
        format!("NOTIFY_SOCKET={}", notify.display()),
        runtime.containerd.display().to_string(),
        format!("--config={}", config.display()),
    ];
    let log = layout.logs().join(format!("{node}-containerd.log"));
    let process = spawn(Path::new("/usr/bin/env"), &arguments, &log, Some(init))?;
    Ok(Starting { process, said, name: service(node) })
}

impl Starting {
    /// Waits until it takes requests.
    pub async fn wait(&self, layout: &Layout) -> Result<(), Error> {
        self.said
            .wait(std::slice::from_ref(&self.name), std::slice::from_ref(&self.process), &layout.logs())
            .await
    }
}

/// Whether the one that runs takes connections; one that was left half started does not, and never says so again.
pub fn answers(layout: &Layout, node: &str) -> bool {
    std::os::unix::net::UnixStream::connect(layout.containerd_socket(node)).is_ok()
}

/// All pulls ask the mirror first, whatever registry a reference names.
fn mirror(record: &Record, home: &Path) -> Result<(), Error> {
    let file = home.join("certs.d/_default/hosts.toml");
    match &record.registry_mirror {
        Some(url) => write_whole(
            &file,
            format!("[host.{url:?}]\n  capabilities = [\"pull\", \"resolve\"]\n").as_bytes(),
            0o644,
        ),
        None => Ok(()),
    }
}

fn configuration(record: &Record, runtime: &Runtime, node: &str) -> String {
    let layout = record.layout();
    let values = Values {
        root: layout.node(node).join("containerd"),
        state: layout.node_run(node).join("containerd"),
        socket: layout.containerd_socket(node),
        cni_bin: layout.node(node).join("bin"),
        cni_conf: layout.node(node).join("cni/net.d"),
        certs: layout.node(node).join("certs.d"),
        runc: runtime.runc.clone(),
        restrict_oom: !may_lower_oom_scores(),
    };
    if runtime.major >= 2 { values.version_3() } else { values.version_2() }
}

/// Without CAP_SYS_RESOURCE no OOM score can be lowered, and containerd must not try.
fn may_lower_oom_scores() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|l| u64::from_str_radix(l.strip_prefix("CapEff:")?.trim(), 16).ok());
    mask.is_some_and(|m| m >> 24 & 1 == 1)
}

struct Values {
    root: PathBuf,
    state: PathBuf,
    socket: PathBuf,
    cni_bin: PathBuf,
    cni_conf: PathBuf,
    certs: PathBuf,
    runc: PathBuf,
    restrict_oom: bool,
}

impl Values {
    fn head(&self, version: u32) -> String {
        format!(
            "version = {version}\nroot = {:?}\nstate = {:?}\n[grpc]\n  address = {:?}\n",
            self.root, self.state, self.socket
        )
    }

    /// containerd 2.x. `test-handler` is a second runtime handler, which RuntimeClasses of test suites name.
    fn version_3(&self) -> String {
        let runtime = |name: &str| {
            format!(
                "[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.{name}]\n  runtime_type = \"io.containerd.runc.v2\"\n\
                 [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.{name}.options]\n  BinaryName = {:?}\n",
                self.runc
            )
        };
        format!(
            "{}[plugins.\"io.containerd.cri.v1.images\".pinned_images]\n  sandbox = {REFERENCE:?}\n\
             [plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = {:?}\n\
             [plugins.\"io.containerd.cri.v1.runtime\"]\n  restrict_oom_score_adj = {}\n  disable_apparmor = true\n  netns_mounts_under_state_dir = true\n\
             [plugins.\"io.containerd.cri.v1.runtime\".cni]\n  bin_dirs = [{:?}]\n  conf_dir = {:?}\n  \
             use_internal_loopback = true\n\
             [plugins.\"io.containerd.cri.v1.runtime\".containerd]\n  default_runtime_name = \"runc\"\n{}{}",
            self.head(3),
            self.certs,
            self.restrict_oom,
            self.cni_bin,
            self.cni_conf,
            runtime("runc"),
            runtime("test-handler"),
        )
    }

    /// containerd 1.6, Debian 12's.
    fn version_2(&self) -> String {
        let runtime = |name: &str| {
            format!(
                "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.{name}]\n  runtime_type = \"io.containerd.runc.v2\"\n\
                 [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.{name}.options]\n  BinaryName = {:?}\n",
                self.runc
            )
        };
        format!(
            "{}[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = {REFERENCE:?}\n  restrict_oom_score_adj = {}\n  \
             disable_apparmor = true\n  netns_mounts_under_state_dir = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = {:?}\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\n  bin_dir = {:?}\n  conf_dir = {:?}\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n  default_runtime_name = \"runc\"\n{}{}",
            self.head(2),
            self.restrict_oom,
            self.certs,
            self.cni_bin,
            self.cni_conf,
            runtime("runc"),
            runtime("test-handler"),
        )
    }
}
