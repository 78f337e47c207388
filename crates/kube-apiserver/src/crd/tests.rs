#![allow(clippy::unwrap_used)]

use api::canonical::{Found, canonicalize};
use api::{Value, value};
use apimachinery::GroupVersionKind;

use super::*;

pub(super) fn json(text: &str) -> Value {
    serde_json::from_str::<serde_json::Value>(text).unwrap().into()
}

fn widget() -> GroupVersionKind {
    GroupVersionKind { group: "e.com".into(), version: "v1".into(), kind: "Widget".into() }
}

fn spec(schema: &str) -> Value {
    let mut out = json(r#"{"type":"object","properties":{"spec":{"type":"object","properties":{}}}}"#);
    out.set_at(&["properties", "spec", "properties"], json(schema));
    out
}

fn errors(schema: &str, object: &str) -> Vec<String> {
    check(&spec(schema), &json(object), "").iter().map(ToString::to_string).collect()
}

/// Messages as the reference server gives them.
#[test]
fn values_are_refused_in_upstreams_words() {
    let foo = |of: &str, value: &str| {
        errors(&format!(r#"{{"foo":{of}}}"#), &format!(r#"{{"spec":{{"foo":{value}}}}}"#))
    };
    let cases = [
        (
            r#"{"type":"integer"}"#,
            r#""x""#,
            "spec.foo: Invalid value: \"string\": spec.foo in body must be of type integer: \"string\"",
        ),
        (
            r#"{"type":"string"}"#,
            "null",
            "spec.foo: Invalid value: \"null\": spec.foo in body must be of type string: \"null\"",
        ),
        (
            r#"{"type":"string","enum":["a","b"]}"#,
            r#""c""#,
            "spec.foo: Unsupported value: \"c\": supported values: \"a\", \"b\"",
        ),
        (
            r#"{"type":"integer","maximum":3}"#,
            "4",
            "spec.foo: Invalid value: 4: spec.foo in body should be less than or equal to 3",
        ),
        (
            r#"{"type":"integer","minimum":3}"#,
            "2",
            "spec.foo: Invalid value: 2: spec.foo in body should be greater than or equal to 3",
        ),
        (
            r#"{"type":"string","pattern":"^a$"}"#,
            r#""b""#,
            "spec.foo: Invalid value: \"b\": spec.foo in body should match '^a$'",
        ),
        (r#"{"type":"string","maxLength":1}"#, r#""bb""#, "spec.foo: Too long: may not be more than 1 bytes"),
        (
            r#"{"type":"string","minLength":3}"#,
            r#""bb""#,
            "spec.foo: Invalid value: \"bb\": spec.foo in body should be at least 3 chars long",
        ),
        (
            r#"{"type":"array","maxItems":1,"items":{"type":"integer"}}"#,
            "[1,2]",
            "spec.foo: Too many: 2: must have at most 1 items",
        ),
        (r#"{"type":"object","required":["a"]}"#, "{}", "spec.foo.a: Required value"),
        (
            r#"{"type":"array","items":{"type":"integer"}}"#,
            r#"["a"]"#,
            "spec.foo[0]: Invalid value: \"string\": spec.foo[0] in body must be of type integer: \"string\"",
        ),
        (
            r#"{"type":"string","format":"date-time"}"#,
            r#""b""#,
            "spec.foo: Invalid value: \"b\": spec.foo in body must be of type date-time: \"b\"",
        ),
    ];
    for (schema, value, want) in cases {
        assert_eq!(foo(schema, value), [want]);
    }
    let fine = [
        (r#"{"type":"integer"}"#, "1.0"),
        (r#"{"type":"number"}"#, "1"),
        (r#"{"type":"string","nullable":true}"#, "null"),
        (r#"{"x-kubernetes-int-or-string":true}"#, r#""10%""#),
        (r#"{"x-kubernetes-int-or-string":true}"#, "3"),
        (r#"{"type":"string","format":"something"}"#, r#""x""#),
    ];
    for (schema, value) in fine {
        assert_eq!(foo(schema, value), Vec::<String>::new(), "{schema} {value}");
    }
}

#[test]
fn alternatives() {
    let schema = r#"{"a":{"type":"object","properties":{"x":{"type":"string"},"y":{"type":"string"}},"oneOf":[{"required":["x"]},{"required":["y"]}]}}"#;
    assert!(errors(schema, r#"{"spec":{"a":{"x":"1"}}}"#).is_empty());
    let both = errors(schema, r#"{"spec":{"a":{"x":"1","y":"1"}}}"#);
    assert_eq!(
        both,
        [
            "<nil>: Invalid value: \"\": \"spec.a\" must validate one and only one schema (oneOf). Found 2 valid alternatives"
        ]
    );
    let none = errors(schema, r#"{"spec":{"a":{}}}"#);
    assert_eq!(
        none[0],
        "<nil>: Invalid value: \"\": \"spec.a\" must validate one and only one schema (oneOf). Found none valid"
    );
    assert_eq!(none[1], "spec.a.x: Required value");
}

#[test]
fn pruned_and_defaulted_by_the_schema() {
    let schema = spec(
        r#"{"n":{"type":"integer","default":3},"free":{"type":"object","x-kubernetes-preserve-unknown-fields":true},
        "list":{"type":"array","items":{"type":"object","properties":{"a":{"type":"string","default":"x"}}}},
        "text":{"type":"string","default":"t"},"null":{"type":"string","nullable":true,"default":"d"}}"#,
    );
    let of = type_of(widget(), &schema, false);
    let mut object = json(
        r#"{"apiVersion":"e.com/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"gone":1,"free":{"q":{"r":1}},"list":[{},{"a":"y","b":1}],"text":"","null":null}}"#,
    );
    let mut found = Found::default();
    canonicalize(&mut object, &of, &mut found).unwrap();
    api::defaults::apply(&mut object, &of);
    assert_eq!(found.messages(), ["unknown field \"spec.gone\"", "unknown field \"spec.list[1].b\""]);
    let want = json(r#"{"n":3,"free":{"q":{"r":1}},"list":[{"a":"x"},{"a":"y"}],"text":"","null":null}"#);
    assert_eq!(object.get("spec"), Some(&want));
}

#[test]
fn duplicates_in_sets_and_keyed_lists() {
    let schema = spec(
        r#"{"tags":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}},
        "parts":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"items":{"type":"object","properties":{"name":{"type":"string"}}}}}"#,
    );
    let object = json(r#"{"spec":{"tags":["a","b","a"],"parts":[{"name":"x"},{"name":"x"}]}}"#);
    let got: Vec<String> =
        check_lists(&schema, &object, &Default::default()).iter().map(ToString::to_string).collect();
    assert_eq!(
        got,
        ["spec.tags[2]: Duplicate value: \"a\"", "spec.parts[1]: Duplicate value: {\"name\":\"x\"}"]
    );
}

fn stored(change: impl Fn(&mut Value)) -> Value {
    let mut v1 = value!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.e.com"},
        "spec": {"group": "e.com", "scope": "Namespaced", "conversion": {"strategy": "None"},
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
        "status": {"storedVersions": ["v1"]}});
    change(&mut v1);
    crate::conversion::definition::to_stored(&mut v1);
    v1
}

fn refusals(change: impl Fn(&mut Value)) -> Vec<String> {
    rules::validate(&stored(change)).iter().map(ToString::to_string).collect()
}

#[test]
fn definitions_are_refused_in_upstreams_words() {
    assert_eq!(refusals(|_| {}), Vec::<String>::new());
    let set = |path: &'static [&'static str], to: Value| move |v: &mut Value| v.set_at(path, to.clone());
    assert_eq!(
        refusals(set(&["metadata", "name"], "x.e.com".into())),
        ["metadata.name: Invalid value: \"x.e.com\": must be spec.names.plural+\".\"+spec.group"]
    );
    assert_eq!(
        refusals(set(&["spec", "scope"], "Galaxy".into())),
        ["spec.scope: Unsupported value: \"Galaxy\": supported values: \"Cluster\", \"Namespaced\""]
    );
    let schema = |text: &'static str| {
        move |v: &mut Value| {
            let version = v.at_mut(&["spec", "versions"]).unwrap().as_list_mut().unwrap();
            version[0].set_at(&["schema", "openAPIV3Schema"], json(text));
        }
    };
    assert_eq!(
        refusals(schema(r#"{"type":"object","properties":{"spec":{"properties":{"a":{"type":"string"}}}}}"#)),
        [
            "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields"
        ]
    );
    assert_eq!(
        refusals(schema(r#"{"type":"object","properties":{"spec":{"type":"object","properties":{"a":{"type":"integer","default":"x"}}}}}"#)).len(),
        1
    );
}

#[test]
fn established_names_cannot_change() {
    let old = stored(|v| {
        v.set_at(&["status", "conditions"], vec![value!({"type": "Established", "status": "True"})])
    });
    let new = stored(|v| v.set_at(&["spec", "scope"], "Cluster"));
    let got: Vec<String> = rules::validate_update(&new, &old).iter().map(ToString::to_string).collect();
    assert_eq!(got, ["spec.scope: Invalid value: \"Cluster\": field is immutable"]);
}
