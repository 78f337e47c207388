//! Replays what a reference API server did with managedFields: each request of a sequence on our field manager, its
//! managedFields compared byte for byte. Defaults, admission and strategies are the reference's: an update's new object
//! is the recorded answer.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

use api::Value;
use api::merge::{FieldManager, Set, Versions, empty, json_patch, merge_patch, strategic_merge_patch};
use api::schema::Type;
use apimachinery::GroupVersionKind;
use serde_json::Value as Json;

/// What admission adds to a Pod after its fields were counted.
const BY_ADMISSION: [&str; 5] =
    ["tolerations", "priority", "preemptionPolicy", "serviceAccountName", "serviceAccount"];

fn gvk(object: &Json) -> GroupVersionKind {
    let (api_version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    GroupVersionKind { group: group.into(), version: version.into(), kind: kind.into() }
}

/// The entries with `fieldsV1` as text.
fn entries(object: &Value) -> Vec<String> {
    let text = |entry: &Value| {
        let fields = match entry.get("fieldsV1") {
            Some(Value::Raw(text)) => text.to_string(),
            Some(other) => serde_json::to_string(&Json::from(other)).unwrap(),
            None => String::new(),
        };
        let keys = ["manager", "operation", "apiVersion", "time", "fieldsType", "subresource"];
        let head: Vec<&str> = keys.iter().map(|k| entry.str_at(&[k])).collect();
        format!("{} {fields}", head.join(" "))
    };
    object.list_at(&["metadata", "managedFields"]).iter().map(text).collect()
}

fn converted(versions: &dyn Versions, object: &Value, kind: &GroupVersionKind) -> Value {
    let api_version = if kind.group.is_empty() {
        kind.version.to_string()
    } else {
        format!("{}/{}", kind.group, kind.version)
    };
    if object.str_at(&["apiVersion"]) == api_version {
        object.clone()
    } else {
        versions.convert(object, &api_version).unwrap()
    }
}

/// Runs one recorded sequence.
pub fn replay(name: &str, text: &str, versions: &dyn Versions) {
    let steps: Vec<Json> = serde_json::from_str(text).unwrap();
    let mut stored: Option<Value> = None;
    for (i, step) in steps.iter().enumerate() {
        let at = format!("{name} step {}", i + 1);
        let code = step["code"].as_u64().unwrap();
        let answer = Value::from(step["answer"].clone());
        let applied = step["op"] == "apply";
        if code >= 300 && !(applied && answer.str_at(&["message"]).contains("pply")) && code != 500 {
            continue;
        }
        let kind = gvk(if code >= 300 { &step["body"] } else { &step["answer"] });
        let subresource = step["subresource"].as_str().unwrap_or_default();
        let reset = if subresource == "status" {
            Set::of_fields(&[&["spec"], &["metadata", "labels"]])
        } else {
            Set::of_fields(&[&["status"]])
        };
        let api_version =
            converted(versions, &empty_of(versions, &kind), &kind).str_at(&["apiVersion"]).to_owned();
        let of = versions.type_of(&api_version).unwrap();
        let live = match &stored {
            Some(object) => converted(versions, object, &kind),
            None => empty(&of, &kind),
        };
        let fields = FieldManager { kind: &kind, subresource, versions, reset: &reset };
        let manager = step["manager"].as_str().unwrap();
        let now: jiff::Timestamp = format!("2026-01-01T00:00:{:02}Z", i + 1).parse().unwrap();
        if applied {
            let config = Value::from(step["body"].clone());
            let got = fields.apply(&live, &config, manager, step["force"] == true, now);
            if code >= 300 {
                let error = got.expect_err(&at);
                assert_eq!(Some(error.message.as_str()), step["answer"]["message"].as_str(), "{at}");
                assert_eq!(u64::from(error.code), code, "{at}");
                let details: Json = serde_json::from_str(&error.to_json()).unwrap();
                assert_eq!(details["details"]["causes"], step["answer"]["details"]["causes"], "{at}");
                continue;
            }
            let got = got.unwrap_or_else(|e| panic!("{at}: {e}"));
            assert_eq!(entries(&got), entries(&answer), "{at}");
            for part in ["data", "spec"] {
                assert_within(
                    got.get(part).unwrap_or(&Value::Null),
                    answer.get(part).unwrap_or(&Value::Null),
                    &at,
                );
            }
        } else {
            patched(&of, &live, step, &answer, &at);
            let mut new = answer.clone();
            let as_sent = step["body"].pointer("/metadata~1managedFields").cloned();
            match as_sent {
                Some(fields) => new.set_at(&["metadata", "managedFields"], Value::from(fields)),
                None => drop(new.remove_at(&["metadata", "managedFields"])),
            }
            if step["op"] == "create" {
                BY_ADMISSION.iter().for_each(|f| drop(new.remove_at(&["spec", f])));
            }
            fields.update(&live, &mut new, manager, now);
            assert_eq!(entries(&new), entries(&answer), "{at}");
        }
        stored = Some(answer);
    }
}

/// The patches of the sequences, on our implementation of them.
fn patched(of: &Type, live: &Value, step: &Json, answer: &Value, at: &str) {
    let (mut got, patch) = (live.clone(), Value::from(step["body"].clone()));
    match step["op"].as_str().unwrap() {
        "strategic" => strategic_merge_patch(of, &mut got, patch).unwrap(),
        "merge" => merge_patch(&mut got, patch),
        "json" => got = json_patch(got, &patch).unwrap(),
        _ => return,
    }
    let part = if step["subresource"].is_null() { "spec" } else { "status" };
    assert_within(got.get(part).unwrap_or(&Value::Null), answer.get(part).unwrap_or(&Value::Null), at);
}

fn empty_of(versions: &dyn Versions, kind: &GroupVersionKind) -> Value {
    let api_version = if kind.group.is_empty() {
        kind.version.to_string()
    } else {
        format!("{}/{}", kind.group, kind.version)
    };
    empty(&versions.type_of(&api_version).unwrap(), kind)
}

/// All that we have is in the answer, which has defaults beside; and no item of a list or map of ours is missing.
fn assert_within(ours: &Value, answer: &Value, at: &str) {
    match (ours, answer) {
        (Value::Null, _) => {}
        (Value::Map(a), Value::Map(b)) => {
            for (key, value) in a.iter() {
                assert_within(value, b.get(key).unwrap_or(&Value::Null), &format!("{at} {key}"));
            }
        }
        (Value::List(a), Value::List(b)) => {
            assert_eq!(a.len(), b.len(), "{at}");
            a.iter().zip(b).for_each(|(a, b)| assert_within(a, b, at));
        }
        (Value::Map(a), Value::Null) if a.is_empty() => {}
        _ => assert_eq!(ours, answer, "{at}"),
    }
}
