//! Reads one pod's state off the runtime.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use cri::v1;
use futures::future::try_join_all;

use super::status::{Container, PodRuntime, State, sandbox, state, timestamp};
use super::{labels, logs};

/// Most bytes of a termination message.
const MESSAGE_LIMIT: usize = 4096;
/// Most lines and bytes of a log that stands in for a termination message.
const FALLBACK_LINES: usize = 80;
const FALLBACK_BYTES: usize = 2048;

/// Which sandboxes and containers a pod has: only its worker makes any, so that after one listing their states can
/// be asked for by id.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    sandboxes: Vec<String>,
    /// Containers with their sandboxes.
    containers: Vec<(String, String)>,
}

impl Ids {
    /// And a sandbox that the worker made.
    #[must_use]
    pub fn with_sandbox(mut self, id: &str) -> Self {
        self.sandboxes.push(id.to_owned());
        self
    }

    /// And a container that the worker made.
    #[must_use]
    pub fn with_container(mut self, id: &str, sandbox: &str) -> Self {
        self.containers.push((id.to_owned(), sandbox.to_owned()));
        self
    }
}

/// The pod as the runtime has it now.
///
/// # Errors
/// What the runtime answered.
pub async fn pod(runtime: &cri::Runtime, uid: &str) -> Result<PodRuntime, cri::Error> {
    states(runtime, &mut list(runtime, uid).await?).await
}

/// The sandboxes and containers of a pod.
///
/// # Errors
/// What the runtime answered.
pub async fn list(runtime: &cri::Runtime, uid: &str) -> Result<Ids, cri::Error> {
    let selector: HashMap<String, String> = [(labels::POD_UID.to_owned(), uid.to_owned())].into();
    let sandboxes = runtime
        .list_pod_sandbox(v1::PodSandboxFilter { label_selector: selector.clone(), ..Default::default() });
    let containers =
        runtime.list_containers(v1::ContainerFilter { label_selector: selector, ..Default::default() });
    let (sandboxes, containers) = tokio::try_join!(sandboxes, containers)?;
    Ok(Ids {
        sandboxes: sandboxes.into_iter().map(|item| item.id).collect(),
        containers: containers.into_iter().map(|item| (item.id, item.pod_sandbox_id)).collect(),
    })
}

/// The states of these sandboxes and containers. What is gone is taken out of `ids`.
///
/// # Errors
/// What the runtime answered.
pub async fn states(runtime: &cri::Runtime, ids: &mut Ids) -> Result<PodRuntime, cri::Error> {
    let name = &runtime.name().await?;
    let sandboxes = try_join_all(ids.sandboxes.iter().map(|id| sandbox_status(runtime, id)));
    let containers =
        try_join_all(ids.containers.iter().map(|(id, sandbox)| container_status(runtime, name, id, sandbox)));
    let (sandboxes, containers) = tokio::try_join!(sandboxes, containers)?;
    let mut pod = PodRuntime {
        sandboxes: sandboxes.into_iter().flatten().collect(),
        containers: containers.into_iter().flatten().collect(),
    };
    ids.sandboxes.retain(|id| pod.sandboxes.iter().any(|sandbox| sandbox.id == *id));
    ids.containers.retain(|(id, _)| pod.containers.iter().any(|container| container.id == *id));
    pod.sandboxes.sort_by_key(|sandbox| std::cmp::Reverse((sandbox.created_at, sandbox.attempt)));
    pod.containers
        .sort_by_key(|container| std::cmp::Reverse((container.created_at, container.restart_count)));
    Ok(pod)
}

/// `None` if it went away meanwhile.
async fn sandbox_status(
    runtime: &cri::Runtime,
    id: &str,
) -> Result<Option<super::status::Sandbox>, cri::Error> {
    let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
    match runtime.pod_sandbox_status(request).await {
        Ok(answer) => Ok(answer.status.as_ref().map(sandbox)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// `None` if it went away meanwhile.
async fn container_status(
    runtime: &cri::Runtime,
    name: &Arc<str>,
    id: &str,
    sandbox: &str,
) -> Result<Option<Container>, cri::Error> {
    let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
    match runtime.container_status(request).await {
        Ok(answer) => Ok(answer.status.map(|status| container(status, name.clone(), sandbox.to_owned()))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A container from its status.
fn container(status: v1::ContainerStatus, runtime: Arc<str>, sandbox: String) -> Container {
    let annotated = labels::read_annotations(&status.annotations);
    let state = state(status.state);
    let message =
        if state == State::Exited { exit_message(&status, &annotated) } else { status.message.clone() };
    let user_linux = status.user.and_then(|user| user.linux);
    Container {
        name: status.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or_default(),
        runtime,
        sandbox,
        state,
        created_at: timestamp(status.created_at).unwrap_or_default(),
        started_at: timestamp(status.started_at),
        finished_at: timestamp(status.finished_at),
        exit_code: status.exit_code,
        image: status.image.map(|image| image.image).unwrap_or_default(),
        image_ref: status.image_ref,
        reason: status.reason,
        message,
        hash: annotated.hash,
        restart_count: annotated.restarts,
        grace_period: annotated.grace_period,
        pre_stop: annotated.pre_stop,
        log_path: status.log_path,
        user: user_linux,
        resources: status.resources.and_then(|resources| resources.linux),
        stop_signal: status.stop_signal,
        id: status.id,
    }
}

/// The runtime's message and what the container left as its last word.
fn exit_message(status: &v1::ContainerStatus, annotated: &labels::Annotated) -> String {
    let mount = status.mounts.iter().find(|mount| mount.container_path == annotated.message_path);
    let file = mount.filter(|_| !annotated.message_path.is_empty());
    let mut last = file.map(|mount| read_end(Path::new(&mount.host_path), MESSAGE_LIMIT)).unwrap_or_default();
    if last.is_empty() && status.exit_code != 0 && annotated.message_policy == "FallbackToLogsOnError" {
        last = logs::last_lines(Path::new(&status.log_path), FALLBACK_LINES, FALLBACK_BYTES);
    }
    match (status.message.is_empty(), last.is_empty()) {
        (true, _) => last,
        (false, true) => status.message.clone(),
        (false, false) => format!("{}: {last}", status.message),
    }
}

/// The last bytes of a file, as text; empty if it cannot be read.
fn read_end(path: &Path, limit: usize) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(limit as u64)))?;
        let mut bytes = Vec::new();
        file.take(limit as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
