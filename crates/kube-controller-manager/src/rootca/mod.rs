//! Publishes the API server's authorities in every namespace, as the ConfigMap `kube-root-ca.crt`.

use std::sync::Arc;

use base64::Engine;
use client::{Error, WorkQueue, resource};
use compact_str::CompactString;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::context::{Context, on_change};
use crate::views::ConfigMap;

const NAME: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";

/// Runs until shutdown; without authorities to publish it ends at once.
pub async fn run(context: Context) {
    let Some(authorities) = authorities(&context).await else {
        tracing::warn!("neither --root-ca-file nor the kubeconfig has authorities to publish as {NAME}");
        return;
    };
    let authorities: Arc<str> = authorities.into();
    let api = context.api("root-ca-cert-publisher").await;
    let (namespaces, maps) = (context.informers.namespaces(), context.informers.root_ca_config_maps());
    let queue: WorkQueue<CompactString> = WorkQueue::new("root_ca_cert_publisher");
    let enqueue = queue.clone();
    on_change(&namespaces, move |old, new, deleted| {
        if !deleted && old.is_none_or(|old| old.status.phase != new.status.phase) {
            enqueue.add(new.metadata.name.clone());
        }
    });
    let enqueue = queue.clone();
    on_change(&maps, move |_, map, _| enqueue.add(map.metadata.namespace.clone()));
    namespaces.wait_synced().await;
    maps.wait_synced().await;
    let stores = Arc::new((namespaces.store(), maps.store()));
    let sync = move |namespace: CompactString| {
        let (api, stores, authorities) = (api.clone(), stores.clone(), authorities.clone());
        async move {
            if stores.0.get("", &namespace).is_none_or(|n| n.status.phase == "Terminating") {
                return Ok(None);
            }
            let present = stores.1.get(&namespace, NAME);
            let written = match plan(present.as_deref(), &namespace, &authorities) {
                None => return Ok(None),
                Some(body) if present.is_none() => {
                    api.create::<IgnoredAny>(&resource::CONFIG_MAPS, &namespace, &body).await
                }
                Some(body) => {
                    api.update::<IgnoredAny>(&resource::CONFIG_MAPS, &namespace, NAME, "", &body).await
                }
            };
            match written {
                Err(e) if !e.is_already_exists() && !e.is_namespace_terminating() && !e.is_not_found() => {
                    Err(e)
                }
                _ => Ok::<_, Error>(None),
            }
        }
    };
    context.work(&queue, 1, "root_ca_cert_publisher", sync).await;
}

/// The ConfigMap to write, unless it is as it should be.
fn plan(present: Option<&ConfigMap>, namespace: &str, authorities: &str) -> Option<Value> {
    let is_right = |map: &ConfigMap| {
        map.data.len() == 1
            && map.data.get(KEY).is_some_and(|ca| ca == authorities)
            && map.metadata.annotations.contains_key(DESCRIPTION)
    };
    if present.is_some_and(is_right) {
        return None;
    }
    let mut meta = match present {
        Some(map) => json!(map.metadata),
        None => json!({"name": NAME, "namespace": namespace}),
    };
    meta["annotations"][DESCRIPTION] =
        "Authorities of the API server as it is reached from inside the cluster.".into();
    Some(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {KEY: authorities}}))
}

/// PEM text of the authorities.
pub(crate) async fn authorities(context: &Context) -> Option<String> {
    let options = &context.options;
    if !options.root_ca_file.is_empty() {
        return match tokio::fs::read_to_string(&options.root_ca_file).await {
            Ok(text) => Some(text),
            Err(e) => {
                tracing::error!("--root-ca-file={}: {e}", options.root_ca_file);
                None
            }
        };
    }
    if options.client.kubeconfig.is_empty() {
        return None;
    }
    let config = component_base::kubeconfig::config(&options.client).await.ok()?;
    Some(config.root_cert?.iter().map(|der| pem(der)).collect())
}

fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_only_when_it_differs() {
        let body = plan(None, "ns", "CA").unwrap();
        assert_eq!(body["data"][KEY], "CA");
        let mut map: ConfigMap = serde_json::from_value(body).unwrap();
        assert!(plan(Some(&map), "ns", "CA").is_none());
        assert!(plan(Some(&map), "ns", "other").is_some());
        map.data.insert("more".into(), "x".into());
        assert_eq!(plan(Some(&map), "ns", "CA").unwrap()["data"], json!({KEY: "CA"}));
    }
}
