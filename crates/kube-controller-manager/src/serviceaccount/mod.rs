//! Makes the service account `default` in every namespace. The plan is one line: it is missing, or it is there.

use std::sync::Arc;

use client::{Error, WorkQueue, resource};
use compact_str::CompactString;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::context::{Context, on_change};

const NAME: &str = "default";

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("service-account-controller").await;
    let (namespaces, accounts) = (context.informers.namespaces(), context.informers.service_accounts());
    let queue: WorkQueue<CompactString> = WorkQueue::new("serviceaccount");
    let enqueue = queue.clone();
    on_change(&namespaces, move |_, new, deleted| {
        if !deleted {
            enqueue.add(new.metadata.name.clone());
        }
    });
    let enqueue = queue.clone();
    on_change(&accounts, move |_, account, deleted| {
        if deleted && account.metadata.name == NAME {
            enqueue.add(account.metadata.namespace.clone());
        }
    });
    namespaces.wait_synced().await;
    accounts.wait_synced().await;
    let stores = Arc::new((namespaces.store(), accounts.store()));
    let sync = move |namespace: CompactString| {
        let (api, stores) = (api.clone(), stores.clone());
        async move {
            let (namespaces, accounts) = &*stores;
            let active = namespaces
                .get("", &namespace)
                .is_some_and(|n| n.status.phase == "Active" || n.status.phase.is_empty());
            if !active || accounts.get(&namespace, NAME).is_some() {
                return Ok(None);
            }
            let body = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": namespace}});
            match api.create::<IgnoredAny>(&resource::SERVICE_ACCOUNTS, &namespace, &body).await {
                Err(e) if !e.is_already_exists() && !e.is_namespace_terminating() && !e.is_not_found() => {
                    Err(e)
                }
                _ => Ok::<_, Error>(None),
            }
        }
    };
    context.work(&queue, 1, "serviceaccount", sync).await;
}
