//! The policies that are bound, with their bindings: kept up as either changes. A policy is compiled when it changes,
//! a binding's selectors when it does; a request reads a finished list.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::Value;
use apimachinery::GroupResource;
use apiserver::admission::Attributes;
use apiserver::resource::{Change, Objects};
use arc_swap::ArcSwap;
use futures::StreamExt as _;
use tokio::sync::watch;

use super::params::{Param, ParamKind, ParamRef, collect};
use crate::admission::criteria::{Criteria, Interest};

const GROUP: &str = "admissionregistration.k8s.io";
/// How long a request waits for the policies that were there at the start.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// A policy that is compiled; `E` is what it does.
#[derive(Debug)]
pub struct Policy<E> {
    pub name: String,
    pub ignore_failure: bool,
    /// Err: why it can be about nothing.
    pub criteria: Result<Criteria, String>,
    /// None: it has no parameters.
    pub param_kind: Option<ParamKind>,
    pub evaluator: E,
}

/// A binding. For one that only narrows down by parameters, `criteria` is None.
#[derive(Debug)]
pub struct Binding {
    pub name: String,
    pub policy: String,
    pub criteria: Option<Result<Criteria, String>>,
    pub param_ref: Option<ParamRef>,
    /// Deny, Warn, Audit.
    pub actions: Vec<String>,
}

/// A policy with what binds it.
#[derive(Debug)]
pub struct Bound<E> {
    pub policy: Arc<Policy<E>>,
    pub bindings: Vec<Arc<Binding>>,
}

/// See the module.
pub struct Source<E> {
    pub objects: Arc<dyn Objects>,
    bound: ArcSwap<Vec<Bound<E>>>,
    ready: watch::Sender<bool>,
}

/// Compiles the evaluator of a policy object.
pub type Compile<E> = fn(&Value) -> E;

impl<E> Policy<E> {
    pub fn of(object: &Value, compile: Compile<E>) -> Self {
        let constraints = object.at(&["spec", "matchConstraints"]).filter(|c| !c.is_null());
        Self {
            name: object.name().to_owned(),
            ignore_failure: object.str_at(&["spec", "failurePolicy"]) == "Ignore",
            criteria: constraints
                .ok_or_else(|| "policy contained no match constraints, a required field".to_owned())
                .and_then(Criteria::of_policy),
            param_kind: ParamKind::of(object),
            evaluator: compile(object),
        }
    }
}

impl<E> Policy<E> {
    /// The version in which the policy wants the request; None: it is not about it. Errors count by the failure policy.
    pub async fn interest(
        &self,
        objects: &dyn Objects,
        a: &Attributes<'_>,
    ) -> Result<Option<Interest>, String> {
        let criteria = self.criteria.as_ref().map_err(Clone::clone)?;
        let interest = criteria.interest(objects, a).await.map_err(|status| status.message.clone())?;
        if let (Some(_), Some(kind)) = (&interest, &self.param_kind) {
            kind.resource(objects)?;
        }
        Ok(interest)
    }
}

impl Binding {
    /// The parameters with which the policy is asked about the request: none where the binding is not about it, or
    /// parameters are missing and may be. Errors count by the failure policy.
    pub async fn params(
        &self,
        objects: &dyn Objects,
        a: &Attributes<'_>,
        kind: Option<&ParamKind>,
    ) -> Result<Vec<Param>, String> {
        if let Some(criteria) = &self.criteria {
            let criteria = criteria.as_ref().map_err(Clone::clone)?;
            let interest = criteria.interest(objects, a).await.map_err(|status| status.message.clone())?;
            if interest.is_none() {
                return Ok(Vec::new());
            }
        }
        collect(objects, kind, self.param_ref.as_ref(), a.namespace).await
    }

    pub fn of(object: &Value) -> Self {
        let narrower = object.at(&["spec", "matchResources"]).filter(|m| !m.is_null());
        let actions = object.list_at(&["spec", "validationActions"]).iter();
        Self {
            name: object.name().to_owned(),
            policy: object.str_at(&["spec", "policyName"]).to_owned(),
            criteria: narrower.map(Criteria::of_policy),
            param_ref: ParamRef::of(object),
            actions: actions.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }
}

/// What the watches have told so far.
struct Known<E> {
    policies: BTreeMap<String, Arc<Policy<E>>>,
    bindings: BTreeMap<String, Arc<Binding>>,
    synced: (bool, bool),
}

impl<E> Known<E> {
    /// By name, so that the first refusal of a request is always the same one. Policies without bindings do nothing.
    fn bound(&self) -> Vec<Bound<E>> {
        let mut by_policy: BTreeMap<&str, Vec<Arc<Binding>>> = BTreeMap::new();
        for binding in self.bindings.values() {
            by_policy.entry(&binding.policy).or_default().push(binding.clone());
        }
        let bound = |(name, bindings): (&str, Vec<Arc<Binding>>)| {
            Some(Bound { policy: self.policies.get(name)?.clone(), bindings })
        };
        by_policy.into_iter().filter_map(bound).collect()
    }
}

impl<E: Send + Sync + 'static> Source<E> {
    /// Starts to follow `policies` and `bindings` until the last reference is dropped.
    pub fn start(objects: Arc<dyn Objects>, kind: &str, compile: Compile<E>) -> Arc<Self> {
        let source = Arc::new(Self { objects, bound: ArcSwap::default(), ready: watch::channel(false).0 });
        let resource = |name: &str| GroupResource::new(GROUP, format!("{kind}{name}"));
        let policies = source.objects.watch(&resource("policies"));
        let bindings = source.objects.watch(&resource("policybindings"));
        let mut changes = futures::stream::select(
            policies.map(|change| (true, change)),
            bindings.map(|change| (false, change)),
        );
        let weak = Arc::downgrade(&source);
        tokio::spawn(async move {
            let mut known =
                Known { policies: BTreeMap::new(), bindings: BTreeMap::new(), synced: (false, false) };
            while let Some((is_policy, change)) = changes.next().await {
                let Some(source) = weak.upgrade() else { return };
                known.apply(is_policy, change, compile);
                source.publish(&known);
            }
        });
        source
    }

    fn publish(&self, known: &Known<E>) {
        self.bound.store(Arc::new(known.bound()));
        if known.synced == (true, true) {
            self.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
        }
    }

    /// All bound policies; None: they are still being read after ten seconds.
    pub async fn bound(&self) -> Option<Arc<Vec<Bound<E>>>> {
        if !*self.ready.borrow() {
            let mut ready = self.ready.subscribe();
            let synced = tokio::time::timeout(READY_WITHIN, ready.wait_for(|ready| *ready)).await;
            if !matches!(synced, Ok(Ok(_))) {
                return None;
            }
        }
        Some(self.bound.load_full())
    }
}

impl<E> Known<E> {
    fn apply(&mut self, is_policy: bool, change: Change, compile: Compile<E>) {
        match (is_policy, change) {
            (true, Change::Set { object, old }) => {
                let name = object.value.name();
                // A new status needs no new compilation.
                let same = old.is_some_and(|old| {
                    old.value.get("spec") == object.value.get("spec") && old.value.uid() == object.value.uid()
                });
                if !same || !self.policies.contains_key(name) {
                    self.policies.insert(name.to_owned(), Arc::new(Policy::of(&object.value, compile)));
                }
            }
            (false, Change::Set { object, .. }) => {
                self.bindings.insert(object.value.name().to_owned(), Arc::new(Binding::of(&object.value)));
            }
            (true, Change::Deleted { old }) => drop(self.policies.remove(old.value.name())),
            (false, Change::Deleted { old }) => drop(self.bindings.remove(old.value.name())),
            (true, Change::Synced) => self.synced.0 = true,
            (false, Change::Synced) => self.synced.1 = true,
        }
    }
}
