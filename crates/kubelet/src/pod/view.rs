//! What the kubelet asks of a pod's specification, as one trait on the typed pod.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec, Volume};

/// Where the pod comes from: `api`, `file`.
pub const SOURCE_ANNOTATION: &str = "kubernetes.io/config.source";
/// The hash that ties a mirror pod to its static pod.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// The hash of a static pod's manifest.
pub const HASH_ANNOTATION: &str = "kubernetes.io/config.hash";
/// When the kubelet first saw the pod.
pub const SEEN_ANNOTATION: &str = "kubernetes.io/config.seen";

/// Which list of the specification a container stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `spec.initContainers`
    Init,
    /// `spec.containers`
    Regular,
    /// `spec.ephemeralContainers`
    Ephemeral,
}

static EMPTY_SPEC: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);

/// Short access to a pod's fields, empty where unset.
pub trait PodExt {
    /// `metadata.uid`
    fn uid(&self) -> &str;
    /// `metadata.name`
    fn name(&self) -> &str;
    /// `metadata.namespace`
    fn namespace(&self) -> &str;
    /// The specification.
    fn spec(&self) -> &PodSpec;
    /// An annotation's value.
    fn annotation(&self, key: &str) -> Option<&str>;
    /// `name_namespace(uid)`, as upstream names pods in messages.
    fn shown(&self) -> String {
        format!("{}_{}({})", self.name(), self.namespace(), self.uid())
    }
    /// Containers of `spec.initContainers`.
    fn init_containers(&self) -> &[Container] {
        self.spec().init_containers.as_deref().unwrap_or_default()
    }
    /// Containers of `spec.containers`.
    fn containers(&self) -> &[Container] {
        &self.spec().containers
    }
    /// Containers of `spec.ephemeralContainers`.
    fn ephemeral_containers(&self) -> &[EphemeralContainer] {
        self.spec().ephemeral_containers.as_deref().unwrap_or_default()
    }
    /// `spec.volumes`
    fn volumes(&self) -> &[Volume] {
        self.spec().volumes.as_deref().unwrap_or_default()
    }
    /// `Always`, `OnFailure` or `Never`.
    fn restart_policy(&self) -> &str {
        self.spec().restart_policy.as_deref().unwrap_or("Always")
    }
    /// Whether the pod shares the node's network.
    fn host_network(&self) -> bool {
        self.spec().host_network.unwrap_or(false)
    }
    /// Whether the pod comes from a manifest on the node.
    fn is_static(&self) -> bool {
        self.annotation(SOURCE_ANNOTATION).is_some_and(|source| source != "api")
    }
    /// Whether the pod only mirrors a static pod in the API.
    fn is_mirror(&self) -> bool {
        self.annotation(MIRROR_ANNOTATION).is_some()
    }
    /// `spec.terminationGracePeriodSeconds`, 30 if unset.
    fn grace_period(&self) -> i64 {
        self.spec().termination_grace_period_seconds.unwrap_or(30)
    }
    /// A container by name, with its role. Ephemeral containers are found as containers, too.
    fn container(&self, name: &str) -> Option<(Role, std::borrow::Cow<'_, Container>)> {
        use std::borrow::Cow;
        let find = |list: &'_ [Container]| list.iter().position(|container| container.name == name);
        if let Some(index) = find(self.containers()) {
            return Some((Role::Regular, Cow::Borrowed(&self.containers()[index])));
        }
        if let Some(index) = find(self.init_containers()) {
            return Some((Role::Init, Cow::Borrowed(&self.init_containers()[index])));
        }
        let ephemeral = self.ephemeral_containers().iter().find(|container| container.name == name)?;
        Some((Role::Ephemeral, Cow::Owned(as_container(ephemeral))))
    }
}

impl PodExt for Pod {
    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
    fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }
    fn spec(&self) -> &PodSpec {
        self.spec.as_ref().unwrap_or(&EMPTY_SPEC)
    }
    fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// Whether an init container keeps running beside the regular ones (a sidecar).
#[must_use]
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// An ephemeral container as the container that it becomes.
#[must_use]
pub fn as_container(ephemeral: &EphemeralContainer) -> Container {
    let e = ephemeral.clone();
    Container {
        args: e.args,
        command: e.command,
        env: e.env,
        env_from: e.env_from,
        image: e.image,
        image_pull_policy: e.image_pull_policy,
        lifecycle: e.lifecycle,
        liveness_probe: e.liveness_probe,
        name: e.name,
        ports: e.ports,
        readiness_probe: e.readiness_probe,
        resize_policy: e.resize_policy,
        resources: e.resources,
        restart_policy: e.restart_policy,
        restart_policy_rules: e.restart_policy_rules,
        security_context: e.security_context,
        startup_probe: e.startup_probe,
        stdin: e.stdin,
        stdin_once: e.stdin_once,
        termination_message_path: e.termination_message_path,
        termination_message_policy: e.termination_message_policy,
        tty: e.tty,
        volume_devices: e.volume_devices,
        volume_mounts: e.volume_mounts,
        working_dir: e.working_dir,
    }
}

/// Whether a container that ended with `code` is to be started again: its own rules first, then its policy,
/// then the pod's.
#[must_use]
pub fn restarts_after(container: &Container, pod: &Pod, code: i32) -> bool {
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else { continue };
        let listed = codes.values.as_deref().unwrap_or_default().contains(&code);
        let matches = if codes.operator == "NotIn" { !listed } else { listed };
        if matches {
            return rule.action == "Restart" || rule.action == "RestartAllContainers";
        }
    }
    match container.restart_policy.as_deref().unwrap_or(pod.restart_policy()) {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    }
}
