//! Creating an object: defaults are in already; admission, preparation, validation, allocation, the write.

use std::sync::Arc;

use api::Value;
use api::merge::{FieldManager, Set};
use apimachinery::{Reason, Status, generate_name};
use bytes::Bytes;
use etcd::{Compare, Op, PutRequest, Txn};

use super::stored::Stored;
use super::timers::timed;
use super::{KindVersions, Registry, convert, meta, store_error};
use crate::admission::{Attributes, Operation, Rounds};
use crate::cache::Entry;
use crate::catalog::Served;
use crate::request::RequestContext;

/// Names that are tried for one generateName.
const GENERATED: usize = 8;

/// A create request. `object` is decoded, canonical, defaulted, in the version of `served`.
pub struct Create<'a> {
    pub cx: &'a RequestContext,
    pub served: &'a Arc<Served>,
    pub namespace: &'a str,
    pub object: Value,
    /// CreateOptions (or what else the request was) for admission.
    pub options: Value,
    /// False: managedFields are in the object already (apply).
    pub manage_fields: bool,
}

/// What admission is told.
pub(super) fn attributes<'a>(
    cx: &'a RequestContext,
    served: &'a Served,
    operation: Operation,
    subresource: &'a str,
    (namespace, name): (&'a str, &'a str),
    (object, old_object): (Option<Value>, Option<Arc<Value>>),
    options: Value,
) -> Attributes<'a> {
    Attributes {
        cx,
        operation,
        kind: served.gvk.clone(),
        resource: served.gvr.clone(),
        subresource,
        namespace,
        name,
        object,
        old_object,
        options,
        rounds: Rounds::default(),
    }
}

impl Registry {
    /// The chain of mutating plugins.
    pub async fn mutate(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let plugins = self.plugins.load_full();
        loop {
            for plugin in plugins.iter() {
                if plugin.handles(attributes.operation) {
                    plugin.mutate(attributes).await?;
                }
            }
            if !attributes.rounds.another() {
                return Ok(());
            }
        }
    }

    /// The chain of validating plugins.
    pub async fn admit(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let plugins = self.plugins.load_full();
        for plugin in plugins.iter() {
            if plugin.handles(attributes.operation) {
                plugin.validate(attributes).await?;
            }
        }
        Ok(())
    }

    pub(crate) fn manage(
        &self,
        cx: &RequestContext,
        served: &Served,
        subresource: &str,
        live: &Value,
        new: &mut Value,
    ) {
        let versions = KindVersions { catalog: &self.catalog, served };
        let reset = reset_of(served, subresource);
        let manager = FieldManager { kind: &served.gvk, subresource, versions: &versions, reset: &reset };
        manager.update(live, new, &cx.field_manager, cx.now);
    }

    /// The created object; with dry run the one that would be.
    pub async fn create(&self, mut request: Create<'_>) -> Result<Arc<Entry>, Status> {
        let (cx, served) = (request.cx, request.served);
        let stored = served.stored.clone().ok_or_else(Status::no_route)?;
        meta::wipe(&mut request.object);
        if request.object.meta().resource_version().is_empty() {
            request.object.meta_mut().remove("resourceVersion");
        }
        meta::ensure_namespace(&mut request.object, served, request.namespace)?;
        if request.manage_fields {
            let empty = api::merge::empty(&served.schema, &served.gvk);
            self.manage(cx, served, "", &empty, &mut request.object);
        }
        let generated = request.object.name().is_empty() && !request.object.meta().generate_name().is_empty();
        let tries = if generated { GENERATED } else { 1 };
        let name = request.object.name().to_owned();
        let object = (Some(std::mem::take(&mut request.object)), None);
        let mut attributes = attributes(
            cx,
            served,
            Operation::Create,
            "",
            (request.namespace, &name),
            object,
            request.options,
        );
        self.mutate(&mut attributes).await?;
        let admitted = attributes.object.take().unwrap_or_default();
        for _ in 1..tries {
            match self.try_create(&stored, &mut attributes, served, admitted.clone()).await {
                Err(status) if status.is(Reason::AlreadyExists) => {}
                done => return done,
            }
        }
        self.try_create(&stored, &mut attributes, served, admitted).await
    }

    async fn try_create(
        &self,
        stored: &Arc<Stored>,
        attributes: &mut Attributes<'_>,
        served: &Arc<Served>,
        object: Value,
    ) -> Result<Arc<Entry>, Status> {
        let cx = attributes.cx;
        let mut object = convert::to_storage(served, object).await?;
        for key in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
            object.meta_mut().remove(key);
        }
        if served.schema.custom {
            object.meta_mut().insert("generation", 1i64);
        }
        // Before the strategy, which may build on uid and name (a Job's selector).
        meta::stamp(&mut object, cx);
        if object.name().is_empty() && !object.meta().generate_name().is_empty() {
            let name = generate_name::generate(object.meta().generate_name());
            object.meta_mut().insert("name", name);
        }
        served.strategy.prepare_for_create(cx, object.as_map_or_make());
        self.check_new(served, stored, cx, &object)?;
        let undo = served.strategy.allocate(cx, &mut object, None).await?;
        let written = self.admit_and_put(stored, attributes, served, object).await;
        match (written, undo) {
            (Err(status), Some(undo)) => {
                undo.undo().await;
                Err(status)
            }
            (Ok(entry), _) => {
                if !cx.dry_run {
                    served.strategy.committed(cx, Some(&stored.tree(&entry)), None).await;
                }
                Ok(entry)
            }
            (Err(status), None) => Err(status),
        }
    }

    fn check_new(
        &self,
        served: &Served,
        stored: &Stored,
        cx: &RequestContext,
        object: &Value,
    ) -> Result<(), Status> {
        let mut errors = meta::validate(served, object);
        errors.extend(served.strategy.validate(cx, object));
        errors.extend(super::rules(&self.options.gates, &stored.shape().schema, object, None));
        super::dedup(&mut errors);
        if !errors.is_empty() {
            let name = if object.name().is_empty() { object.meta().generate_name() } else { object.name() };
            return Err(Status::invalid(&served.error_kind(), name, &errors));
        }
        served.strategy.warnings(object, None).into_iter().for_each(|w| cx.warnings.add(w));
        Ok(())
    }

    async fn admit_and_put(
        &self,
        stored: &Arc<Stored>,
        attributes: &mut Attributes<'_>,
        served: &Served,
        object: Value,
    ) -> Result<Arc<Entry>, Status> {
        let cx = attributes.cx;
        let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
        // In the same version it is only lent.
        let mut object = Some(object);
        let shown = match &object {
            Some(own) if !convert::is_shown(served, own) => {
                Some(convert::one_from_storage(served, own).await?)
            }
            _ => object.take(),
        };
        let mut attributes = Attributes {
            cx,
            operation: attributes.operation,
            kind: attributes.kind.clone(),
            resource: attributes.resource.clone(),
            subresource: attributes.subresource,
            namespace: attributes.namespace,
            name: &name,
            object: shown,
            old_object: None,
            options: attributes.options.clone(),
            rounds: Rounds::default(),
        };
        self.admit(&attributes).await?;
        // The store's own check, after everybody else has had a say.
        let shown = attributes.object.as_ref().or(object.as_ref());
        if !cx.dry_run && shown.is_some_and(|o| !o.meta().resource_version().is_empty()) {
            let why = "resourceVersion should not be set on objects to be created";
            return Err(Status::new(500, Reason::Unknown, why));
        }
        let object = object.or_else(|| attributes.object.take()).unwrap_or_default();
        let key = stored.key(&namespace, &name);
        self.put_new(stored, cx, &served.gr, key, &name, object).await
    }

    async fn put_new(
        &self,
        stored: &Arc<Stored>,
        cx: &RequestContext,
        resource: &apimachinery::GroupResource,
        key: String,
        name: &str,
        mut object: Value,
    ) -> Result<Arc<Entry>, Status> {
        whole_status(stored, &mut object);
        let store_key = stored.store_key(&key);
        let read = etcd::RangeRequest::key(store_key.clone());
        if cx.dry_run {
            let there = self.store.range(read).await.map_err(store_error)?;
            return match there.kvs.is_empty() {
                true => {
                    stored.complete(&mut object);
                    Ok(stored.entry(key.into(), 0, Arc::new(object)))
                }
                false => Err(Status::already_exists(resource, name)),
            };
        }
        let value = Bytes::from(stored.encode(&store_key, &mut object)?);
        let lease = self.lease_of(stored, cx).await?;
        let writing = stored.own.begin(stored, key.into(), value.clone(), object);
        let txn = Txn {
            compares: vec![Compare::mod_revision(store_key.clone(), 0)],
            success: vec![Op::Put(PutRequest { lease, ..PutRequest::new(store_key, value) })],
            failure: vec![Op::Range(read)],
        };
        let answer = timed(&stored.timers.create, self.store.txn(txn)).await.map_err(store_error)?;
        if !answer.succeeded {
            return Err(self.exists(stored, resource, name, answer).await);
        }
        Ok(writing.done(answer.revision))
    }

    pub(super) async fn lease_of(&self, stored: &Stored, cx: &RequestContext) -> Result<i64, Status> {
        let Some(seconds) = stored.lease_seconds else { return Ok(0) };
        let ttl = self.options.event_ttl.map_or(seconds - 60, |d| d.as_secs() as i64);
        self.leases.of(ttl.max(1), cx.now).await
    }

    async fn exists(
        &self,
        stored: &Stored,
        resource: &apimachinery::GroupResource,
        name: &str,
        answer: etcd::TxnResponse,
    ) -> Status {
        let mut status = Status::already_exists(resource, name);
        let Some(etcd::OpResponse::Range(found)) = answer.responses.into_iter().next() else { return status };
        if let Some(pair) = found.kvs.first()
            && let Ok(there) = stored.read(pair).await
            && there.meta().deletion_timestamp().is_some()
        {
            status.message = format!("object is being deleted: {}", status.message);
        }
        status
    }
}

/// A status that a strategy has just emptied gets what Go always has in it, as it will when it is read back: who
/// writes the status later owns only what they changed.
fn whole_status(stored: &Stored, object: &mut Value) {
    let shape = stored.shape();
    let Some(field) = shape.schema.field("status").filter(|_| !shape.schema.custom) else { return };
    let Some(status) = object.as_map_or_make().get_mut("status") else { return };
    if status.as_map().is_some_and(|m| m.is_empty()) {
        // An empty map is of any type.
        let _ = api::canonical::canonicalize_node(status, &field.node, &mut api::canonical::Found::default());
    }
}

/// What an endpoint takes from the stored object whatever the request says: nobody owns it by that endpoint.
pub fn reset_of(served: &Served, subresource: &str) -> Set {
    let has_status = served.subresources.contains_key("status");
    api::merge::reset_fields(&served.gvk.group, &served.gvk.kind, subresource, has_status)
}
