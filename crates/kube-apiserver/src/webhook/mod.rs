//! Calls out of the API server: admission webhooks (MutatingWebhookConfiguration, ValidatingWebhookConfiguration)
//! and conversion webhooks, and the connections that they and the proxies use.
//!
//! Left out: audit annotations.

pub mod admission;
pub mod call;
pub mod conversion;
pub mod hook;
pub mod json;
pub mod outgoing;
pub mod review;

use std::collections::BTreeMap;
use std::sync::Arc;

use apimachinery::GroupResource;
use apiserver::resource::{Change, Objects};
use arc_swap::ArcSwap;
use futures::StreamExt as _;

use crate::aggregator::resolve::Resolver;
use crate::authz::Authorization;
use hook::Hook;

pub use conversion::ConversionWebhook;

type Hooks = ArcSwap<Vec<Arc<Hook>>>;

/// The configured admission webhooks, kept up as configurations change.
pub struct Webhooks {
    pub objects: Arc<dyn Objects>,
    pub resolver: Resolver,
    /// Answers the `authorizer` of match conditions.
    authorization: Option<Arc<Authorization>>,
    mutating: Hooks,
    validating: Hooks,
}

impl Webhooks {
    /// Follows the configurations until dropped. Services are reached at their own addresses; see
    /// [`Self::with_resolver`].
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        let resolver = Resolver { objects: objects.clone(), to_endpoints: false };
        let (mutating, validating) = (Hooks::default(), Hooks::default());
        Self { objects, resolver, authorization: None, mutating, validating }
    }

    /// Conditions may ask what the requester may do.
    #[must_use]
    pub fn with_authorization(mut self, authorization: Arc<Authorization>) -> Self {
        self.authorization = Some(authorization);
        self
    }

    /// `--enable-aggregator-routing`: Services are reached at their endpoints.
    #[must_use]
    pub fn to_endpoints(mut self, on: bool) -> Self {
        self.resolver.to_endpoints = on;
        self
    }

    /// Starts to follow the configurations, until the last reference is dropped.
    pub fn start(self: &Arc<Self>) {
        for (resource, mutating) in
            [("mutatingwebhookconfigurations", true), ("validatingwebhookconfigurations", false)]
        {
            let resource = GroupResource::new("admissionregistration.k8s.io", resource);
            let mut changes = self.objects.watch(&resource);
            let weak = Arc::downgrade(self);
            tokio::spawn(async move {
                // By the configuration's name, which is the order in which they are called.
                let mut known: BTreeMap<String, Vec<Arc<Hook>>> = BTreeMap::new();
                while let Some(change) = changes.next().await {
                    let Some(webhooks) = weak.upgrade() else { return };
                    match change {
                        Change::Set { object, .. } => {
                            let hooks = Hook::all_of(&object.value).into_iter().map(Arc::new).collect();
                            known.insert(object.value.name().to_owned(), hooks);
                        }
                        Change::Deleted { old } => drop(known.remove(old.value.name())),
                        Change::Synced => {}
                    }
                    let all: Vec<Arc<Hook>> = known.values().flatten().cloned().collect();
                    let list = if mutating { &webhooks.mutating } else { &webhooks.validating };
                    list.store(Arc::new(all));
                }
            });
        }
    }

    pub fn mutating(&self) -> Arc<Vec<Arc<Hook>>> {
        self.mutating.load_full()
    }

    pub fn validating(&self) -> Arc<Vec<Arc<Hook>>> {
        self.validating.load_full()
    }
}
