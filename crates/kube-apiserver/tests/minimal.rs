//! Each create that a reference server answered is sent to ours: the same code, the same answer, and the same
//! object in the store. What differs stands in `data/minimal-differs.txt`, with its reason.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Map, Value, json};
use support::Bed;

const ROWS: &str = include_str!("data/minimal.jsonl");
const DIFFERS: &str = include_str!("data/minimal-differs.txt");

/// `path case` to the reason.
fn known() -> BTreeMap<String, String> {
    let lines = DIFFERS.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.map(|l| l.split_once(": ").unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// What the placeholders in the recorded requests stand for here.
fn placeholders(bed: &Bed) -> [(&'static str, String); 3] {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "u");
    let request = params.serialize_request(&key).unwrap();
    let engine = base64::engine::general_purpose::STANDARD;
    [
        ("<csr>", engine.encode(request.pem().unwrap())),
        ("<csr-der>", engine.encode(request.der())),
        ("<certificate>", std::fs::read_to_string(bed.folder.path().join("ca.crt")).unwrap()),
    ]
}

fn fill(value: &Value, with: &[(&str, String)]) -> Value {
    match value {
        Value::String(s) => match with.iter().find(|(name, _)| name == s) {
            Some((_, text)) => json!(text),
            None => value.clone(),
        },
        Value::Array(list) => list.iter().map(|v| fill(v, with)).collect(),
        Value::Object(map) => Value::Object(map.iter().map(|(k, v)| (k.clone(), fill(v, with))).collect()),
        _ => value.clone(),
    }
}

/// Takes away what differs from run to run.
fn scrub(mut value: Value) -> Value {
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
            meta.remove(name);
        }
    }
    value
}

/// `<...>` in what was recorded stands for any text; lists of rules come in any order.
fn matches(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (_, Value::String(t)) if t.starts_with('<') && t.ends_with('>') => !ours.is_null(),
        (Value::String(o), Value::String(t)) if t.ends_with("-<random>") => {
            o.starts_with(t.trim_end_matches("<random>"))
        }
        (Value::Object(o), Value::Object(t)) => {
            o.len() == t.len() && o.iter().all(|(k, v)| member(t, k).is_some_and(|t| matches(v, t)))
        }
        (Value::Array(o), Value::Array(t)) => {
            o.len() == t.len() && o.iter().zip(t).all(|(o, t)| matches(o, t))
        }
        _ => ours == theirs,
    }
}

fn member<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.get(key)
}

fn differences(path: &str, ours: &Value, theirs: &Value, out: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(o), Value::Object(t)) => {
            for (key, value) in o {
                match t.get(key) {
                    Some(theirs) => differences(&format!("{path}.{key}"), value, theirs, out),
                    None => out.push(format!("{path}.{key}: only ours: {value}")),
                }
            }
            out.extend(
                t.iter()
                    .filter(|(k, _)| !o.contains_key(*k))
                    .map(|(k, v)| format!("{path}.{k}: only theirs: {v}")),
            );
        }
        _ if matches(ours, theirs) => {}
        _ => out.push(format!("{path}: ours {ours}, theirs {theirs}")),
    }
}

fn sorted_rules(mut value: Value) -> Value {
    if value["kind"] == "SelfSubjectRulesReview" {
        for key in ["resourceRules", "nonResourceRules"] {
            if let Some(list) = value["status"][key].as_array_mut() {
                list.sort_by_key(Value::to_string);
            }
        }
    }
    value
}

/// The object as it lies in the store, decoded; None where nothing is stored under the usual key.
async fn stored(bed: &Bed, path: &str, answer: &Value) -> Option<Value> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, version) = if parts[0] == "api" { ("", parts[1]) } else { (parts[1], parts[2]) };
    let row = api::resources::find(group, version, parts.last()?)?;
    let meta = &answer["metadata"];
    let key = row.store_key(meta["namespace"].as_str().unwrap_or_default(), meta["name"].as_str()?);
    // As of the create: a controller of the server may have written since.
    let revision = meta["resourceVersion"].as_str().unwrap_or_default().parse().unwrap_or(0);
    let request = etcd::RangeRequest { revision, ..etcd::RangeRequest::key(key) };
    let found = bed.server.store().range(request).await.unwrap();
    let value = &found.kvs.first()?.value;
    let media = api::codec::Media::recognize(value);
    let (api_version, kind) = api::codec::type_meta(value, media).unwrap();
    let (group, version) = api::resources::split(&api_version);
    let of = api::schema::by_gvk(group, version, &kind).unwrap();
    let (object, _) = api::codec::decode(value, media, &of).unwrap();
    Some(serde_json::from_slice(&api::json::encode(&object, &of)).unwrap())
}

#[derive(Default)]
struct Outcome {
    equal: usize,
    wrong: Vec<String>,
    /// Stands in the list, but does not differ.
    healed: Vec<String>,
}

async fn run(bed: &Bed, rows: impl Iterator<Item = Value>, out: &mut Outcome) {
    let (known, with) = (known(), placeholders(bed));
    for row in rows {
        let (path, case) = (row["path"].as_str().unwrap(), row["case"].as_str().unwrap());
        let name = format!("{path} {case}");
        let sent = fill(&row["sent"], &with);
        let mut got = bed.call("POST", path, Some(&sent)).await;
        // A custom resource is served shortly after its definition.
        for _ in 0..100 {
            if got.0 != 404 || !path.contains("example.com") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            got = bed.call("POST", path, Some(&sent)).await;
        }
        let mut found = Vec::new();
        if row["code"] != got.0 {
            found.push(format!("code {} for {}: {}", got.0, row["code"], got.1));
        } else {
            differences(
                "",
                &sorted_rules(scrub(got.1.clone())),
                &sorted_rules(row["answered"].clone()),
                &mut found,
            );
            if let Some(there) = stored(bed, path, &got.1).await {
                let mut wanted = row.get("stored").unwrap_or(&row["answered"]).clone();
                if row.get("stored").is_none() {
                    wanted["apiVersion"] = there["apiVersion"].clone();
                }
                differences("stored", &scrub(there), &wanted, &mut found);
            }
        }
        match (found.is_empty(), known.contains_key(&name)) {
            (true, false) => out.equal += 1,
            (true, true) => out.healed.push(name),
            (false, true) => {}
            (false, false) => out.wrong.push(format!("{name}:\n    {}", found.join("\n    "))),
        }
    }
}

fn rows(every_gate: bool) -> impl Iterator<Item = Value> {
    let all = ROWS.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    all.filter(move |r| r.get("everyGate").is_some() == every_gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creates_are_answered_as_the_reference_does() {
    let mut out = Outcome::default();
    let bed = Bed::start(&[]).await;
    bed.call("POST", "/api/v1/namespaces", Some(&json!({"metadata": {"name": "limits"}}))).await;
    let account = json!({"metadata": {"name": "default"}, "automountServiceAccountToken": false});
    bed.call("POST", "/api/v1/namespaces/default/serviceaccounts", Some(&account)).await;
    run(&bed, rows(false), &mut out).await;
    let gates =
        Bed::start(&["--runtime-config=api/all=true", "--feature-gates=AllAlpha=true,AllBeta=true"]).await;
    run(&gates, rows(true), &mut out).await;
    let listed = known().len();
    println!("{} equal, {} listed, {} wrong", out.equal, listed, out.wrong.len());
    assert!(
        out.wrong.is_empty(),
        "{} of {} differ:\n{}",
        out.wrong.len(),
        ROWS.lines().count(),
        out.wrong.join("\n")
    );
    assert!(out.healed.is_empty(), "these differ no longer, take them off the list: {:?}", out.healed);
    assert!(listed < 10, "{listed} creates differ");
}
