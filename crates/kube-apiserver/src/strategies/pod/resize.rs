//! `pods/resize` (KEP-1287): only cpu and memory of containers and of the pod as a whole, never taken away, and never
//! so that the pod's class changes.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};

use super::super::fields::{self, Fields, map_at};
use super::update::keep_written;

const LISTS: [&str; 2] = ["containers", "initContainers"];
const MUTABLE: [&str; 2] = ["cpu", "memory"];

/// Drops every other change, unless containers come, go or change places, which validation is to see.
pub fn resize(object: &mut Map, old: &Map) {
    let wanted = object.sub("spec").cloned().unwrap_or_default();
    let sent = object.sub("metadata").cloned();
    object.copy_from(old, "status");
    object.copy_from(old, "metadata");
    keep_written(object, sent);
    let before = old.sub("spec").cloned().unwrap_or_default();
    if LISTS.iter().all(|list| names(&wanted, list).eq(names(&before, list))) {
        object.copy_from(old, "spec");
        let spec = object.map_mut("spec");
        for list in LISTS {
            for (container, wanted) in spec.items_mut(list).zip(wanted.items(list)) {
                container.copy_from(wanted, "resources");
                container.copy_from(wanted, "resizePolicy");
            }
        }
        spec.copy_from(&wanted, "resources");
    }
    let changed = !object.same(old, "spec");
    fields::next_generation(object, old, changed);
}

fn names<'a>(spec: &'a Map, list: &str) -> impl Iterator<Item = &'a str> {
    spec.items(list).map(|container| container.text("name")).collect::<Vec<_>>().into_iter()
}

pub fn validate(object: &Value, old: &Value) -> ErrorList {
    let mut errors = super::validate::pod(object);
    let path = Path::new("spec");
    if map_at(old, &["metadata", "annotations"]).has("kubernetes.io/config.mirror") {
        return vec![Error::forbidden(&Path::new(""), "static pods cannot be resized")];
    }
    let (new, before) = (map_at(object, &["spec"]), map_at(old, &["spec"]));
    let class = super::resources::qos_class;
    if class(new) != class(before) {
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.push(Error::invalid(&path, class(before), why));
    }
    if order(new, before, &path, &mut errors) {
        return errors;
    }
    for list in LISTS.iter().rev() {
        for (i, (container, was)) in new.items(list).zip(before.items(list)).enumerate() {
            let at = path.child(list).index(i);
            removed(container, was, &at.child("resources"), &mut errors);
        }
    }
    for list in LISTS {
        for (i, (container, was)) in new.items(list).zip(before.items(list)).enumerate() {
            mutable(list, container, was, &path.child(list).index(i), &mut errors);
        }
    }
    errors
}

/// Whether containers were added, removed, renamed or reordered.
fn order(new: &Map, old: &Map, path: &Path, errors: &mut ErrorList) -> bool {
    let count = errors.len();
    for list in LISTS {
        let (now, before): (Vec<_>, Vec<_>) = (names(new, list).collect(), names(old, list).collect());
        let at = path.child(list);
        if now.len() != before.len() {
            errors.push(Error::forbidden(&at, format!("{list} may not be added or removed on resize")));
            continue;
        }
        for (i, _) in now.iter().zip(&before).enumerate().filter(|(_, (now, before))| now != before) {
            let why = format!("{list} may not be renamed or reordered on resize");
            errors.push(Error::forbidden(&at.index(i).child("name"), why));
        }
    }
    errors.len() > count
}

fn list_of<'a>(container: &'a Map, list: &str) -> Option<&'a Map> {
    container.sub("resources")?.sub(list)
}

/// What was requested or limited stays so.
fn removed(new: &Map, old: &Map, path: &Path, errors: &mut ErrorList) {
    for list in ["requests", "limits"] {
        let mut before = list_of(old, list).into_iter().flat_map(Map::keys);
        if before.any(|name| list_of(new, list).is_none_or(|now| !now.has(name))) {
            errors.push(Error::forbidden(&path.child(list), format!("resource {list} cannot be removed")));
        }
    }
}

/// Nothing but cpu and memory differs.
fn mutable(list: &str, new: &Map, old: &Map, path: &Path, errors: &mut ErrorList) {
    if rest(new) == rest(old) {
        return;
    }
    errors.push(match list {
        "containers" => Error::forbidden(&Path::new("spec"), "only cpu and memory resources are mutable"),
        _ => {
            Error::forbidden(path, "only cpu and memory resources for init or sidecar containers are mutable")
        }
    });
}

/// A container without what may change, and without what says nothing.
fn rest(container: &Map) -> Map {
    let mut rest = container.clone();
    let mut resources = rest.sub("resources").cloned().unwrap_or_default();
    for list in ["requests", "limits"] {
        if let Some(amounts) = resources.sub_mut(list) {
            amounts.retain(|name, _| !MUTABLE.contains(&name.as_str()));
        }
    }
    resources.retain(|_, value| !value.as_map().is_some_and(Map::is_empty) && !value.is_null());
    rest.insert("resources", resources);
    rest.retain(|_, value| !value.is_null());
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::value;
    use serde_json::json;

    fn pod(containers: serde_json::Value) -> Value {
        value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": containers,
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 1}}))
    }

    fn container(name: &str, requests: serde_json::Value) -> serde_json::Value {
        json!({"name": name, "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File",
            "resources": {"requests": requests}})
    }

    /// The last thing that is said of a change of the containers.
    fn said(old: serde_json::Value, new: serde_json::Value) -> String {
        let (old, mut object) = (pod(old), pod(new));
        if let Value::Map(map) = &mut object {
            resize(map, old.as_map().unwrap());
        }
        validate(&object, &old).last().map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn only_cpu_and_memory_change() {
        let one = |requests| json!([container("a", requests)]);
        let old = || one(json!({"cpu": "1", "memory": "1Gi"}));
        assert_eq!(said(old(), one(json!({"cpu": "2", "memory": "1Gi"}))), "");
        assert_eq!(
            said(old(), one(json!({"cpu": "2"}))),
            "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"
        );
        let more = json!({"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"});
        assert_eq!(said(old(), one(more)), "spec: Forbidden: only cpu and memory resources are mutable");
        let renamed = json!([container("b", json!({"cpu": "1", "memory": "1Gi"}))]);
        assert_eq!(
            said(old(), renamed),
            "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"
        );
        assert_eq!(
            said(old(), json!([])),
            "spec.containers: Forbidden: containers may not be added or removed on resize"
        );
    }
}
