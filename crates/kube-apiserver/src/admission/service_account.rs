//! ServiceAccount: a pod runs as an account that exists, with its token, the cluster's CA and its namespace in a
//! projected volume, and with the account's pull secrets.

use std::sync::Arc;
use std::time::Duration;

use api::Value;
use apimachinery::Status;
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::resource::{Change, Objects};
use async_trait::async_trait;
use futures::StreamExt as _;

use super::context::{MIRROR, SERVICE_ACCOUNTS, forbidden, is_pod, references};

const DEFAULT: &str = "default";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
/// One hour and the seven seconds by which such tokens are known.
const TOKEN_SECONDS: i64 = 3607;
const FILE_MODE: i64 = 0o644;
/// A namespace's default account is made by a controller a moment after the namespace.
const WAIT_FOR_DEFAULT: Duration = Duration::from_secs(2);

pub struct ServiceAccount {
    objects: Arc<dyn Objects>,
}

impl ServiceAccount {
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects }
    }

    async fn account(&self, a: &Attributes<'_>, name: &str) -> Result<Arc<Value>, Status> {
        if let Some(found) = self.objects.get(&SERVICE_ACCOUNTS, a.namespace, name) {
            return Ok(found.value);
        }
        if let Ok(found) = self.objects.get_latest(&SERVICE_ACCOUNTS, a.namespace, name).await {
            return Ok(found.value);
        }
        if name == DEFAULT
            && let Ok(Some(found)) = tokio::time::timeout(WAIT_FOR_DEFAULT, self.appears(a.namespace)).await
        {
            return Ok(found);
        }
        let why = format!(
            "error looking up service account {}/{name}: serviceaccount {name:?} not found",
            a.namespace
        );
        Err(forbidden(a, why))
    }

    async fn appears(&self, namespace: &str) -> Option<Arc<Value>> {
        let mut changes = self.objects.watch(&SERVICE_ACCOUNTS);
        while let Some(change) = changes.next().await {
            if let Change::Set { object, .. } = change
                && object.value.namespace() == namespace
                && object.value.name() == DEFAULT
            {
                return Some(object.value);
            }
        }
        None
    }
}

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(pod) = a.object.as_ref().filter(|_| is_pod(a)) else { return Ok(()) };
        if pod.meta().annotation(MIRROR).is_some() {
            return Ok(());
        }
        let name = match pod.str_at(&["spec", "serviceAccountName"]) {
            "" => DEFAULT.to_owned(),
            name => name.to_owned(),
        };
        let account = self.account(a, &name).await?;
        let Some(pod) = &mut a.object else { return Ok(()) };
        pod.set_at(&["spec", "serviceAccountName"], name.as_str());
        // The old name of the field, which upstream's conversion fills too.
        pod.set_at(&["spec", "serviceAccount"], name);
        if automounts(&account, pod) {
            mount_token(pod);
        }
        let secrets = account.list_at(&["imagePullSecrets"]);
        if pod.list_at(&["spec", "imagePullSecrets"]).is_empty() && !secrets.is_empty() {
            pod.set_at(&["spec", "imagePullSecrets"], secrets.to_vec());
        }
        Ok(())
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        let Some(pod) = a.object.as_ref().filter(|_| is_pod(a)) else { return Ok(()) };
        let name = pod.str_at(&["spec", "serviceAccountName"]);
        if pod.meta().annotation(MIRROR).is_some() {
            return mirror(pod, name).map_err(|why| forbidden(a, why));
        }
        if name.is_empty() {
            return Err(forbidden(
                a,
                format!("no service account specified for pod {}/{}", a.namespace, a.name),
            ));
        }
        let account = self.account(a, name).await?;
        let enforced =
            account.meta().annotation(ENFORCE).and_then(|v| v.parse::<bool>().ok()).unwrap_or(false);
        if enforced { limit_secrets(&account, pod).map_err(|why| forbidden(a, why)) } else { Ok(()) }
    }
}

/// The pod's own word counts first, then the account's; the default is yes.
fn automounts(account: &Value, pod: &Value) -> bool {
    pod.bool_at(&["spec", "automountServiceAccountToken"])
        .or_else(|| account.bool_at(&["automountServiceAccountToken"]))
        .unwrap_or(true)
}

/// Mounts the token into each container that has nothing at its place.
fn mount_token(pod: &mut Value) {
    let volumes = pod.list_at(&["spec", "volumes"]);
    let present = volumes.iter().map(|v| v.str_at(&["name"])).find(|n| n.starts_with(VOLUME_PREFIX));
    let (name, exists) = match present {
        Some(name) => (name.to_owned(), true),
        None => (apimachinery::generate_name::generate(VOLUME_PREFIX), false),
    };
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        let containers = pod.at_mut(&["spec", list]).and_then(Value::as_list_mut);
        for container in containers.into_iter().flatten() {
            if container.list_at(&["volumeMounts"]).iter().any(|m| m.str_at(&["mountPath"]) == MOUNT_PATH) {
                continue;
            }
            let mount = api::value!({"mountPath": MOUNT_PATH, "name": name.as_str(), "readOnly": true});
            push(container, "volumeMounts", mount);
            needed = true;
        }
    }
    if needed && !exists {
        let spec = pod.as_map_or_make().or_insert_with("spec", Value::map);
        push(spec, "volumes", token_volume(&name));
    }
}

fn push(parent: &mut Value, field: &str, item: Value) {
    let list = parent.as_map_or_make().or_insert_with(field, || Value::List(Vec::new()));
    match list.as_list_mut() {
        Some(list) => list.push(item),
        None => *list = Value::List(vec![item]),
    }
}

fn token_volume(name: &str) -> Value {
    api::value!({
        "name": name,
        "projected": {
            "defaultMode": FILE_MODE,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
                {"downwardAPI": {"items": [
                    {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"},
                ]}},
            ],
        },
    })
}

fn mirror(pod: &Value, account: &str) -> Result<(), &'static str> {
    let found = references(pod);
    if !account.is_empty() {
        return Err("a mirror pod may not reference service accounts");
    }
    if found.secrets {
        return Err("a mirror pod may not reference secrets");
    }
    if found.tokens {
        return Err("a mirror pod may not use ServiceAccountToken volume projections");
    }
    Ok(())
}

/// Only Secrets that the account lists, where the account asks for that.
fn limit_secrets(account: &Value, pod: &Value) -> Result<(), String> {
    let listed =
        |field: &str, name: &str| account.list_at(&[field]).iter().any(|s| s.str_at(&["name"]) == name);
    let account_name = account.name();
    for volume in pod.list_at(&["spec", "volumes"]) {
        let name = volume.str_at(&["secret", "secretName"]);
        if !name.is_empty() && !listed("secrets", name) {
            return Err(format!(
                "volume with secret.secretName={name:?} is not allowed because service account {account_name} does not reference that secret"
            ));
        }
    }
    for (_, container) in super::context::containers(pod) {
        for env in container.list_at(&["env"]) {
            let name = env.str_at(&["valueFrom", "secretKeyRef", "name"]);
            if !name.is_empty() && !listed("secrets", name) {
                return Err(format!(
                    "container {} with envVar {} referencing secret.secretName={name:?} is not allowed because service \
                     account {account_name} does not reference that secret",
                    container.str_at(&["name"]),
                    env.str_at(&["name"])
                ));
            }
        }
    }
    for secret in pod.list_at(&["spec", "imagePullSecrets"]) {
        let name = secret.str_at(&["name"]);
        if !listed("imagePullSecrets", name) {
            return Err(format!(
                "imagePullSecrets[0].name={name:?} is not allowed because service account {account_name} does not \
                 reference that imagePullSecret"
            ));
        }
    }
    Ok(())
}
