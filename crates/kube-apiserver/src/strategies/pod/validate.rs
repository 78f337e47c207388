//! Validation of pod specs: what is required, names and references that must agree, sets of words.

use std::collections::HashMap;

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};

use super::super::fields::{Fields, map_at};
use super::super::{names, selectors, validation};
use super::validate_container::{self, Context};
use super::validate_env_files;
use super::validate_volume;

/// A whole pod.
pub fn pod(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let (spec, path) = (map_at(object, &["spec"]), Path::new("spec"));
    pod_spec(spec, &path, &mut errors);
    let gates = spec.list("schedulingGates");
    if !gates.is_empty()
        && !spec.text("nodeName").is_empty()
        && !map_at(object, &["metadata"]).has("deletionTimestamp")
    {
        errors.push(Error::forbidden(
            &path.child("nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        ));
    }
    mirror(object, spec, &mut errors);
    errors
}

/// Static pods' mirrors may not refer to other objects.
fn mirror(object: &Value, spec: &Map, errors: &mut ErrorList) {
    let is_mirror = map_at(object, &["metadata", "annotations"]).has("kubernetes.io/config.mirror");
    if is_mirror && spec.text("nodeName").is_empty() {
        let path = Path::new("metadata").child("annotations").key("kubernetes.io/config.mirror");
        errors.push(Error::invalid(&path, "", "must set spec.nodeName if mirror pod annotation is set"));
    }
}

/// A PodSpec, of a pod or a template.
pub fn pod_spec(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let volumes = validate_volume::volumes(spec, &path.child("volumes"), errors);
    let cx = Context { volumes: &volumes, host_network: spec.flag("hostNetwork"), pod: spec };
    validate_container::containers(&cx, path, errors);
    words(spec, path, errors);
    numbers(spec, path, errors);
    for (name, check) in [
        ("nodeName", names::dns1123_subdomain as fn(&str) -> Vec<String>),
        ("serviceAccountName", names::dns1123_subdomain),
        ("hostname", names::dns1123_label),
        ("subdomain", names::dns1123_label),
        ("priorityClassName", names::dns1123_subdomain),
    ] {
        let text = spec.text(name);
        if !text.is_empty() {
            errors.extend(check(text).into_iter().map(|why| Error::invalid(&path.child(name), text, why)));
        }
    }
    if let Some(labels) = spec.sub("nodeSelector") {
        validation::labels(labels, &path.child("nodeSelector"), errors);
    }
    tolerations(spec, path, errors);
    host_aliases(spec, path, errors);
    dns(spec, path, errors);
    security(spec, path, errors);
    gates(spec, path, errors);
    host_port_conflicts(spec, path, errors);
    spread(spec, path, errors);
    affinity(spec, path, errors);
    host_name(spec, path, errors);
    validate_env_files::volumes(spec, path, errors);
}

/// `hostnameOverride` (KEP-4762) stands alone.
fn host_name(spec: &Map, path: &Path, errors: &mut ErrorList) {
    if !spec.has("hostnameOverride") {
        return;
    }
    let (name, at) = (spec.text("hostnameOverride"), path.child("hostnameOverride"));
    for other in ["setHostnameAsFQDN", "hostNetwork"] {
        if spec.flag(other) {
            errors.push(Error::forbidden(&at, format!("may not be specified when {other} is true")));
        }
    }
    if name.len() > 64 {
        errors.push(Error::too_long(&at, 64));
    }
    errors.extend(names::dns1123_subdomain(name).into_iter().map(|why| Error::invalid(&at, name, why)));
}

fn words(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let at = |name: &str| path.child(name);
    validation::one_of(
        errors,
        spec.text("restartPolicy"),
        &["Always", "OnFailure", "Never"],
        &at("restartPolicy"),
        true,
    );
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    validation::one_of(errors, spec.text("dnsPolicy"), &dns, &at("dnsPolicy"), true);
    let preemption = ["PreemptLowerPriority", "Never"];
    validation::one_of(errors, spec.text("preemptionPolicy"), &preemption, &at("preemptionPolicy"), false);
}

fn numbers(spec: &Map, path: &Path, errors: &mut ErrorList) {
    if let Some(n) = spec.int("activeDeadlineSeconds")
        && !(1..=i64::from(i32::MAX)).contains(&n)
    {
        let why = "must be between 1 and 2147483647, inclusive";
        errors.push(Error::invalid(&path.child("activeDeadlineSeconds"), &n, why));
    }
}

fn tolerations(spec: &Map, path: &Path, errors: &mut ErrorList) {
    for (i, t) in spec.items("tolerations").enumerate() {
        let at = path.child("tolerations").index(i);
        let (key, operator, effect) = (t.text("key"), t.text("operator"), t.text("effect"));
        if !key.is_empty() {
            errors.extend(
                names::qualified_name(key).into_iter().map(|why| Error::invalid(&at.child("key"), key, why)),
            );
        } else if operator != "Exists" {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(Error::invalid(&at.child("operator"), operator, why));
        }
        if t.has("tolerationSeconds") && effect != "NoExecute" {
            errors.push(Error::invalid(
                &at.child("effect"),
                effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            ));
        }
        match operator {
            "Exists" if !t.text("value").is_empty() => {
                errors.push(Error::invalid(
                    &at.child("operator"),
                    t.text("value"),
                    "value must be empty when `operator` is 'Exists'",
                ));
            }
            "" | "Equal" | "Exists" | "Lt" | "Gt" => {}
            _ => errors.push(Error::not_supported(&at.child("operator"), operator, &["Equal", "Exists"])),
        }
        validation::one_of(
            errors,
            effect,
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            &at.child("effect"),
            false,
        );
    }
}

const NOT_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

fn host_aliases(spec: &Map, path: &Path, errors: &mut ErrorList) {
    for (i, alias) in spec.items("hostAliases").enumerate() {
        let at = path.child("hostAliases").index(i);
        if alias.text("ip").parse::<std::net::IpAddr>().is_err() {
            errors.push(Error::invalid(&at.child("ip"), alias.text("ip"), NOT_IP));
        }
        for (j, host) in alias.list("hostnames").iter().filter_map(Value::as_str).enumerate() {
            let at = at.child("hostnames").index(j);
            errors
                .extend(names::dns1123_subdomain(host).into_iter().map(|why| Error::invalid(&at, host, why)));
        }
    }
}

fn dns(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let at = path.child("dnsConfig");
    let none = spec.text("dnsPolicy") == "None";
    let Some(config) = spec.sub("dnsConfig") else {
        if none {
            errors.push(Error::required(&at, "must provide `dnsConfig` when `dnsPolicy` is None"));
        }
        return;
    };
    let servers = config.list("nameservers");
    if none && servers.is_empty() {
        errors.push(Error::required(
            &at.child("nameservers"),
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        ));
    }
    for (name, max) in [("nameservers", 3), ("searches", 32)] {
        let list = config.list(name);
        if list.len() > max {
            let shown = Value::List(list.to_vec());
            errors.push(Error::invalid(
                &at.child(name),
                &validation::Json(&shown),
                format!("must not have more than {max} {name}"),
            ));
        }
    }
    for (i, server) in servers.iter().filter_map(Value::as_str).enumerate() {
        if server.parse::<std::net::IpAddr>().is_err() {
            errors.push(Error::invalid(&at.child("nameservers").index(i), server, NOT_IP));
        }
    }
    for (i, option) in config.items("options").enumerate() {
        if option.text("name").is_empty() {
            errors.push(Error::required(&at.child("options").index(i), "must not be empty"));
        }
    }
}

fn security(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let Some(context) = spec.sub("securityContext") else { return };
    let at = path.child("securityContext");
    for name in ["runAsUser", "runAsGroup", "fsGroup"] {
        if let Some(n) = context.int(name) {
            validate_container::id(n, &at.child(name), errors);
        }
    }
    for (i, n) in context.list("supplementalGroups").iter().filter_map(Value::as_int).enumerate() {
        validate_container::id(n, &at.child("supplementalGroups").index(i), errors);
    }
    if spec.flag("shareProcessNamespace") && spec.flag("hostPID") {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(Error::invalid(&path.child("shareProcessNamespace"), &true, why));
    }
    for (i, s) in context.items("sysctls").enumerate() {
        let name = s.text("name");
        let at = at.child("sysctls").index(i).child("name");
        if name.is_empty() {
            errors.push(Error::required(&at, ""));
        } else if !is_sysctl(name) {
            let regex = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(Error::invalid(
                &at,
                name,
                format!("must have at most 253 characters and match regex {regex}"),
            ));
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 253
        && name.split(['.', '/']).all(|part| {
            let b = part.as_bytes();
            !b.is_empty()
                && alnum(b[0])
                && alnum(b[b.len() - 1])
                && b.iter().all(|b| alnum(*b) || matches!(b, b'-' | b'_'))
        })
}

fn gates(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let at = path.child("schedulingGates");
    for (i, gate) in spec.items("schedulingGates").enumerate() {
        let name = gate.text("name");
        let why = names::qualified_name(name);
        errors.extend(why.into_iter().map(|why| Error::invalid(&at.index(i), name, why)));
    }
    let all = spec.items("schedulingGates").enumerate().map(|(i, g)| (at.index(i), g.text("name")));
    validation::unique(all, errors);
}

fn host_port_conflicts(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let mut taken: HashMap<String, ()> = HashMap::new();
    for (i, c) in spec.items("containers").enumerate() {
        for (j, port) in c.items("ports").enumerate() {
            let number = port.int("hostPort").unwrap_or(0);
            if number == 0 {
                continue;
            }
            let text = format!("{}/{}/{number}", port.text("protocol"), port.text("hostIP"));
            if taken.insert(text.clone(), ()).is_some() {
                let at = path.child("containers").index(i).child("ports").index(j).child("hostPort");
                errors.push(Error::duplicate(&at, text.as_str()));
            }
        }
    }
}

fn spread(spec: &Map, path: &Path, errors: &mut ErrorList) {
    for (i, c) in spec.items("topologySpreadConstraints").enumerate() {
        let at = path.child("topologySpreadConstraints").index(i);
        validation::positive(errors, c.int("maxSkew").unwrap_or(0), &at.child("maxSkew"));
        if c.text("topologyKey").is_empty() {
            errors.push(Error::required(&at.child("topologyKey"), "can not be empty"));
        }
        let when = ["DoNotSchedule", "ScheduleAnyway"];
        let word = c.text("whenUnsatisfiable");
        if !when.contains(&word) {
            errors.push(Error::not_supported(&at.child("whenUnsatisfiable"), word, &when));
        }
        if let Some(s) = c.sub("labelSelector") {
            selectors::validate(s, &at.child("labelSelector"), errors);
        }
    }
}

fn affinity(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let Some(affinity) = spec.sub("affinity") else { return };
    let path = path.child("affinity");
    if let Some(required) =
        affinity.sub("nodeAffinity").and_then(|n| n.sub("requiredDuringSchedulingIgnoredDuringExecution"))
    {
        let at = path.child("nodeAffinity").child("requiredDuringSchedulingIgnoredDuringExecution");
        if required.list("nodeSelectorTerms").is_empty() {
            errors.push(Error::required(
                &at.child("nodeSelectorTerms"),
                "must have at least one node selector term",
            ));
        }
        for (i, term) in required.items("nodeSelectorTerms").enumerate() {
            node_term(term, &at.child("nodeSelectorTerms").index(i), errors);
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(part) = affinity.sub(kind) else { continue };
        let at = path.child(kind).child("requiredDuringSchedulingIgnoredDuringExecution");
        for (i, term) in part.items("requiredDuringSchedulingIgnoredDuringExecution").enumerate() {
            pod_term(term, &at.index(i), errors);
        }
        let at = path.child(kind).child("preferredDuringSchedulingIgnoredDuringExecution");
        for (i, weighted) in part.items("preferredDuringSchedulingIgnoredDuringExecution").enumerate() {
            let weight = weighted.int("weight").unwrap_or(0);
            if !(1..=100).contains(&weight) {
                errors.push(Error::invalid(
                    &at.index(i).child("weight"),
                    &weight,
                    "must be in the range 1-100",
                ));
            }
            if let Some(term) = weighted.sub("podAffinityTerm") {
                pod_term(term, &at.index(i).child("podAffinityTerm"), errors);
            }
        }
    }
}

fn node_term(term: &Map, path: &Path, errors: &mut ErrorList) {
    for (i, r) in term.items("matchExpressions").enumerate() {
        let at = path.child("matchExpressions").index(i);
        let count = r.list("values").len();
        match r.text("operator") {
            "In" | "NotIn" if count == 0 => {
                errors.push(Error::required(
                    &at.child("values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                ));
            }
            "Exists" | "DoesNotExist" if count > 0 => {
                errors.push(Error::forbidden(
                    &at.child("values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                ));
            }
            "Gt" | "Lt" if count != 1 => {
                errors.push(Error::required(
                    &at.child("values"),
                    "must be specified single value when `operator` is 'Lt' or 'Gt'",
                ));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => {
                errors.push(Error::invalid(&at.child("operator"), other, "not a valid selector operator"))
            }
        }
        let key = r.text("key");
        errors.extend(
            names::qualified_name(key).into_iter().map(|why| Error::invalid(&at.child("key"), key, why)),
        );
    }
}

fn pod_term(term: &Map, path: &Path, errors: &mut ErrorList) {
    if let Some(s) = term.sub("labelSelector") {
        selectors::validate(s, &path.child("labelSelector"), errors);
    }
    let key = term.text("topologyKey");
    if key.is_empty() {
        errors.push(Error::required(&path.child("topologyKey"), "can not be empty"));
    }
    let at = path.child("topologyKey");
    errors.extend(names::qualified_name(key).into_iter().map(|why| Error::invalid(&at, key, why)));
}
