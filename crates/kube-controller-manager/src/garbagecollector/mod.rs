//! Deletes objects whose owners are gone, in the background or the foreground, and lets dependents go where
//! they are to be orphaned. Before an object is deleted because an owner is absent, the server is asked for that
//! owner; the delete holds only for the uid and the resourceVersion that the decision was made on.

mod graph;
mod monitors;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use client::discovery::discover;
use client::meta::Partial;
use client::{Api, DeleteOptions, Error, OwnerReference, Patch, Preconditions, WorkQueue};
use futures::future::join_all;
use parking_lot::Mutex;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::{Notify, RwLock};

use crate::context::Context;
use graph::{FOREGROUND, Graph, ORPHAN, Object, Standing, Uid, Verdict, Work};
use monitors::{Change, Monitors};

/// How long the watch of an owner may be behind that of its dependent.
const BEHIND: Duration = Duration::from_secs(1);
/// Discovery is asked at least so often.
const REFRESH: Duration = Duration::from_secs(300);
/// And once more so long after a change.
const SETTLE: Duration = Duration::from_secs(10);
/// Kinds whose first list takes longer are not waited for.
const SYNC: Duration = Duration::from_secs(30);

struct Collector {
    api: Api,
    graph: Mutex<Graph>,
    deletes: WorkQueue<Uid>,
    orphans: WorkQueue<Uid>,
    monitors: std::sync::OnceLock<Monitors>,
    /// Held for writing while new kinds have not been listed yet.
    steady: RwLock<()>,
    kinds_changed: Notify,
}

/// Runs until shutdown; with `--enable-garbage-collector=false` it ends at once.
pub async fn run(context: Context) {
    if !context.options.enable_garbage_collector {
        return;
    }
    let api = context.api("generic-garbage-collector").await;
    let collector = Arc::new(Collector {
        api,
        graph: Mutex::default(),
        deletes: WorkQueue::new("garbage_collector_attempt_to_delete"),
        orphans: WorkQueue::new("garbage_collector_attempt_to_orphan"),
        monitors: std::sync::OnceLock::new(),
        steady: RwLock::new(()),
        kinds_changed: Notify::new(),
    });
    let own = collector.clone();
    let monitors = Monitors::new(context.clone(), Arc::new(move |change| own.take(change)));
    let _ = collector.monitors.set(monitors);
    collector.first_refresh(&context).await;
    let refresher = tokio::spawn(collector.clone().keep_fresh());
    let workers = context.options.concurrency.concurrent_gc_syncs;
    let (own, queue) = (collector.clone(), collector.orphans.clone());
    let orphan = move |uid| {
        let own = own.clone();
        async move { own.orphan(uid).await.map(|()| None) }
    };
    let orphans = context.work(&queue, workers, "garbage-collector", orphan);
    let queue = collector.deletes.clone();
    let delete = move |uid| {
        let own = collector.clone();
        async move { own.attempt(uid).await.map(|()| None) }
    };
    let deletes = context.work(&queue, workers, "garbage-collector", delete);
    tokio::join!(orphans, deletes);
    refresher.abort();
}

impl Collector {
    fn take(&self, change: Change<'_>) {
        let work = {
            let mut graph = self.graph.lock();
            match change {
                Change::Version(uid, version) => return graph.touch(uid, version),
                Change::Upsert(object) => graph.upsert(object),
                Change::Gone(uid) => graph.remove(uid),
                Change::Kinds => return self.kinds_changed.notify_one(),
            }
        };
        self.enqueue(work);
    }

    fn enqueue(&self, work: Vec<Work>) {
        for one in work {
            match one {
                Work::Delete(uid) => self.deletes.add(uid),
                Work::DeleteLater(uid) => self.deletes.add_after(uid, BEHIND),
                Work::Orphan(uid) => self.orphans.add(uid),
            }
        }
    }

    async fn first_refresh(&self, context: &Context) {
        while let Err(e) = self.refresh().await {
            tracing::warn!("discovery: {e}");
            tokio::select! {
                () = context.shutdown.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    /// Brings the watches in line with discovery. Nothing is decided until new kinds are listed.
    async fn refresh(&self) -> Result<(), Error> {
        let discovery = discover(&self.api).await?;
        let Some(monitors) = self.monitors.get() else { return Ok(()) };
        let waiting = monitors.follow(&discovery);
        if !waiting.is_empty() {
            let _held = self.steady.write().await;
            if tokio::time::timeout(SYNC, join_all(waiting)).await.is_err() {
                tracing::warn!("some kinds could not be listed in time; their objects are not known yet");
            }
        }
        Ok(())
    }

    /// Refreshes after changes of custom resources and aggregated APIs, and now and then.
    async fn keep_fresh(self: Arc<Self>) {
        let mut wait = REFRESH;
        loop {
            let changed = tokio::time::timeout(wait, self.kinds_changed.notified()).await.is_ok();
            // Several changes come together, and discovery follows them a moment later, or a little more.
            wait = if changed { SETTLE } else { REFRESH };
            tokio::time::sleep(BEHIND).await;
            if let Err(e) = self.refresh().await {
                tracing::debug!("discovery: {e}");
            }
        }
    }

    /// Sees whether an object has to go.
    async fn attempt(&self, uid: Uid) -> Result<(), Error> {
        let _steady = self.steady.read().await;
        let Some(object) = self.graph.lock().get(&uid).cloned() else { return Ok(()) };
        if object.waits_for_dependents() {
            return self.finish_foreground(&object).await;
        }
        if object.deleting {
            return Ok(());
        }
        let mut standings = Vec::with_capacity(object.owners.len());
        for owner in &object.owners {
            let known = self.graph.lock().standing(&object, owner);
            let standing =
                if known == Standing::Unknown { self.look_up(&object, owner).await? } else { known };
            standings.push((owner.uid.clone(), standing));
        }
        let verdict = self.graph.lock().verdict(&object, &standings);
        match verdict {
            Verdict::Nothing => Ok(()),
            Verdict::Release(owners) => self.release(&object, &owners).await,
            Verdict::Unblock => self.unblock(&object).await,
            Verdict::Delete(policy) => self.delete(&object, policy).await,
        }
    }

    /// Asks the server for an owner.
    async fn look_up(&self, object: &Object, owner: &OwnerReference) -> Result<Standing, Error> {
        let kind = self.monitors.get().and_then(|m| m.resource_of(&owner.api_version, &owner.kind));
        let Some(kind) = kind else {
            // A kind that nobody serves: its objects may come back with it.
            tracing::debug!(owner = %owner.name, kind = %owner.kind, "an owner of an unknown kind");
            return Ok(Standing::Solid);
        };
        if kind.namespaced && object.namespace.is_empty() {
            return Ok(Standing::Solid);
        }
        let namespace = if kind.namespaced { &*object.namespace } else { "" };
        let found: Result<Partial, Error> = self.api.get_metadata(&kind, namespace, &owner.name).await;
        match found {
            Ok(found) if found.metadata.uid == owner.uid => {
                let waits = found.metadata.is_being_deleted() && found.metadata.has_finalizer(FOREGROUND);
                Ok(if waits { Standing::Waiting } else { Standing::Solid })
            }
            Ok(_) => Ok(self.absent(owner)),
            Err(e) if e.is_not_found() => Ok(self.absent(owner)),
            Err(e) => Err(e),
        }
    }

    /// The owner is not there. An owner of that uid which is elsewhere is absent for this object alone.
    fn absent(&self, owner: &OwnerReference) -> Standing {
        let mut graph = self.graph.lock();
        if graph.get(&owner.uid).is_none() {
            graph.note_absent(&owner.uid);
        }
        Standing::Absent
    }

    async fn delete(&self, object: &Object, policy: client::Propagation) -> Result<(), Error> {
        let preconditions = Preconditions {
            uid: Some(object.uid.to_string()),
            resource_version: Some(object.resource_version.to_string()),
        };
        let options = DeleteOptions {
            preconditions: Some(preconditions),
            propagation_policy: Some(policy),
            ..DeleteOptions::default()
        };
        match self.api.delete(&object.kind, &object.namespace, &object.name, &options).await {
            Err(e) if e.is_not_found() => Ok(()),
            // It changed: the watch tells how, then it is looked at again.
            other => other,
        }
    }

    /// Takes references off an object.
    async fn release(&self, object: &Object, owners: &[Uid]) -> Result<(), Error> {
        let left: Vec<&OwnerReference> = object.owners.iter().filter(|o| !owners.contains(&o.uid)).collect();
        self.patch(object, json!({"ownerReferences": left})).await
    }

    /// No owner has to wait for this object any more: it is part of a circle. Its change brings it here again.
    async fn unblock(&self, object: &Object) -> Result<(), Error> {
        let unblocked =
            |owner: &OwnerReference| OwnerReference { block_owner_deletion: Some(false), ..owner.clone() };
        let owners: Vec<OwnerReference> = object.owners.iter().map(unblocked).collect();
        self.patch(object, json!({"ownerReferences": owners})).await
    }

    /// Patches metadata of the object as it is known; one that is gone needs nothing.
    async fn patch(&self, object: &Object, mut metadata: Value) -> Result<(), Error> {
        metadata["uid"] = object.uid.as_str().into();
        metadata["resourceVersion"] = object.resource_version.as_str().into();
        let body = json!({"metadata": metadata});
        match self
            .api
            .patch::<IgnoredAny>(&object.kind, &object.namespace, &object.name, "", &Patch::Merge, &body)
            .await
        {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(()),
        }
    }

    /// An object that waits for its dependents: they are looked at, or it may go.
    async fn finish_foreground(&self, object: &Object) -> Result<(), Error> {
        let blocking: Vec<Uid> = {
            let graph = self.graph.lock();
            graph.blocking(&object.uid).iter().filter(|d| !d.deleting).map(|d| d.uid.clone()).collect()
        };
        for uid in blocking {
            self.deletes.add(uid);
        }
        if self.graph.lock().blocking(&object.uid).is_empty() {
            self.take_finalizer_off(object, FOREGROUND).await
        } else {
            Ok(())
        }
    }

    async fn take_finalizer_off(&self, object: &Object, finalizer: &str) -> Result<(), Error> {
        let fresh: Partial = match self.api.get_metadata(&object.kind, &object.namespace, &object.name).await
        {
            Err(e) if e.is_not_found() => return Ok(()),
            other => other?,
        };
        if fresh.metadata.uid != object.uid || !fresh.metadata.has_finalizer(finalizer) {
            return Ok(());
        }
        let left: Vec<_> = fresh.metadata.finalizers.iter().filter(|f| *f != finalizer).collect();
        let as_read = Object { resource_version: fresh.metadata.resource_version.clone(), ..object.clone() };
        self.patch(&as_read, json!({"finalizers": left})).await
    }

    /// Lets the dependents of an object go, then the object.
    async fn orphan(&self, uid: Uid) -> Result<(), Error> {
        let _steady = self.steady.read().await;
        let (owner, dependents) = {
            let graph = self.graph.lock();
            let Some(owner) = graph.get(&uid).cloned() else { return Ok(()) };
            (owner, graph.dependents(&uid).into_iter().cloned().collect::<Vec<_>>())
        };
        if !owner.orphans_dependents() {
            return Ok(());
        }
        let owners = [uid];
        let released = join_all(dependents.iter().map(|d| self.let_go(d, &owners))).await;
        released.into_iter().collect::<Result<(), Error>>()?;
        self.take_finalizer_off(&owner, ORPHAN).await
    }

    /// Releases a dependent as the server has it now: its own changes must not hold up the owner.
    async fn let_go(&self, dependent: &Object, owners: &[Uid]) -> Result<(), Error> {
        let fresh: Partial =
            match self.api.get_metadata(&dependent.kind, &dependent.namespace, &dependent.name).await {
                Err(e) if e.is_not_found() => return Ok(()),
                other => other?,
            };
        let now = Object::new(&dependent.kind, &fresh.metadata);
        if now.uid != dependent.uid || !now.owners.iter().any(|o| owners.contains(&o.uid)) {
            return Ok(());
        }
        self.release(&now, owners).await
    }
}
