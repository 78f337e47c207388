//! What is served: a row a resource, static for the built-in ones, constructible for custom ones.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use apimachinery::{GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource};
use base64::Engine;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::schema::{self, TypeRef};

static ROWS: &str = include_str!("../table/resources.jsonl");
static GATES: &str = include_str!("../table/gates.txt");

/// The objects that a fresh server makes by itself, a JSON line each: `{"path": of its list, "object": {...}}`.
pub static BOOTSTRAP: &str = include_str!("../table/bootstrap.jsonl");

/// One resource of one version.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    pub group: Arc<str>,
    pub version: Arc<str>,
    /// Lower-case plural of the path.
    pub resource: Arc<str>,
    pub kind: Arc<str>,
    /// "" where it is the kind and `List`.
    #[serde(default)]
    pub list_kind: Arc<str>,
    pub singular: Arc<str>,
    pub namespaced: bool,
    /// In the order in which discovery tells them: sorted, custom ones in upstream's own.
    pub verbs: Vec<Arc<str>>,
    #[serde(default)]
    pub short_names: Vec<Arc<str>>,
    #[serde(default)]
    pub categories: Vec<Arc<str>>,
    /// Sorted by name.
    #[serde(default)]
    pub subresources: Vec<Subresource>,
    /// Field selectors that it answers to; any other is a 400.
    #[serde(default)]
    pub field_labels: Vec<Arc<str>>,
    /// Of the group, of the version; discovery lists higher ones first. None for apiregistration.k8s.io, which
    /// is the first of all.
    #[serde(default)]
    pub priority: Option<(i32, i32)>,
    /// "" where nothing is stored.
    #[serde(default)]
    pub storage_version_hash: Arc<str>,
    /// Served without `--runtime-config`.
    #[serde(default, rename = "default")]
    pub by_default: bool,
    pub storage: Storage,
    /// The Table's columns; None: name and creation time.
    #[serde(default)]
    pub columns: Option<Vec<Column>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Subresource {
    /// Without the resource's: `status`.
    pub name: Arc<str>,
    pub kind: Arc<str>,
    /// "" with an empty version: the resource's own.
    pub group: Arc<str>,
    pub version: Arc<str>,
    pub verbs: Vec<Arc<str>>,
}

/// How a resource lies in etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Storage {
    /// `/registry/pods/{namespace}/{name}`; "" where nothing is stored.
    pub key: Arc<str>,
    /// Media type of the stored bytes.
    pub media: Arc<str>,
    /// As stored.
    pub api_version: Arc<str>,
    pub kind: Arc<str>,
    /// Objects vanish after that time.
    pub lease_seconds: Option<i64>,
}

/// A column of a Table: [name, type, format, priority].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "(Arc<str>, Arc<str>, Arc<str>, i32)")]
pub struct Column {
    pub name: Arc<str>,
    pub column_type: Arc<str>,
    pub format: Arc<str>,
    pub priority: i32,
}

impl From<(Arc<str>, Arc<str>, Arc<str>, i32)> for Column {
    fn from((name, column_type, format, priority): (Arc<str>, Arc<str>, Arc<str>, i32)) -> Self {
        Self { name, column_type, format, priority }
    }
}

impl Storage {
    /// True for what is kept in the store.
    pub fn is_stored(&self) -> bool {
        !self.key.is_empty()
    }

    /// The key up to the namespace or name: `/registry/pods/`.
    pub fn prefix(&self) -> &str {
        self.key.split('{').next().unwrap_or_default()
    }

    /// Of a custom resource: JSON under its group, in `version`.
    pub fn custom(group: &str, resource: &str, version: &str, kind: &str, namespaced: bool) -> Self {
        let place = if namespaced { "{namespace}/{name}" } else { "{name}" };
        Self {
            key: format!("/registry/{group}/{resource}/{place}").into(),
            media: "application/json".into(),
            api_version: format!("{group}/{version}").into(),
            kind: kind.into(),
            lease_seconds: None,
        }
    }
}

impl Resource {
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind { group: self.group.clone(), version: self.version.clone(), kind: self.kind.clone() }
    }

    pub fn gvr(&self) -> GroupVersionResource {
        GroupVersionResource {
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.resource.clone(),
        }
    }

    pub fn group_version(&self) -> GroupVersion {
        GroupVersion { group: self.group.clone(), version: self.version.clone() }
    }

    pub fn group_resource(&self) -> GroupResource {
        GroupResource { group: self.group.clone(), resource: self.resource.clone() }
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        self.group_version().to_string()
    }

    /// The kind of its lists.
    pub fn list_kind(&self) -> String {
        if self.list_kind.is_empty() { format!("{}List", self.kind) } else { self.list_kind.to_string() }
    }

    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| &**v == verb)
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| &*s.name == name)
    }

    /// The kind that a subresource takes and gives.
    pub fn subresource_gvk(&self, sub: &Subresource) -> GroupVersionKind {
        if sub.group.is_empty() && sub.version.is_empty() {
            return GroupVersionKind { kind: sub.kind.clone(), ..self.gvk() };
        }
        GroupVersionKind { group: sub.group.clone(), version: sub.version.clone(), kind: sub.kind.clone() }
    }

    /// The type of a built-in resource's kind; None for custom ones.
    pub fn object_type(&self) -> Option<TypeRef> {
        schema::by_gvk(&self.group, &self.version, &self.kind)
    }

    /// The type of the stored form of a built-in resource.
    pub fn stored_type(&self) -> Option<TypeRef> {
        let (group, version) = split(&self.storage.api_version);
        schema::by_gvk(group, version, &self.storage.kind)
    }

    /// The key of an object in the store.
    pub fn store_key(&self, namespace: &str, name: &str) -> String {
        let mut key = self.storage.prefix().to_owned();
        if self.namespaced {
            key.push_str(namespace);
            key.push('/');
        }
        key.push_str(name);
        key
    }
}

/// Group and version of an `apiVersion`.
pub fn split(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// Discovery's `storageVersionHash` of a kind as stored.
pub fn storage_version_hash(group: &str, version: &str, kind: &str) -> String {
    let sum = Sha256::digest(format!("{group}/{version}/{kind}"));
    base64::engine::general_purpose::STANDARD.encode(&sum[..8])
}

/// The built-in resources, all versions, served by default or not, sorted by group, version, resource.
pub fn builtin() -> &'static [Arc<Resource>] {
    &LOADED.rows
}

/// A built-in resource.
pub fn find(group: &str, version: &str, resource: &str) -> Option<&'static Arc<Resource>> {
    let rows = LOADED
        .by_name
        .get(&GroupResource::new(group, resource))?
        .iter()
        .filter_map(|at| LOADED.rows.get(*at));
    rows.into_iter().find(|row| &*row.version == version)
}

struct Loaded {
    rows: Vec<Arc<Resource>>,
    /// By group and resource, then the few versions.
    by_name: HashMap<GroupResource, Vec<usize>>,
}

static LOADED: LazyLock<Loaded> = LazyLock::new(|| {
    let rows = ROWS.lines().filter_map(|line| serde_json::from_str::<Resource>(line).ok()).map(Arc::new);
    let rows: Vec<Arc<Resource>> = rows.collect();
    let mut by_name: HashMap<GroupResource, Vec<usize>> = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        by_name.entry(row.group_resource()).or_default().push(at);
    }
    Loaded { rows, by_name }
});

/// A feature gate of v1.37.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    pub name: &'static str,
    pub on: bool,
    /// `ALPHA`, `BETA`, `GA`, `DEPRECATED`.
    pub stage: &'static str,
}

/// All feature gates, sorted by name.
pub fn gates() -> impl Iterator<Item = Gate> {
    GATES.lines().filter_map(|line| {
        let mut part = line.split('\t');
        Some(Gate { name: part.next()?, on: part.next()? == "true", stage: part.next()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_loads_and_has_its_type() {
        assert_eq!(builtin().len(), ROWS.lines().count());
        for row in builtin() {
            assert!(row.object_type().is_some(), "{row:?}");
            if row.storage.is_stored() {
                assert!(row.stored_type().is_some(), "{row:?}");
                let (group, version) = split(&row.storage.api_version);
                let hash = storage_version_hash(group, version, &row.storage.kind);
                assert!(row.storage_version_hash.is_empty() || !hash.is_empty());
            }
            for sub in &row.subresources {
                let kind = row.subresource_gvk(sub);
                assert!(schema::by_gvk(&kind.group, &kind.version, &kind.kind).is_some(), "{sub:?}");
            }
        }
    }

    #[test]
    fn keys_are_upstreams() {
        let node = find("", "v1", "nodes").unwrap();
        assert_eq!(node.store_key("", "a"), "/registry/minions/a");
        let endpoints = find("", "v1", "endpoints").unwrap();
        assert_eq!(endpoints.store_key("ns", "a"), "/registry/services/endpoints/ns/a");
        assert_eq!(
            storage_version_hash("", "v1", "Pod"),
            &*find("", "v1", "pods").unwrap().storage_version_hash
        );
        assert!(find("", "v1", "nothing").is_none());
    }

    #[test]
    fn gates_load() {
        assert!(gates().any(|g| g.name == "APIServerIdentity" && g.on && g.stage == "BETA"));
    }
}
