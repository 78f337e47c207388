//! What clients look for in OpenAPI documents.

use super::*;
use crate::resources;

const INFO: fn() -> Info = || Info::server("v1.37.0");

fn builtin<'a>() -> Vec<Entry<'a>> {
    let all = resources::builtin().iter();
    all.map(|row| Entry { row, custom: None, returns_deleted: false }).collect()
}

fn v3(document: &str) -> Json {
    let text = whole(Format::V3, &INFO(), |sink| assert!(Published::new(builtin()).v3(document, sink)));
    serde_json::from_slice(&text).unwrap()
}

fn v2() -> Json {
    let text = whole(Format::V2, &INFO(), |sink| Published::new(builtin()).v2_builtin(sink));
    serde_json::from_slice(&text).unwrap()
}

fn schema<'a>(document: &'a Json, name: &str) -> &'a Json {
    &document["components"]["schemas"][name]
}

#[test]
fn fields_refer_and_default_as_upstream_says() {
    let apps = v3("apis/apps/v1");
    let spec = schema(&apps, "io.k8s.api.apps.v1.DeploymentSpec");
    assert_eq!(spec["required"], json!(["selector", "template"]));
    assert_eq!(spec["properties"]["template"]["default"], json!({}));
    let to = "#/components/schemas/io.k8s.api.core.v1.PodTemplateSpec";
    assert_eq!(spec["properties"]["template"]["allOf"], json!([{ "$ref": to }]));
    assert_eq!(spec["properties"]["replicas"]["format"], "int32");
    assert!(spec["properties"]["replicas"].get("default").is_none());
    let port = schema(&apps, "io.k8s.api.core.v1.ContainerPort");
    assert_eq!(port["properties"]["protocol"]["default"], "TCP");
    assert_eq!(port["properties"]["containerPort"]["default"], 0);
    let containers = &schema(&apps, "io.k8s.api.core.v1.PodSpec")["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
}

/// What kubectl looks for before it validates on the server, and for `explain`.
#[test]
fn paths_have_what_kubectl_looks_for() {
    let apps = v3("apis/apps/v1");
    let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    let names: Vec<&str> =
        patch["parameters"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    let scale = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["get"];
    assert_eq!(scale["x-kubernetes-group-version-kind"]["group"], "autoscaling");
    assert!(!schema(&apps, "io.k8s.api.autoscaling.v1.Scale").is_null());
}

/// Every `$ref` of a document, as a pointer.
fn references(of: &Json, out: &mut BTreeSet<String>) {
    match of {
        Json::Object(map) => map.iter().for_each(|(key, value)| match value {
            Json::String(to) if key == "$ref" => drop(out.insert(to.clone())),
            value => references(value, out),
        }),
        Json::Array(list) => list.iter().for_each(|v| references(v, out)),
        _ => {}
    }
}

#[test]
fn every_reference_has_its_definition() {
    let some =
        ["apis", "apis/apps/v1", "apis/apiextensions.k8s.io/v1", "apis/authentication.k8s.io/v1", "version"];
    let mut documents: Vec<Json> = some.into_iter().map(v3).collect();
    documents.push(v2());
    for document in documents {
        let mut all = BTreeSet::new();
        references(&document, &mut all);
        for to in all {
            assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to}");
        }
    }
}

#[test]
fn v2_shares_parameters_and_leaves_out_what_it_cannot_say() {
    let document = v2();
    let list = &document["paths"]["/api/v1/pods"];
    assert_eq!(list["get"]["operationId"], "listCoreV1PodForAllNamespaces");
    let shared = list["parameters"].as_array().unwrap();
    assert_eq!(shared.len(), 12, "{shared:?}");
    assert!(shared.iter().all(|p| p["$ref"].as_str().unwrap().starts_with("#/parameters/")));
    let exec = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"];
    assert_eq!(exec["get"]["x-kubernetes-group-version-kind"]["kind"], "PodExecOptions");
    let port = &document["definitions"]["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"];
    assert!(port.get("default").is_none());
    let template = &document["definitions"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["template"];
    assert_eq!(template["$ref"], "#/definitions/io.k8s.api.core.v1.PodTemplateSpec");
    let number = &document["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
    assert_eq!((&number["type"], &number["format"]), (&json!("string"), &json!("int-or-string")));
}

fn custom_row() -> Resource {
    let mut row = Resource::clone(resources::find("apps", "v1", "deployments").unwrap());
    (row.group, row.version, row.resource, row.kind) =
        ("stable.e.com".into(), "v1".into(), "ports".into(), "Port".into());
    row.subresources.clear();
    row.field_labels = ["metadata.name", "metadata.namespace", "spec.color"].map(Into::into).to_vec();
    row
}

fn custom(schema: &crate::Value, is_v2: bool) -> Json {
    let row = custom_row();
    let entry = Entry { row: &row, custom: Some(schema), returns_deleted: false };
    let text = match is_v2 {
        true => whole(Format::V2, &INFO(), |sink| v2_custom(&[entry], sink)),
        false => whole(Format::V3, &INFO(), |sink| {
            assert!(Published::new([entry]).v3("apis/stable.e.com/v1", sink));
        }),
    };
    let document: Json = serde_json::from_slice(&text).unwrap();
    let at = if is_v2 { "/definitions" } else { "/components/schemas" };
    document.pointer(at).unwrap()["com.e.stable.v1.Port"].clone()
}

#[test]
fn custom_schemas_for_v2() {
    let schema = crate::value!({"type": "object", "required": ["spec"], "properties": {
    "spec": {"type": "object", "required": ["a", "n"], "x-kubernetes-preserve-unknown-fields": false, "properties": {
        "a": {"type": "string", "default": "x", "pattern": "^a"},
        "n": {"type": "integer", "nullable": true},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"b": {"type": "string"}}},
        "frees": {"type": "array", "x-kubernetes-preserve-unknown-fields": true, "items": {"type": "string"}},
        "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "inner": {"type": "object", "x-kubernetes-embedded-resource": true, "required": ["kind"], "properties": {"spec": {"type": "object"}}},
        "one": {"type": "object", "oneOf": [{"required": ["x"]}], "not": {"required": ["y"]}, "additionalProperties": {"type": "string", "nullable": true}, "required": ["x"]}
    }}}});
    let of = custom(&schema, true);
    let spec = &of["properties"]["spec"];
    assert_eq!(spec["required"], json!(["a"]));
    assert!(spec.get("x-kubernetes-preserve-unknown-fields").is_none());
    let field = |name: &str| spec["properties"][name].clone();
    assert_eq!(field("a"), json!({"type": "string", "pattern": "^a"}));
    assert_eq!(field("n"), json!({}));
    assert_eq!(field("free"), json!({"x-kubernetes-preserve-unknown-fields": true}));
    assert_eq!(field("frees"), json!({"x-kubernetes-preserve-unknown-fields": true}));
    assert_eq!(field("port"), json!({"x-kubernetes-int-or-string": true}));
    assert_eq!(field("one"), json!({"type": "object", "additionalProperties": {}}));
    let inner = field("inner");
    assert_eq!(inner["required"], json!(["kind", "apiVersion"]));
    assert!(inner["properties"]["metadata"]["$ref"].is_string(), "{inner}");
    assert_eq!(of["x-kubernetes-selectable-fields"], json!([{"fieldPath": "spec.color"}]));
    assert_eq!(of["x-kubernetes-group-version-kind"][0]["kind"], "Port");
    let preserving = crate::value!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"spec": {"type": "object"}}});
    let mut of = custom(&preserving, true);
    of.as_object_mut().unwrap().retain(|key, _| key == "type" || key == "properties");
    assert_eq!(of, json!({"type": "object"}));
}

#[test]
fn custom_schemas_for_v3() {
    let schema = crate::value!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"spec": {"type": "object", "properties": {
        "port": {"x-kubernetes-int-or-string": true, "default": false},
        "bound": {"x-kubernetes-int-or-string": true, "anyOf": [{"minimum": 1}], "nullable": true}
    }}}});
    let of = custom(&schema, false);
    let both = json!([{"type": "integer"}, {"type": "string"}]);
    let spec = &of["properties"]["spec"]["properties"];
    assert_eq!((&spec["port"]["anyOf"], &spec["port"]["default"]), (&both, &json!(false)));
    assert_eq!(spec["bound"]["allOf"], json!([{ "anyOf": both }]));
    assert_eq!(spec["bound"]["nullable"], true);
    assert_eq!(of["properties"]["metadata"]["allOf"].as_array().unwrap().len(), 1);
}

#[test]
fn hashes_follow_a_custom_schema() {
    let row = custom_row();
    let (a, b) = (crate::value!({"type": "object"}), crate::value!({"type": "object", "nullable": true}));
    let entry = |schema| Entry { row: &row, custom: Some(schema), returns_deleted: false };
    assert_eq!(hash(&entry(&a)), hash(&entry(&a)));
    assert_ne!(hash(&entry(&a)), hash(&entry(&b)));
    assert_eq!(hash_all([hash(&entry(&a)).as_str()]).len(), 128);
}

/// The bytes of a field of a message, by a way of tags.
fn dig<'a>(mut data: &'a [u8], tags: &[u32]) -> Vec<&'a [u8]> {
    let mut found = Vec::new();
    let Some((first, rest)) = tags.split_first() else { return vec![data] };
    while !data.is_empty() {
        let mut number = || {
            let (mut n, mut shift) = (0usize, 0);
            loop {
                let byte = data[0];
                data = &data[1..];
                n |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return n;
                }
            }
        };
        let key = number();
        match key & 7 {
            0 => drop(number()),
            1 => data = &data[8..],
            _ => {
                let size = number();
                if key >> 3 == *first as usize {
                    found.extend(dig(&data[..size], rest));
                }
                data = &data[size..];
            }
        }
    }
    found
}

#[test]
fn protobuf_has_the_same_pieces() {
    let document = v2();
    let bytes = whole(Format::V2Protobuf, &INFO(), |sink| Published::new(builtin()).v2_builtin(sink));
    assert_eq!(dig(&bytes, &[gnostic::SWAGGER]), [b"2.0"]);
    for (section, pair, key) in [
        (gnostic::PATHS, 2, "paths"),
        (gnostic::DEFINITIONS, 1, "definitions"),
        (gnostic::PARAMETERS, 1, "parameters"),
    ] {
        assert_eq!(dig(&bytes, &[section]).len(), 1);
        let names: Vec<&[u8]> = dig(&bytes, &[section, pair, 1]);
        assert!(names.iter().copied().eq(document[key].as_object().unwrap().keys().map(|k| k.as_bytes())));
    }
    // An operation's id, a definition's extension as YAML, its required fields.
    let ids = dig(&bytes, &[gnostic::PATHS, 2, 2, 2, 5]);
    assert!(ids.contains(&b"getAppsV1APIResources".as_slice()));
    let extensions = dig(&bytes, &[gnostic::DEFINITIONS, 1, 2, 31, 2, 2]);
    assert!(
        extensions.contains(
            &br#"[{"group":"apps","kind":"Deployment","version":"v1"}]
"#
            .as_slice()
        )
    );
    assert!(dig(&bytes, &[gnostic::DEFINITIONS, 1, 2, 19]).contains(&b"selector".as_slice()));
}
