//! ClusterTrustBundles for projected volumes (KEP-3257): one informer, while any pod names a bundle or a signer.
//!
//! A pod is woken when a bundle that it names changes, or one of a signer that it names.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use client::{Api, Informer, InformerOptions, LabelSelector, ObjectMeta, Resource};
use k8s_openapi::api::core::v1::{ClusterTrustBundleProjection, Pod};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::objects::{FIRST_ANSWER, Wake};
use crate::pem;
use crate::pod::PodExt;

const BUNDLES: Resource =
    Resource::of("certificates.k8s.io", "v1", "clustertrustbundles", "ClusterTrustBundle", false);
const BY_SIGNER: &str = "signer";

/// Why there are no trust anchors.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Without an API server there are no bundles.
    #[error("ClusterTrustBundle projection is not supported in static kubelet mode")]
    Static,
    /// The first list is not there yet.
    #[error("ClusterTrustBundle informer has not yet synced")]
    Unsynced,
    /// A bundle of this name does not exist.
    #[error("while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io {0:?} not found")]
    NotFound(String),
    /// No bundle of the signer has these labels.
    #[error("combination of signerName and labelSelector matched zero ClusterTrustBundles")]
    NoMatch,
    /// The source names neither.
    #[error("ClusterTrustBundle projection requires either name or signerName to be set")]
    Unnamed,
    /// The selector cannot be read.
    #[error("while parsing label selector: {0}")]
    Selector(String),
}

/// A bundle as far as volumes need it. Its anchors are decoded once.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Bundle {
    /// Name, labels.
    pub metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    signer_name: String,
    #[serde(deserialize_with = "anchors")]
    trust_bundle: Vec<Vec<u8>>,
}

fn anchors<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<Vec<u8>>, D::Error> {
    Ok(pem::blocks(&String::deserialize(d)?))
}

client::view!(Bundle);

/// What a pod asks for: a bundle's name, or a signer's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    Name(String),
    Signer(String),
}

impl Wanted {
    fn of(source: &ClusterTrustBundleProjection) -> Option<Self> {
        let name = source.name.clone().map(Self::Name);
        name.or_else(|| source.signer_name.clone().map(Self::Signer))
    }
}

/// Which pods ask for what.
#[derive(Default)]
struct Users(HashMap<Wanted, HashSet<String>>);

impl Users {
    fn add(&mut self, uid: &str, wanted: impl Iterator<Item = Wanted>) {
        for each in wanted {
            self.0.entry(each).or_default().insert(uid.to_owned());
        }
    }

    fn remove(&mut self, uid: &str) {
        self.0.retain(|_, users| {
            users.remove(uid);
            !users.is_empty()
        });
    }

    fn of(&self, bundle: &Bundle) -> HashSet<String> {
        let name = Wanted::Name(bundle.metadata.name.to_string());
        let signer = Wanted::Signer(bundle.spec.signer_name.clone());
        [name, signer].iter().filter_map(|key| self.0.get(key)).flatten().cloned().collect()
    }
}

#[derive(Default)]
struct State {
    users: Users,
    informer: Option<(Informer<Bundle>, DropGuard)>,
}

/// The trust anchors of the node's pods.
pub struct TrustBundles {
    api: Option<Api>,
    wake: Wake,
    state: Arc<Mutex<State>>,
    /// Gives anchors an order that means nothing and holds as long as this process.
    order: RandomState,
}

impl TrustBundles {
    /// `wake` is called for each pod whose anchors may have changed.
    #[must_use]
    pub fn new(api: Option<Api>, wake: Wake) -> Self {
        Self { api, wake, state: Arc::default(), order: RandomState::new() }
    }

    /// Ends what was held for a pod; after the last one nothing is watched.
    pub fn forget(&self, uid: &str) {
        let mut state = self.state.lock();
        state.users.remove(uid);
        if state.users.0.is_empty() {
            state.informer = None;
        }
    }

    /// The anchors of one source of a pod's volume, PEM; empty if there are none and the source is optional.
    ///
    /// # Errors
    /// [`TrustError`]
    pub async fn get(&self, pod: &Pod, source: &ClusterTrustBundleProjection) -> Result<String, TrustError> {
        let informer = self.watched(pod)?;
        if tokio::time::timeout(FIRST_ANSWER, informer.wait_synced()).await.is_err() {
            return Err(TrustError::Unsynced);
        }
        match self.select(&informer, source) {
            Ok(found) => Ok(self.normalised(&found)),
            Err(TrustError::NotFound(_) | TrustError::NoMatch) if source.optional == Some(true) => {
                Ok(String::new())
            }
            Err(error) => Err(error),
        }
    }

    fn select(
        &self,
        informer: &Informer<Bundle>,
        source: &ClusterTrustBundleProjection,
    ) -> Result<Vec<Arc<Bundle>>, TrustError> {
        match Wanted::of(source) {
            None => Err(TrustError::Unnamed),
            Some(Wanted::Name(name)) => match informer.store().get("", &name) {
                Some(bundle) => Ok(vec![bundle]),
                None => Err(TrustError::NotFound(name)),
            },
            Some(Wanted::Signer(signer)) => {
                let all = informer.store().by_index(BY_SIGNER, &signer);
                let found = matching(all, source)?;
                if found.is_empty() { Err(TrustError::NoMatch) } else { Ok(found) }
            }
        }
    }

    /// The informer, begun for the first pod, with the pod among its users.
    fn watched(&self, pod: &Pod) -> Result<Informer<Bundle>, TrustError> {
        let api = self.api.as_ref().ok_or(TrustError::Static)?;
        let mut state = self.state.lock();
        state.users.add(pod.uid(), wanted(pod));
        if let Some((informer, _)) = &state.informer {
            return Ok(informer.clone());
        }
        let informer = Informer::<Bundle>::new(api.clone(), BUNDLES, InformerOptions::default())
            .with_index(BY_SIGNER, |bundle| vec![bundle.spec.signer_name.clone()]);
        let (shared, wake) = (Arc::downgrade(&self.state), self.wake.clone());
        informer.add_handler(move |event| {
            let Some(shared) = shared.upgrade() else { return };
            let users = shared.lock().users.of(event.object());
            users.iter().for_each(|uid| wake(uid));
        });
        let stop = CancellationToken::new();
        drop(informer.start(stop.clone()));
        state.informer = Some((informer.clone(), stop.drop_guard()));
        Ok(informer)
    }

    /// Every anchor once, as a PEM block without anything around it.
    fn normalised(&self, bundles: &[Arc<Bundle>]) -> String {
        let once: BTreeSet<&[u8]> =
            bundles.iter().flat_map(|bundle| bundle.spec.trust_bundle.iter().map(Vec::as_slice)).collect();
        let mut anchors: Vec<_> = once.into_iter().collect();
        anchors.sort_by_cached_key(|anchor| self.order.hash_one(anchor));
        let mut out = String::new();
        anchors.iter().for_each(|anchor| pem::push(&mut out, "CERTIFICATE", anchor));
        out
    }
}

/// Of a signer's bundles those whose labels match. No selector matches nothing, an empty one everything.
fn matching(
    all: Vec<Arc<Bundle>>,
    source: &ClusterTrustBundleProjection,
) -> Result<Vec<Arc<Bundle>>, TrustError> {
    let Some(selector) = &source.label_selector else { return Ok(Vec::new()) };
    let wrong = |error: serde_json::Error| TrustError::Selector(error.to_string());
    let selector: LabelSelector =
        serde_json::to_value(selector).and_then(serde_json::from_value).map_err(wrong)?;
    Ok(all.into_iter().filter(|bundle| selector.matches(&bundle.metadata.labels)).collect())
}

fn wanted(pod: &Pod) -> impl Iterator<Item = Wanted> + '_ {
    let sources = pod.volumes().iter().filter_map(|volume| volume.projected.as_ref()?.sources.as_ref());
    sources.flatten().filter_map(|source| Wanted::of(source.cluster_trust_bundle.as_ref()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bundle(name: &str, signer: &str, labels: serde_json::Value, anchors: &[u8]) -> Arc<Bundle> {
        let mut text = "# comment\n".to_owned();
        anchors.iter().for_each(|byte| pem::push(&mut text, "CERTIFICATE", &[*byte; 4]));
        let object = json!({"metadata": {"name": name, "labels": labels},
            "spec": {"signerName": signer, "trustBundle": text}});
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn source(selector: serde_json::Value) -> ClusterTrustBundleProjection {
        serde_json::from_value(json!({"signerName": "e.com/s", "labelSelector": selector, "path": "p"}))
            .unwrap()
    }

    #[test]
    fn selectors_choose_among_a_signers_bundles() {
        let all =
            || vec![bundle("a", "e.com/s", json!({"x": "1"}), &[]), bundle("b", "e.com/s", json!({}), &[])];
        let names = |selector| -> Vec<String> {
            let found = matching(all(), &source(selector)).unwrap();
            found.iter().map(|bundle| bundle.metadata.name.to_string()).collect()
        };
        assert_eq!(names(json!(null)), [""; 0]);
        assert_eq!(names(json!({})), ["a", "b"]);
        assert_eq!(names(json!({"matchLabels": {"x": "1"}})), ["a"]);
        assert_eq!(names(json!({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]})), ["b"]);
    }

    #[test]
    fn anchors_come_once_in_an_order_that_holds() {
        let bundles = TrustBundles::new(None, Arc::new(|_| {}));
        let (a, b) = (bundle("a", "", json!({}), &[1, 2, 3]), bundle("b", "", json!({}), &[3, 4]));
        let one = bundles.normalised(&[a.clone(), b.clone()]);
        assert_eq!(one, bundles.normalised(&[b, a]));
        let mut found = pem::blocks(&one);
        found.sort();
        assert_eq!(found, [[1; 4], [2; 4], [3; 4], [4; 4]]);
        assert!(!one.contains('#'));
    }

    #[test]
    fn a_change_concerns_who_names_the_bundle_or_its_signer() {
        let mut users = Users::default();
        users.add("p1", [Wanted::Name("a".into())].into_iter());
        users.add("p2", [Wanted::Signer("e.com/s".into())].into_iter());
        let woken = |users: &Users, name: &str, signer: &str| {
            let mut woken: Vec<_> = users.of(&bundle(name, signer, json!({}), &[])).into_iter().collect();
            woken.sort();
            woken
        };
        assert_eq!(woken(&users, "a", "e.com/s"), ["p1", "p2"]);
        assert_eq!(woken(&users, "b", "e.com/t"), [""; 0]);
        users.remove("p2");
        assert_eq!(woken(&users, "a", "e.com/s"), ["p1"]);
        assert_eq!(users.0.len(), 1);
    }
}
