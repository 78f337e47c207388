//! Defaults and preparation against what a reference server answered, without a server: what admission plugins and
//! allocators add is taken out of both sides. `tests/minimal.rs` runs the same creates through the whole server.

use api::{Map, Value};
use apiserver::request::UserInfo;

use super::fields::Fields;
use super::{Needs, of};
use crate::allocators::context;
use crate::testing::{certificate, value};

struct Row {
    path: String,
    case: String,
    sent: Value,
    answered: Value,
}

fn rows() -> Vec<Row> {
    let authority = serde_json::Value::String(certificate(true)).to_string();
    let text = include_str!("../../tests/data/minimal.jsonl").replace("\"<certificate>\"", &authority);
    let parse = |line: &str| -> serde_json::Value { serde_json::from_str(line).unwrap() };
    text.lines()
        .map(parse)
        .map(|r| Row {
            path: r["path"].as_str().unwrap().into(),
            case: r["case"].as_str().unwrap().into(),
            sent: value(r["sent"].clone()),
            answered: value(r["answered"].clone()),
        })
        .collect()
}

/// (group, version, namespace, resource) of a path without subresource.
fn place(path: &str) -> Option<(String, String, String, String)> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, rest) = match parts.split_first()? {
        (&"api", rest) => ("", rest),
        (&"apis", rest) => (*rest.first()?, &rest[1..]),
        _ => return None,
    };
    let (version, namespace, resource) = match rest {
        [version, resource] => (version, "", resource),
        [version, "namespaces", namespace, resource] => (version, *namespace, resource),
        _ => return None,
    };
    Some((group.into(), (*version).into(), namespace.into(), (*resource).into()))
}

fn without_others(object: &mut Value, resource: &str) {
    let drop = |object: &mut Value, path: &[&str]| drop(object.remove_at(path));
    match resource {
        "pods" => {
            for name in [
                "priority",
                "preemptionPolicy",
                "serviceAccount",
                "serviceAccountName",
                "tolerations",
                "volumes",
            ] {
                drop(object, &["spec", name]);
            }
            if let Some(spec) = object.as_map_mut().and_then(|o| o.sub_mut("spec")) {
                spec.items_mut("containers").for_each(|c| std::mem::drop(c.remove("volumeMounts")));
            }
        }
        "services" => {
            for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"] {
                drop(object, &["spec", name]);
            }
            if let Some(spec) = object.as_map_mut().and_then(|o| o.sub_mut("spec")) {
                spec.items_mut("ports").for_each(|p| std::mem::drop(p.remove("nodePort")));
            }
        }
        "nodes" => drop(object, &["spec"]),
        "podgroups" => drop(object, &["spec", "priority"]),
        _ => {}
    }
    if !matches!(resource, "podgroups") {
        drop(object, &["metadata", "finalizers"]);
    }
    mask(object);
}

/// Random parts and prose, whatever they are.
fn mask(value: &mut Value) {
    match value {
        Value::Map(m) => {
            for (key, v) in m.iter_mut() {
                let moment = matches!(
                    key.as_str(),
                    "lastTransitionTime" | "timeAdded" | "lastPhaseTransitionTime" | "message"
                );
                if moment && v.as_str().is_some() {
                    *v = "<masked>".into();
                } else {
                    mask(v);
                }
            }
        }
        Value::Raw(text) => *value = crate::webhook::json::from_json(serde_json::from_str(text).unwrap()),
        // What protobuf does to them on their way through the store.
        Value::List(l) if l.is_empty() => *value = Value::Null,
        Value::List(l) => l.iter_mut().for_each(mask),
        Value::String(s) if s.starts_with("g-") || *s == "u" => *s = "<masked>".into(),
        Value::String(s) if *s == "<uid>" => *s = "<masked>".into(),
        _ => {}
    }
}

fn made(row: &Row, place: &(String, String, String, String)) -> Option<Value> {
    let (group, version, namespace, resource) = place;
    let table = api::resources::find(group, version, resource)?;
    let schema = table.object_type()?;
    let mut object = row.sent.clone();
    object.set_at(&["apiVersion"], table.api_version());
    object.set_at(&["kind"], &*table.kind);
    if table.namespaced {
        object.set_at(&["metadata", "namespace"], namespace.as_str());
    }
    api::canonical::canonicalize(&mut object, &schema, &mut Default::default()).ok()?;
    let strategy = of(group, resource, &Needs::default());
    let complete = |object: &mut Value| {
        api::defaults::apply(object, &schema);
        strategy.default(version, object.as_map_or_make());
        api::canonical::canonicalize(object, &schema, &mut Default::default()).unwrap();
    };
    complete(&mut object);
    let mut cx = context::own("create", &table.group_resource(), version, namespace, "");
    let groups = ["system:masters", "system:authenticated"].map(str::to_owned).to_vec();
    cx.user = std::sync::Arc::new(UserInfo {
        name: "admin".into(),
        uid: "admin".into(),
        groups,
        ..UserInfo::default()
    });
    object.set_at(&["metadata", "uid"], "u");
    if object.name().is_empty() {
        object.set_at(&["metadata", "name"], "g-x");
    }
    strategy.prepare_for_create(&cx, object.as_map_or_make());
    object.remove_at(&["metadata", "uid"]);
    complete(&mut object);
    let errors = strategy.validate(&cx, &object);
    assert!(errors.is_empty(), "{} {}: {errors:?}", row.path, row.case);
    Some(object)
}

fn differences(path: &str, ours: Option<&Value>, theirs: Option<&Value>, out: &mut Vec<String>) {
    match (ours, theirs) {
        (Some(Value::Map(a)), Some(Value::Map(b))) => {
            let keys: std::collections::BTreeSet<&str> =
                a.keys().chain(b.keys()).map(|k| k.as_str()).collect();
            for key in keys {
                differences(&format!("{path}.{key}"), a.get(key), b.get(key), out);
            }
        }
        (a, b) if a == b => {}
        (a, b) => out.push(format!("{path}: ours {a:?}, theirs {b:?}")),
    }
}

#[test]
fn defaults_are_those_of_the_reference() {
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for row in rows() {
        let Some(place) = place(&row.path) else { continue };
        let reviews = row.path.contains("review") || place.3 == "bindings";
        // Another table's (a custom resource), another part's (definitions), or another stored version.
        if reviews || place.3 == "customresourcedefinitions" || place.0 == "autoscaling" && place.1 == "v1" {
            continue;
        }
        let Some(mut ours) = made(&row, &place) else { continue };
        let mut theirs = row.answered.clone();
        without_others(&mut ours, &place.3);
        without_others(&mut theirs, &place.3);
        compared += 1;
        let mut found = Vec::new();
        differences("", Some(&ours), Some(&theirs), &mut found);
        wrong.extend(found.into_iter().map(|f| format!("{} {}: {f}", row.path, row.case)));
    }
    assert!(compared > 180, "{compared}");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Kinds of alpha and beta groups that show name and age alone.
const WITHOUT_CELLS: [&str; 5] =
    ["evictionrequests", "evictions", "resourcepoolstatusrequests", "compositepodgroups", "podgroups"];

/// A kind whose cells are made has as many as its columns.
#[test]
fn rows_are_as_long_as_their_columns() {
    let mut wrong = Vec::new();
    for row in api::resources::builtin() {
        let Some(columns) = &row.columns else { continue };
        let strategy = of(&row.group, &row.resource, &Needs::default());
        let mut object = Value::Map(Map::new());
        object.set_at(&["metadata", "name"], "n");
        let Some(cells) = strategy.cells(&object, jiff::Timestamp::UNIX_EPOCH) else {
            if !WITHOUT_CELLS.contains(&&*row.resource) {
                wrong.push(format!("{}/{}: no cells", row.group, row.resource));
            }
            continue;
        };
        // Upstream's rows of addresses have an age that no column names.
        let more = usize::from(&*row.resource == "ipaddresses");
        if cells.len() != columns.len() + more {
            wrong.push(format!(
                "{}/{}: {} cells, {} columns",
                row.group,
                row.resource,
                cells.len(),
                columns.len()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
