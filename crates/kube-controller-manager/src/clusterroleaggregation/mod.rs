//! Fills the rules of ClusterRoles that have an `aggregationRule` with those of the roles that it selects.

use std::sync::Arc;

use client::{Api, Error, ObjectKey, Patch, Store, WorkQueue, resource};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::context::{Context, on_change};
use crate::views::ClusterRole;

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("clusterrole-aggregation-controller").await;
    let roles = context.informers.cluster_roles();
    let (store, queue) = (roles.store(), WorkQueue::<ObjectKey>::new("ClusterRoleAggregator"));
    let (all, enqueue) = (store.clone(), queue.clone());
    // A change of any role may change what the aggregating ones hold; there are few of them.
    on_change(&roles, move |_, _, _| {
        for role in all.select(|r| r.aggregation_rule.is_some()) {
            enqueue.add(role.metadata.key());
        }
    });
    roles.wait_synced().await;
    let sync = move |key| {
        let (api, store) = (api.clone(), store.clone());
        async move { sync(&api, &store, &key).await.map(|()| None) }
    };
    context.work(&queue, 5, "clusterrole_aggregation", sync).await;
}

async fn sync(api: &Api, store: &Store<ClusterRole>, key: &ObjectKey) -> Result<(), Error> {
    let Some(role) = store.get_key(key) else { return Ok(()) };
    let Some(rules) = plan(&role, store.list()) else { return Ok(()) };
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": role.metadata.name}, "rules": rules,
    });
    let patch = Patch::Apply { manager: "clusterrole-aggregation-controller".into(), force: true };
    match api.patch::<IgnoredAny>(&resource::CLUSTER_ROLES, "", &role.metadata.name, "", &patch, &body).await
    {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(()),
    }
}

/// The rules that the role is to have, unless it has them.
fn plan(role: &ClusterRole, mut all: Vec<Arc<ClusterRole>>) -> Option<Vec<Value>> {
    let selectors = &role.aggregation_rule.as_ref()?.cluster_role_selectors;
    all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let mut rules: Vec<Value> = Vec::new();
    for other in all.iter().filter(|r| r.metadata.name != role.metadata.name) {
        if selectors.iter().any(|s| s.matches(&other.metadata.labels)) {
            for rule in values(other) {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
    }
    (rules != values(role)).then_some(rules)
}

fn values(role: &ClusterRole) -> Vec<Value> {
    let rules = role.rules.iter().flatten();
    rules.filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(text: &str) -> Arc<ClusterRole> {
        Arc::new(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn rules_are_united() {
        let to = role(
            r#"{"metadata":{"name":"admin","labels":{"x":"y"}},"rules":[],"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"x":"y"}}]}}"#,
        );
        let a = role(
            r#"{"metadata":{"name":"a","labels":{"x":"y"}},"rules":[{"verbs":["get"]},{"verbs":["list"]}]}"#,
        );
        let b = role(r#"{"metadata":{"name":"b","labels":{"x":"y"}},"rules":[{"verbs":["get"]}]}"#);
        let c = role(r#"{"metadata":{"name":"c"},"rules":[{"verbs":["*"]}]}"#);
        let rules = plan(&to, vec![b.clone(), to.clone(), c, a]).unwrap();
        assert_eq!(rules, [json!({"verbs": ["get"]}), json!({"verbs": ["list"]})]);
        let full = role(
            r#"{"metadata":{"name":"admin"},"rules":[{"verbs":["get"]}],"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"x":"y"}}]}}"#,
        );
        assert!(plan(&full, vec![b]).is_none());
    }
}
