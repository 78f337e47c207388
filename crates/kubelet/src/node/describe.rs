//! The node's status as it is now. Pure, except for what it is handed.

use std::collections::BTreeMap;

use cri::v1;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures,
    NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeStatus, NodeSwapStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::machine::Machine;
use crate::config::KubeletConfiguration;
use crate::quantity;
use crate::status::containers::seconds;

/// Most names of an image.
const IMAGE_NAMES: usize = 5;

type List = BTreeMap<String, Quantity>;

/// Capacity and allocatable resources.
#[must_use]
pub fn resources(machine: &Machine, config: &KubeletConfiguration) -> (List, List) {
    let mut capacity: List = [
        ("cpu".to_owned(), Quantity(machine.cpus.to_string())),
        ("memory".to_owned(), quantity::from_bytes(machine.memory)),
        ("ephemeral-storage".to_owned(), quantity::from_bytes(machine.disk)),
        ("pods".to_owned(), Quantity(config.max_pods.to_string())),
    ]
    .into();
    for (size, count) in &machine.huge_pages {
        capacity.insert(
            format!("hugepages-{}", quantity::from_bytes(*size).0),
            quantity::from_bytes(size * count),
        );
    }
    let mut allocatable = capacity.clone();
    let reserved = |name: &str, read: fn(&str) -> Option<i64>| {
        let parts = [&config.kube_reserved, &config.system_reserved];
        parts.iter().filter_map(|list| read(list.get(name)?)).sum::<i64>()
    };
    let hard = |signal: &str, total: i64| threshold(config, signal, total);
    let huge: i64 = machine.huge_pages.iter().map(|(size, count)| size * count).sum();
    let cpu = machine.cpus * 1000 - reserved("cpu", quantity::milli);
    let memory = machine.memory
        - reserved("memory", quantity::value)
        - hard("memory.available", machine.memory)
        - huge;
    let disk = machine.disk
        - reserved("ephemeral-storage", quantity::value)
        - hard("nodefs.available", machine.disk);
    allocatable.insert("cpu".to_owned(), quantity::from_milli(cpu.max(0)));
    allocatable.insert("memory".to_owned(), quantity::from_bytes(memory.max(0)));
    allocatable.insert("ephemeral-storage".to_owned(), quantity::from_value(disk.max(0)));
    (capacity, allocatable)
}

/// A hard eviction threshold in units of the signal: a quantity, or a percentage of `total`.
#[must_use]
pub fn threshold(config: &KubeletConfiguration, signal: &str, total: i64) -> i64 {
    let Some(text) = config.eviction_hard.as_ref().and_then(|list| list.get(signal)) else { return 0 };
    match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map_or(0, |percent| (total as f64 * percent / 100.0) as i64),
        None => quantity::value(text).unwrap_or(0),
    }
}

/// What is short on the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Memory.
    pub memory: bool,
    /// Disk space or inodes.
    pub disk: bool,
    /// Process ids.
    pub processes: bool,
}

/// The four conditions. `not_ready` says why the node is not ready.
#[must_use]
pub fn conditions(
    pressure: Pressure,
    not_ready: Option<&str>,
    old: &[NodeCondition],
    now: Timestamp,
) -> Vec<NodeCondition> {
    let pick = |on: bool, bad: (&'static str, &'static str), good: (&'static str, &'static str)| {
        if on { bad } else { good }
    };
    let memory = pick(
        pressure.memory,
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    );
    let disk = pick(
        pressure.disk,
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    );
    let processes = pick(
        pressure.processes,
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    );
    let ready = match not_ready {
        None => ("KubeletReady", "kubelet is posting ready status"),
        Some(why) => ("KubeletNotReady", why),
    };
    let all = [
        ("MemoryPressure", pressure.memory, memory),
        ("DiskPressure", pressure.disk, disk),
        ("PIDPressure", pressure.processes, processes),
        ("Ready", not_ready.is_none(), ready),
    ];
    all.into_iter()
        .map(|(kind, on, (reason, message))| {
            let status = if on { "True" } else { "False" };
            let before = old.iter().find(|condition| condition.type_ == kind && condition.status == status);
            let now = Some(Time(seconds(now)));
            NodeCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message.to_owned()),
                last_transition_time: before
                    .and_then(|before| before.last_transition_time.clone())
                    .or_else(|| now.clone()),
                last_heartbeat_time: now,
            }
        })
        .collect()
}

/// Everything that goes into the status.
pub struct Input<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The configuration.
    pub config: &'a KubeletConfiguration,
    /// The node's name.
    pub name: &'a str,
    /// Addresses, the primary one first.
    pub ips: &'a [String],
    /// Name and version of the runtime.
    pub runtime: String,
    /// The runtime's own status.
    pub runtime_status: &'a v1::StatusResponse,
    /// Images, the largest first.
    pub images: Vec<ContainerImage>,
    /// Conditions.
    pub conditions: Vec<NodeCondition>,
}

/// The status.
#[must_use]
pub fn status(input: Input<'_>) -> NodeStatus {
    let (capacity, allocatable) = resources(input.machine, input.config);
    let internal = input.ips.iter().map(|ip| ("InternalIP", ip.as_str()));
    let addresses = internal
        .chain([("Hostname", input.name)])
        .map(|(kind, address)| NodeAddress { type_: kind.to_owned(), address: address.to_owned() });
    let features = input.runtime_status.features.as_ref().map(|features| NodeFeatures {
        supplemental_groups_policy: Some(features.supplemental_groups_policy),
    });
    NodeStatus {
        addresses: Some(addresses.collect()),
        capacity: Some(capacity),
        allocatable: Some(allocatable),
        conditions: Some(input.conditions),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: input.config.port }),
        }),
        features,
        images: Some(input.images),
        node_info: Some(info(input.machine, input.runtime)),
        runtime_handlers: Some(input.runtime_status.runtime_handlers.iter().map(handler).collect())
            .filter(|handlers: &Vec<_>| !handlers.is_empty()),
        ..NodeStatus::default()
    }
}

fn handler(handler: &v1::RuntimeHandler) -> NodeRuntimeHandler {
    let features = handler.features.as_ref().map(|features| NodeRuntimeHandlerFeatures {
        recursive_read_only_mounts: Some(features.recursive_read_only_mounts),
        user_namespaces: Some(features.user_namespaces),
    });
    NodeRuntimeHandler { name: Some(handler.name.clone()), features }
}

fn info(machine: &Machine, runtime: String) -> NodeSystemInfo {
    NodeSystemInfo {
        architecture: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned(),
        boot_id: machine.boot_id.clone(),
        container_runtime_version: runtime,
        kernel_version: machine.kernel.clone(),
        kube_proxy_version: String::new(),
        kubelet_version: component_base::KUBERNETES_VERSION.to_owned(),
        machine_id: machine.machine_id.clone(),
        operating_system: "linux".to_owned(),
        running_in_user_namespace: Some(machine.user_namespace),
        os_image: machine.os_image.clone(),
        swap: (machine.swap > 0).then_some(NodeSwapStatus { capacity: Some(machine.swap) }),
        system_uuid: machine.system_uuid.clone(),
    }
}

/// The largest `limit` images with their names; a negative limit is none.
#[must_use]
pub fn images(mut list: Vec<v1::Image>, limit: i32) -> Vec<ContainerImage> {
    list.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    if let Ok(limit) = usize::try_from(limit) {
        list.truncate(limit);
    }
    let one = |image: v1::Image| {
        let names = image.repo_digests.into_iter().chain(image.repo_tags).take(IMAGE_NAMES).collect();
        ContainerImage { names: Some(names), size_bytes: i64::try_from(image.size).ok() }
    };
    list.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_resources() {
        let machine = Machine { cpus: 2, memory: 4 << 30, disk: 100 << 10, ..Machine::default() };
        let config = KubeletConfiguration::default().with_defaults();
        let (capacity, allocatable) = resources(&machine, &config);
        assert_eq!((capacity["cpu"].0.as_str(), capacity["memory"].0.as_str()), ("2", "4Gi"));
        assert_eq!((allocatable["cpu"].0.as_str(), allocatable["memory"].0.as_str()), ("2", "3996Mi"));
        assert_eq!(allocatable["ephemeral-storage"].0, "92160");
        assert_eq!(capacity["pods"].0, "110");
    }

    #[test]
    fn transition_times_stay() {
        let early = Timestamp::from_second(1).unwrap();
        let later = Timestamp::from_second(9).unwrap();
        let first = conditions(Pressure::default(), Some("no network"), &[], early);
        let second = conditions(Pressure::default(), None, &first, later);
        let ready = |list: &[NodeCondition]| list.iter().find(|c| c.type_ == "Ready").unwrap().clone();
        assert_eq!(ready(&first).message.as_deref(), Some("no network"));
        assert_eq!(ready(&second).last_transition_time.unwrap().0, later);
        assert_eq!(second[0].last_transition_time.as_ref().unwrap().0, early);
        assert_eq!(second[0].last_heartbeat_time.as_ref().unwrap().0, later);
    }
}
