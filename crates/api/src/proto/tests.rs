//! Go's own bytes: `tests/data/samples.jsonl.gz` holds, for random objects of every kind, the envelope that Go
//! writes, the JSON that Go makes of it, and the envelope that Go makes of that JSON (`goshape samples`).

use std::io::{BufRead, BufReader, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::json;
use crate::schema::by_name;
use crate::value::Value;

fn samples() -> Box<dyn BufRead> {
    match std::env::var("KEELSON_SAMPLES") {
        Ok(path) => Box::new(BufReader::new(std::fs::File::open(path).unwrap())),
        Err(_) => {
            let packed: &[u8] = include_bytes!("../../tests/data/samples.jsonl.gz");
            Box::new(BufReader::new(flate2::read::GzDecoder::new(packed) as flate2::read::GzDecoder<&[u8]>))
        }
    }
}

fn near<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    let at = a.bytes().zip(b.bytes()).position(|(x, y)| x != y).unwrap_or(0).saturating_sub(120);
    let cut = |s: &'a str| {
        let from = s.floor_char_boundary(at.min(s.len()));
        &s[from..s.floor_char_boundary((from + 300).min(s.len()))]
    };
    (cut(a), cut(b))
}

/// What is wrong with one sample; None if all is as in Go.
fn check(name: &str, first: &[u8], text: &str, second: &[u8]) -> Option<String> {
    let of = by_name(name)?;
    let envelope = decode_envelope(first).unwrap();
    let from_proto = decode(envelope.raw, &of, envelope.api_version, envelope.kind).unwrap();
    let written = String::from_utf8(json::encode(&from_proto, &of)).unwrap();
    if written != text {
        return Some(format!("{name}: proto -> JSON: {:#?}", near(&written, text)));
    }
    let (from_json, found) = match json::decode(text.as_bytes(), &of) {
        Ok(done) => done,
        Err(e) => return Some(format!("{name}: JSON -> tree: {e}")),
    };
    if !found.is_empty() {
        return Some(format!("{name}: found {:?}", found.messages()));
    }
    let own = json::encode(&from_json, &of);
    let (full, quick) = (json::decode(&own, &of).unwrap().0, json::parse_canonical(&own, &of).unwrap());
    if quick != full || json::to_string(&quick) != json::to_string(&full) {
        return Some(format!("{name}: read back without the second walk it differs"));
    }
    let raw = encode(&from_json, &of).unwrap();
    if encode_unknown(envelope.api_version, envelope.kind, &raw, "") != second {
        return Some(format!("{name}: JSON -> proto"));
    }
    let (head, tail) = around(envelope.api_version, envelope.kind, raw.len());
    if [&head[..], &raw, tail].concat() != second {
        return Some(format!("{name}: the envelope in parts"));
    }
    let again = decode(&raw, &of, envelope.api_version, envelope.kind).unwrap();
    let stable = String::from_utf8(json::encode(&again, &of)).unwrap();
    let once_more = encode(&again, &of).unwrap() == raw;
    if !once_more || json::to_string(&again) != stable.trim_end() {
        return Some(format!("{name}: the canonical tree is not stable"));
    }
    None
}

#[test]
fn every_kind_converts_as_in_go() {
    let (mut count, mut bad) = (0, Vec::new());
    let mut text = String::new();
    let mut reader = samples();
    loop {
        text.clear();
        if reader.read_line(&mut text).unwrap() == 0 {
            break;
        }
        let row: serde_json::Value = serde_json::from_str(&text).unwrap();
        let part = |key: &str| row[key].as_str().unwrap();
        let bytes = |key: &str| STANDARD.decode(part(key)).unwrap();
        bad.extend(check(part("type"), &bytes("proto"), part("json"), &bytes("proto2")));
        count += 1;
    }
    println!("{count} objects, {} differ", bad.len());
    assert!(bad.is_empty(), "{} of {count}: {}", bad.len(), bad[..bad.len().min(6)].join("\n"));
    assert!(count > 700, "{count}");
}

#[test]
fn a_watch_frame_holds_a_bare_event() {
    let pod = crate::value!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}});
    let of = crate::schema::by_gvk("", "v1", "Pod").unwrap();
    let envelope = encode_envelope(&pod, &of).unwrap();
    let frame = watch_frame("ADDED", &envelope);
    assert_eq!(u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
    let event = crate::schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent").unwrap();
    let tree = encode(&crate::value!({"type": "ADDED", "object": (Value::Null)}), &event).unwrap();
    assert!(frame[4..].starts_with(&tree[..7]));
    assert!(decode_envelope(b"{}").is_err());
    let mut rest = Vec::new();
    (&frame[4..]).read_to_end(&mut rest).unwrap();
    assert!(rest.windows(4).any(|w| w == MAGIC));
}
