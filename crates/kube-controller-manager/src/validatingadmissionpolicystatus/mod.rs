//! Checks the expressions of ValidatingAdmissionPolicies against the types that they are about, and writes what it
//! finds into their status: warnings, since a policy may know better (KEP-3488).

mod kinds;

use api::Value;
use client::{Api, Error, ObjectKey, Patch, Resource, Store, WorkQueue};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::context::{Context, on_change};
use kinds::Kinds;

/// Where policies are.
pub const POLICIES: Resource = Resource::of(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
    false,
);
/// The field manager of what it writes.
const MANAGER: &str = "validatingadmissionpolicy-status";

/// What is kept of a policy: whether it is to be looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Policy {
    pub metadata: Metadata,
    pub status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub observed_generation: i64,
}

client::view!(Policy);

impl Policy {
    fn is_unchecked(&self) -> bool {
        self.metadata.generation > self.status.observed_generation
    }
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("validatingadmissionpolicy-status-controller").await;
    let policies = context.informers.validating_policies();
    let (store, queue) = (policies.store(), WorkQueue::<ObjectKey>::new(MANAGER));
    let enqueue = queue.clone();
    on_change(&policies, move |_, new, deleted| {
        if !deleted && new.is_unchecked() {
            enqueue.add(client::View::key(&**new));
        }
    });
    policies.wait_synced().await;
    let sync = move |key| {
        let (api, store) = (api.clone(), store.clone());
        async move { sync(&api, &store, &key).await.map(|()| None) }
    };
    context.work(&queue, 5, MANAGER, sync).await;
}

async fn sync(api: &Api, store: &Store<Policy>, key: &ObjectKey) -> Result<(), Error> {
    if !store.get_key(key).is_some_and(|policy| policy.is_unchecked()) {
        return Ok(());
    }
    let policy: serde_json::Value = match api.get(&POLICIES, "", key.name()).await {
        Err(e) if e.is_not_found() => return Ok(()),
        found => found?,
    };
    let policy = Value::from(policy);
    let warnings = check(&policy, &mut Kinds::new(api)).await?;
    let body = status(&policy, &warnings);
    let patch = Patch::Apply { manager: MANAGER.into(), force: true };
    match api.patch::<IgnoredAny>(&POLICIES, "", key.name(), "status", &patch, &body).await {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(()),
    }
}

/// The policy's warnings, against as many kinds as are known and upstream looks at.
async fn check(policy: &Value, kinds: &mut Kinds<'_>) -> Result<Vec<Value>, Error> {
    let mut known = Vec::new();
    for wanted in policy::typecheck::wanted(policy) {
        if known.len() == policy::typecheck::MAX_KINDS {
            break;
        }
        known.extend(kinds.of_resource(&wanted).await?);
    }
    let param_kind = policy.at(&["spec", "paramKind"]).filter(|kind| !kind.is_null());
    let params = match param_kind {
        Some(kind) => kinds.of_kind(kind.str_at(&["apiVersion"]), kind.str_at(&["kind"])).await?,
        None => None,
    };
    Ok(policy::typecheck::check(policy, &mut known, params.as_ref()))
}

/// What is applied: the generation that was looked at, and what was found.
fn status(policy: &Value, warnings: &[Value]) -> serde_json::Value {
    let warnings: Vec<serde_json::Value> = warnings.iter().map(Into::into).collect();
    let checking = if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": policy.name()},
        "status": {"observedGeneration": policy.meta().generation(), "typeChecking": checking},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_generation_is_to_be_checked() {
        let policy = |text: &str| serde_json::from_str::<Policy>(text).unwrap();
        assert!(policy(r#"{"metadata":{"name":"a","generation":1}}"#).is_unchecked());
        assert!(!policy(r#"{"metadata":{"generation":2},"status":{"observedGeneration":2}}"#).is_unchecked());
    }

    #[test]
    fn a_status_without_warnings_says_that_it_was_checked() {
        let policy = api::value!({"metadata": {"name": "p", "generation": 3}});
        assert_eq!(status(&policy, &[])["status"], json!({"observedGeneration": 3, "typeChecking": {}}));
        let warning = api::value!({"fieldRef": "spec.validations[0].expression", "warning": "w"});
        assert_eq!(
            status(&policy, &[warning])["status"]["typeChecking"]["expressionWarnings"][0]["warning"],
            "w"
        );
    }
}
