//! From a definition to what the registry serves: one row a served version, with the types, the strategy, the
//! converter, the subresources and the columns that the definition says.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::columns::PathColumn;
use api::resources::{self, Resource, Storage};
use api::schema::TypeRef;
use api::{Value, value};
use apimachinery::{GroupVersion, GroupVersionKind, Status};
use apiserver::catalog::{Columns, Converter, Rename, ScalePaths, Serve, Subresource};
use async_trait::async_trait;
use jiff::Timestamp;

use super::definition::{Definition, Version};
use super::structural::type_of;
use super::{Custom, Rules};
use crate::aggregator::resolve::Resolver;
use crate::webhook::ConversionWebhook;

/// As discovery tells them.
const VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const PART_VERBS: [&str; 3] = ["get", "patch", "update"];
/// Of the group, of the version: below everything built in.
const PRIORITY: (i32, i32) = (1000, 100);

/// All served versions of an established definition.
pub fn serve(of: &Definition, resolver: &Resolver) -> Vec<Serve> {
    let Some(storage) = of.storage() else { return Vec::new() };
    let storage_schema = schema(of, storage);
    let converter = converter(of, resolver);
    let served = of.versions.iter().filter(|v| v.served);
    served
        .map(|version| Serve {
            row: Arc::new(row(of, version, storage)),
            schema: if version.storage { storage_schema.clone() } else { schema(of, version) },
            storage_schema: storage_schema.clone(),
            strategy: Arc::new(strategy(of, version, storage)),
            converter: converter.clone(),
            subresources: subresources(version),
            endpoint: None,
            table: columns(version),
            openapi: Some(version.schema.clone()),
            generation: u64::try_from(of.generation).unwrap_or(0),
        })
        .collect()
}

fn texts(list: &[&str]) -> Vec<Arc<str>> {
    list.iter().map(|s| Arc::from(*s)).collect()
}

fn schema(of: &Definition, version: &Version) -> TypeRef {
    let kind = GroupVersionKind {
        group: of.group.as_str().into(),
        version: version.name.as_str().into(),
        kind: of.accepted.kind.as_str().into(),
    };
    type_of(kind, &version.schema, of.preserve_unknown)
}

fn row(of: &Definition, version: &Version, storage: &Version) -> Resource {
    let (names, group) = (&of.accepted, of.group.as_str());
    let shared = |list: &[String]| list.iter().map(|s| Arc::from(s.as_str())).collect();
    let mut labels =
        texts(if of.namespaced { &["metadata.name", "metadata.namespace"] } else { &["metadata.name"] });
    labels.extend(version.selectable.iter().map(|s| Arc::from(s.as_str())));
    Resource {
        group: group.into(),
        version: version.name.as_str().into(),
        resource: names.plural.as_str().into(),
        kind: names.kind.as_str().into(),
        list_kind: names.list_kind.as_str().into(),
        singular: names.singular.as_str().into(),
        namespaced: of.namespaced,
        verbs: texts(&VERBS),
        short_names: shared(&names.short_names),
        categories: shared(&names.categories),
        subresources: subresource_rows(version, &names.kind),
        field_labels: labels,
        priority: Some(PRIORITY),
        storage_version_hash: resources::storage_version_hash(group, &storage.name, &names.kind).into(),
        by_default: true,
        storage: Storage::custom(group, &names.plural, &storage.name, &names.kind, of.namespaced),
        columns: None,
    }
}

fn subresource_rows(version: &Version, kind: &str) -> Vec<resources::Subresource> {
    let row = |name: &str, kind: &str, (group, gv): (&str, &str)| resources::Subresource {
        name: name.into(),
        kind: kind.into(),
        group: group.into(),
        version: gv.into(),
        verbs: texts(&PART_VERBS),
    };
    let scale = version.scale.is_some().then(|| row("scale", "Scale", ("autoscaling", "v1")));
    let status = version.status.then(|| row("status", kind, ("", "")));
    status.into_iter().chain(scale).collect()
}

fn subresources(version: &Version) -> BTreeMap<String, Subresource> {
    let mut out = BTreeMap::new();
    if version.status {
        out.insert("status".to_owned(), Subresource::Status);
    }
    if let Some(scale) = &version.scale {
        let paths = ScalePaths {
            spec_replicas: scale.str_at(&["specReplicasPath"]).into(),
            status_replicas: scale.str_at(&["statusReplicasPath"]).into(),
            selector: scale.str_at(&["labelSelectorPath"]).into(),
        };
        out.insert("scale".to_owned(), Subresource::Scale(paths));
    }
    out
}

/// Objects reach the strategy in the storage version. Where versions differ in their names only, the schema of the
/// version that was asked for holds; behind a webhook only that of the storage version fits.
fn strategy(of: &Definition, version: &Version, storage: &Version) -> Custom {
    let checked = if of.webhook.is_some() { storage } else { version };
    let replicas = version.scale.as_ref().map_or("", |s| s.str_at(&["specReplicasPath"]));
    Custom {
        schema: checked.schema.clone(),
        rules: Rules::compile(&checked.schema),
        replicas: replicas.split('.').filter(|p| !p.is_empty()).map(str::to_owned).collect(),
        has_status: version.status,
        deprecated: version.deprecated.clone(),
    }
}

fn converter(of: &Definition, resolver: &Resolver) -> Arc<dyn Converter> {
    match &of.webhook {
        None => Arc::new(Rename),
        Some(webhook) => {
            let kind = format!("{}.{}", of.names.kind, of.group);
            Arc::new(ByWebhook(ConversionWebhook::new(kind, webhook, resolver.clone())))
        }
    }
}

struct ByWebhook(ConversionWebhook);

#[async_trait]
impl Converter for ByWebhook {
    fn now(&self, _: &Value, _: &GroupVersion, _: &GroupVersion) -> Option<Result<Value, Status>> {
        None
    }

    fn is_local(&self) -> bool {
        false
    }

    async fn convert(
        &self,
        objects: Vec<Value>,
        _: &GroupVersion,
        to: &GroupVersion,
    ) -> Result<Vec<Value>, Status> {
        self.0.convert(objects, &to.to_string()).await
    }
}

/// Printer columns; None for paths that do not parse, which validation has refused.
fn columns(version: &Version) -> Option<Arc<dyn Columns>> {
    let all = PathColumn::all(&version.columns).ok()?;
    Some(Arc::new(Printed { all, declared: version.columns.clone() }))
}

struct Printed {
    all: Vec<PathColumn>,
    declared: Vec<Value>,
}

impl Columns for Printed {
    fn definitions(&self) -> Vec<Value> {
        let description = |name: &str| {
            let of = self.declared.iter().find(|c| c.str_at(&["name"]) == name);
            of.map_or("", |c| c.str_at(&["description"])).to_owned()
        };
        let one = |c: &PathColumn| {
            let column = &c.column;
            value!({
                "name": &*column.name,
                "type": &*column.column_type,
                "format": &*column.format,
                "description": (description(&column.name)),
                "priority": column.priority,
            })
        };
        self.all.iter().map(one).collect()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        self.all.iter().map(|c| c.cell(object, now)).collect()
    }
}
