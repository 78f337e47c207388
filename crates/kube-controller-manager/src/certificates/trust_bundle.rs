//! Publishes the API server's authorities as the one ClusterTrustBundle of the signer
//! `kubernetes.io/kube-apiserver-serving` (KEP-3257); its name says what is in it.

use std::sync::Arc;

use client::{Api, DeleteOptions, Error, Informer, InformerOptions, ObjectMeta, Resource, Store, WorkQueue};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::context::{Context, on_change};
use crate::rootca;

const BUNDLES: Resource =
    Resource::of("certificates.k8s.io", "v1", "clustertrustbundles", "ClusterTrustBundle", false);
const SIGNER: &str = "kubernetes.io/kube-apiserver-serving";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Bundle {
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    trust_bundle: String,
}

client::view!(Bundle);

/// Runs until shutdown; without authorities to publish it ends at once.
pub async fn run_trust_bundle_publisher(context: Context) {
    let Some(authorities) = rootca::authorities(&context).await.filter(|text| !text.is_empty()) else {
        tracing::warn!("neither --root-ca-file nor the kubeconfig has authorities to publish for {SIGNER}");
        return;
    };
    let authorities: Arc<str> = authorities.into();
    let api = context.api("kube-apiserver-serving-clustertrustbundle-publisher").await;
    let options =
        InformerOptions { field_selector: format!("spec.signerName={SIGNER}"), ..InformerOptions::default() };
    let bundles = Informer::<Bundle>::new(api.clone(), BUNDLES, options);
    let (store, queue) = (bundles.store(), WorkQueue::<()>::new("ca_cert_publisher_cluster_trust_bundles"));
    let enqueue = queue.clone();
    on_change(&bundles, move |_, _, _| enqueue.add(()));
    drop(bundles.start(context.shutdown.clone()));
    bundles.wait_synced().await;
    queue.add(());
    let sync = move |()| {
        let (api, store, authorities) = (api.clone(), store.clone(), authorities.clone());
        async move { publish(&api, &store, &authorities).await.map(|()| None) }
    };
    context.work(&queue, 1, "ca_cert_publisher_cluster_trust_bundles", sync).await;
}

/// `kubernetes.io:kube-apiserver-serving:` and the beginning of the content's hash.
fn name_of(authorities: &str) -> String {
    let hash: String = Sha256::digest(authorities)[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}:{hash}", SIGNER.replace('/', ":"))
}

async fn publish(api: &Api, bundles: &Store<Bundle>, authorities: &str) -> Result<(), Error> {
    let name = name_of(authorities);
    let body = |metadata: serde_json::Value| {
        json!({"apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle", "metadata": metadata,
            "spec": {"signerName": SIGNER, "trustBundle": authorities}})
    };
    match bundles.get("", &name) {
        None => drop(api.create::<IgnoredAny>(&BUNDLES, "", &body(json!({"name": name}))).await?),
        Some(bundle) if bundle.spec.trust_bundle != authorities => {
            let body = body(json!(bundle.metadata));
            api.update::<IgnoredAny>(&BUNDLES, "", &name, "", &body).await?;
        }
        Some(_) => {}
    }
    let mut kept = Ok(());
    for other in bundles.list().iter().filter(|bundle| bundle.metadata.name != name) {
        match api.delete(&BUNDLES, "", &other.metadata.name, &DeleteOptions::default()).await {
            Err(e) if !e.is_not_found() => kept = Err(e),
            _ => {}
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_content() {
        assert_eq!(name_of(""), "kubernetes.io:kube-apiserver-serving:e3b0c44298fc1c149afbf4c8");
        assert_ne!(name_of("a"), name_of("b"));
    }
}
