//! Definitions and custom values against what the reference server said of them, and types made of schemas.

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

type Cause = (String, String, String);

fn causes(errors: &[apimachinery::field::Error]) -> Vec<Cause> {
    let mut all: Vec<Cause> =
        errors.iter().map(|e| (e.kind.reason().to_owned(), e.field.to_string(), e.body())).collect();
    all.sort();
    all
}

/// The causes of a recorded answer.
fn recorded(row: &Value) -> Vec<Cause> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let cause = |c: &Value| c.as_list().map(|l| (text(&l[0]), text(&l[1]), text(&l[2]))).unwrap();
    let mut all: Vec<Cause> = row.list_at(&["causes"]).iter().map(cause).collect();
    all.sort();
    all
}

/// Each value is accepted or refused, in the same words, as by the reference server.
#[test]
fn values_are_refused_in_upstreams_words() {
    use apiserver::strategy::Strategy;
    for row in include_str!("../../tests/data/crd-values.jsonl").lines().map(json) {
        let mut schema = spec("{}");
        schema.set_at(&["properties", "spec", "properties", "foo"], row.get("schema").unwrap().clone());
        let custom = Custom {
            schema: std::sync::Arc::new(schema.clone()),
            rules: None,
            replicas: Vec::new(),
            has_status: false,
            deprecated: None,
        };
        let mut object = value!({"spec": {}});
        object.set_at(&["spec", "foo"], row.get("value").unwrap().clone());
        custom.default("v1", object.as_map_or_make());
        let mut errors = check(&schema, &object, "");
        errors.extend(check_lists(&schema, &object, &Default::default()));
        assert_eq!(causes(&errors), recorded(&row), "{}", serde_json::Value::from(&row));
    }
}

/// Definitions that the reference server judged otherwise than this one does, with the reason.
const OTHERWISE: [(&str, &str); 3] = [
    ("\"SelectableFields\"", "a value shown as Go's struct"),
    ("error parsing regexp", "the words of Go's regular expressions"),
    (".default.apiVersion", "a default at the root is refused at once"),
];

#[test]
fn definitions_are_judged_as_by_the_reference() {
    use apiserver::strategy::Strategy;
    let gv = |text: &str| text.parse().unwrap();
    let mut differ = Vec::new();
    for row in include_str!("../../tests/data/crd-definitions.jsonl").lines().map(json) {
        // The syntax of names is the registry's to check.
        let want: Vec<Cause> = recorded(&row)
            .into_iter()
            .filter(|c| !c.2.contains("RFC 1123 subdomain") || c.1 != "metadata.name")
            .collect();
        if OTHERWISE.iter().any(|(text, _)| want.iter().any(|c| c.1.contains(text) || c.2.contains(text))) {
            continue;
        }
        let (from, to) = (gv("apiextensions.k8s.io/v1"), gv("apiextensions.k8s.io/v1beta1"));
        let mut object = row.get("object").unwrap().clone();
        CustomResourceDefinition.default("v1", object.as_map_or_make());
        let group = "apiextensions.k8s.io";
        let mut object =
            crate::conversion::convert(group, "customresourcedefinitions", &object, &from, &to).unwrap();
        let cx = crate::testing::context(apiserver::request::UserInfo::loopback());
        CustomResourceDefinition.prepare_for_create(&cx, object.as_map_or_make());
        let got = causes(&rules::validate(&object));
        if got != want {
            differ.push(format!("got  {got:?}\nwant {want:?}\n"));
        }
    }
    assert!(differ.is_empty(), "{} differ\n{}", differ.len(), differ.join("\n"));
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
    let mut unknown: Vec<String> = found.messages().into_iter().collect();
    unknown.sort();
    assert_eq!(unknown, ["unknown field \"spec.gone\"", "unknown field \"spec.list[1].b\""]);
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
