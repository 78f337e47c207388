//! Strategic merge patches on the fields of a pod and of metadata, as tables.

use super::*;
use crate::schema;

fn pod(object: &str, patch: &str) -> std::result::Result<String, u16> {
    let of = schema::by_name("io.k8s.api.core.v1.PodSpec").unwrap();
    let mut value = json::parse(object).unwrap();
    strategic_merge_patch(&of, &mut value, json::parse(patch).unwrap()).map_err(|e| e.code)?;
    let mut out = String::new();
    json::write(&value, &mut out);
    Ok(out)
}

#[test]
fn lists_by_their_keys() {
    let two = r#"{"containers":[{"image":"a","name":"x"},{"image":"b","name":"y"}]}"#;
    let cases = [
        (
            r#"{"containers":[{"name":"y","image":"c"}]}"#,
            r#"{"containers":[{"image":"a","name":"x"},{"image":"c","name":"y"}]}"#,
        ),
        (
            r#"{"containers":[{"name":"z"}]}"#,
            r#"{"containers":[{"name":"z"},{"image":"a","name":"x"},{"image":"b","name":"y"}]}"#,
        ),
        (
            r#"{"containers":[{"name":"x","$patch":"delete"}]}"#,
            r#"{"containers":[{"image":"b","name":"y"}]}"#,
        ),
        (r#"{"containers":[{"$patch":"replace"},{"name":"z"}]}"#, r#"{"containers":[{"name":"z"}]}"#),
        (
            r#"{"$setElementOrder/containers":[{"name":"y"},{"name":"x"}]}"#,
            r#"{"containers":[{"image":"b","name":"y"},{"image":"a","name":"x"}]}"#,
        ),
        (
            r#"{"$setElementOrder/containers":[{"name":"y"},{"name":"x"}],"containers":[{"name":"x","image":"q"}]}"#,
            r#"{"containers":[{"image":"b","name":"y"},{"image":"q","name":"x"}]}"#,
        ),
        (r#"{"containers":null}"#, r#"{}"#),
        (
            r#"{"nodeSelector":{"a":"b","c":null}}"#,
            r#"{"containers":[{"image":"a","name":"x"},{"image":"b","name":"y"}],"nodeSelector":{"a":"b"}}"#,
        ),
        (r#"{"$patch":"replace","hostname":"h"}"#, r#"{"hostname":"h"}"#),
        (
            r#"{"volumes":[{"name":"v","emptyDir":{},"$retainKeys":["name","emptyDir"]}]}"#,
            r#"{"containers":[{"image":"a","name":"x"},{"image":"b","name":"y"}],"volumes":[{"emptyDir":{},"name":"v"}]}"#,
        ),
    ];
    for (patch, want) in cases {
        assert_eq!(pod(two, patch).as_deref(), Ok(want), "{patch}");
    }
}

#[test]
fn retained_keys() {
    let volume = r#"{"volumes":[{"name":"v","hostPath":{"path":"/x"}}]}"#;
    let patch = r#"{"volumes":[{"$retainKeys":["name","emptyDir"],"name":"v","emptyDir":{}}]}"#;
    assert_eq!(pod(volume, patch).as_deref(), Ok(r#"{"volumes":[{"emptyDir":{},"name":"v"}]}"#));
    let stray = r#"{"volumes":[{"$retainKeys":["name"],"name":"v","emptyDir":{}}]}"#;
    assert_eq!(pod(volume, stray), Err(400));
}

#[test]
fn atomic_lists_are_replaced() {
    let tolerations = r#"{"tolerations":[{"key":"a"},{"key":"b"}]}"#;
    let patch = r#"{"tolerations":[{"key":"c"}]}"#;
    assert_eq!(pod(tolerations, patch).as_deref(), Ok(r#"{"tolerations":[{"key":"c"}]}"#));
}

#[test]
fn scalars() {
    let of = schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").unwrap();
    let cases = [
        (r#"{"finalizers":["b","c"]}"#, r#"{"finalizers":["a","b","c"]}"#),
        (r#"{"$deleteFromPrimitiveList/finalizers":["a"]}"#, r#"{"finalizers":["b"]}"#),
        (
            r#"{"$setElementOrder/finalizers":["c","a"],"finalizers":["c"],"$deleteFromPrimitiveList/finalizers":["b"]}"#,
            r#"{"finalizers":["c","a"]}"#,
        ),
    ];
    for (patch, want) in &cases {
        let mut value = json::parse(r#"{"finalizers":["a","b"]}"#).unwrap();
        strategic_merge_patch(&of, &mut value, json::parse(patch).unwrap()).unwrap();
        assert_eq!(value, json::parse(want).unwrap(), "{patch}");
    }
}

#[test]
fn errors() {
    let two = r#"{"containers":[{"name":"x"}]}"#;
    assert_eq!(pod(two, r#"{"containers":[{"image":"a"}]}"#), Err(500));
    assert_eq!(pod(two, r#"{"containers":[{"name":"x","$patch":"burn"}]}"#), Err(500));
    assert_eq!(
        pod(two, r#"{"$setElementOrder/containers":[{"name":"y"}],"containers":[{"name":"x"}]}"#),
        Err(400)
    );
}
