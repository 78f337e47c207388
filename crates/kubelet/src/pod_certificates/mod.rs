//! Certificates for pods (KEP-4317): for each `podCertificate` source of a projected volume a key is made here, a
//! PodCertificateRequest asks its signer for the chain, and both are handed to the volume and renewed in time.
//!
//! Driven by the pods' workers: a volume asks for its certificate whenever it is looked at, which moves the
//! certificate's life on ([`state`]); the worker is woken when its request was answered, and told when to look
//! again. Nothing is kept over a restart: all certificates are then asked for anew, while pods keep their files.
//! Requests belong to their pod and go with it; answered ones are the cleaner's in the controller manager.

mod der;
pub mod keys;
mod rsa;
pub mod state;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use base64::Engine;
use client::{Api, Informer, InformerOptions, ObjectMeta, Resource};
use component_base::metrics::GaugeVec;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCertificateProjection};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::events::{Events, Kind};
use crate::objects::{FIRST_ANSWER, Wake};
use crate::pod::PodExt;
use state::{Bundle, Pending, Record, Request};

const REQUESTS: Resource =
    Resource::of("certificates.k8s.io", "v1", "podcertificaterequests", "PodCertificateRequest", true);
const SERVICE_ACCOUNTS: Resource = Resource::of("", "v1", "serviceaccounts", "ServiceAccount", true);

/// Renewals of many pods are spread over this time.
const JITTER: Duration = Duration::from_secs(300);

/// Why there is no certificate (yet).
#[derive(Debug, thiserror::Error)]
pub enum PodCertificateError {
    /// Without an API server nobody signs.
    #[error("pod certificates need an API server")]
    Static,
    /// The requests of this node were not listed yet.
    #[error("PodCertificateRequest informer has not yet synced")]
    Unsynced,
    /// The node is not registered, so that a request cannot name it.
    #[error("node {0:?} is not registered yet")]
    NoNode(String),
    /// It could not be asked for.
    #[error("while creating initial PodCertificateRequest: {0}")]
    Create(String),
    /// It was not issued, or refused.
    #[error("{0}")]
    None(String),
}

/// The node that asks.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// Its name.
    pub name: &'a str,
    /// UID of its object, empty while it is not registered.
    pub uid: &'a str,
}

/// One source of a pod's volume.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    pod: String,
    volume: String,
    index: usize,
}

#[derive(Default)]
struct Shared {
    records: HashMap<Key, (String, Record)>,
    users: HashSet<String>,
    informer: Option<(Informer<Request>, DropGuard)>,
}

/// The certificates of the node's pods.
pub struct PodCertificates {
    api: Option<Api>,
    events: Events,
    wake: Wake,
    shared: Mutex<Shared>,
}

fn jitter() -> Duration {
    JITTER.mul_f64(rand::random())
}

impl PodCertificates {
    /// `wake` is called for a pod whose request was answered or is gone.
    #[must_use]
    pub fn new(api: Option<Api>, events: Events, wake: Wake) -> Self {
        Self { api, events, wake, shared: Mutex::default() }
    }

    /// The certificate of a source (`index` in the sources of `volume`), and when to ask again.
    ///
    /// # Errors
    /// [`PodCertificateError`], if there is none that could be used.
    pub async fn get(
        &self,
        pod: &Pod,
        volume: &str,
        index: usize,
        source: &PodCertificateProjection,
        node: Node<'_>,
    ) -> Result<(Bundle, Timestamp), PodCertificateError> {
        let api = self.api.as_ref().ok_or(PodCertificateError::Static)?;
        let informer = self.watched(api, pod, node.name);
        if tokio::time::timeout(FIRST_ANSWER, informer.wait_synced()).await.is_err() {
            return Err(PodCertificateError::Unsynced);
        }
        let key = Key { pod: pod.uid().to_owned(), volume: volume.to_owned(), index };
        // only the pod's worker asks for it, so that nobody changes the record meanwhile
        let mut record =
            self.shared.lock().records.get(&key).map(|(_, record)| record.clone()).unwrap_or_default();
        let shown = record.pending().and_then(|pending| informer.store().get(pod.namespace(), &pending.name));
        for (reason, message) in record.advance(shown.as_deref(), Timestamp::now(), jitter()) {
            self.events.emit(pod, Kind::Warning, reason, &message, "");
        }
        let asked = match record.wants_request(Timestamp::now()) {
            true => ask(api, pod, source, node).await.map(|pending| record.asked(pending)),
            false => Ok(()),
        };
        if asked.is_err() {
            record.not_asked(Timestamp::now());
        }
        let got = record.bundle(Timestamp::now()).map(|(bundle, next)| (bundle.clone(), next));
        self.shared.lock().records.insert(key, (source.signer_name.clone(), record));
        match (got, asked) {
            (Ok(got), asked) => {
                if let Err(error) = asked {
                    tracing::warn!(pod = pod.shown(), volume, %error, "renew pod certificate");
                }
                Ok(got)
            }
            (Err(_), Err(error)) => Err(error),
            (Err(why), Ok(())) => Err(PodCertificateError::None(why)),
        }
    }

    /// The informer of this node's requests, begun for the first pod.
    fn watched(&self, api: &Api, pod: &Pod, node: &str) -> Informer<Request> {
        let mut shared = self.shared.lock();
        shared.users.insert(pod.uid().to_owned());
        if let Some((informer, _)) = &shared.informer {
            return informer.clone();
        }
        let options =
            InformerOptions { field_selector: format!("spec.nodeName={node}"), ..InformerOptions::default() };
        let informer = Informer::<Request>::new(api.clone(), REQUESTS, options);
        let wake = self.wake.clone();
        informer.add_handler(move |event| match event {
            client::Event::Added(request) | client::Event::Modified { new: request, .. }
                if !request.is_over() => {}
            event => wake(&event.object().spec.pod_uid),
        });
        let stop = CancellationToken::new();
        drop(informer.start(stop.clone()));
        shared.informer = Some((informer.clone(), stop.drop_guard()));
        informer
    }

    /// Forgets a pod's keys and certificates; after the last pod nothing is watched.
    pub fn forget(&self, uid: &str) {
        let mut shared = self.shared.lock();
        shared.records.retain(|key, _| key.pod != uid);
        shared.users.remove(uid);
        if shared.users.is_empty() {
            shared.informer = None;
        }
    }

    /// Brings the metric of states up to date.
    pub fn publish_metrics(&self) {
        let help = "Gauge vector reporting the number of pod certificate projected volume sources, faceted by \
                    signer_name and state.";
        let gauges = GaugeVec::new("kubelet_podcertificate_states", help, &["signer_name", "state"]);
        gauges.clear();
        let now = Timestamp::now();
        let mut counts: BTreeMap<(String, &str), u32> = BTreeMap::new();
        for (signer, record) in self.shared.lock().records.values() {
            *counts.entry((signer.clone(), record.state(now))).or_default() += 1;
        }
        for ((signer, state), count) in counts {
            gauges.with(&[&signer, state]).set(f64::from(count));
        }
    }
}

/// Makes a key and a request for it.
async fn ask(
    api: &Api,
    pod: &Pod,
    source: &PodCertificateProjection,
    node: Node<'_>,
) -> Result<Pending, PodCertificateError> {
    #[derive(Deserialize)]
    struct Made {
        metadata: ObjectMeta,
    }
    let wrong =
        |what: &str, error: &dyn std::fmt::Display| PodCertificateError::Create(format!("{what}: {error}"));
    if node.uid.is_empty() {
        return Err(PodCertificateError::NoNode(node.name.to_owned()));
    }
    let account = pod.spec().service_account_name.as_deref().unwrap_or_default();
    let account_uid: Made = api
        .get(&SERVICE_ACCOUNTS, pod.namespace(), account)
        .await
        .map_err(|error| wrong("while fetching service account", &error))?;
    let kind = source.key_type.clone();
    let made = tokio::task::spawn_blocking(move || keys::make(&kind)).await;
    let made = match made {
        Ok(made) => made.map_err(|error| wrong("while generating keypair", &error))?,
        Err(error) => return Err(wrong("while generating keypair", &error)),
    };
    let body = body(pod, source, node, &account_uid.metadata.uid, &made.request);
    let request: Made = api
        .create(&REQUESTS, pod.namespace(), &body)
        .await
        .map_err(|error| wrong("while creating on API", &error))?;
    let time = request.metadata.creation_timestamp.map_or_else(Timestamp::now, |time| time.0);
    Ok(Pending::new(made.key, request.metadata.name.to_string(), time, jitter()))
}

fn body(
    pod: &Pod,
    source: &PodCertificateProjection,
    node: Node<'_>,
    account_uid: &str,
    request: &[u8],
) -> serde_json::Value {
    let mut spec = json!({
        "signerName": source.signer_name,
        "podName": pod.name(), "podUID": pod.uid(),
        "serviceAccountName": pod.spec().service_account_name, "serviceAccountUID": account_uid,
        "nodeName": node.name, "nodeUID": node.uid,
        "stubPKCS10Request": base64::engine::general_purpose::STANDARD.encode(request),
    });
    if let Some(seconds) = source.max_expiration_seconds {
        spec["maxExpirationSeconds"] = seconds.into();
    }
    if let Some(annotations) = &source.user_annotations {
        spec["unverifiedUserAnnotations"] = json!(annotations);
    }
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": pod.name(), "uid": pod.uid()});
    json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "PodCertificateRequest",
        "metadata": {"generateName": "req-", "namespace": pod.namespace(), "ownerReferences": [owner]},
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_pod_account_and_node() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"serviceAccountName": "a", "containers": []}}))
        .unwrap();
        let source = serde_json::from_value(json!({"signerName": "e.com/s", "keyType": "ED25519",
            "userAnnotations": {"e.com/x": "1"}}))
        .unwrap();
        let made = body(&pod, &source, Node { name: "node", uid: "nu" }, "au", b"\x01\x02");
        assert_eq!(
            made["spec"],
            json!({"signerName": "e.com/s", "podName": "p", "podUID": "u", "serviceAccountName": "a",
                "serviceAccountUID": "au", "nodeName": "node", "nodeUID": "nu", "stubPKCS10Request": "AQI=",
                "unverifiedUserAnnotations": {"e.com/x": "1"}})
        );
        assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], "u");
    }
}
