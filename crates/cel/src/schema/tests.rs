//! Escaped names, structural schemas, built-in kinds.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

#[test]
fn names_escape_and_come_back() {
    for (property, name) in [
        ("a", Some("a")),
        ("a.b-c/d", Some("a__dot__b__dash__c__slash__d")),
        ("a__b", Some("a__underscores__b")),
        ("a___b", Some("a__underscores___b")),
        ("namespace", Some("__namespace__")),
        ("namespaces", Some("namespaces")),
        ("1a", None),
        ("a b", None),
        ("", None),
    ] {
        assert_eq!(escape(property).as_deref(), name, "{property}");
        if let Some(name) = name {
            assert_eq!(unescape(name).as_deref(), Some(property), "{name}");
        }
    }
    assert_eq!(unescape("__what__"), None);
    assert_eq!(unescape("a_b__"), Some("a_b__".into()));
}

#[test]
fn structural_schemas_are_typed_and_bounded() {
    let schema = api::value!({"type": "object", "properties": {
        "name": {"type": "string", "maxLength": 10},
        "when": {"type": "string", "format": "date-time"},
        "raw": {"x-kubernetes-preserve-unknown-fields": true},
        "port": {"x-kubernetes-int-or-string": true},
        "tags": {"type": "array", "maxItems": 5, "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "items": {"type": "array", "items": {"type": "object", "properties": {"a-b": {"type": "integer"}}}}
    }});
    let read = Schema::of_open_api(&schema, true).unwrap().named("Root");
    let of = |name: &str| read.field(name).map(|f| f.schema.cel_type().to_string());
    assert_eq!(of("name").as_deref(), Some("string"));
    assert_eq!(of("when").as_deref(), Some("google.protobuf.Timestamp"));
    assert_eq!(of("raw"), None);
    assert_eq!(of("port").as_deref(), Some("dyn"));
    assert_eq!(of("items").as_deref(), Some("list(Root.items.@idx)"));
    assert_eq!(of("metadata").as_deref(), Some("Root.metadata"));
    assert_eq!(read.field("name").unwrap().schema.max, Some(40));
    assert_eq!(read.field("tags").unwrap().schema.max, Some(5));
    let item = read.field("items").unwrap().schema.element().unwrap();
    assert_eq!(&*item.field("a__dash__b").unwrap().property, "a-b");
}

#[test]
fn built_in_kinds_are_read_when_looked_at() {
    let schemas =
        api::schema::by_name("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
    let object = Object::of_table(&schemas.unwrap());
    let not = object.field("not").unwrap();
    assert_eq!(not.schema.cel_type(), Type::Object(object.clone()));
}
