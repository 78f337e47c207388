//! The patch of a client-side apply: what the manifest changes in the object that is there, and what was in the
//! manifest last applied and is no longer. As a strategic merge patch where the type is known, else a merge patch.
//!
//! Deliberately absent: applying it; the server does.

use api::schema::{Node, Shape, Type};
use api::{Map, Value};

/// What the type says of a place.
#[derive(Clone, Copy)]
enum Place<'a> {
    Struct(&'a Type),
    Node(&'a Node),
    Unknown,
}

impl<'a> Place<'a> {
    fn field(self, key: &str) -> (Self, Option<&'a Node>) {
        let of = match self {
            Self::Struct(of) => Some(of),
            Self::Node(node) => match &node.shape {
                Shape::Map(below) => return (Self::Node(below), None),
                _ => node.as_struct(),
            },
            Self::Unknown => None,
        };
        match of.and_then(|of| of.field(key)) {
            Some(field) => (Self::Node(&field.node), Some(&field.node)),
            None => (Self::Unknown, None),
        }
    }

    fn item(self) -> Self {
        match self {
            Self::Node(node) => node.element().map_or(Self::Unknown, Self::Node),
            _ => Self::Unknown,
        }
    }
}

fn has_strategy(node: Option<&Node>, wanted: &str) -> bool {
    node.is_some_and(|n| n.patch_strategy().split(',').any(|s| s == wanted))
}

/// The patch; an empty map where nothing changes. `of`: the type of a built-in kind.
pub fn patch(of: Option<&Type>, original: &Value, modified: &Value, current: &Value) -> Value {
    let place = of.map_or(Place::Unknown, Place::Struct);
    let strategic = of.is_some();
    let empty = Map::new();
    Value::Map(diff_map(
        original.as_map().unwrap_or(&empty),
        modified.as_map().unwrap_or(&empty),
        current.as_map().unwrap_or(&empty),
        place,
        strategic,
    ))
}

fn diff_map(original: &Map, modified: &Map, current: &Map, place: Place<'_>, strategic: bool) -> Map {
    let mut patch = Map::new();
    let empty = Value::Null;
    for (key, new) in modified.iter() {
        let Some(old) = current.get(key) else {
            if !new.is_null() {
                patch.insert(key.clone(), new.clone());
            }
            continue;
        };
        let was = original.get(key).unwrap_or(&empty);
        diff_entry(&mut patch, key, [was, new, old], place, strategic);
    }
    for (key, _) in original.iter() {
        if !modified.contains_key(key) && current.contains_key(key) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    patch
}

fn diff_entry(patch: &mut Map, key: &str, [was, new, old]: [&Value; 3], place: Place<'_>, strategic: bool) {
    let (below, node) = place.field(key);
    let empty = Map::new();
    match (new, old) {
        (Value::Map(new), Value::Map(old)) if !has_strategy(node, "replace") => {
            let mut changed = diff_map(was.as_map().unwrap_or(&empty), new, old, below, strategic);
            if strategic && has_strategy(node, "retainKeys") {
                retain_keys(&mut changed, new);
            }
            if !changed.is_empty() {
                patch.insert(key, changed);
            }
        }
        (Value::Map(new), Value::Map(old)) if !same_map(new, old) => {
            let mut whole = new.clone();
            whole.insert("$patch", "replace");
            patch.insert(key, whole);
        }
        (Value::Map(_), Value::Map(_)) => {}
        (Value::List(new), Value::List(old)) if strategic && has_strategy(node, "merge") => {
            let was = was.as_list().unwrap_or_default();
            match node.and_then(Node::patch_merge_key) {
                Some(merge_key) => keyed(patch, key, merge_key, [was, new, old], below.item(), node),
                None => set(patch, key, [was, new, old]),
            }
        }
        (new, old) if !same(new, old) => {
            patch.insert(key, new.clone());
        }
        _ => {}
    }
}

/// Of a union only the members of the manifest stay.
fn retain_keys(changed: &mut Map, new: &Map) {
    if changed.is_empty() {
        return;
    }
    let mut keys: Vec<&str> = new.iter().filter(|(_, v)| !v.is_null()).map(|(k, _)| k.as_str()).collect();
    keys.sort_unstable();
    changed.insert("$retainKeys", Value::from(keys));
}

/// A list of maps that a key tells apart.
fn keyed(
    patch: &mut Map,
    key: &str,
    merge_key: &str,
    lists: [&[Value]; 3],
    item: Place<'_>,
    node: Option<&Node>,
) {
    let [was, new, old] = lists;
    let find = |list: &'_ [Value], id: &Value| {
        list.iter().position(|v| v.get(merge_key).is_some_and(|k| same(k, id)))
    };
    let empty = Map::new();
    let mut out = Vec::new();
    for value in new {
        let (Some(map), Some(id)) = (value.as_map(), value.get(merge_key)) else {
            patch.insert(key, Value::List(new.to_vec()));
            return;
        };
        let Some(at) = find(old, id) else {
            out.push(value.clone());
            continue;
        };
        let before = find(was, id).and_then(|at| was[at].as_map()).unwrap_or(&empty);
        let present = old[at].as_map().unwrap_or(&empty);
        let mut changed = diff_map(before, map, present, item, true);
        if has_strategy(node, "retainKeys") {
            retain_keys(&mut changed, map);
        }
        if !changed.is_empty() {
            changed.insert(merge_key, id.clone());
            out.push(Value::Map(changed));
        }
    }
    for id in was.iter().filter_map(|v| v.get(merge_key)) {
        if find(new, id).is_none() && find(old, id).is_some() {
            let mut gone = Map::new();
            gone.insert("$patch", "delete");
            gone.insert(merge_key, id.clone());
            out.push(Value::Map(gone));
        }
    }
    if !out.is_empty() {
        let only_key = |v: &Value| {
            let mut map = Map::new();
            map.insert(merge_key, v.get(merge_key).cloned().unwrap_or_default());
            Value::Map(map)
        };
        patch.insert(format!("$setElementOrder/{key}"), new.iter().map(only_key).collect::<Value>());
        patch.insert(key, Value::List(out));
    }
}

/// A list of scalars that is a set.
fn set(patch: &mut Map, key: &str, [was, new, old]: [&[Value]; 3]) {
    let added: Vec<Value> = new.iter().filter(|v| !old.contains(v)).cloned().collect();
    let gone: Vec<Value> = was.iter().filter(|v| !new.contains(v) && old.contains(v)).cloned().collect();
    if added.is_empty() && gone.is_empty() {
        return;
    }
    patch.insert(format!("$setElementOrder/{key}"), Value::List(new.to_vec()));
    if !gone.is_empty() {
        patch.insert(format!("$deleteFromPrimitiveList/{key}"), Value::List(gone));
    }
    if !added.is_empty() {
        patch.insert(key, Value::List(added));
    }
}

fn same_map(a: &Map, b: &Map) -> bool {
    a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
}

/// Equal whatever the order of keys; a number is the same as a whole or a fraction.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Map(a), Value::Map(b)) => same_map(a, b),
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Int(a), Value::Float(b)) | (Value::Float(b), Value::Int(a)) => *a as f64 == *b,
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    fn deployment() -> api::schema::TypeRef {
        api::schema::by_gvk("apps", "v1", "Deployment").unwrap()
    }

    fn pod_spec(containers: Value) -> Value {
        value!({"spec": {"template": {"spec": {"containers": (containers)}}}})
    }

    #[test]
    fn nothing_changed() {
        let manifest = pod_spec(value!([{"name": "a", "image": "x", "ports": [{"containerPort": 80}]}]));
        let live = value!({"spec": {"replicas": 1, "template": {"spec": {"dnsPolicy": "ClusterFirst", "containers": [
            {"name": "a", "image": "x", "ports": [{"containerPort": 80, "protocol": "TCP"}], "terminationMessagePath": "/x"}]}}}});
        assert_eq!(patch(Some(&deployment()), &manifest, &manifest, &live), Value::map());
    }

    #[test]
    fn keyed_lists_are_merged() {
        let was = pod_spec(value!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]));
        let new = pod_spec(value!([{"name": "a", "image": "2"}, {"name": "c", "image": "1"}]));
        let live = pod_spec(
            value!([{"name": "a", "image": "1", "x": 1}, {"name": "b", "image": "1"}, {"name": "injected", "image": "i"}]),
        );
        let want = value!({"spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "a"}, {"name": "c"}],
            "containers": [{"image": "2", "name": "a"}, {"name": "c", "image": "1"}, {"$patch": "delete", "name": "b"}]}}}});
        let got = patch(Some(&deployment()), &was, &new, &live);
        assert_eq!(got, want);
        let mut applied = live.clone();
        api::merge::strategic_merge_patch(&deployment(), &mut applied, got).unwrap();
        let names: Vec<&str> = applied
            .list_at(&["spec", "template", "spec", "containers"])
            .iter()
            .map(|c| c.str_at(&["name"]))
            .collect();
        assert!(names.contains(&"injected") && names.contains(&"c") && !names.contains(&"b"), "{names:?}");
    }

    #[test]
    fn what_is_no_longer_applied_goes() {
        let was = value!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"paused": true}});
        let new = value!({"metadata": {"labels": {"a": "1"}}, "spec": {}});
        let live = value!({"metadata": {"labels": {"a": "1", "b": "1", "other": "1"}, "uid": "u"}, "spec": {"paused": true, "replicas": 1}});
        let want = value!({"metadata": {"labels": {"b": null}}, "spec": {"paused": null}});
        assert_eq!(patch(Some(&deployment()), &was, &new, &live), want);
    }

    #[test]
    fn a_union_names_the_keys_that_stay() {
        let was = value!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        let new = value!({"spec": {"strategy": {"type": "Recreate"}}});
        let got = patch(Some(&deployment()), &was, &new, &was);
        assert_eq!(got.at(&["spec", "strategy", "$retainKeys"]), Some(&value!(["type"])));
        assert_eq!(got.str_at(&["spec", "strategy", "type"]), "Recreate");
    }

    #[test]
    fn sets_and_custom_kinds() {
        let list = |names: Vec<&str>| value!({"metadata": {"finalizers": (names)}});
        let got = patch(
            Some(&deployment()),
            &list(vec!["a", "b"]),
            &list(vec!["a", "c"]),
            &list(vec!["a", "b", "z"]),
        );
        assert_eq!(
            got,
            value!({"metadata": {"$setElementOrder/finalizers": ["a", "c"],
            "$deleteFromPrimitiveList/finalizers": ["b"], "finalizers": ["c"]}})
        );
        let custom = |items: Value| value!({"spec": {"items": (items)}});
        let got = patch(None, &custom(value!([1])), &custom(value!([1, 2])), &custom(value!([1])));
        assert_eq!(got, custom(value!([1, 2])));
    }
}
