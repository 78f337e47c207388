//! Labels and annotations on sandboxes and containers: upstream's names, so that each kubelet can take over the
//! other's pods, and tools such as crictl find them.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};

use crate::pod::PodExt;
use crate::pod::plan::container_hash;

/// Name of the pod.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// Namespace of the pod.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// UID of the pod.
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// Name of the container.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
const HASH: &str = "io.kubernetes.container.hash";
const RESTARTS: &str = "io.kubernetes.container.restartCount";
const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
const PRE_STOP: &str = "io.kubernetes.container.preStopHandler";
const PORTS: &str = "io.kubernetes.container.ports";
const DELETION_GRACE: &str = "io.kubernetes.pod.deletionGracePeriod";
const POD_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";

type Map = HashMap<String, String>;

fn own(pod: &Pod) -> Map {
    [(POD_NAME, pod.name()), (POD_NAMESPACE, pod.namespace()), (POD_UID, pod.uid())]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Labels of a sandbox: the pod's, and which pod it is.
#[must_use]
pub fn of_sandbox(pod: &Pod) -> Map {
    let mut labels: Map = pod.metadata.labels.clone().unwrap_or_default().into_iter().collect();
    labels.extend(own(pod));
    labels
}

/// Annotations of a sandbox: the pod's.
#[must_use]
pub fn sandbox_annotations(pod: &Pod) -> Map {
    pod.metadata.annotations.clone().unwrap_or_default().into_iter().collect()
}

/// Labels of a container.
#[must_use]
pub fn of_container(pod: &Pod, container: &Container) -> Map {
    let mut labels = own(pod);
    labels.insert(CONTAINER_NAME.to_owned(), container.name.clone());
    labels
}

/// Annotations of a container: what must be known about it after its specification is gone.
#[must_use]
pub fn container_annotations(pod: &Pod, container: &Container, restarts: u32) -> Map {
    let mut map = Map::new();
    let mut set = |key: &str, value: String| {
        map.insert(key.to_owned(), value);
    };
    set(HASH, format!("{:x}", container_hash(container)));
    set(RESTARTS, restarts.to_string());
    set(MESSAGE_PATH, container.termination_message_path.clone().unwrap_or_default());
    set(MESSAGE_POLICY, container.termination_message_policy.clone().unwrap_or_default());
    if let Some(grace) = pod.metadata.deletion_grace_period_seconds {
        set(DELETION_GRACE, grace.to_string());
    }
    if let Some(grace) = pod.spec().termination_grace_period_seconds {
        set(POD_GRACE, grace.to_string());
    }
    if let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref()) {
        set(PRE_STOP, serde_json::to_string(hook).unwrap_or_default());
    }
    if let Some(ports) = container.ports.as_ref().filter(|ports| !ports.is_empty()) {
        set(PORTS, serde_json::to_string(ports).unwrap_or_default());
    }
    map
}

/// What the annotations of a container tell.
#[derive(Clone, Debug, Default)]
pub struct Annotated {
    /// Hash of the specification, if any.
    pub hash: Option<u64>,
    /// Earlier starts.
    pub restarts: u32,
    /// Where it may write a message before it ends.
    pub message_path: String,
    /// `File` or `FallbackToLogsOnError`.
    pub message_policy: String,
    /// Pod's grace period in seconds.
    pub grace_period: Option<i64>,
    /// Hook before it is stopped.
    pub pre_stop: Option<LifecycleHandler>,
}

/// Reads the annotations of a container.
#[must_use]
pub fn read_annotations(map: &Map) -> Annotated {
    let text = |key: &str| map.get(key).cloned().unwrap_or_default();
    Annotated {
        hash: map.get(HASH).and_then(|text| u64::from_str_radix(text, 16).ok()),
        restarts: text(RESTARTS).parse().unwrap_or_default(),
        message_path: text(MESSAGE_PATH),
        message_policy: text(MESSAGE_POLICY),
        grace_period: map.get(POD_GRACE).and_then(|text| text.parse().ok()),
        pre_stop: map.get(PRE_STOP).and_then(|text| serde_json::from_str(text).ok()),
    }
}
