//! The canonical form on small objects, and the words of its errors.

use crate::json;
use crate::schema::{FieldMaker, Node, Shape, TypeMaker, by_gvk};

fn decoded(group: &str, version: &str, kind: &str, text: &str) -> Result<(String, Vec<String>), String> {
    let of = by_gvk(group, version, kind).unwrap();
    let (value, found) = json::decode(text.as_bytes(), &of).map_err(|e| e.to_string())?;
    let tree = json::to_string(&value);
    let written = String::from_utf8(json::encode(&value, &of)).unwrap();
    assert_eq!(written.trim_end(), tree, "the canonical tree is what is written");
    Ok((tree, found.messages()))
}

#[test]
fn the_canonical_form_is_gos() {
    let pod = r#"{"spec":{"replicas":0,"containers":[{"name":"a","image":"","ports":[],"resources":{"limits":{"memory":"1024Ki","cpu":"1000m"}}}],"volumes":null,"terminationGracePeriodSeconds":0},"metadata":{"name":"x","labels":{"b":"1","a":"2"},"creationTimestamp":null},"kind":"Pod","apiVersion":"v1"}"#;
    let (tree, found) = decoded("", "v1", "Pod", pod).unwrap();
    assert_eq!(
        tree,
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x","labels":{"a":"2","b":"1"}},"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Mi"}}}],"terminationGracePeriodSeconds":0},"status":{}}"#
    );
    assert_eq!(found, ["unknown field \"spec.replicas\""]);
}

#[test]
fn duplicates_and_unknown_fields_are_named_with_their_paths() {
    let text =
        r#"{"kind":"Pod","kind":"Pod","spec":{"containers":[{"name":"a"},{"name":"b","foo":1,"name":"c"}]}}"#;
    let (_, found) = decoded("", "v1", "Pod", text).unwrap();
    assert_eq!(
        found,
        [
            "duplicate field \"kind\"",
            "unknown field \"spec.containers[1].foo\"",
            "duplicate field \"spec.containers[1].name\""
        ]
    );
}

#[test]
fn wrong_types_are_refused_in_gos_words() {
    let error = |text: &str| decoded("apps", "v1", "Deployment", text).unwrap_err();
    assert_eq!(
        error(r#"{"spec":{"replicas":"1"}}"#),
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
    );
    assert_eq!(
        error(r#"{"spec":{"template":{"spec":{"containers":{}}}}}"#),
        "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"
    );
    assert_eq!(
        error(r#"{"metadata":{"labels":{"a":1}}}"#),
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
    );
    assert_eq!(
        error(r#"{"spec":{"template":{"spec":{"volumes":[{"emptyDir":1}]}}}}"#),
        "json: cannot unmarshal number into Go struct field Volume.spec.template.spec.volumes.VolumeSource.emptyDir of type v1.EmptyDirVolumeSource"
    );
    assert_eq!(
        error(r#"{"spec":{"strategy":{"rollingUpdate":{"maxSurge":1.5}}}}"#),
        "json: cannot unmarshal number 1.5 into Go struct field RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge of type int32"
    );
    assert_eq!(error(r#"{"spec":"#), "unexpected end of JSON input");
    assert!(error(r#"{"metadata":{"creationTimestamp":"now"}}"#).starts_with("parsing time \"now\""));
}

#[test]
fn custom_objects_are_pruned_and_sorted() {
    let spec = TypeMaker::custom("spec")
        .field(FieldMaker::new("size", Node::of(Shape::Int64)))
        .field(FieldMaker::new("any", Node::of(Shape::Any)));
    let root = TypeMaker::custom("Thing")
        .embedded_resource(true)
        .field(FieldMaker::new("spec", Node::of(Shape::Struct(spec.build().into()))))
        .build();
    let text = br#"{"spec":{"size":0,"x":1,"any":{"b":1.50,"a":null}},"metadata":{"name":"a","labels":{},"creationTimestamp":null},"kind":"Thing","apiVersion":"e.com/v1","y":2}"#;
    let (value, found) = json::decode(text, &root).unwrap();
    let written = String::from_utf8(json::encode(&value, &root)).unwrap();
    assert_eq!(
        written,
        "{\"apiVersion\":\"e.com/v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"any\":{\"a\":null,\"b\":1.5},\"size\":0}}\n"
    );
    assert_eq!(found.unknown().collect::<Vec<_>>(), ["spec.x", "y"]);
}
