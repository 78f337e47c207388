//! `/stats/summary`: what node, pods and containers use, as JSON (`stats.k8s.io/v1alpha1`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::figures::{self, ContainerFigures, PodFigures, Rates, number};
use crate::cgroups::Usage;
use crate::context::Context;
use crate::eviction::measure::{self, ContainerDisk, Disk, PodDisk};
use crate::node::machine;

/// Size, free bytes, inodes and free inodes of a file system.
type FileSystem = Option<(u64, u64, u64, u64)>;

/// The whole answer. `only_cpu_and_memory`: without what is on disk and in the network.
pub(super) async fn summary(cx: &Context, rates: &Rates, only_cpu_and_memory: bool) -> Value {
    let disks = !only_cpu_and_memory;
    let pods = figures::pods(cx, disks).await;
    rates.keep(|what| what == "node" || pods.iter().any(|pod| pod.uid == what));
    let at = Timestamp::now().to_string();
    let node_fs = machine::file_system(&cx.paths.root);
    let pods: Vec<_> = pods.iter().map(|pod| of_pod(pod, rates, &at, node_fs, disks)).collect();
    let usage = cx.cgroups.node_usage().unwrap_or_default();
    let mut node = json!({
        "nodeName": cx.node_name,
        "startTime": cx.machine_started.to_string(),
        "cpu": cpu(&at, usage.cpu_nanos, rates.of("node", usage.cpu_nanos)),
        "memory": memory(&at, &usage, u64::try_from(cx.settings.memory_capacity).ok()),
    });
    if let Some((running, most)) = machine::processes() {
        node["rlimit"] = json!({"time": at, "maxpid": most, "curproc": running});
    }
    if disks {
        let used = node_fs.map(|(size, free, inodes, free_inodes)| Disk {
            bytes: size - free,
            inodes: inodes - free_inodes,
        });
        node["fs"] = file_system(&at, node_fs, used.unwrap_or_default());
        let images = measure::image_folder(cx).await;
        let image_fs = images.as_ref().and_then(|place| machine::file_system(std::path::Path::new(place)));
        node["runtime"] = json!({
            "imageFs": file_system(&at, image_fs, measure::image_usage(cx).await),
            "containerFs": file_system(&at, image_fs, measure::image_usage(cx).await),
        });
    }
    json!({"node": node, "pods": pods})
}

fn cpu(at: &str, nanos: u64, rate: Option<u64>) -> Value {
    let mut value = json!({"time": at, "usageCoreNanoSeconds": nanos});
    if let Some(rate) = rate {
        value["usageNanoCores"] = json!(rate);
    }
    value
}

fn memory(at: &str, usage: &Usage, capacity: Option<u64>) -> Value {
    let mut value = json!({"time": at, "usageBytes": usage.memory, "workingSetBytes": usage.working_set,
        "rssBytes": usage.rss});
    if let Some(capacity) = capacity {
        value["availableBytes"] = json!(capacity.saturating_sub(usage.working_set));
    }
    value
}

fn file_system(at: &str, system: FileSystem, used: Disk) -> Value {
    let mut value = json!({"time": at, "usedBytes": used.bytes, "inodesUsed": used.inodes});
    if let Some((size, free, inodes, free_inodes)) = system {
        value["capacityBytes"] = json!(size);
        value["availableBytes"] = json!(free);
        value["inodes"] = json!(inodes);
        value["inodesFree"] = json!(free_inodes);
    }
    value
}

fn of_pod(pod: &PodFigures, rates: &Rates, at: &str, system: FileSystem, disks: bool) -> Value {
    let containers: Vec<_> = pod
        .containers
        .iter()
        .map(|container| {
            let disk = pod.disk.containers.get(&container.name).copied().filter(|_| disks);
            of_container(container, disk, at, system)
        })
        .collect();
    let mut value = json!({
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": pod.started,
        "containers": containers,
        "cpu": cpu(at, pod.group.cpu_nanos, rates.of(&pod.uid, pod.group.cpu_nanos)),
        "memory": memory(at, &pod.group, None),
        "process_stats": {"process_count": pod.group.pids},
    });
    if disks {
        add_disks(&mut value, &pod.disk, at, system);
        if let Some(network) = network(pod, at) {
            value["network"] = network;
        }
    }
    value
}

fn add_disks(value: &mut Value, disk: &PodDisk, at: &str, system: FileSystem) {
    value["ephemeral-storage"] = file_system(at, system, disk.total());
    let mut names: Vec<_> = disk.volumes.keys().collect();
    names.sort();
    let volumes = names.into_iter().map(|name| {
        let mut volume = file_system(at, system, disk.volumes[name]);
        volume["name"] = json!(name);
        volume
    });
    value["volume"] = volumes.collect();
}

/// The first interface is the pod's own.
fn network(pod: &PodFigures, at: &str) -> Option<Value> {
    let one = |interface: &cri::v1::NetworkInterfaceUsage| {
        json!({"name": interface.name,
            "rxBytes": number(&interface.rx_bytes), "rxErrors": number(&interface.rx_errors),
            "txBytes": number(&interface.tx_bytes), "txErrors": number(&interface.tx_errors)})
    };
    let mut value = one(pod.network.first()?);
    value["time"] = json!(at);
    value["interfaces"] = pod.network.iter().map(one).collect();
    Some(value)
}

fn of_container(
    container: &ContainerFigures,
    disk: Option<ContainerDisk>,
    at: &str,
    system: FileSystem,
) -> Value {
    let time = |nanos: i64| {
        crate::runtime::status::timestamp(nanos).map_or_else(|| at.to_owned(), |time| time.to_string())
    };
    let (used, memory) = (&container.cpu, &container.memory);
    let mut value = json!({
        "name": container.name,
        "startTime": container.started,
        "cpu": cpu(&time(used.timestamp), number(&used.usage_core_nano_seconds).unwrap_or(0), number(&used.usage_nano_cores)),
        "memory": {"time": time(memory.timestamp)},
    });
    let numbers = [
        ("availableBytes", &memory.available_bytes),
        ("usageBytes", &memory.usage_bytes),
        ("workingSetBytes", &memory.working_set_bytes),
        ("rssBytes", &memory.rss_bytes),
        ("pageFaults", &memory.page_faults),
        ("majorPageFaults", &memory.major_page_faults),
    ];
    for (name, amount) in numbers {
        if let Some(amount) = number(amount) {
            value["memory"][name] = json!(amount);
        }
    }
    if let Some(disk) = disk {
        value["rootfs"] = file_system(at, system, disk.root);
        value["logs"] = file_system(at, system, disk.logs);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_with_everything() {
        let container = ContainerFigures {
            id: "i".into(),
            name: "c".into(),
            cpu: cri::v1::CpuUsage {
                timestamp: 1_000_000_000,
                usage_core_nano_seconds: Some(cri::v1::UInt64Value { value: 7 }),
                ..Default::default()
            },
            memory: cri::v1::MemoryUsage {
                working_set_bytes: Some(cri::v1::UInt64Value { value: 9 }),
                ..Default::default()
            },
            image: "a:1".into(),
            started: "2026-01-01T00:00:00Z".into(),
            started_at: 1,
        };
        let mut pod = PodFigures {
            uid: "u".into(),
            name: "p".into(),
            containers: vec![container],
            ..PodFigures::default()
        };
        let disk = ContainerDisk { root: Disk { bytes: 3, inodes: 1 }, logs: Disk { bytes: 4, inodes: 2 } };
        pod.disk.containers.insert("c".into(), disk);
        pod.network = vec![cri::v1::NetworkInterfaceUsage { name: "eth0".into(), ..Default::default() }];
        let value = of_pod(&pod, &Rates::default(), "now", Some((100, 60, 10, 5)), true);
        let container = &value["containers"][0];
        assert_eq!(container["cpu"], json!({"time": "1970-01-01T00:00:01Z", "usageCoreNanoSeconds": 7}));
        assert_eq!(container["memory"], json!({"time": "now", "workingSetBytes": 9}));
        assert_eq!(container["rootfs"]["usedBytes"], 3);
        assert_eq!(value["ephemeral-storage"]["usedBytes"], 7);
        assert_eq!(value["ephemeral-storage"]["availableBytes"], 60);
        assert_eq!(value["network"]["interfaces"][0]["name"], "eth0");
        let short = of_pod(&pod, &Rates::default(), "now", None, false);
        assert!(short.get("ephemeral-storage").is_none() && short["containers"][0].get("logs").is_none());
    }
}
