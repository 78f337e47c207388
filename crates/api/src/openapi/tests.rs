//! What clients look for in OpenAPI documents.

use super::*;
use crate::resources;

fn made(group: &str, version: &str) -> Json {
    let rows: Vec<_> =
        resources::builtin().iter().filter(|r| &*r.group == group && &*r.version == version).collect();
    let of = |row: &&std::sync::Arc<Resource>| crate::schema::by_gvk(group, version, &row.kind).unwrap();
    let entries: Vec<Entry<'_>> = rows.iter().map(|row| Entry { row, of: of(row), custom: None }).collect();
    serde_json::from_slice(&document(group, version, &entries)).unwrap()
}

fn schema<'a>(document: &'a Json, name: &str) -> &'a Json {
    &document["components"]["schemas"][name]
}

#[test]
fn fields_refer_and_default_as_upstream_says() {
    let apps = made("apps", "v1");
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
    let apps = made("apps", "v1");
    let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    let names: Vec<&str> =
        patch["parameters"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
    assert!(names.contains(&"fieldValidation") && names.contains(&"dryRun"));
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    let scale = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["get"];
    assert_eq!(scale["x-kubernetes-group-version-kind"]["group"], "autoscaling");
    assert!(!schema(&apps, "io.k8s.api.autoscaling.v1.Scale").is_null());
}

#[test]
fn every_reference_has_its_definition() {
    for (group, version) in
        [("", "v1"), ("apps", "v1"), ("apiextensions.k8s.io", "v1"), ("authentication.k8s.io", "v1")]
    {
        let document = made(group, version);
        let text = document.to_string();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(!schema(&document, name).is_null(), "{group}/{version}: {name}");
        }
    }
}

#[test]
fn the_hash_follows_a_custom_schema() {
    let row = &resources::builtin()[0];
    let of = || crate::schema::by_gvk(&row.group, &row.version, &row.kind).unwrap();
    let (a, b) = (crate::value!({"type": "object"}), crate::value!({"type": "object", "nullable": true}));
    let hash_of = |schema| hash("a.io", "v1", &[Entry { row, of: of(), custom: Some(schema) }]);
    assert_eq!(hash_of(&a), hash_of(&a));
    assert_ne!(hash_of(&a), hash_of(&b));
    assert_eq!(hash_of(&a).len(), 128);
}
