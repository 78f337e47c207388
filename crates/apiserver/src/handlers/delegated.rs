//! What other servers serve, in aggregated discovery: their resource lists, taken apart.

use api::{Map, Value};
use apimachinery::GroupVersion;

use crate::catalog::Table;

/// Fills in the versions that are delegated. One whose server has not answered yet is marked as stale.
pub(super) fn merge(document: &mut Value, table: &Table) {
    for (gv, delegate) in &table.delegates {
        let Some(version) = version_of(document, gv) else { continue };
        let list = delegate.resources().and_then(|bytes| api::json::parse(&bytes).ok());
        match list {
            Some(list) => drop(version.insert("resources", resources(&list, gv))),
            None => drop(version.insert("freshness", "Stale")),
        }
    }
}

fn version_of<'a>(document: &'a mut Value, gv: &GroupVersion) -> Option<&'a mut Map> {
    let groups = document.get_mut("items")?.as_list_mut()?;
    let group = groups.iter_mut().find(|g| g.str_at(&["metadata", "name"]) == &*gv.group)?;
    let versions = group.get_mut("versions")?.as_list_mut()?;
    versions.iter_mut().find(|v| v.str_at(&["version"]) == &*gv.version)?.as_map_mut()
}

/// An APIResourceList's entries as APIResourceDiscovery; `pods/status` stands under `pods`.
fn resources(list: &Value, gv: &GroupVersion) -> Value {
    let all = list.list_at(&["resources"]);
    let mains = all.iter().filter(|r| !r.str_at(&["name"]).contains('/'));
    mains.map(|main| resource(main, all, gv)).collect()
}

fn response_kind(entry: &Value, gv: &GroupVersion) -> Value {
    let or = |field: &str, otherwise: &str| match entry.str_at(&[field]) {
        "" => otherwise.to_owned(),
        given => given.to_owned(),
    };
    api::value!({"group": or("group", &gv.group), "version": or("version", &gv.version), "kind": entry.str_at(&["kind"])})
}

fn resource(main: &Value, all: &[Value], gv: &GroupVersion) -> Value {
    let name = main.str_at(&["name"]);
    let mut out = Map::new();
    out.push("resource", name);
    out.push("responseKind", response_kind(main, gv));
    out.push("scope", if main.bool_at(&["namespaced"]) == Some(true) { "Namespaced" } else { "Cluster" });
    out.push("singularResource", main.str_at(&["singularName"]));
    for field in ["verbs", "shortNames", "categories"] {
        if let Some(list) = main.get(field) {
            out.push(field, list.clone());
        }
    }
    let of_main = |r: &&Value| r.str_at(&["name"]).split_once('/').is_some_and(|(base, _)| base == name);
    let subresources: Vec<Value> = all
        .iter()
        .filter(of_main)
        .map(|r| {
            let sub = r.str_at(&["name"]).split_once('/').map_or("", |(_, sub)| sub);
            let verbs = r.get("verbs").cloned().unwrap_or_else(|| Value::List(Vec::new()));
            api::value!({"subresource": sub, "responseKind": response_kind(r, gv), "verbs": verbs})
        })
        .collect();
    if !subresources.is_empty() {
        out.push("subresources", subresources);
    }
    Value::Map(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_list_taken_apart() {
        let list = api::value!({"resources": [
            {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": ["get"]},
            {"name": "flunders/status", "singularName": "", "namespaced": true, "kind": "Flunder", "verbs": ["patch"]},
        ]});
        let gv = GroupVersion::new("wardle.example.com", "v1alpha1");
        let kind = api::value!({"group": "wardle.example.com", "version": "v1alpha1", "kind": "Flunder"});
        let expected = api::value!([{"resource": "flunders", "responseKind": (kind.clone()), "scope": "Namespaced",
            "singularResource": "flunder", "verbs": ["get"],
            "subresources": [{"subresource": "status", "responseKind": kind, "verbs": ["patch"]}]}]);
        assert_eq!(resources(&list, &gv), expected);
    }
}
