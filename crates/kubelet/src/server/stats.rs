//! `/metrics/resource` and `/metrics/cadvisor`: what node, pods and containers use, as metrics.

use std::fmt::Write;

use super::figures::{self, ContainerFigures, PodFigures, number};
use crate::context::Context;

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// One metric with its lines: labels and value.
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    kind: &'a str,
    lines: Vec<(String, String)>,
}

fn render(families: Vec<Family<'_>>) -> String {
    let mut out = String::new();
    for family in families.iter().filter(|family| !family.lines.is_empty()) {
        let Family { name, help, kind, .. } = family;
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in &family.lines {
            let _ = match labels.as_str() {
                "" => writeln!(out, "{name} {value}"),
                labels => writeln!(out, "{name}{{{labels}}} {value}"),
            };
        }
    }
    out
}

type ContainerValue = fn(&ContainerFigures) -> Option<String>;
type PodValue = fn(&PodFigures) -> String;

fn of_containers(
    pods: &[PodFigures],
    labels: &dyn Fn(&PodFigures, &ContainerFigures) -> String,
    value: ContainerValue,
) -> Vec<(String, String)> {
    let all = pods.iter().flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)));
    all.filter_map(|(pod, container)| Some((labels(pod, container), value(container)?))).collect()
}

fn cpu_of(container: &ContainerFigures) -> Option<String> {
    number(&container.cpu.usage_core_nano_seconds).map(|nanos| seconds(nanos).to_string())
}

fn working_set_of(container: &ContainerFigures) -> Option<String> {
    number(&container.memory.working_set_bytes).map(|bytes| bytes.to_string())
}

fn start_of(container: &ContainerFigures) -> Option<String> {
    (container.started_at > 0).then(|| container.started_at.to_string())
}

/// `/metrics/resource`
pub(super) async fn resource_metrics(cx: &Context) -> String {
    let node = cx.cgroups.node_usage();
    let failed = node.is_err();
    let node = node.unwrap_or_default();
    let pods = figures::pods(cx, false).await;
    let labels = |pod: &PodFigures, container: &ContainerFigures| {
        format!("container={:?},namespace={:?},pod={:?}", container.name, pod.namespace, pod.name)
    };
    let containers = |value: ContainerValue| of_containers(&pods, &labels, value);
    let each = |value: PodValue| {
        let labels = |pod: &PodFigures| format!("namespace={:?},pod={:?}", pod.namespace, pod.name);
        pods.iter().map(|pod| (labels(pod), value(pod))).collect::<Vec<_>>()
    };
    let alone = |value: String| vec![(String::new(), value)];
    let family = |name, help, kind, lines| Family { name, help, kind, lines };
    render(vec![
        family(
            "container_cpu_usage_seconds_total",
            "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
            "counter",
            containers(cpu_of),
        ),
        family(
            "container_memory_working_set_bytes",
            "[STABLE] Current working set of the container in bytes",
            "gauge",
            containers(working_set_of),
        ),
        family(
            "container_start_time_seconds",
            "[STABLE] Start time of the container since unix epoch in seconds",
            "gauge",
            containers(start_of),
        ),
        family(
            "node_cpu_usage_seconds_total",
            "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
            "counter",
            alone(seconds(node.cpu_nanos).to_string()),
        ),
        family(
            "node_memory_working_set_bytes",
            "[STABLE] Current working set of the node in bytes",
            "gauge",
            alone(node.working_set.to_string()),
        ),
        family(
            "pod_cpu_usage_seconds_total",
            "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
            "counter",
            each(|pod| seconds(pod.group.cpu_nanos).to_string()),
        ),
        family(
            "pod_memory_working_set_bytes",
            "[STABLE] Current working set of the pod in bytes",
            "gauge",
            each(|pod| pod.group.working_set.to_string()),
        ),
        family(
            "resource_scrape_error",
            "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
            "gauge",
            alone(u8::from(failed).to_string()),
        ),
    ])
}

/// `/metrics/cadvisor`: the figures that dashboards of pods read. Not cAdvisor's whole list: no figures a device, a
/// processor or a network protocol.
pub(super) async fn container_metrics(cx: &Context) -> String {
    let pods = figures::pods(cx, true).await;
    let node = cx.cgroups.node_usage().unwrap_or_default();
    let labels = |pod: &PodFigures, container: &ContainerFigures| {
        format!(
            "container={:?},id={:?},image={:?},name={:?},namespace={:?},pod={:?}",
            container.name,
            format!("{}/{}", pod.path, container.id),
            container.image,
            container.id,
            pod.namespace,
            pod.name
        )
    };
    let of_pod = |pod: &PodFigures| {
        format!(
            "container=\"\",id={:?},image=\"\",name=\"\",namespace={:?},pod={:?}",
            pod.path, pod.namespace, pod.name
        )
    };
    let root = "container=\"\",id=\"/\",image=\"\",name=\"\",namespace=\"\",pod=\"\"".to_owned();
    let all = |container: ContainerValue, pod: Option<PodValue>, node: Option<String>| {
        let mut lines = of_containers(&pods, &labels, container);
        lines.extend(pod.into_iter().flat_map(|value| pods.iter().map(move |pod| (of_pod(pod), value(pod)))));
        lines.extend(node.map(|value| (root.clone(), value)));
        lines
    };
    let disks = |value: fn(crate::eviction::measure::ContainerDisk) -> u64| {
        let each = pods.iter().flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)));
        each.filter_map(|(pod, container)| {
            let disk = pod.disk.containers.get(&container.name)?;
            Some((labels(pod, container), value(*disk).to_string()))
        })
        .collect::<Vec<_>>()
    };
    let family = |name, help, kind, lines| Family { name, help, kind, lines };
    let total = |lines: Vec<(String, String)>| {
        lines.into_iter().map(|(labels, value)| (format!("{labels},cpu=\"total\""), value)).collect()
    };
    let mut families = vec![
        family(
            "container_cpu_usage_seconds_total",
            "Cumulative cpu time consumed in seconds.",
            "counter",
            total(all(
                cpu_of,
                Some(|pod| seconds(pod.group.cpu_nanos).to_string()),
                Some(seconds(node.cpu_nanos).to_string()),
            )),
        ),
        family(
            "container_memory_usage_bytes",
            "Current memory usage in bytes, including all memory.",
            "gauge",
            all(
                |c| number(&c.memory.usage_bytes).map(|n| n.to_string()),
                Some(|pod| pod.group.memory.to_string()),
                Some(node.memory.to_string()),
            ),
        ),
        family(
            "container_memory_working_set_bytes",
            "Current working set in bytes.",
            "gauge",
            all(
                working_set_of,
                Some(|pod| pod.group.working_set.to_string()),
                Some(node.working_set.to_string()),
            ),
        ),
        family(
            "container_memory_rss",
            "Size of RSS in bytes.",
            "gauge",
            all(
                |c| number(&c.memory.rss_bytes).map(|n| n.to_string()),
                Some(|pod| pod.group.rss.to_string()),
                Some(node.rss.to_string()),
            ),
        ),
        family(
            "container_start_time_seconds",
            "Start time of the container since unix epoch in seconds.",
            "gauge",
            all(start_of, None, None),
        ),
        family(
            "container_threads",
            "Number of threads running inside the container.",
            "gauge",
            all(|_| None, Some(|pod| pod.group.pids.to_string()), None),
        ),
        family(
            "container_fs_usage_bytes",
            "Number of bytes that are consumed by the container on this filesystem.",
            "gauge",
            disks(|disk| disk.root.bytes),
        ),
        family(
            "container_fs_inodes_used",
            "Number of inodes that are used by the container on this filesystem.",
            "gauge",
            disks(|disk| disk.root.inodes),
        ),
    ];
    families.extend(networks(&pods));
    render(families)
}

fn networks(pods: &[PodFigures]) -> Vec<Family<'static>> {
    type Read = fn(&cri::v1::NetworkInterfaceUsage) -> Option<u64>;
    let kinds: [(&str, &str, Read); 4] = [
        ("container_network_receive_bytes_total", "Cumulative count of bytes received", |i| {
            number(&i.rx_bytes)
        }),
        (
            "container_network_receive_errors_total",
            "Cumulative count of errors encountered while receiving",
            |i| number(&i.rx_errors),
        ),
        ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", |i| {
            number(&i.tx_bytes)
        }),
        (
            "container_network_transmit_errors_total",
            "Cumulative count of errors encountered while transmitting",
            |i| number(&i.tx_errors),
        ),
    ];
    let families = kinds.into_iter().map(|(name, help, read)| {
        let each = pods.iter().flat_map(|pod| pod.network.iter().map(move |interface| (pod, interface)));
        let lines = each.filter_map(|(pod, interface)| {
            let labels = format!(
                "container=\"POD\",id={:?},image=\"\",interface={:?},name=\"\",namespace={:?},pod={:?}",
                pod.path, interface.name, pod.namespace, pod.name
            );
            Some((labels, read(interface)?.to_string()))
        });
        Family { name, help, kind: "counter", lines: lines.collect() }
    });
    families.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_without_lines_are_left_out() {
        let family = |name, lines| Family { name, help: "h", kind: "gauge", lines };
        let text = render(vec![
            family("none", Vec::new()),
            family("a", vec![(String::new(), "1".into()), ("x=\"y\"".into(), "2".into())]),
        ]);
        assert_eq!(text, "# HELP a h\n# TYPE a gauge\na 1\na{x=\"y\"} 2\n");
    }
}
