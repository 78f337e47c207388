//! Kinds by their resources or names, with their types: built-in ones out of the table, others out of what the server
//! publishes about them.

use std::collections::HashMap;

use api::Value;
use apimachinery::GroupVersionKind;
use cel::{Object, Schema};
use client::{Api, Error};
use http::Method;
use policy::typecheck::{Typed, Wanted};
use serde::Deserialize;

/// See the module. What was asked once is known for the rest of a policy's check.
pub struct Kinds<'a> {
    api: &'a Api,
    /// OpenAPI documents by path; None: there is none.
    documents: HashMap<String, Option<Value>>,
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    kind: String,
}

fn path_of(root: &str, group: &str, version: &str) -> String {
    match group {
        "" => format!("{root}/api/{version}"),
        group => format!("{root}/apis/{group}/{version}"),
    }
}

impl<'a> Kinds<'a> {
    pub fn new(api: &'a Api) -> Self {
        Self { api, documents: HashMap::new() }
    }

    /// None: the resource, or the type of its kind, is not known.
    pub async fn of_resource(&mut self, wanted: &Wanted) -> Result<Option<Typed>, Error> {
        let (group, version, resource) = wanted;
        let built_in = api::resources::builtin()
            .iter()
            .find(|row| *row.group == **group && *row.version == **version && *row.resource == **resource);
        let kind = match built_in {
            Some(row) => row.kind.to_string(),
            None => match self.kind_of(group, version, resource).await? {
                Some(kind) => kind,
                None => return Ok(None),
            },
        };
        let kind = GroupVersionKind::new(group.as_str(), version.as_str(), kind);
        Ok(self.schema(&kind).await?.map(|schema| Typed { kind, schema }))
    }

    /// The type of a kind by its apiVersion; None: it is not known.
    pub async fn of_kind(&mut self, api_version: &str, kind: &str) -> Result<Option<Schema>, Error> {
        match GroupVersionKind::from_api_version(api_version, kind) {
            Ok(kind) => self.schema(&kind).await,
            Err(_) => Ok(None),
        }
    }

    async fn kind_of(&self, group: &str, version: &str, resource: &str) -> Result<Option<String>, Error> {
        let found = self.api.request::<Resources>(Method::GET, &path_of("", group, version), None).await;
        let Some(found) = or_none(found)? else { return Ok(None) };
        Ok(found.resources.into_iter().find(|entry| entry.name == resource).map(|entry| entry.kind))
    }

    async fn schema(&mut self, kind: &GroupVersionKind) -> Result<Option<Schema>, Error> {
        if let Some(of) = api::schema::by_gvk(&kind.group, &kind.version, &kind.kind) {
            return Ok(Some(Schema::object(Object::of_table(&of))));
        }
        let path = path_of("/openapi/v3", &kind.group, &kind.version);
        if !self.documents.contains_key(&path) {
            let found = self.api.request::<serde_json::Value>(Method::GET, &path, None).await;
            self.documents.insert(path.clone(), or_none(found)?.map(Value::from));
        }
        let document = self.documents.get(&path).and_then(Option::as_ref);
        Ok(document.and_then(|document| published(document, kind)))
    }
}

fn or_none<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e),
    }
}

/// The type of a kind in an OpenAPI v3 document.
fn published(document: &Value, kind: &GroupVersionKind) -> Option<Schema> {
    let schemas = document.at(&["components", "schemas"])?.as_map()?;
    let is = |of: &Value| {
        of.str_at(&["group"]) == &*kind.group
            && of.str_at(&["version"]) == &*kind.version
            && of.str_at(&["kind"]) == &*kind.kind
    };
    let found = schemas.values().find(|s| s.list_at(&["x-kubernetes-group-version-kind"]).iter().any(is))?;
    Some(with_metadata(Schema::of_open_api(found, true)?, &kind.kind))
}

/// Documents refer to the type of metadata, which every kind has.
fn with_metadata(schema: Schema, name: &str) -> Schema {
    let cel::Kind::Object(object) = &schema.kind else { return schema };
    let metadata = api::schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    let metadata = metadata.map(|of| Schema::object(Object::of_table(&of)));
    let fields = object
        .names()
        .filter(|field| *field != "metadata")
        .filter_map(|field| Some((field, object.field(field)?.schema.clone())));
    let fields = fields.chain(metadata.map(|schema| ("metadata", schema)));
    Schema::object(Object::new(name, fields)).named(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_kinds_have_metadata() {
        let document = api::value!({"components": {"schemas": {"com.example.v1.Widget": {
        "type": "object",
        "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Widget"}],
        "properties": {
            "metadata": {"allOf": [{"$ref": "#/components/schemas/io.k8s.ObjectMeta"}]},
            "spec": {"type": "object", "properties": {"size": {"type": "integer"}}}
        }}}}});
        let kind = |kind: &str| GroupVersionKind::new("example.com", "v1", kind);
        let schema = published(&document, &kind("Widget")).unwrap();
        let labels = schema.field("metadata").and_then(|m| m.schema.field("labels"));
        assert!(labels.is_some() && schema.field("spec").is_some());
        assert!(published(&document, &kind("Gadget")).is_none());
    }
}
