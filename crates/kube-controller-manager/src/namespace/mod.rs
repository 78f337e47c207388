//! Empties namespaces that are being deleted, then takes their finalizer off. Pods go first (KEP-5080), then every
//! namespaced kind that discovery shows. Kinds that have nothing in the namespace cost one small list.

pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use client::api::{List, PARTIAL_LIST};
use client::discovery::{Discovered, discover};
use client::meta::Partial;
use client::{Api, DeleteOptions, Error, ObjectKey, Propagation, Store, Time, WorkQueue, resource};
use futures::StreamExt;
use http::Method;
use serde_json::json;

use crate::context::{Context, on_change};
use crate::views::Namespace;
use plan::Outcome;

const FINALIZER: &str = "kubernetes";
/// Other API servers may admit objects until they have seen the deletion.
const GRACE: Duration = Duration::from_secs(5);
/// Kinds looked at side by side.
const SIDE_BY_SIDE: usize = 8;

struct Controller {
    api: Api,
    namespaces: Store<Namespace>,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("namespace-controller").await;
    let (namespaces, pods) = (context.informers.namespaces(), context.informers.pods());
    let queue: WorkQueue<ObjectKey> = WorkQueue::new("namespace");
    let enqueue = queue.clone();
    on_change(&namespaces, move |old, new, deleted| {
        let begins = old.is_none_or(|old| !old.metadata.is_being_deleted());
        if !deleted && new.metadata.is_being_deleted() && begins {
            enqueue.add_after(new.metadata.key(), GRACE);
        }
    });
    // The last pod of a namespace that waits for its pods.
    let (enqueue, known) = (queue.clone(), namespaces.store());
    on_change(&pods, move |_, pod, deleted| {
        let waits = || {
            known
                .get("", &pod.metadata.namespace)
                .is_some_and(|n| !n.status.conditions.is_empty() && n.metadata.is_being_deleted())
        };
        if deleted && waits() {
            enqueue.add(ObjectKey::new("", &pod.metadata.namespace));
        }
    });
    namespaces.wait_synced().await;
    let controller = Arc::new(Controller { api, namespaces: namespaces.store() });
    let sync = move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    };
    context.work(&queue, context.options.concurrency.concurrent_namespace_syncs, "namespace", sync).await;
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, Error> {
        if self.namespaces.get_key(&key).is_none() {
            return Ok(None);
        }
        // Live, as the finalizer is taken off by what is read here.
        let mut namespace: Namespace = match self.api.get(&resource::NAMESPACES, "", key.name()).await {
            Err(e) if e.is_not_found() => return Ok(None),
            other => other?,
        };
        let has_finalizer = namespace.spec.finalizers.iter().any(|f| f == FINALIZER);
        if !namespace.metadata.is_being_deleted() || !has_finalizer {
            return Ok(None);
        }
        if namespace.status.phase != "Terminating" {
            namespace.status.phase = "Terminating".into();
            namespace = self.put(&namespace, "status").await?;
        }
        let outcome = self.empty(key.name()).await?;
        if let Some(conditions) = outcome.conditions(&namespace.status.conditions, Time::now()) {
            namespace.status.conditions = conditions;
            namespace = self.put(&namespace, "status").await?;
        }
        if let Some(failure) = outcome.deletion_failures.first() {
            tracing::debug!(namespace = key.name(), "{failure}");
        }
        if !outcome.is_done() {
            let seconds = u64::try_from(outcome.estimate / 2 + 1).unwrap_or(1);
            return Ok(Some(Duration::from_secs(seconds.min(15))));
        }
        namespace.spec.finalizers.retain(|f| f != FINALIZER);
        match self.put(&namespace, "finalize").await {
            Err(e) if e.is_not_found() => Ok(None),
            other => other.map(|_| None),
        }
    }

    async fn put(&self, namespace: &Namespace, subresource: &str) -> Result<Namespace, Error> {
        let body = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": namespace.metadata, "spec": namespace.spec, "status": namespace.status,
        });
        self.api.update(&resource::NAMESPACES, "", &namespace.metadata.name, subresource, &body).await
    }

    async fn empty(&self, namespace: &str) -> Result<Outcome, Error> {
        let discovery = discover(&self.api).await?;
        let mut outcome = Outcome { discovery_failures: discovery.stale, ..Outcome::default() };
        let is_pods = |d: &Discovered| d.resource.group.is_empty() && d.resource.plural == "pods";
        let deletable = |d: &&Discovered| d.resource.namespaced && d.has("delete") && d.has("list");
        let (pods, others): (Vec<_>, Vec<_>) =
            discovery.resources.iter().filter(deletable).partition(|d| is_pods(d));
        self.empty_kinds(namespace, pods, &mut outcome).await;
        if outcome.remaining.is_empty() && outcome.deletion_failures.is_empty() {
            self.empty_kinds(namespace, others, &mut outcome).await;
        }
        Ok(outcome)
    }

    async fn empty_kinds(&self, namespace: &str, kinds: Vec<&Discovered>, outcome: &mut Outcome) {
        let kinds: Vec<Discovered> = kinds.into_iter().cloned().collect();
        let emptied = futures::stream::iter(kinds).map(|kind| async move {
            let left = self.empty_kind(namespace, &kind).await;
            (kind, left)
        });
        let results: Vec<_> = emptied.buffer_unordered(SIDE_BY_SIDE).collect().await;
        for (kind, left) in results {
            let name = format!("{}.{}", kind.resource.plural, kind.resource.group);
            match left {
                Ok(left) => note(outcome, name, &left),
                Err(e) => outcome.deletion_failures.push(format!("{name}: {e}")),
            }
        }
    }

    /// Deletes a kind's objects; those that are left.
    async fn empty_kind(&self, namespace: &str, kind: &Discovered) -> Result<Vec<Partial>, Error> {
        let before = self.list(namespace, kind, "?limit=500").await?;
        if before.is_empty() {
            return Ok(before);
        }
        let background =
            DeleteOptions { propagation_policy: Some(Propagation::Background), ..DeleteOptions::default() };
        if kind.has("deletecollection") {
            self.api.delete_collection(&kind.resource, namespace, "", &background).await?;
        } else {
            for object in before {
                match self.api.delete(&kind.resource, namespace, &object.metadata.name, &background).await {
                    Err(e) if !e.is_not_found() => return Err(e),
                    _ => {}
                }
            }
        }
        self.list(namespace, kind, "").await
    }

    async fn list(&self, namespace: &str, kind: &Discovered, query: &str) -> Result<Vec<Partial>, Error> {
        let path = format!("{}{query}", kind.resource.path(namespace, "", ""));
        let bytes = match self.api.bytes(Method::GET, &path, PARTIAL_LIST, None).await {
            // The kind went away meanwhile, or cannot be listed as a whole.
            Err(e) if e.is_not_found() || e.is(apimachinery::Reason::MethodNotAllowed) => return Ok(vec![]),
            other => other?,
        };
        let list: List<Partial> =
            serde_json::from_slice(&bytes).map_err(|source| Error::Json { what: path, source })?;
        Ok(list.items)
    }
}

fn note(outcome: &mut Outcome, name: String, left: &[Partial]) {
    if left.is_empty() {
        return;
    }
    for object in left {
        for finalizer in &object.metadata.finalizers {
            *outcome.finalizers.entry(finalizer.to_string()).or_default() += 1;
        }
        let grace = object.metadata.deletion_grace_period_seconds.unwrap_or(0);
        outcome.estimate = outcome.estimate.max(grace);
    }
    outcome.remaining.insert(name, left.len());
}
