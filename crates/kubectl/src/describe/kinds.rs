//! `describe` of the kinds that are looked at most, beside pods.

use api::Value;

use super::{annotations, controlled_by, labels, line, list_lines, pod, time};
use crate::output::template::text;

fn head(out: &mut String, object: &Value, with_namespace: bool) {
    line(out, 0, "Name", object.str_at(&["metadata", "name"]));
    if with_namespace {
        line(out, 0, "Namespace", object.str_at(&["metadata", "namespace"]));
    }
}

fn selector(object: &Value) -> String {
    let spec = object.at(&["spec", "selector"]);
    let pairs = spec.map(|s| s.get("matchLabels").unwrap_or(s)).and_then(Value::as_map);
    let mut parts: Vec<String> = pairs
        .into_iter()
        .flat_map(|m| m.iter())
        .filter(|(_, v)| v.as_str().is_some())
        .map(|(k, v)| format!("{k}={}", text(v)))
        .collect();
    parts.sort();
    if parts.is_empty() { "<none>".into() } else { parts.join(",") }
}

/// `sets`: the ReplicaSets that it owns.
pub fn deployment(object: &Value, sets: &[Value]) -> String {
    let mut out = String::new();
    head(&mut out, object, true);
    line(&mut out, 0, "CreationTimestamp", time(object.str_at(&["metadata", "creationTimestamp"])));
    labels(&mut out, object);
    annotations(&mut out, object);
    line(&mut out, 0, "Selector", selector(object));
    let number = |path: &[&str]| object.int_at(path).unwrap_or(0);
    let of = |key: &str| number(&["status", key]);
    line(
        &mut out,
        0,
        "Replicas",
        format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            number(&["spec", "replicas"]),
            of("updatedReplicas"),
            of("replicas"),
            of("availableReplicas"),
            of("unavailableReplicas")
        ),
    );
    line(&mut out, 0, "StrategyType", object.str_at(&["spec", "strategy", "type"]));
    line(&mut out, 0, "MinReadySeconds", number(&["spec", "minReadySeconds"]));
    if let Some(rolling) = object.at(&["spec", "strategy", "rollingUpdate"]) {
        let part = |key: &str| rolling.get(key).map(text).unwrap_or_default();
        line(
            &mut out,
            0,
            "RollingUpdateStrategy",
            format!("{} max unavailable, {} max surge", part("maxUnavailable"), part("maxSurge")),
        );
    }
    out += &pod::template(object.at(&["spec", "template"]).unwrap_or(&Value::Null));
    let conditions = object.list_at(&["status", "conditions"]);
    if !conditions.is_empty() {
        out += "Conditions:\n  Type\tStatus\tReason\n  ----\t------\t------\n";
        for c in conditions {
            out += &format!(
                "  {} \t{}\t{}\n",
                c.str_at(&["type"]),
                c.str_at(&["status"]),
                c.str_at(&["reason"])
            );
        }
    }
    let template = |o: &Value| {
        let mut t = o.at(&["spec", "template"]).cloned().unwrap_or_default();
        t.remove_at(&["metadata", "labels", "pod-template-hash"]);
        t
    };
    let wanted = template(object);
    let shown = |s: &&Value| {
        format!(
            "{} ({}/{} replicas created)",
            s.str_at(&["metadata", "name"]),
            s.int_at(&["status", "replicas"]).unwrap_or(0),
            s.int_at(&["spec", "replicas"]).unwrap_or(0)
        )
    };
    let (new, old): (Vec<&Value>, Vec<&Value>) = sets.iter().partition(|s| template(s) == wanted);
    for (title, sets) in [("OldReplicaSets", old), ("NewReplicaSet", new)] {
        let names: Vec<String> = sets.iter().map(shown).collect();
        line(&mut out, 0, title, if names.is_empty() { "<none>".into() } else { names.join(", ") });
    }
    out
}

/// `pods`: those that it owns.
pub fn replica_set(object: &Value, pods: &[Value]) -> String {
    let mut out = String::new();
    head(&mut out, object, true);
    line(&mut out, 0, "Selector", selector(object));
    labels(&mut out, object);
    annotations(&mut out, object);
    controlled_by(&mut out, object);
    let number = |path: &[&str]| object.int_at(path).unwrap_or(0);
    line(
        &mut out,
        0,
        "Replicas",
        format!("{} current / {} desired", number(&["status", "replicas"]), number(&["spec", "replicas"])),
    );
    let count = |phase: &str| pods.iter().filter(|p| p.str_at(&["status", "phase"]) == phase).count();
    line(
        &mut out,
        0,
        "Pods Status",
        format!(
            "{} Running / {} Waiting / {} Succeeded / {} Failed",
            count("Running"),
            count("Pending"),
            count("Succeeded"),
            count("Failed")
        ),
    );
    out + &pod::template(object.at(&["spec", "template"]).unwrap_or(&Value::Null))
}

/// `slices`: the EndpointSlices of the Service.
pub fn service(object: &Value, slices: &[Value]) -> String {
    let mut out = String::new();
    head(&mut out, object, true);
    labels(&mut out, object);
    annotations(&mut out, object);
    let spec = |key: &str| object.str_at(&["spec", key]);
    let list =
        |path: &[&str]| object.list_at(path).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",");
    line(&mut out, 0, "Selector", selector(object));
    line(&mut out, 0, "Type", spec("type"));
    for (title, value) in [
        ("IP Family Policy", spec("ipFamilyPolicy").to_owned()),
        ("IP Families", list(&["spec", "ipFamilies"])),
    ] {
        if !value.is_empty() {
            line(&mut out, 0, title, value);
        }
    }
    line(&mut out, 0, "IP", spec("clusterIP"));
    if !list(&["spec", "clusterIPs"]).is_empty() {
        line(&mut out, 0, "IPs", list(&["spec", "clusterIPs"]));
    }
    for (title, key) in [("External IPs", "externalIPs")] {
        if !list(&["spec", key]).is_empty() {
            line(&mut out, 0, title, list(&["spec", key]));
        }
    }
    if !spec("externalName").is_empty() {
        line(&mut out, 0, "External Name", spec("externalName"));
    }
    for port in object.list_at(&["spec", "ports"]) {
        let name = match port.str_at(&["name"]) {
            "" => "<unset>",
            name => name,
        };
        let (number, protocol) = (port.int_at(&["port"]).unwrap_or(0), port.str_at(&["protocol"]));
        out += &format!("Port:\t{name}\t{number}/{protocol}\n");
        let target = port.get("targetPort").map(text).unwrap_or_default();
        line(&mut out, 0, "TargetPort", format!("{target}/{protocol}"));
        if let Some(node) = port.int_at(&["nodePort"]).filter(|n| *n > 0) {
            out += &format!("NodePort:\t{name}\t{node}/{protocol}\n");
        }
        line(&mut out, 0, "Endpoints", endpoints(slices, port.str_at(&["name"])));
    }
    line(&mut out, 0, "Session Affinity", spec("sessionAffinity"));
    for (title, key) in [
        ("External Traffic Policy", "externalTrafficPolicy"),
        ("Internal Traffic Policy", "internalTrafficPolicy"),
    ] {
        if !spec(key).is_empty() {
            line(&mut out, 0, title, spec(key));
        }
    }
    out
}

/// At most three, and how many more there are.
fn endpoints(slices: &[Value], port: &str) -> String {
    let mut found = Vec::new();
    for slice in slices {
        let number = slice
            .list_at(&["ports"])
            .iter()
            .find(|p| p.str_at(&["name"]) == port)
            .and_then(|p| p.int_at(&["port"]));
        let Some(number) = number else { continue };
        for endpoint in slice.list_at(&["endpoints"]) {
            if endpoint.at(&["conditions", "ready"]).and_then(Value::as_bool) != Some(false) {
                found.extend(endpoint.list_at(&["addresses"]).iter().filter_map(Value::as_str).map(|a| {
                    if a.contains(':') { format!("[{a}]:{number}") } else { format!("{a}:{number}") }
                }));
            }
        }
    }
    found.sort();
    match found.len() {
        0 => String::new(),
        1..=3 => found.join(","),
        n => format!("{} + {} more...", found[..3].join(","), n - 3),
    }
}

pub fn config_map(object: &Value) -> String {
    let mut out = String::new();
    head(&mut out, object, true);
    labels(&mut out, object);
    annotations(&mut out, object);
    out += "\nData\n====\n";
    for (key, value) in sorted(object.get("data")) {
        out += &format!("{key}:\n----\n{}\n\n", text(value));
    }
    out += "\nBinaryData\n====\n";
    for (key, value) in sorted(object.get("binaryData")) {
        out += &format!("{key}: {} bytes\n", decoded(value));
    }
    out + "\n"
}

pub fn secret(object: &Value) -> String {
    let mut out = String::new();
    head(&mut out, object, true);
    labels(&mut out, object);
    annotations(&mut out, object);
    out += &format!("\nType:\t{}\n\nData\n====\n", object.str_at(&["type"]));
    for (key, value) in sorted(object.get("data")) {
        out += &format!("{key}:\t{} bytes\n", decoded(value));
    }
    out
}

fn sorted(map: Option<&Value>) -> Vec<(String, &Value)> {
    let mut all: Vec<(String, &Value)> = map
        .and_then(Value::as_map)
        .into_iter()
        .flat_map(|m| m.iter())
        .map(|(k, v)| (k.to_string(), v))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// How many bytes base64 stands for.
fn decoded(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    text.len() / 4 * 3 - text.bytes().rev().take(2).filter(|b| *b == b'=').count()
}

/// Everything but the pods on it.
pub fn node(object: &Value, lease: Option<&Value>) -> String {
    let mut out = String::new();
    head(&mut out, object, false);
    let prefix = "node-role.kubernetes.io/";
    let names = object.at(&["metadata", "labels"]).and_then(Value::as_map);
    let mut roles: Vec<String> = names
        .into_iter()
        .flat_map(|m| m.iter())
        .filter_map(|(k, _)| Some(k.strip_prefix(prefix)?.to_owned()))
        .collect();
    roles.sort();
    line(&mut out, 0, "Roles", if roles.is_empty() { "<none>".into() } else { roles.join(",") });
    labels(&mut out, object);
    annotations(&mut out, object);
    line(&mut out, 0, "CreationTimestamp", time(object.str_at(&["metadata", "creationTimestamp"])));
    let taints = object.list_at(&["spec", "taints"]).iter().map(|t| match t.str_at(&["value"]) {
        "" => format!("{}:{}", t.str_at(&["key"]), t.str_at(&["effect"])),
        value => format!("{}={value}:{}", t.str_at(&["key"]), t.str_at(&["effect"])),
    });
    list_lines(&mut out, 0, "Taints", taints.collect());
    line(
        &mut out,
        0,
        "Unschedulable",
        object.at(&["spec", "unschedulable"]).and_then(Value::as_bool).unwrap_or(false),
    );
    out += "Lease:\n";
    let of = |key: &str| lease.map_or("", |l| l.str_at(&["spec", key]));
    let or_unset = |s: String| if s.is_empty() { "<unset>".to_owned() } else { s };
    line(&mut out, 1, "HolderIdentity", or_unset(of("holderIdentity").to_owned()));
    for (title, key) in [("AcquireTime", "acquireTime"), ("RenewTime", "renewTime")] {
        line(&mut out, 1, title, or_unset(if of(key).is_empty() { String::new() } else { time(of(key)) }));
    }
    out += "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage\n";
    out += "  ----\t------\t-----------------\t------------------\t------\t-------\n";
    for c in object.list_at(&["status", "conditions"]) {
        let get = |k: &str| c.str_at(&[k]);
        out += &format!(
            "  {} \t{} \t{} \t{} \t{} \t{}\n",
            get("type"),
            get("status"),
            time(get("lastHeartbeatTime")),
            time(get("lastTransitionTime")),
            get("reason"),
            get("message")
        );
    }
    out += "Addresses:\n";
    for a in object.list_at(&["status", "addresses"]) {
        line(&mut out, 1, a.str_at(&["type"]), a.str_at(&["address"]));
    }
    for (title, key) in [("Capacity", "capacity"), ("Allocatable", "allocatable")] {
        out += &format!("{title}:\n");
        for (key, value) in sorted(object.at(&["status", key])) {
            line(&mut out, 1, &key, text(value));
        }
    }
    out += "System Info:\n";
    for (title, key) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        line(&mut out, 1, title, object.str_at(&["status", "nodeInfo", key]));
    }
    if !object.str_at(&["spec", "podCIDR"]).is_empty() {
        line(&mut out, 0, "PodCIDR", object.str_at(&["spec", "podCIDR"]));
        let all: Vec<&str> = object.list_at(&["spec", "podCIDRs"]).iter().filter_map(Value::as_str).collect();
        line(&mut out, 0, "PodCIDRs", all.join(","));
    }
    out
}
