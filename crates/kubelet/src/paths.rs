//! Where things lie on the node. Everything hangs off configurable roots, as several kubelets may share a host.

use std::path::{Path, PathBuf};

/// The kubelet's folders.
#[derive(Clone, Debug)]
pub struct Paths {
    /// State (`/var/lib/kubelet`).
    pub root: PathBuf,
    /// Logs of containers (`/var/log/pods`).
    pub pod_logs: PathBuf,
    /// Links to logs by container name (`/var/log/containers`).
    pub container_logs: PathBuf,
    /// What `/logs` serves (`/var/log`).
    pub logs: PathBuf,
}

impl Paths {
    /// Folders below `root`, logs below `pod_logs`; links beside the latter.
    #[must_use]
    pub fn new(root: &str, pod_logs: &str) -> Self {
        let pod_logs = PathBuf::from(pod_logs);
        let logs = pod_logs.parent().unwrap_or(Path::new("/var/log")).to_path_buf();
        Self { root: PathBuf::from(root), container_logs: logs.join("containers"), pod_logs, logs }
    }

    /// Folder of all pods.
    #[must_use]
    pub fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    /// Folder of one pod.
    #[must_use]
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.pods().join(uid)
    }

    /// Folder of a volume; the plugin's name has `~` for `/`.
    #[must_use]
    pub fn volume(&self, uid: &str, plugin: &str, volume: &str) -> PathBuf {
        self.pod(uid).join("volumes").join(plugin.replace('/', "~")).join(volume)
    }

    /// Folder for a container's termination messages.
    #[must_use]
    pub fn container(&self, uid: &str, container: &str) -> PathBuf {
        self.pod(uid).join("containers").join(container)
    }

    /// The hosts file of a pod.
    #[must_use]
    pub fn hosts(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("etc-hosts")
    }

    /// Where sub-paths of volumes are bound.
    #[must_use]
    pub fn subpaths(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("volume-subpaths")
    }

    /// Folder of a pod's logs.
    #[must_use]
    pub fn pod_log(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.pod_logs.join(format!("{namespace}_{name}_{uid}"))
    }

    /// The link to a container's log in the folder of links.
    #[must_use]
    pub fn log_link(&self, namespace: &str, pod: &str, container: &str, id: &str) -> PathBuf {
        let name = format!("{pod}_{namespace}_{container}-{id}");
        // one file name holds at most 255 bytes, of which four are the extension
        let cut: String = name.chars().take(251).collect();
        self.container_logs.join(format!("{cut}.log"))
    }
}
