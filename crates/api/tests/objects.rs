//! What the reference server answers is canonical already: decoding it changes nothing and finds nothing, in
//! JSON and through protobuf.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use api::canonical::Found;
use api::{Value, canonical, json, proto, resources, schema};

/// Answers and stored objects of the reference's creates, then what a fresh server makes by itself.
fn objects() -> Vec<Value> {
    let creates = include_str!("../../kube-apiserver/tests/data/minimal.jsonl");
    let mut out = Vec::new();
    for line in creates.lines() {
        let row = json::parse(line.as_bytes()).unwrap();
        let made = row.int_at(&["code"]) == Some(201);
        out.extend(["answered", "stored"].iter().filter(|_| made).filter_map(|k| row.get(k)).cloned());
    }
    for line in resources::BOOTSTRAP.lines() {
        out.extend(json::parse(line.as_bytes()).unwrap().get("object").cloned());
    }
    out
}

/// Placeholders of what the moment or the machine decided become values of their types.
fn without_placeholders(text: &str) -> String {
    let mut out = text.to_owned();
    for (mark, value) in [
        ("time", "\"2024-01-01T00:00:00Z\""),
        ("microtime", "\"2024-01-01T00:00:00.000000Z\""),
        ("port", "30000"),
        ("csr", "\"AAAA\""),
        ("csr-der", "\"AAAA\""),
        ("certificate", "\"AAAA\""),
        ("ca-certificate", "\"AAAA\""),
        ("secure-port", "6443"),
    ] {
        let mark = format!("\"\\u003c{mark}\\u003e\"");
        out = out.replace(&mark, value);
    }
    out
}

#[test]
fn the_references_answers_are_canonical() {
    let (mut count, mut bad) = (0, Vec::new());
    for object in objects() {
        let (group, version) = resources::split(object.api_version());
        let Some(of) = schema::by_gvk(group, version, object.kind()) else { continue };
        let text = without_placeholders(&json::to_string(&object));
        let want = json::parse(text.as_bytes()).unwrap();
        let mut got = want.clone();
        let mut found = Found::default();
        count += 1;
        if let Err(e) = canonical::canonicalize(&mut got, &of, &mut found) {
            bad.push(format!("{}: {e}", object.kind()));
            continue;
        }
        let written = json::parse(&json::encode(&got, &of)).unwrap();
        if !found.is_empty() || written != want {
            bad.push(format!(
                "{}: {:?}\n  {text}\n  {}",
                object.kind(),
                found.messages(),
                json::to_string(&written)
            ));
        }
        // Conversion, not the type, puts kind and version into its claim templates; protobuf cannot hold them.
        if of.in_proto && object.kind() != "StatefulSet" {
            let raw = proto::encode(&got, &of).unwrap();
            let back = proto::decode(&raw, &of, object.api_version(), object.kind()).unwrap();
            if json::encode(&back, &of) != json::encode(&got, &of) {
                bad.push(format!("{}: differs after protobuf", object.kind()));
            }
        }
    }
    assert!(bad.is_empty(), "{} of {count}:\n{}", bad.len(), bad[..bad.len().min(8)].join("\n"));
    assert!(count > 250, "{count}");
}
