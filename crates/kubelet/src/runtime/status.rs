//! What the runtime knows of one pod, read from its sandboxes and containers.

use std::sync::Arc;

use cri::v1;
use jiff::Timestamp;

/// A container's state in the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Made, not started.
    Created,
    /// Running.
    Running,
    /// Ended.
    Exited,
    /// The runtime cannot tell.
    Unknown,
}

impl State {
    /// Upstream's word, for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Unknown => "unknown",
        }
    }
}

/// One container as the runtime has it.
#[derive(Clone, Debug)]
pub struct Container {
    /// The runtime's id.
    pub id: String,
    /// The runtime's name.
    pub runtime: Arc<str>,
    /// Name in the pod.
    pub name: String,
    /// Sandbox that it was made in.
    pub sandbox: String,
    /// State.
    pub state: State,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was started, if it was.
    pub started_at: Option<Timestamp>,
    /// When it ended, if it did.
    pub finished_at: Option<Timestamp>,
    /// Exit code, if it ended.
    pub exit_code: i32,
    /// Name of the image.
    pub image: String,
    /// Reference of the image (its digest).
    pub image_ref: String,
    /// Why it is in its state.
    pub reason: String,
    /// The runtime's message and the container's termination message.
    pub message: String,
    /// Hash of the part of the specification whose change restarts it; `None` if the label is missing.
    pub hash: Option<u64>,
    /// How often it was started before.
    pub restart_count: u32,
    /// Grace period of the specification that it was started from, in seconds.
    pub grace_period: Option<i64>,
    /// Its pre-stop hook, as the annotation has it.
    pub pre_stop: Option<k8s_openapi::api::core::v1::LifecycleHandler>,
    /// Path of the log.
    pub log_path: String,
    /// The user that the runtime chose.
    pub user: Option<v1::LinuxContainerUser>,
    /// The limits that the runtime set.
    pub resources: Option<v1::LinuxContainerResources>,
    /// Stop signal in effect, by the CRI's number.
    pub stop_signal: i32,
}

impl Container {
    /// The id as the API shows it: `RUNTIME://ID`.
    #[must_use]
    pub fn full_id(&self) -> String {
        format!("{}://{}", self.runtime, self.id)
    }
}

/// One sandbox as the runtime has it.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The runtime's id.
    pub id: String,
    /// How many sandboxes came before it.
    pub attempt: u32,
    /// Whether it is up.
    pub ready: bool,
    /// Whether it shares the node's network.
    pub host_network: bool,
    /// When it was made.
    pub created_at: i64,
    /// Its addresses, the first one first.
    pub ips: Vec<String>,
}

/// One pod as the runtime has it: newest first.
#[derive(Clone, Debug, Default)]
pub struct PodRuntime {
    /// Sandboxes, newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Containers of all sandboxes, newest first.
    pub containers: Vec<Container>,
}

impl PodRuntime {
    /// The newest container of a name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// The newest container of a name in the newest sandbox.
    #[must_use]
    pub fn active(&self, name: &str) -> Option<&Container> {
        let sandbox = &self.sandboxes.first()?.id;
        self.containers.iter().find(|container| container.name == name && container.sandbox == *sandbox)
    }

    /// Containers that run now or might.
    pub fn running(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|container| matches!(container.state, State::Running | State::Unknown))
    }

    /// The pod's addresses: those of the newest sandbox.
    #[must_use]
    pub fn ips(&self) -> &[String] {
        self.sandboxes.first().map(|sandbox| sandbox.ips.as_slice()).unwrap_or_default()
    }

    /// The newest sandbox, if it is up.
    #[must_use]
    pub fn ready_sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first().filter(|sandbox| sandbox.ready)
    }
}

/// Nanoseconds since the epoch as the CRI gives them; zero means never.
#[must_use]
pub fn timestamp(nanos: i64) -> Option<Timestamp> {
    if nanos == 0 { None } else { Timestamp::from_nanosecond(i128::from(nanos)).ok() }
}

/// State by the CRI's number.
#[must_use]
pub fn state(number: i32) -> State {
    match v1::ContainerState::try_from(number) {
        Ok(v1::ContainerState::ContainerCreated) => State::Created,
        Ok(v1::ContainerState::ContainerRunning) => State::Running,
        Ok(v1::ContainerState::ContainerExited) => State::Exited,
        _ => State::Unknown,
    }
}

/// A sandbox from its status.
#[must_use]
pub fn sandbox(status: &v1::PodSandboxStatus) -> Sandbox {
    let network = status.network.clone().unwrap_or_default();
    let mut ips = Vec::new();
    if !network.ip.is_empty() {
        ips.push(network.ip);
        ips.extend(network.additional_ips.into_iter().map(|ip| ip.ip));
    }
    let namespaces =
        status.linux.as_ref().and_then(|l| l.namespaces.as_ref()).and_then(|n| n.options.as_ref());
    Sandbox {
        id: status.id.clone(),
        attempt: status.metadata.as_ref().map_or(0, |metadata| metadata.attempt),
        ready: status.state == v1::PodSandboxState::SandboxReady as i32,
        host_network: namespaces.is_some_and(|options| options.network == v1::NamespaceMode::Node as i32),
        created_at: status.created_at,
        ips,
    }
}
