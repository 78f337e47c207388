//! Control groups of pods: `ROOT/kubepods[/burstable|/besteffort]/podUID`, by the file system (no systemd).
//!
//! The layout and the numbers are the same for both versions of cgroups; how a group is made and a limit written
//! stands behind [`Hierarchy`].

#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::io;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use crate::pod::PodExt;
use crate::runtime::resources::{self, Qos};

/// Limits of one group; `None` leaves the kernel's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// CPU weight in the numbers of version 1 (2 to 262144).
    pub shares: Option<i64>,
    /// CPU quota in microseconds of the period; -1 is none.
    pub quota: Option<i64>,
    /// The period of the quota.
    pub period: i64,
    /// Bytes of memory; -1 is none.
    pub memory: Option<i64>,
    /// Number of processes.
    pub pids: Option<i64>,
}

/// What a group has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in nanoseconds.
    pub cpu_nanos: u64,
    /// Bytes of memory in use.
    pub memory: u64,
    /// Bytes of memory that cannot easily be given back.
    pub working_set: u64,
    /// Bytes of anonymous memory.
    pub rss: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// One version of cgroups. Paths are as seen from its root (`/kubepods/...`).
pub trait Hierarchy: Send + Sync {
    /// Makes a group and those above it. Idempotent.
    ///
    /// # Errors
    /// What the system said.
    fn create(&self, path: &str) -> io::Result<()>;
    /// Writes limits.
    ///
    /// # Errors
    /// What the system said.
    fn apply(&self, path: &str, limits: &Limits) -> io::Result<()>;
    /// Removes a group and those below it, if no process is left. Idempotent.
    ///
    /// # Errors
    /// What the system said.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Names of the groups directly below one.
    fn children(&self, path: &str) -> Vec<String>;
    /// What a group used.
    ///
    /// # Errors
    /// If it is not there.
    fn usage(&self, path: &str) -> io::Result<Usage>;
    /// 1 or 2.
    fn version(&self) -> u8;
}

/// The groups of one kubelet.
#[derive(Clone)]
pub struct Cgroups {
    hierarchy: Arc<dyn Hierarchy>,
    root: String,
    per_qos: bool,
    quota_period: i64,
    pids: Option<i64>,
}

/// Settings of [`Cgroups`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Parent of `kubepods`, such as `/`.
    pub root: String,
    /// Whether pods have groups at all.
    pub per_qos: bool,
    /// Period of quotas in microseconds.
    pub quota_period: i64,
    /// Number of processes of a pod; below zero: no limit.
    pub pids: i64,
}

/// Finds the version that is mounted at `mount` (`/sys/fs/cgroup`).
#[must_use]
pub fn detect(mount: &Path) -> Arc<dyn Hierarchy> {
    if mount.join("cgroup.controllers").exists() {
        Arc::new(v2::V2::new(mount))
    } else {
        Arc::new(v1::V1::new(mount))
    }
}

impl Cgroups {
    /// Groups below `settings.root` of a hierarchy.
    #[must_use]
    pub fn new(hierarchy: Arc<dyn Hierarchy>, settings: Settings) -> Self {
        let root = settings.root.trim_end_matches('/').to_owned();
        let pids = Some(settings.pids).filter(|pids| *pids >= 0);
        Self { hierarchy, root, per_qos: settings.per_qos, quota_period: settings.quota_period, pids }
    }

    /// Version of cgroups, 1 or 2.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.hierarchy.version()
    }

    fn kubepods(&self) -> String {
        format!("{}/kubepods", self.root)
    }

    fn class(&self, class: Qos) -> String {
        match class {
            Qos::Guaranteed => self.kubepods(),
            Qos::Burstable => format!("{}/burstable", self.kubepods()),
            Qos::BestEffort => format!("{}/besteffort", self.kubepods()),
        }
    }

    /// The group of a pod, as the runtime takes it for the parent of its containers.
    #[must_use]
    pub fn of_pod(&self, pod: &Pod) -> String {
        if !self.per_qos {
            return self.root.clone();
        }
        format!("{}/pod{}", self.class(resources::qos(pod)), pod.uid())
    }

    /// Makes the groups of the classes; all pods together get `memory` bytes and `cpu` thousandths of a core.
    ///
    /// # Errors
    /// What the system said.
    pub fn ensure_classes(&self, cpu: i64, memory: i64) -> io::Result<()> {
        if !self.per_qos {
            return Ok(());
        }
        let all = Limits { shares: Some(resources::shares(cpu)), memory: Some(memory), ..Limits::default() };
        self.ensure(&self.kubepods(), &all)?;
        let least = Limits { shares: Some(resources::shares(0)), ..Limits::default() };
        self.ensure(&self.class(Qos::BestEffort), &least)?;
        self.ensure(&self.class(Qos::Burstable), &least)
    }

    /// The burstable class weighs as much as its pods request.
    ///
    /// # Errors
    /// What the system said.
    pub fn weigh_burstable(&self, cpu: i64) -> io::Result<()> {
        let limits = Limits { shares: Some(resources::shares(cpu)), ..Limits::default() };
        if self.per_qos { self.hierarchy.apply(&self.class(Qos::Burstable), &limits) } else { Ok(()) }
    }

    fn ensure(&self, path: &str, limits: &Limits) -> io::Result<()> {
        self.hierarchy.create(path)?;
        self.hierarchy.apply(path, limits)
    }

    /// Makes a pod's group with its limits.
    ///
    /// # Errors
    /// What the system said.
    pub fn ensure_pod(&self, pod: &Pod) -> io::Result<()> {
        if !self.per_qos {
            return Ok(());
        }
        let sum = resources::of_pod(pod);
        let quota = sum.cpu_limit.map(|limit| resources::quota(limit, self.quota_period));
        let limits = Limits {
            shares: Some(resources::shares(sum.cpu_request.or(sum.cpu_limit).unwrap_or(0))),
            quota: quota.filter(|quota| *quota > 0),
            period: self.quota_period,
            memory: sum.memory_limit.filter(|limit| *limit > 0),
            pids: self.pids,
        };
        self.ensure(&self.of_pod(pod), &limits)
    }

    /// Removes a pod's group, whatever class it was in.
    ///
    /// # Errors
    /// What the system said.
    pub fn remove_pod(&self, uid: &str) -> io::Result<()> {
        if !self.per_qos {
            return Ok(());
        }
        for class in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            self.hierarchy.remove(&format!("{}/pod{uid}", self.class(class)))?;
        }
        Ok(())
    }

    /// UIDs of the pods that have a group.
    #[must_use]
    pub fn pods(&self) -> Vec<String> {
        let classes = [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort];
        let names = classes.into_iter().flat_map(|class| self.hierarchy.children(&self.class(class)));
        names.filter_map(|name| name.strip_prefix("pod").map(str::to_owned)).collect()
    }

    /// What a pod's group used.
    ///
    /// # Errors
    /// If it has none.
    pub fn pod_usage(&self, pod: &Pod) -> io::Result<Usage> {
        self.hierarchy.usage(&self.of_pod(pod))
    }

    /// What the whole machine (or container) used.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn node_usage(&self) -> io::Result<Usage> {
        self.hierarchy.usage("/")
    }
}
