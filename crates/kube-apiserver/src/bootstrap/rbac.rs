//! Default roles and bindings. At each start what is missing in them comes back, what others added stays, unless
//! an object opts out by its annotation.

use api::{Map, Value};
use apimachinery::{GroupResource, Reason, Status};
use apiserver::resource::Preconditions;

use super::{Bootstrap, objects_of};
use crate::allocators::context;
use crate::strategies::fields::{Fields, map_at, of};

const GROUP: &str = "rbac.authorization.k8s.io";
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

pub async fn reconcile(b: &Bootstrap) -> Result<(), Status> {
    for resource in ["clusterroles", "clusterrolebindings", "roles", "rolebindings"] {
        let gr = GroupResource::new(GROUP, resource);
        for object in objects_of(GROUP, resource) {
            one(b, &gr, object).await?;
        }
    }
    Ok(())
}

async fn one(b: &Bootstrap, resource: &GroupResource, wanted: Value) -> Result<(), Status> {
    let meta = map_at(&wanted, &["metadata"]);
    let (namespace, name) = (meta.text("namespace"), meta.text("name"));
    let Some(there) = b.find(resource, namespace, name).await? else {
        return match b.create(resource, wanted).await {
            Ok(_) => Ok(()),
            Err(status) if status.is(Reason::AlreadyExists) => Ok(()),
            Err(status) => Err(status),
        };
    };
    match plan(of(&there), of(&wanted)) {
        Plan::Keep => Ok(()),
        Plan::Extend => {
            let change = |o: &mut Value| {
                extend(o.as_map_or_make(), of(&wanted));
                Ok(())
            };
            b.update(resource, "v1", "", &wanted, &change).await
        }
        Plan::Replace => {
            let cx = context::own("delete", resource, "v1", namespace, name);
            b.objects.delete(&cx, resource, namespace, name, None, Preconditions::default()).await?;
            b.create(resource, wanted).await.map(drop)
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Keep,
    Extend,
    /// A binding's role cannot be changed.
    Replace,
}

fn plan(there: &Map, wanted: &Map) -> Plan {
    let annotations = there.sub("metadata").and_then(|m| m.sub("annotations"));
    if annotations.is_some_and(|a| a.text(AUTO_UPDATE) == "false") {
        return Plan::Keep;
    }
    if wanted.has("roleRef") && !same_role(there, wanted) {
        return Plan::Replace;
    }
    let mut extended = there.clone();
    extend(&mut extended, wanted);
    if &extended == there { Plan::Keep } else { Plan::Extend }
}

fn same_role(a: &Map, b: &Map) -> bool {
    let role = |o: &Map| o.sub("roleRef").map(|r| (r.text("kind").to_owned(), r.text("name").to_owned()));
    role(a) == role(b)
}

/// Labels, annotations, rules and subjects that are missing.
fn extend(there: &mut Map, wanted: &Map) {
    for part in ["labels", "annotations"] {
        let Some(from) = wanted.sub("metadata").and_then(|m| m.sub(part)) else { continue };
        let to = there.map_mut("metadata").map_mut(part);
        for (key, value) in from.iter() {
            if !to.contains_key(key) {
                to.push(key.clone(), value.clone());
            }
        }
    }
    // The rules of an aggregated role are its controller's.
    if wanted.has("aggregationRule") {
        there.copy_from(wanted, "aggregationRule");
        return;
    }
    let missing_rules: Vec<Value> = wanted
        .items("rules")
        .filter(|r| !there.items("rules").any(|t| covers(t, r)))
        .map(|r| Value::Map(r.clone()))
        .collect();
    append(there, "rules", missing_rules);
    let missing_subjects: Vec<Value> = wanted
        .items("subjects")
        .filter(|s| !there.items("subjects").any(|t| same_subject(t, s)))
        .map(|s| Value::Map(s.clone()))
        .collect();
    append(there, "subjects", missing_subjects);
}

fn append(object: &mut Map, key: &str, more: Vec<Value>) {
    if !more.is_empty() {
        let mut list = object.list(key).to_vec();
        list.extend(more);
        object.insert(key, list);
    }
}

fn same_subject(a: &Map, b: &Map) -> bool {
    ["kind", "name", "namespace"].iter().all(|k| a.text(k) == b.text(k))
}

/// One rule allows all that another does.
fn covers(rule: &Map, wanted: &Map) -> bool {
    let all = |key: &str| {
        let has = rule.list(key);
        let any = has.iter().any(|v| v.as_str() == Some("*"));
        any || wanted.list(key).iter().all(|v| has.contains(v))
    };
    let names = rule.list("resourceNames").is_empty()
        || (!wanted.list("resourceNames").is_empty()
            && wanted.list("resourceNames").iter().all(|v| rule.list("resourceNames").contains(v)));
    names && ["verbs", "apiGroups", "resources", "nonResourceURLs"].iter().all(|k| all(k))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::value;
    use serde_json::json;

    #[test]
    fn roles_get_back_what_they_lost() {
        let wanted = value(json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}));
        let wider =
            value(json!({"rules": [{"verbs": ["*"], "apiGroups": [""], "resources": ["pods", "nodes"]}]}));
        let other =
            value(json!({"rules": [{"verbs": ["get"], "apiGroups": ["apps"], "resources": ["pods"]}]}));
        let out = value(json!({"metadata": {"annotations": {AUTO_UPDATE: "false"}}}));
        assert_eq!(plan(of(&wanted), of(&wanted)), Plan::Keep);
        assert_eq!(plan(of(&wider), of(&wanted)), Plan::Keep);
        assert_eq!(plan(of(&other), of(&wanted)), Plan::Extend);
        assert_eq!(plan(of(&out), of(&wanted)), Plan::Keep);
        let binding =
            |role: &str| value(json!({"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": []}));
        assert_eq!(plan(of(&binding("a")), of(&binding("b"))), Plan::Replace);
    }
}
