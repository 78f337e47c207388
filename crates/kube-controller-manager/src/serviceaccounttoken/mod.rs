//! Fills Secrets that were made to hold a service account's token, and deletes them with their account. Such tokens
//! do not end; whoever can asks for one that does (TokenRequest).

pub mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::{Api, DeleteOptions, Error, ObjectKey, Store, WorkQueue, resource};
use component_base::jws::{self, SigningKey};
use serde::de::IgnoredAny;
use serde_json::json;

use self::plan::{ACCOUNT_NAME, ACCOUNT_UID, AUTHORITIES, NAMESPACE, Plan};
use crate::context::{Context, on_change};
use crate::informers::BY_ACCOUNT;
use crate::rootca;
use crate::views::{ServiceAccount, TokenSecret};

struct Controller {
    api: Api,
    accounts: Store<ServiceAccount>,
    secrets: Store<TokenSecret>,
    key: SigningKey,
    /// Base64 of the PEM text.
    authorities: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error(transparent)]
    Request(#[from] Error),
    #[error(transparent)]
    Key(#[from] jws::Error),
}

/// Runs until shutdown; without a key it ends at once.
pub async fn run(context: Context) {
    let file = &context.options.service_account_private_key_file;
    if file.is_empty() {
        tracing::warn!("no --service-account-private-key-file: Secrets for tokens stay as they are");
        return;
    }
    let key = match tokio::fs::read_to_string(file).await.map(|pem| SigningKey::from_pem(&pem)) {
        Ok(Ok(key)) => key,
        Ok(Err(e)) => return tracing::error!("--service-account-private-key-file={file}: {e}"),
        Err(e) => return tracing::error!("--service-account-private-key-file={file}: {e}"),
    };
    // As upstream, the manager itself: the other controllers' accounts get their tokens here.
    let api = context.manager.with_user_agent("kube-controller-manager/tokens-controller");
    let (accounts, secrets) = (context.informers.service_accounts(), context.informers.token_secrets());
    let controller = Arc::new(Controller {
        api,
        accounts: accounts.store(),
        secrets: secrets.store(),
        key,
        authorities: rootca::authorities(&context).await.map(|pem| STANDARD.encode(pem)),
    });
    let queue: WorkQueue<ObjectKey> = WorkQueue::new("serviceaccount_tokens_secret");
    let enqueue = queue.clone();
    on_change(&secrets, move |_, secret, deleted| {
        if !deleted {
            enqueue.add(secret.metadata.key());
        }
    });
    let (own, enqueue) = (controller.clone(), queue.clone());
    on_change(&accounts, move |_, account, _| {
        for secret in own.secrets.by_index(BY_ACCOUNT, &account.metadata.key().to_string()) {
            enqueue.add(secret.metadata.key());
        }
    });
    accounts.wait_synced().await;
    secrets.wait_synced().await;
    let workers = context.options.concurrency.concurrent_serviceaccount_token_syncs;
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    context.work(&queue, workers, "serviceaccount-token", sync).await;
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, SyncError> {
        let Some(secret) = self.secrets.get_key(&key) else { return Ok(None) };
        let Some(name) = secret.account() else { return Ok(None) };
        let account = self.accounts.get(key.namespace(), name);
        match plan::plan(&secret, account.as_deref(), self.authorities.as_deref()) {
            Plan::Nothing => {}
            Plan::Delete => self.delete(&secret, name).await?,
            Plan::Fill(keys) => {
                if let Some(account) = account {
                    self.fill(&secret, &account, &keys).await?;
                }
            }
        }
        Ok(None)
    }

    /// Deletes the Secret, if the server knows of no such account either: the informer may be behind.
    async fn delete(&self, secret: &TokenSecret, account: &str) -> Result<(), SyncError> {
        let meta = &secret.metadata;
        let there =
            self.api.get::<ServiceAccount>(&resource::SERVICE_ACCOUNTS, &meta.namespace, account).await;
        let there = match there {
            Ok(account) => Some(account),
            Err(e) if e.is_not_found() => None,
            Err(e) => return Err(e.into()),
        };
        if plan::plan(secret, there.as_ref(), None) != Plan::Delete {
            return Ok(());
        }
        let options = DeleteOptions::uid(&meta.uid);
        match self.api.delete(&resource::SECRETS, &meta.namespace, &meta.name, &options).await {
            Err(e) if !e.is_not_found() && !e.is_conflict() => Err(e.into()),
            _ => Ok(()),
        }
    }

    async fn fill(
        &self,
        secret: &TokenSecret,
        account: &ServiceAccount,
        keys: &[&'static str],
    ) -> Result<(), SyncError> {
        let mut data = BTreeMap::new();
        for key in keys {
            let value = match *key {
                AUTHORITIES => self.authorities.clone().unwrap_or_default(),
                NAMESPACE => STANDARD.encode(secret.metadata.namespace.as_bytes()),
                _ => STANDARD.encode(self.token(secret, account)?),
            };
            data.insert(*key, value);
        }
        let (meta, owner) = (&secret.metadata, &account.metadata);
        let change = |live: &mut serde_json::Value| {
            if live["metadata"]["uid"] != *meta.uid
                || live["metadata"]["resourceVersion"] != *meta.resource_version
            {
                return false;
            }
            for (key, value) in data {
                live["data"][key] = value.into();
            }
            live["metadata"]["annotations"][ACCOUNT_NAME] = json!(owner.name);
            live["metadata"]["annotations"][ACCOUNT_UID] = json!(owner.uid);
            true
        };
        let kind = &resource::SECRETS;
        let written = self.api.modify::<IgnoredAny>(kind, &meta.namespace, &meta.name, "", change).await;
        match written {
            // Whoever changed it brings it back here.
            Err(e) if !e.is_not_found() && !e.is_conflict() => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// A token in the form from before bound tokens, which the API server checks against the Secret.
    fn token(&self, secret: &TokenSecret, account: &ServiceAccount) -> Result<String, jws::Error> {
        let (meta, owner) = (&secret.metadata, &account.metadata);
        let claims = json!({
            "iss": "kubernetes/serviceaccount",
            "kubernetes.io/serviceaccount/namespace": meta.namespace,
            "kubernetes.io/serviceaccount/secret.name": meta.name,
            "kubernetes.io/serviceaccount/service-account.name": owner.name,
            "kubernetes.io/serviceaccount/service-account.uid": owner.uid,
            "sub": format!("system:serviceaccount:{}:{}", meta.namespace, owner.name),
        });
        self.key.token(&claims.to_string())
    }
}
