//! APIServices: of the groups that this server serves by itself, and of custom resources' groups, which come and go
//! with their CustomResourceDefinitions.

use std::collections::BTreeMap;

use api::Value;
use apimachinery::{GroupResource, Status};
use apiserver::resource::{Change, Preconditions};
use futures::StreamExt as _;

use super::{Bootstrap, LocalGroup};
use crate::allocators::context;
use crate::strategies::fields::{Fields, map, map_at, of};

const AUTO_MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
const CUSTOM_GROUP_PRIORITY: i64 = 1000;
const CUSTOM_VERSION_PRIORITY: i64 = 100;

fn resource() -> GroupResource {
    GroupResource::new("apiregistration.k8s.io", "apiservices")
}

fn crds() -> GroupResource {
    GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions")
}

fn api_service(of: &LocalGroup, managed: &str) -> Value {
    let name = format!("{}.{}", of.version, of.group);
    let labels = map([(AUTO_MANAGED, managed.into())]);
    let mut spec = map([
        ("version", of.version.as_str().into()),
        ("groupPriorityMinimum", of.group_priority.into()),
        ("versionPriority", of.version_priority.into()),
    ]);
    if !of.group.is_empty() {
        spec.insert("group", of.group.as_str());
    }
    Value::Map(map([
        ("apiVersion", "apiregistration.k8s.io/v1".into()),
        ("kind", "APIService".into()),
        ("metadata", map([("name", name.into()), ("labels", labels.into())]).into()),
        ("spec", spec.into()),
    ]))
}

pub async fn local(b: &Bootstrap) -> Result<(), Status> {
    for group in &b.settings.local_groups {
        b.ensure(&resource(), api_service(group, "onstart")).await?;
    }
    Ok(())
}

/// Until the end: one APIService a group-version that some CustomResourceDefinition serves.
pub async fn run(b: Bootstrap) {
    let mut changes = b.objects.watch(&crds());
    let mut synced = false;
    loop {
        let change = tokio::select! {
            () = b.stop.cancelled() => return,
            change = changes.next() => change,
        };
        match change {
            None => return,
            Some(Change::Synced) => synced = true,
            Some(_) => {}
        }
        if synced && let Err(error) = reconcile(&b).await {
            tracing::info!(%error, "APIServices of custom resources are not up to date");
        }
    }
}

async fn reconcile(b: &Bootstrap) -> Result<(), Status> {
    let wanted = served(b.objects.list(&crds(), "").iter().map(|o| &*o.value));
    for group in wanted.values() {
        b.ensure(&resource(), api_service(group, "true")).await?;
    }
    for there in b.objects.list(&resource(), "") {
        let meta = map_at(&there.value, &["metadata"]);
        let name = meta.text("name");
        let ours = map_at(&there.value, &["metadata", "labels"]).text(AUTO_MANAGED) == "true";
        if ours && !wanted.contains_key(name) {
            let cx = context::own("delete", &resource(), "v1", "", name);
            b.objects.delete(&cx, &resource(), "", name, None, Preconditions::default()).await?;
        }
    }
    Ok(())
}

/// By name of the APIService.
fn served<'a>(crds: impl Iterator<Item = &'a Value>) -> BTreeMap<String, LocalGroup> {
    let mut found = BTreeMap::new();
    for crd in crds {
        let established = map_at(crd, &["status"])
            .items("conditions")
            .any(|c| c.text("type") == "Established" && c.text("status") == "True");
        if !established || map_at(crd, &["metadata"]).has("deletionTimestamp") {
            continue;
        }
        let group = of(crd).sub("spec").map(|s| s.text("group").to_owned()).unwrap_or_default();
        for version in map_at(crd, &["spec"]).items("versions").filter(|v| v.flag("served")) {
            let one = LocalGroup {
                group: group.clone(),
                version: version.text("name").to_owned(),
                group_priority: CUSTOM_GROUP_PRIORITY,
                version_priority: CUSTOM_VERSION_PRIORITY,
            };
            found.insert(format!("{}.{}", one.version, one.group), one);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::value;
    use serde_json::json;

    #[test]
    fn established_served_versions_count() {
        let crd = |established: &str| {
            value(
                json!({"spec": {"group": "g", "versions": [{"name": "v1", "served": true}, {"name": "v0", "served": false}]},
                "status": {"conditions": [{"type": "Established", "status": established}]}}),
            )
        };
        let yes = crd("True");
        assert_eq!(served([&yes].into_iter()).keys().collect::<Vec<_>>(), ["v1.g"]);
        assert!(served([&crd("False")].into_iter()).is_empty());
    }
}
