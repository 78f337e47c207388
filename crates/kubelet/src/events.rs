//! Events about pods and the node, with upstream's reasons.

use client::Api;
use client::events::{EventType, ObjectReference, Recorder};
use k8s_openapi::api::core::v1::Pod;

use crate::pod::PodExt;

pub use client::events::EventType as Kind;

/// Writes events; clones share the sink.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
    node: ObjectReference,
}

impl Events {
    /// Without an API server events go nowhere.
    #[must_use]
    pub fn new(api: Option<&Api>, node: &str) -> Self {
        let recorder = match api {
            Some(api) => Recorder::new(api.clone(), "kubelet", node),
            None => Recorder::discard(),
        };
        let node = ObjectReference {
            kind: "Node".into(),
            name: node.into(),
            uid: node.into(),
            ..Default::default()
        };
        Self { recorder, node }
    }

    /// About a pod; `path` is the field of the container it concerns, or empty.
    pub fn emit(&self, pod: &Pod, kind: EventType, reason: &str, message: &str, path: &str) {
        let version = pod.metadata.resource_version.as_deref().unwrap_or_default();
        let object = ObjectReference {
            kind: "Pod".into(),
            namespace: pod.namespace().into(),
            name: pod.name().into(),
            uid: pod.uid().into(),
            api_version: "v1".into(),
            resource_version: version.into(),
            field_path: path.into(),
        };
        self.recorder.event(&object, kind, reason, message);
    }

    /// About the node.
    pub fn emit_node(&self, kind: EventType, reason: &str, message: &str) {
        self.recorder.event(&self.node, kind, reason, message);
    }
}

/// The path of a container in its pod, as events name it.
#[must_use]
pub fn container_path(pod: &Pod, name: &str) -> String {
    let list = match pod.container(name) {
        Some((crate::pod::Role::Init, _)) => "initContainers",
        Some((crate::pod::Role::Ephemeral, _)) => "ephemeralContainers",
        _ => "containers",
    };
    format!("spec.{list}{{{name}}}")
}
