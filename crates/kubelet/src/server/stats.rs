//! What node, pods and containers use: from control groups and the runtime's own figures.
//!
//! Only what these give: no network, file system or rate figures yet.

use std::fmt::Write;

use cri::v1;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::context::Context;
use crate::runtime::labels;

/// Figures of one container.
struct Figures {
    namespace: String,
    pod: String,
    uid: String,
    name: String,
    cpu_nanos: u64,
    memory: u64,
    working_set: u64,
    at: i64,
}

async fn figures(cx: &Context) -> Vec<Figures> {
    let request = v1::ListContainerStatsRequest { filter: None };
    let stats = cx.runtime.list_container_stats(request).await.map(|answer| answer.stats).unwrap_or_default();
    let all = stats.into_iter().filter_map(|stat| {
        let attributes = stat.attributes?;
        let label = |name: &str| attributes.labels.get(name).cloned().unwrap_or_default();
        let (cpu, memory) = (stat.cpu.unwrap_or_default(), stat.memory.unwrap_or_default());
        let value = |value: Option<v1::UInt64Value>| value.map_or(0, |value| value.value);
        Some(Figures {
            namespace: label(labels::POD_NAMESPACE),
            pod: label(labels::POD_NAME),
            uid: label(labels::POD_UID),
            name: label(labels::CONTAINER_NAME),
            at: cpu.timestamp,
            cpu_nanos: value(cpu.usage_core_nano_seconds),
            memory: value(memory.usage_bytes),
            working_set: value(memory.working_set_bytes),
        })
    });
    all.collect()
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// `/metrics/resource`
pub async fn resource_metrics(cx: &Context) -> String {
    let mut out = String::new();
    let node = cx.cgroups.node_usage();
    let failed = node.is_err();
    let node = node.unwrap_or_default();
    let figures = figures(cx).await;
    let mut family = |name: &str, help: &str, kind: &str, lines: Vec<(String, String)>| {
        let _ = writeln!(out, "# HELP {name} [STABLE] {help}\n# TYPE {name} {kind}");
        for (labels, value) in lines {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let of = |f: &Figures| format!("{{container={:?},namespace={:?},pod={:?}}}", f.name, f.namespace, f.pod);
    let each =
        |value: &dyn Fn(&Figures) -> String| figures.iter().map(|f| (of(f), value(f))).collect::<Vec<_>>();
    family(
        "container_cpu_usage_seconds_total",
        "Cumulative cpu time consumed by the container in core-seconds",
        "counter",
        each(&|f| seconds(f.cpu_nanos).to_string()),
    );
    family(
        "container_memory_working_set_bytes",
        "Current working set of the container in bytes",
        "gauge",
        each(&|f| f.working_set.to_string()),
    );
    let mut pods: Vec<(String, u64, u64)> = Vec::new();
    for f in &figures {
        let labels = format!("{{namespace={:?},pod={:?}}}", f.namespace, f.pod);
        match pods.iter_mut().find(|(known, ..)| *known == labels) {
            Some((_, cpu, memory)) => {
                *cpu += f.cpu_nanos;
                *memory += f.working_set;
            }
            None => pods.push((labels, f.cpu_nanos, f.working_set)),
        }
    }
    family(
        "node_cpu_usage_seconds_total",
        "Cumulative cpu time consumed by the node in core-seconds",
        "counter",
        vec![(String::new(), seconds(node.cpu_nanos).to_string())],
    );
    family(
        "node_memory_working_set_bytes",
        "Current working set of the node in bytes",
        "gauge",
        vec![(String::new(), node.working_set.to_string())],
    );
    family(
        "pod_cpu_usage_seconds_total",
        "Cumulative cpu time consumed by the pod in core-seconds",
        "counter",
        pods.iter().map(|(labels, cpu, _)| (labels.clone(), seconds(*cpu).to_string())).collect(),
    );
    family(
        "pod_memory_working_set_bytes",
        "Current working set of the pod in bytes",
        "gauge",
        pods.iter().map(|(labels, _, memory)| (labels.clone(), memory.to_string())).collect(),
    );
    family(
        "resource_scrape_error",
        "1 if there was an error while getting container metrics, 0 otherwise",
        "gauge",
        vec![(String::new(), u8::from(failed).to_string())],
    );
    out
}

/// `/metrics/cadvisor`: the figures that dashboards of pods read.
pub async fn container_metrics(cx: &Context) -> String {
    let mut out = String::new();
    let figures = figures(cx).await;
    type Value = fn(&Figures) -> String;
    let families: [(&str, &str, Value); 3] = [
        ("container_cpu_usage_seconds_total", "counter", |f| seconds(f.cpu_nanos).to_string()),
        ("container_memory_usage_bytes", "gauge", |f| f.memory.to_string()),
        ("container_memory_working_set_bytes", "gauge", |f| f.working_set.to_string()),
    ];
    for (name, kind, value) in families {
        let _ = writeln!(out, "# TYPE {name} {kind}");
        for f in &figures {
            let labels = format!("container={:?},namespace={:?},pod={:?}", f.name, f.namespace, f.pod);
            let _ = writeln!(out, "{name}{{{labels}}} {}", value(f));
        }
    }
    out
}

/// `/stats/summary`
pub async fn summary(cx: &Context) -> Value {
    let node = cx.cgroups.node_usage().unwrap_or_default();
    let now = Timestamp::now();
    let mut pods: Vec<Value> = Vec::new();
    for figures in figures(cx).await {
        let at = crate::runtime::status::timestamp(figures.at).unwrap_or(now).to_string();
        let container = json!({
            "name": figures.name,
            "cpu": {"time": at, "usageCoreNanoSeconds": figures.cpu_nanos},
            "memory": {"time": at, "usageBytes": figures.memory, "workingSetBytes": figures.working_set},
        });
        let known = pods.iter_mut().find(|pod| pod["podRef"]["uid"] == figures.uid.as_str());
        match known.and_then(|pod| pod["containers"].as_array_mut()) {
            Some(containers) => containers.push(container),
            None => pods.push(json!({
                "podRef": {"name": figures.pod, "namespace": figures.namespace, "uid": figures.uid},
                "containers": [container],
            })),
        }
    }
    let at = now.to_string();
    json!({
        "node": {
            "nodeName": cx.node_name,
            "cpu": {"time": at, "usageCoreNanoSeconds": node.cpu_nanos},
            "memory": {"time": at, "usageBytes": node.memory, "workingSetBytes": node.working_set, "rssBytes": node.rss},
        },
        "pods": pods,
    })
}
