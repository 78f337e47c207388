//! Strategic merge patches between two states of a status: only what differs, lists by their merge key.

use serde_json::{Map, Value, json};

/// Lists that are merged by a key rather than replaced.
const KEYED: [(&str, &str); 2] = [("conditions", "type"), ("podIPs", "ip")];
/// Lists that are keyed in the schema and must be replaced whole.
const REPLACED: [&str; 1] = ["addresses"];

/// The patch that makes `new` out of `old`; `None` if they are equal.
#[must_use]
pub fn between(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for (name, value) in new {
        let Some(before) = old.get(name) else {
            patch.insert(name.clone(), value.clone());
            continue;
        };
        if before == value {
            continue;
        }
        if let Some((_, key)) = KEYED.iter().find(|(list, _)| list == name) {
            keyed(name, key, before, value, &mut patch);
        } else if REPLACED.contains(&name.as_str()) {
            let mut list = value.as_array().cloned().unwrap_or_default();
            list.push(json!({"$patch": "replace"}));
            patch.insert(name.clone(), Value::Array(list));
        } else if let Some(below) = between(before, value) {
            patch.insert(name.clone(), below);
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn keyed(name: &str, key: &str, old: &Value, new: &Value, patch: &mut Map<String, Value>) {
    let empty = Vec::new();
    let (old, new) = (old.as_array().unwrap_or(&empty), new.as_array().unwrap_or(&empty));
    let mut items = Vec::new();
    for item in new {
        match old.iter().find(|before| before[key] == item[key]) {
            None => items.push(item.clone()),
            Some(before) => {
                if let Some(Value::Object(mut changed)) = between(before, item) {
                    changed.insert(key.to_owned(), item[key].clone());
                    items.push(Value::Object(changed));
                }
            }
        }
    }
    for before in old.iter().filter(|before| !new.iter().any(|item| item[key] == before[key])) {
        items.push(json!({"$patch": "delete", key: before[key].clone()}));
    }
    let order: Vec<Value> = new.iter().map(|item| json!({key: item[key].clone()})).collect();
    patch.insert(format!("$setElementOrder/{name}"), Value::Array(order));
    if !items.is_empty() {
        patch.insert(name.to_owned(), Value::Array(items));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_by_key_and_replaces_the_rest() {
        let old = json!({"phase": "Pending", "gone": 1, "same": [1],
            "conditions": [{"type": "A", "status": "False", "reason": "x"}, {"type": "B", "status": "True"}],
            "containerStatuses": [{"name": "c", "ready": false}]});
        let new = json!({"phase": "Running", "same": [1],
            "conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}],
            "containerStatuses": [{"name": "c", "ready": true}]});
        assert_eq!(
            between(&old, &new).unwrap(),
            json!({"phase": "Running", "gone": null,
                "$setElementOrder/conditions": [{"type": "A"}, {"type": "B"}],
                "conditions": [{"reason": null, "status": "True", "type": "A"}],
                "containerStatuses": [{"name": "c", "ready": true}]})
        );
        assert_eq!(between(&new, &new), None);
    }

    #[test]
    fn deletes_by_key_and_replaces_addresses() {
        let old =
            json!({"conditions": [{"type": "A"}], "addresses": [{"type": "InternalIP", "address": "1"}]});
        let new = json!({"conditions": [], "addresses": [{"type": "InternalIP", "address": "2"}]});
        let got = between(&old, &new).unwrap();
        assert_eq!(got["conditions"], json!([{"$patch": "delete", "type": "A"}]));
        assert_eq!(got["addresses"][1], json!({"$patch": "replace"}));
    }
}
