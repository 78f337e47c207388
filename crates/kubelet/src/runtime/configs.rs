//! The messages that make sandboxes and containers: pure functions of the pod and of what was prepared for it.

use std::collections::HashMap;
use std::path::Path;

use cri::v1;
use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod};

use super::security::ImageUser;
use super::{labels, resources, security};
use crate::environment::expand;
use crate::pod::{PodExt, Role};

/// What the node decides for all pods.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Bytes of memory of the node.
    pub memory_capacity: i64,
    /// Whether CPU limits are enforced.
    pub enforce_quota: bool,
    /// Period of the CPU quota in microseconds.
    pub quota_period: i64,
    /// Whether containers without a seccomp profile get the runtime's.
    pub seccomp_default: bool,
    /// The kubelet's folder.
    pub root: String,
}

fn ports(container: &Container) -> impl Iterator<Item = &ContainerPort> {
    container.ports.iter().flatten()
}

fn port_mapping(port: &ContainerPort) -> v1::PortMapping {
    let protocol = match port.protocol.as_deref() {
        Some("UDP") => v1::Protocol::Udp,
        Some("SCTP") => v1::Protocol::Sctp,
        _ => v1::Protocol::Tcp,
    };
    v1::PortMapping {
        protocol: protocol as i32,
        container_port: port.container_port,
        host_port: port.host_port.unwrap_or_default(),
        host_ip: port.host_ip.clone().unwrap_or_default(),
    }
}

/// The configuration of a pod's sandbox.
#[must_use]
pub fn sandbox(
    pod: &Pod,
    attempt: u32,
    hostname: &str,
    dns: v1::DnsConfig,
    log_directory: &Path,
    cgroup_parent: &str,
    settings: &NodeSettings,
) -> v1::PodSandboxConfig {
    let context = pod.spec().security_context.as_ref();
    let sysctls: HashMap<_, _> = context
        .and_then(|context| context.sysctls.as_ref())
        .into_iter()
        .flatten()
        .map(|sysctl| (dotted(&sysctl.name), sysctl.value.clone()))
        .collect();
    let all = pod.containers().iter().chain(pod.init_containers());
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: pod.name().to_owned(),
            uid: pod.uid().to_owned(),
            namespace: pod.namespace().to_owned(),
            attempt,
        }),
        hostname: if pod.host_network() { String::new() } else { hostname.to_owned() },
        log_directory: log_directory.display().to_string(),
        dns_config: Some(dns),
        port_mappings: all.flat_map(ports).map(port_mapping).collect(),
        labels: labels::of_sandbox(pod),
        annotations: labels::sandbox_annotations(pod),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: cgroup_parent.to_owned(),
            security_context: Some(security::of_sandbox(pod)),
            sysctls,
            overhead: Some(v1::LinuxContainerResources::default()),
            resources: Some(resources::of_sandbox(pod, settings.quota_period)),
        }),
    }
}

/// A sysctl's name with dots between its parts. Where the first separator is a slash, slashes separate, and dots stand
/// for slashes within a part.
#[must_use]
pub fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('/') => {
            let turn = |c: char| match c {
                '/' => '.',
                '.' => '/',
                other => other,
            };
            name.chars().map(turn).collect()
        }
        _ => name.to_owned(),
    }
}

/// What was prepared for a container.
pub struct Prepared<'a> {
    /// How often it was started before.
    pub restarts: u32,
    /// The image's id.
    pub image_ref: &'a str,
    /// The image's user.
    pub image_user: &'a ImageUser,
    /// Environment variables.
    pub environment: &'a [(String, String)],
    /// Mounts.
    pub mounts: Vec<v1::Mount>,
    /// Id of the container whose processes an ephemeral container shares.
    pub target: Option<&'a str>,
}

/// The configuration of a container.
#[must_use]
pub fn container(
    pod: &Pod,
    container: &Container,
    role: Role,
    prepared: Prepared<'_>,
    settings: &NodeSettings,
) -> v1::ContainerConfig {
    let values: HashMap<&str, &str> =
        prepared.environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let expanded = |list: Option<&Vec<String>>| -> Vec<String> {
        let one = |text: &String| expand(text, |name| values.get(name).map(|value| (*value).to_owned()));
        list.into_iter().flatten().map(one).collect()
    };
    let envs = prepared
        .environment
        .iter()
        .map(|(key, value)| v1::KeyValue { key: key.clone(), value: value.clone().into() });
    let context = security::of_container(
        pod,
        container,
        role,
        prepared.image_user,
        &settings.root,
        settings.seccomp_default,
        prepared.target,
    );
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: container.name.clone(), attempt: prepared.restarts }),
        image: Some(v1::ImageSpec {
            image: prepared.image_ref.to_owned(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        command: expanded(container.command.as_ref()),
        args: expanded(container.args.as_ref()),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: envs.collect(),
        mounts: prepared.mounts,
        labels: labels::of_container(pod, container),
        annotations: labels::container_annotations(pod, container, prepared.restarts),
        log_path: format!("{}/{}.log", container.name, prepared.restarts),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        stop_signal: stop_signal(container),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(resources::of_container(
                pod,
                container,
                settings.memory_capacity,
                settings.enforce_quota,
                settings.quota_period,
            )),
            security_context: Some(context),
        }),
        ..Default::default()
    }
}

/// The CRI's number of a container's own stop signal; zero leaves it to the image.
fn stop_signal(container: &Container) -> i32 {
    let name = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.as_deref());
    name.and_then(|name| v1::Signal::from_str_name(&format!("SIGNAL_{name}")))
        .map_or(0, |signal| signal as i32)
}

/// The name of a stop signal by the CRI's number, if one is set.
#[must_use]
pub fn stop_signal_name(number: i32) -> Option<String> {
    let name = v1::Signal::try_from(number).ok().filter(|signal| *signal as i32 != 0)?.as_str_name();
    name.strip_prefix("SIGNAL_").map(str::to_owned)
}
