//! What null becomes, type by type, and what must stay as it was.

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::from_slice;
use crate::{LabelSelector, ObjectMeta, StringMap};

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Everything {
    text: String,
    inline: CompactString,
    flag: bool,
    small: i32,
    large: u64,
    ratio: f64,
    list: Vec<CompactString>,
    boxed: Box<[u16]>,
    map: BTreeMap<String, i64>,
    labels: StringMap,
    inner: Inner,
    optional: Option<Inner>,
    named: Name,
    selector: LabelSelector,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Inner {
    ports: Vec<u16>,
    port: u16,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
struct Name(String);

#[test]
fn null_is_zero_in_every_field() {
    let fields = [
        "text", "inline", "flag", "small", "large", "ratio", "list", "boxed", "map", "labels", "inner",
        "optional", "named", "selector",
    ];
    for field in fields {
        let json = format!("{{\"{field}\": null}}");
        let read: Everything = from_slice(json.as_bytes()).unwrap_or_else(|e| panic!("{json}: {e}"));
        assert_eq!(read, Everything::default(), "{json}");
    }
}

#[test]
fn null_is_zero_at_every_depth() {
    let json = br#"{"inner":{"ports":null,"port":null},"optional":{"ports":[1,null],"port":null},
        "list":["a",null],"map":{"x":null,"y":2},"labels":{"app":null},"selector":{"matchLabels":{"k":null}}}"#;
    let read: Everything = from_slice(json).unwrap();
    assert_eq!(read.optional, Some(Inner { ports: vec![1, 0], port: 0 }));
    assert_eq!(read.list, ["a", ""]);
    assert_eq!(read.map, BTreeMap::from([("x".to_owned(), 0), ("y".to_owned(), 2)]));
    assert_eq!(read.labels.get("app"), Some(""));
    assert_eq!(read.inner, Inner::default());
}

#[test]
fn what_is_not_null_is_read_as_ever() {
    let json = br#"{"text":"a\"b","inline":"c","flag":true,"small":-1,"large":18446744073709551615,"ratio":1.5,
        "list":["x"],"boxed":[80],"map":{"k":7},"labels":{"a":"b"},"inner":{"ports":[1],"port":2},
        "optional":{"ports":[3],"port":4},"named":"n","selector":{"matchLabels":{"a":"b"}},"unknown":{"x":[null]}}"#;
    let lenient: Everything = from_slice(json).unwrap();
    assert_eq!(lenient, serde_json::from_slice(json).unwrap());
    assert_eq!((lenient.small, lenient.large, lenient.named), (-1, u64::MAX, Name("n".into())));
}

#[test]
fn types_that_take_anything_keep_null() {
    let json = br#"{"a":null,"b":[null]}"#;
    let value: serde_json::Value = from_slice(json).unwrap();
    assert_eq!(value.to_string().as_bytes(), json);
    let raw: BTreeMap<String, Box<RawValue>> = from_slice(json).unwrap();
    assert_eq!((raw["a"].get(), raw["b"].get()), ("null", "[null]"));
}

#[test]
fn metadata_as_go_writes_it() {
    let json =
        br#"{"name":"x","creationTimestamp":null,"labels":null,"ownerReferences":null,"finalizers":null}"#;
    let meta: ObjectMeta = from_slice(json).unwrap();
    assert_eq!(meta, ObjectMeta { name: "x".into(), ..ObjectMeta::default() });
}

#[test]
fn errors_stay_errors() {
    for json in ["{\"small\":\"1\"}", "{\"list\":{}}", "{\"flag\":0}", "{} {}", "{", "{\"small\":3000000000}"]
    {
        assert!(from_slice::<Everything>(json.as_bytes()).is_err(), "{json}");
    }
}
