//! What may change in a pod after it was made: images, tolerations, deadlines, gates; everything else is fixed.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};

use super::super::fields::{self, Fields, map_at};
use super::super::validation;

const FORBIDDEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n";

/// A negative grace period means the shortest.
pub fn positive_grace(object: &mut Map) {
    if let Some(spec) = object.sub_mut("spec")
        && spec.int("terminationGracePeriodSeconds").is_some_and(|n| n < 0)
    {
        spec.insert("terminationGracePeriodSeconds", 1i64);
    }
}

/// The gates of a pod were removed: its condition says so no longer.
pub fn clear_gated_condition(object: &mut Map, old: &Map) {
    let gates = |o: &Map| o.sub("spec").map_or(0, |s| s.list("schedulingGates").len());
    if gates(old) == 0 || gates(object) != 0 {
        return;
    }
    if let Some(list) =
        object.sub_mut("status").and_then(|s| s.get_mut("conditions")).and_then(Value::as_list_mut)
    {
        list.retain(|c| c.str_at(&["reason"]) != "SchedulingGated");
    }
}

pub fn validate(object: &Value, old: &Value) -> ErrorList {
    let mut errors = super::validate::pod(object);
    let (new_spec, old_spec) = (map_at(object, &["spec"]), map_at(old, &["spec"]));
    let path = Path::new("spec");
    for list in ["containers", "initContainers"] {
        if new_spec.list(list).len() != old_spec.list(list).len() {
            errors.push(Error::forbidden(&path.child(list), "pod updates may not add or remove containers"));
            return errors;
        }
    }
    deadline(new_spec, old_spec, &path, &mut errors);
    gates_shrink(new_spec, old_spec, &path, &mut errors);
    tolerations_grow(new_spec, old_spec, &path, &mut errors);
    if rest(new_spec, old_spec) != rest(old_spec, old_spec) {
        errors.push(Error::forbidden(&path, FORBIDDEN));
    }
    errors
}

/// It may appear or shrink.
fn deadline(new: &Map, old: &Map, path: &Path, errors: &mut ErrorList) {
    let at = path.child("activeDeadlineSeconds");
    match (new.int("activeDeadlineSeconds"), old.int("activeDeadlineSeconds")) {
        (Some(n), Some(before)) if n > before => {
            errors.push(Error::invalid(&at, &n, "must be less than or equal to previous value"));
        }
        (None, Some(_)) => errors.push(Error::invalid(
            &at,
            &Json(&Value::Null),
            "must not update from a positive integer to nil value",
        )),
        _ => {}
    }
}

use validation::Json;

fn gates_shrink(new: &Map, old: &Map, path: &Path, errors: &mut ErrorList) {
    for gate in new.items("schedulingGates") {
        let name = gate.text("name");
        if !old.items("schedulingGates").any(|g| g.text("name") == name) {
            let why = "only deletion is allowed, but found new scheduling gate '";
            errors.push(Error::forbidden(&path.child("schedulingGates"), format!("{why}{name}'")));
        }
    }
}

/// Existing tolerations stay, except for how long they tolerate.
fn tolerations_grow(new: &Map, old: &Map, path: &Path, errors: &mut ErrorList) {
    let lasting = |t: &Map| {
        let mut t = t.clone();
        t.remove("tolerationSeconds");
        t
    };
    let kept = old
        .items("tolerations")
        .all(|before| new.items("tolerations").any(|t| lasting(t) == lasting(before)));
    if !kept {
        errors.push(Error::forbidden(
            &path.child("tolerations"),
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
}

/// The spec without what may change. A gated pod may also narrow where it runs.
fn rest(spec: &Map, old: &Map) -> Map {
    let mut rest = spec.clone();
    for name in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        rest.remove(name);
    }
    if old.int("terminationGracePeriodSeconds").is_some_and(|n| n < 0)
        && spec.int("terminationGracePeriodSeconds") == Some(1)
    {
        rest.copy_from(old, "terminationGracePeriodSeconds");
    }
    if !old.list("schedulingGates").is_empty() {
        rest.remove("nodeSelector");
        rest.remove("affinity");
    }
    for list in ["containers", "initContainers"] {
        for c in rest.items_mut(list) {
            c.remove("image");
        }
    }
    rest.retain(|_, v| !v.is_null());
    rest
}

/// A status update may not move the pod to another node, nor bring a finished container back.
pub fn validate_status(object: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("status");
    let nominated = object.str_at(&["status", "nominatedNodeName"]);
    if !nominated.is_empty() {
        for why in super::super::names::dns1123_subdomain(nominated) {
            errors.push(Error::invalid(&path.child("nominatedNodeName"), nominated, why));
        }
    }
    let restart = object.str_at(&["spec", "restartPolicy"]);
    if restart != "Always" {
        container_states(object, old, &path.child("containerStatuses"), restart, &mut errors);
    }
    claims(object, &path.child("resourceClaimStatuses"), &mut errors);
    addresses(object, &path, &mut errors);
    for (i, condition) in map_at(object, &["status"]).items("conditions").enumerate() {
        // Upstream names this one field as Go does.
        let at = path.child("conditions").index(i).child("Type");
        let why = super::super::names::qualified_name(condition.text("type"));
        errors.extend(why.into_iter().map(|why| Error::invalid(&at, condition.text("type"), why)));
    }
    errors
}

fn claims(object: &Value, path: &Path, errors: &mut ErrorList) {
    let declared =
        |name: &str| map_at(object, &["spec"]).items("resourceClaims").any(|c| c.text("name") == name);
    for (i, claim) in map_at(object, &["status"]).items("resourceClaimStatuses").enumerate() {
        let name = claim.text("name");
        if !declared(name) {
            let why = "must match the name of an entry in `spec.resourceClaims`";
            errors.push(Error::invalid(&path.index(i).child("name"), name, why));
        }
    }
}

/// Pod and host addresses: valid, one a family, the first the same as the single one.
fn addresses(object: &Value, path: &Path, errors: &mut ErrorList) {
    let status = map_at(object, &["status"]);
    for (single, list) in [("hostIP", "hostIPs"), ("podIP", "podIPs")] {
        let all: Vec<&str> = status.items(list).map(|i| i.text("ip")).collect();
        let at = path.child(list);
        let first = all.first().copied().unwrap_or_default();
        if single == "hostIP" && !all.is_empty() && first != status.text(single) {
            errors.push(Error::invalid(
                &at.index(0).child("ip"),
                first,
                format!("must be equal to `{single}`"),
            ));
        }
        let parsed: Vec<Option<std::net::IpAddr>> = all.iter().map(|ip| ip.parse().ok()).collect();
        for (i, ip) in parsed.iter().enumerate().filter(|(_, ip)| ip.is_none()) {
            let _ = ip;
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(Error::invalid(&at.index(i), all[i], why));
        }
        let families =
            [true, false].map(|v4| parsed.iter().flatten().filter(|ip| ip.is_ipv4() == v4).count());
        if families.iter().any(|n| *n > 1) {
            let shown: Vec<String> = all.iter().map(|ip| format!("{{\"IP\":{ip:?}}}")).collect();
            let shown = validation::Verbatim(format!("[{}]", shown.join(",")));
            errors.push(Error::invalid(&at, &shown, "may specify no more than one IP for each IP family"));
        }
    }
}

fn container_states(object: &Value, old: &Value, path: &Path, restart: &str, errors: &mut ErrorList) {
    let new_status = map_at(object, &["status"]);
    for before in map_at(old, &["status"]).items("containerStatuses") {
        let Some(ended) = before.sub("state").and_then(|s| s.sub("terminated")) else { continue };
        if restart == "OnFailure" && ended.int("exitCode").unwrap_or(0) != 0 {
            continue;
        }
        if own_restart_rules(object, before.text("name")) {
            continue;
        }
        let now = new_status
            .items("containerStatuses")
            .enumerate()
            .find(|(_, c)| c.text("name") == before.text("name"));
        if let Some((i, c)) = now
            && c.sub("state").is_some_and(|s| !s.has("terminated"))
        {
            let why = "may not be transitioned to non-terminated state";
            errors.push(Error::forbidden(&path.index(i).child("state"), why));
        }
    }
}

fn own_restart_rules(object: &Value, container: &str) -> bool {
    map_at(object, &["spec"])
        .items("containers")
        .any(|c| c.text("name") == container && (c.has("restartPolicy") || c.has("restartPolicyRules")))
}

/// Of the metadata that a request brings to such an endpoint these count.
pub(super) fn keep_written(object: &mut Map, sent: Option<Map>) {
    for name in ["resourceVersion", "managedFields"] {
        if let Some(value) = sent.as_ref().and_then(|m| m.get(name).cloned()) {
            object.map_mut("metadata").insert(name, value);
        }
    }
}

/// `pods/ephemeralcontainers`: only new ephemeral containers.
pub fn ephemeral_containers(object: &mut Map, old: &Map) {
    let added = object.sub("spec").and_then(|s| s.get("ephemeralContainers")).cloned();
    let labels = object.sub("metadata").cloned();
    object.copy_from(old, "spec");
    object.copy_from(old, "status");
    object.copy_from(old, "metadata");
    if let Some(spec) = object.sub_mut("spec") {
        spec.remove("ephemeralContainers");
        added.into_iter().for_each(|list| drop(spec.insert("ephemeralContainers", list)));
    }
    keep_written(object, labels);
    let changed = !object.same(old, "spec");
    fields::next_generation(object, old, changed);
}

pub fn validate_ephemeral_containers(object: &Value, old: &Value) -> ErrorList {
    let mut errors = super::validate::pod(object);
    let (new, before) = (map_at(object, &["spec"]), map_at(old, &["spec"]));
    let path = Path::new("spec").child("ephemeralContainers");
    ephemeral_rules(new, &path, &mut errors);
    for container in before.items("ephemeralContainers") {
        let name = container.text("name");
        match new.items("ephemeralContainers").find(|c| c.text("name") == name) {
            Some(now) if without_nulls(now) == without_nulls(container) => {}
            Some(_) => errors.push(Error::forbidden(
                &path,
                format!("existing ephemeral containers {name:?} may not be changed\n"),
            )),
            None => errors.push(Error::forbidden(
                &path,
                format!("existing ephemeral containers {name:?} may not be removed\n"),
            )),
        }
    }
    errors
}

/// What an ephemeral container may not have, and whom it may look at.
fn ephemeral_rules(spec: &Map, path: &Path, errors: &mut ErrorList) {
    const NEVER: [&str; 7] = [
        "ports",
        "resources",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
        "resizePolicy",
    ];
    for (i, container) in spec.items("ephemeralContainers").enumerate() {
        let at = path.index(i);
        let target = container.text("targetContainerName");
        let known =
            ["containers", "initContainers"].iter().any(|l| spec.items(l).any(|c| c.text("name") == target));
        if !target.is_empty() && !known {
            errors.push(Error::not_found(&at.child("targetContainerName"), target));
        }
        for name in NEVER {
            let empty = match container.get(name) {
                Some(Value::Map(map)) => map.is_empty(),
                Some(Value::List(list)) => list.is_empty(),
                value => value.is_none_or(Value::is_null),
            };
            if !empty {
                errors.push(Error::forbidden(&at.child(name), "cannot be set for an Ephemeral Container"));
            }
        }
        for (j, mount) in container.items("volumeMounts").enumerate() {
            for name in ["subPath", "subPathExpr"] {
                if !mount.text(name).is_empty() {
                    let at = at.child("volumeMounts").index(j).child(name);
                    errors.push(Error::forbidden(&at, "cannot be set for an Ephemeral Container"));
                }
            }
        }
    }
}

fn without_nulls(map: &Map) -> Map {
    let mut map = map.clone();
    map.retain(|_, v| !v.is_null());
    map
}
