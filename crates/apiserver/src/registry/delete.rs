//! Deleting an object: preconditions, grace, finalizers, propagation, in upstream's order.

use std::sync::Arc;

use api::Value;
use apimachinery::{Status, time};
use jiff::{SignedDuration, Timestamp};

use super::create::attributes;
use super::stored::Stored;
use super::update::check_preconditions;
use super::{Registry, convert};
use crate::admission::Operation;
use crate::cache::Entry;
use crate::catalog::Served;
use crate::request::RequestContext;
use crate::resource::Preconditions;
use crate::strategy::Grace;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// meta.k8s.io DeleteOptions, read.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    pub grace_seconds: Option<i64>,
    pub preconditions: Preconditions,
    pub orphan_dependents: Option<bool>,
    pub propagation: Option<Propagation>,
    /// As sent, for admission.
    pub object: Value,
}

/// What a delete came to.
pub struct Deleted {
    pub entry: Arc<Entry>,
    /// False: it waits for its grace period or finalizers.
    pub gone: bool,
}

/// What a delete does to the object that is there.
#[derive(Debug, PartialEq)]
enum Plan {
    /// It is being deleted already, and this request changes nothing.
    Nothing,
    /// Delete it now, as it stands.
    Now,
    /// Write this; then delete it at once if `then_delete`.
    Mark { object: Box<Value>, then_delete: bool },
}

impl Registry {
    /// `admission`: false for internal deletes.
    pub async fn delete(
        &self,
        cx: &RequestContext,
        served: &Arc<Served>,
        (namespace, name): (&str, &str),
        options: &DeleteOptions,
        admission: bool,
    ) -> Result<Deleted, Status> {
        let stored = served.stored.clone().ok_or_else(Status::no_route)?;
        let key = stored.key(namespace, name);
        let store_key = stored.store_key(&key);
        let mut present = self.read_entry(&stored, &store_key).await?;
        let mut admitted = !admission;
        loop {
            let Some(entry) = present.clone() else { return Err(Status::not_found(&served.gr, name)) };
            let old = stored.tree(&entry);
            if !admitted {
                self.admit_delete(cx, served, (namespace, name), &old, options).await?;
                admitted = true;
            }
            check_preconditions(served, name, &old, &options.preconditions)?;
            served.strategy.validate_delete(cx, &old)?;
            let outcome = match plan(cx, served, &old, options) {
                Plan::Nothing => return Ok(Deleted { entry, gone: false }),
                Plan::Now => self.vanish(cx, &stored, served, &key, entry.revision, &old).await?,
                Plan::Mark { object, then_delete } => {
                    let same = *object == *old;
                    let marked = if same {
                        Ok(entry)
                    } else {
                        self.swap(cx, &stored, &key, entry.revision, *object).await?
                    };
                    match marked {
                        Ok(marked) if !then_delete => return Ok(Deleted { entry: marked, gone: false }),
                        Ok(marked) => {
                            let object = stored.tree(&marked);
                            let outcome =
                                self.vanish(cx, &stored, served, &key, marked.revision, &object).await?;
                            match outcome {
                                Err(other) if is_gone(&object, other.as_ref().map(|e| stored.tree(e))) => {
                                    return Ok(Deleted { entry: marked, gone: true });
                                }
                                outcome => outcome,
                            }
                        }
                        Err(other) => Err(other),
                    }
                }
            };
            match outcome {
                Ok(entry) => return Ok(Deleted { entry, gone: true }),
                Err(other) => present = other,
            }
        }
    }

    async fn vanish(
        &self,
        cx: &RequestContext,
        stored: &Arc<Stored>,
        served: &Served,
        key: &str,
        revision: i64,
        object: &Arc<Value>,
    ) -> Result<Result<Arc<Entry>, Option<Arc<Entry>>>, Status> {
        let removed = self.remove(cx, stored, key, revision, Some(object.clone())).await?;
        if removed.is_ok() && !cx.dry_run {
            served.strategy.committed(cx, None, Some(object)).await;
        }
        Ok(removed)
    }

    async fn admit_delete(
        &self,
        cx: &RequestContext,
        served: &Served,
        place: (&str, &str),
        old: &Arc<Value>,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        let objects = (None, Some(convert::shown(served, old).await?));
        let mut told = attributes(cx, served, Operation::Delete, "", place, objects, options.object.clone());
        self.mutate(&mut told).await?;
        self.admit(&told).await
    }
}

/// Between mark and removal somebody else, who waits for the mark, may have removed the object: then it is gone all
/// the same. A kubelet does so with a pod that has ended.
fn is_gone(marked: &Value, present: Option<Arc<Value>>) -> bool {
    present.is_none_or(|present| present.uid() != marked.uid())
}

fn plan(cx: &RequestContext, served: &Served, old: &Value, options: &DeleteOptions) -> Plan {
    let finalizers = gc_finalizers(served, old, options);
    let with_finalizers = || {
        let mut object = old.clone();
        set_finalizers(&mut object, &finalizers);
        object
    };
    let marked_before = old.meta().deletion_timestamp().is_some();
    match served.strategy.grace(old, options.grace_seconds) {
        Grace::Immediate => {
            let mut object = with_finalizers();
            if !served.strategy.is_held(&object) {
                return Plan::Now;
            }
            let was_zero = old.meta().deletion_grace_period_seconds().unwrap_or(0) == 0;
            if !(marked_before && was_zero) {
                mark(&mut object, cx.now, 0);
                served.strategy.mark_deleted(cx, object.as_map_or_make());
            }
            Plan::Mark { object: Box::new(object), then_delete: false }
        }
        Grace::Seconds(seconds) if marked_before => {
            shorten(old, options.grace_seconds.map(|_| seconds), served, &finalizers)
        }
        Grace::Seconds(seconds) => {
            let mut object = with_finalizers();
            mark(&mut object, cx.now, seconds);
            served.strategy.mark_deleted(cx, object.as_map_or_make());
            let then_delete = seconds == 0 && !served.strategy.is_held(&object);
            Plan::Mark { object: Box::new(object), then_delete }
        }
    }
}

/// A second delete may only shorten the grace period.
fn shorten(old: &Value, requested: Option<i64>, served: &Served, finalizers: &[String]) -> Plan {
    let period = old.meta().deletion_grace_period_seconds().unwrap_or(0);
    let held = served.strategy.is_held(old);
    match requested {
        Some(seconds) if seconds < period => {
            let mut object = old.clone();
            set_finalizers(&mut object, finalizers);
            let at = old.meta().deletion_timestamp().and_then(time::parse).unwrap_or_default();
            let at = at - SignedDuration::from_secs(period) + SignedDuration::from_secs(seconds);
            let meta = object.meta_mut();
            meta.insert("deletionTimestamp", time::format(at));
            meta.insert("deletionGracePeriodSeconds", seconds);
            let then_delete = seconds == 0 && !served.strategy.is_held(&object);
            Plan::Mark { object: Box::new(object), then_delete }
        }
        Some(0) if period == 0 && !held => Plan::Now,
        _ => Plan::Nothing,
    }
}

fn mark(object: &mut Value, now: Timestamp, seconds: i64) {
    let first = object.meta().deletion_timestamp().is_none();
    let generation = object.meta().generation();
    let meta = object.meta_mut();
    if first {
        meta.insert("deletionTimestamp", time::format(now + SignedDuration::from_secs(seconds)));
        if generation > 0 {
            meta.insert("generation", generation + 1);
        }
    }
    meta.insert("deletionGracePeriodSeconds", seconds);
}

fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    let same = object.meta().finalizers().eq(finalizers.iter().map(String::as_str));
    if same {
        return;
    }
    let meta = object.meta_mut();
    if finalizers.is_empty() {
        meta.remove("finalizers");
    } else {
        let list: Vec<Value> = finalizers.iter().map(|f| Value::from(f.as_str())).collect();
        meta.insert("finalizers", list);
    }
}

/// The finalizers with those of the garbage collector as the propagation policy wants them.
fn gc_finalizers(served: &Served, old: &Value, options: &DeleteOptions) -> Vec<String> {
    let mut list: Vec<String> =
        old.meta().finalizers().filter(|f| *f != ORPHAN && *f != FOREGROUND).map(str::to_owned).collect();
    let wanted = match (options.orphan_dependents, options.propagation) {
        (Some(true), _) => Some(ORPHAN),
        (Some(false), _) => None,
        (None, Some(Propagation::Orphan)) => Some(ORPHAN),
        (None, Some(Propagation::Foreground)) => Some(FOREGROUND),
        (None, Some(Propagation::Background)) => None,
        (None, None) if old.meta().has_finalizer(ORPHAN) => Some(ORPHAN),
        (None, None) if old.meta().has_finalizer(FOREGROUND) => Some(FOREGROUND),
        (None, None) => served.strategy.orphans_dependents_by_default(&served.gv.version).then_some(ORPHAN),
    };
    list.extend(wanted.map(str::to_owned));
    list
}
