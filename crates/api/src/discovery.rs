//! Discovery documents out of any set of resource rows, in upstream's order: groups by falling priority, then by
//! name; versions by falling priority, then the more stable first; resources, subresources and verbs by name.
//!
//! Each function gives a tree of a kind in the table, to be encoded like any object.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::resources::{Resource, Subresource};
use crate::value;
use crate::value::{Map, Value};

/// The priority of a group whose row has none: before all others.
const FIRST: i32 = i32::MAX;

/// One group in the order of discovery.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: Arc<str>,
    /// The preferred one first.
    pub versions: Vec<Version>,
}

#[derive(Clone, Debug)]
pub struct Version {
    pub name: Arc<str>,
    /// Sorted by name.
    pub resources: Vec<Arc<Resource>>,
}

/// Rows of one group by version.
type ByVersion = BTreeMap<Arc<str>, Vec<Arc<Resource>>>;

/// Orders rows for discovery. The core group is the one with the empty name.
pub fn groups(rows: impl IntoIterator<Item = Arc<Resource>>) -> Vec<Group> {
    let mut by_group: BTreeMap<Arc<str>, ByVersion> = BTreeMap::new();
    for row in rows {
        by_group.entry(row.group.clone()).or_default().entry(row.version.clone()).or_default().push(row);
    }
    let mut out: Vec<(i32, Group)> =
        by_group.into_iter().map(|(name, versions)| group(name, versions)).collect();
    out.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.name.cmp(&b.1.name)));
    out.into_iter().map(|(_, group)| group).collect()
}

fn group(name: Arc<str>, versions: ByVersion) -> (i32, Group) {
    let priority = |rows: &[Arc<Resource>]| rows.first().and_then(|r| r.priority);
    let most = versions.values().map(|rows| priority(rows).map_or(FIRST, |p| p.0)).max().unwrap_or(0);
    let mut versions: Vec<(i32, Version)> = versions
        .into_iter()
        .map(|(name, mut resources)| {
            resources.sort_by(|a, b| a.resource.cmp(&b.resource));
            (priority(&resources).map_or(0, |p| p.1), Version { name, resources })
        })
        .collect();
    versions.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| compare_versions(&b.1.name, &a.1.name)));
    (most, Group { name, versions: versions.into_iter().map(|(_, v)| v).collect() })
}

/// (stability, major, minor) of `v1`, `v2beta3`; None for other names.
fn version_parts(name: &str) -> Option<(u8, u64, u64)> {
    let rest = name.strip_prefix('v')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let major = rest[..digits].parse().ok()?;
    let tail = &rest[digits..];
    if tail.is_empty() {
        return Some((2, major, 0));
    }
    let (stability, minor) = match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
        (Some(n), _) => (1, n),
        (_, Some(n)) => (0, n),
        _ => return None,
    };
    Some((stability, major, minor.parse().ok()?))
}

/// Greater is more stable or newer: `v2` > `v1` > `v2beta1` > `v1alpha9`; other names come last, by name.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    match (version_parts(a), version_parts(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => b.cmp(a),
    }
}

fn texts(list: &[Arc<str>]) -> Value {
    list.iter().map(|s| Value::from(&**s)).collect()
}

/// `/api`: the versions of the core group. `address` is host:port of this server.
pub fn api_versions(address: &str) -> Value {
    value!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

fn group_fields(group: &Group) -> Map {
    let version =
        |v: &Version| value!({"groupVersion": format!("{}/{}", group.name, v.name), "version": (&*v.name)});
    let mut out = Map::new();
    out.push("name", &*group.name);
    out.push("versions", group.versions.iter().map(version).collect::<Value>());
    if let Some(preferred) = group.versions.first() {
        out.push("preferredVersion", version(preferred));
    }
    out
}

/// `/apis`.
pub fn group_list(groups: &[Group]) -> Value {
    let named = groups.iter().filter(|g| !g.name.is_empty());
    let list: Value = named.map(|g| Value::Map(group_fields(g))).collect();
    value!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list})
}

/// `/apis/GROUP`.
pub fn api_group(group: &Group) -> Value {
    let mut out = Map::new();
    out.push("kind", "APIGroup");
    out.push("apiVersion", "v1");
    group_fields(group).into_iter().for_each(|(k, v)| out.push(k, v));
    Value::Map(out)
}

fn resource_entry(row: &Resource) -> Value {
    let mut out = value!({
        "name": (&*row.resource),
        "singularName": (&*row.singular),
        "namespaced": row.namespaced,
        "kind": (&*row.kind),
        "verbs": texts(&row.verbs),
    });
    let map = out.as_map_or_make();
    if !row.short_names.is_empty() {
        map.push("shortNames", texts(&row.short_names));
    }
    if !row.categories.is_empty() {
        map.push("categories", texts(&row.categories));
    }
    if !row.storage_version_hash.is_empty() {
        map.push("storageVersionHash", &*row.storage_version_hash);
    }
    out
}

fn subresource_entry(row: &Resource, sub: &Subresource) -> Value {
    let mut out = value!({
        "name": format!("{}/{}", row.resource, sub.name),
        "singularName": "",
        "namespaced": row.namespaced,
    });
    let map = out.as_map_or_make();
    for (key, text) in [("group", &sub.group), ("version", &sub.version)] {
        if !text.is_empty() {
            map.push(key, &**text);
        }
    }
    map.push("kind", &*sub.kind);
    map.push("verbs", texts(&sub.verbs));
    out
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
pub fn resource_list(group: &str, version: &Version) -> Value {
    let mut list: Vec<(String, Value)> = Vec::new();
    for row in &version.resources {
        list.push((row.resource.to_string(), resource_entry(row)));
        for sub in &row.subresources {
            list.push((format!("{}/{}", row.resource, sub.name), subresource_entry(row, sub)));
        }
    }
    list.sort_by(|a, b| a.0.cmp(&b.0));
    let resources: Value = list.into_iter().map(|(_, v)| v).collect();
    if group.is_empty() {
        return value!({"kind": "APIResourceList", "groupVersion": (&*version.name), "resources": resources});
    }
    let group_version = format!("{group}/{}", version.name);
    value!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources})
}

fn kind_of(gvk: apimachinery::GroupVersionKind) -> Value {
    value!({"group": (&*gvk.group), "version": (&*gvk.version), "kind": (&*gvk.kind)})
}

/// Built-in kinds of the resource's own version are named without it, custom ones in full.
fn aggregated_resource(row: &Resource) -> Value {
    let custom = row.object_type().is_none();
    let bare = |group: &Arc<str>, version: &Arc<str>, kind: &Arc<str>| value!({"group": (&**group), "version": (&**version), "kind": (&**kind)});
    let none = Arc::<str>::from("");
    let own = if custom { kind_of(row.gvk()) } else { bare(&none, &none, &row.kind) };
    let sub = |s: &Subresource| {
        let kind = if custom { kind_of(row.subresource_gvk(s)) } else { bare(&s.group, &s.version, &s.kind) };
        value!({"subresource": (&*s.name), "responseKind": kind, "verbs": texts(&s.verbs)})
    };
    let mut out = value!({
        "resource": (&*row.resource),
        "responseKind": own,
        "scope": (if row.namespaced { "Namespaced" } else { "Cluster" }),
        "singularResource": (&*row.singular),
        "verbs": texts(&row.verbs),
    });
    let map = out.as_map_or_make();
    if !row.short_names.is_empty() {
        map.push("shortNames", texts(&row.short_names));
    }
    if !row.categories.is_empty() {
        map.push("categories", texts(&row.categories));
    }
    if !row.subresources.is_empty() {
        map.push("subresources", row.subresources.iter().map(sub).collect::<Value>());
    }
    out
}

/// Aggregated discovery (KEP-3352), `apidiscovery.k8s.io/v2`: of the core group for `/api`, of the others for
/// `/apis`.
pub fn aggregated(groups: &[Group]) -> Value {
    let version = |v: &Version| {
        let resources: Value = v.resources.iter().map(|r| aggregated_resource(r)).collect();
        value!({"version": (&*v.name), "resources": resources, "freshness": "Current"})
    };
    let group = |g: &Group| {
        let metadata = if g.name.is_empty() { value!({}) } else { value!({"name": (&*g.name)}) };
        let versions: Value = g.versions.iter().map(version).collect();
        value!({"metadata": metadata, "versions": versions})
    };
    let items: Value = groups.iter().map(group).collect();
    value!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json, resources, schema};

    fn served() -> Vec<Group> {
        groups(resources::builtin().iter().filter(|r| r.by_default).cloned())
    }

    #[test]
    fn groups_stand_in_upstreams_order() {
        let names: Vec<String> = served().iter().map(|g| g.name.to_string()).collect();
        assert_eq!(&names[..3], ["apiregistration.k8s.io", "", "apps"]);
        assert_eq!(&*served().iter().find(|g| &*g.name == "autoscaling").unwrap().versions[0].name, "v2");
        let mut versions = ["v1alpha1", "v2", "v1", "foo", "v1beta2", "v11", "v1beta10", "bar"];
        versions.sort_by(|a, b| compare_versions(b, a));
        assert_eq!(versions, ["v11", "v2", "v1", "v1beta10", "v1beta2", "v1alpha1", "bar", "foo"]);
    }

    #[test]
    fn documents_are_of_their_kinds() {
        let groups = served();
        let check = |value: &Value, kind: &str| {
            let of = schema::names().find(|n| n.ends_with(kind)).and_then(schema::by_name).unwrap();
            let (_, found) = json::decode(&json::to_vec(value), &of).unwrap();
            assert!(found.is_empty(), "{kind}: {:?}", found.messages());
            String::from_utf8(json::encode(value, &of)).unwrap()
        };
        let core = groups.iter().find(|g| g.name.is_empty()).unwrap();
        let list = check(&resource_list("", &core.versions[0]), "meta.v1.APIResourceList");
        let start = r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"bindings","singularName":"binding","namespaced":true,"kind":"Binding","verbs":["create"]},"#;
        assert!(list.starts_with(start), "{}", &list[..300]);
        assert!(list.contains(r#"{"name":"pods/eviction","singularName":"","namespaced":true,"group":"policy","version":"v1","kind":"Eviction","verbs":["create"]}"#));
        let all = check(&group_list(&groups), "meta.v1.APIGroupList");
        assert!(all.starts_with(r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"apiregistration.k8s.io","versions":[{"groupVersion":"apiregistration.k8s.io/v1","version":"v1"}],"preferredVersion":"#));
        check(&api_group(&groups[2]), "meta.v1.APIGroup");
        check(&api_versions("1.2.3.4:6443"), "meta.v1.APIVersions");
        let aggregated =
            check(&aggregated(std::slice::from_ref(core)), "apidiscovery.v2.APIGroupDiscoveryList");
        let start = r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[{"metadata":{},"versions":[{"version":"v1","resources":[{"resource":"bindings","responseKind":{"group":"","version":"","kind":"Binding"},"scope":"Namespaced","singularResource":"binding","verbs":["create"]},"#;
        assert!(aggregated.starts_with(start), "{}", &aggregated[..400]);
    }
}
