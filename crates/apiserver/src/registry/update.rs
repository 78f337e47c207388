//! Changing an object: read, make the new one, admission, preparation, validation, compare-and-swap, again on
//! conflict. PUT, PATCH, apply and internal changes differ only in how the new object is made.

use std::sync::Arc;

use api::merge::ignore_timestamps;
use api::{Map, Value};
use apimachinery::field::{Error, Path};
use apimachinery::{GroupResource, Reason, Status};
use bytes::Bytes;
use etcd::{Compare, Op, OpResponse, PutRequest, RangeRequest, Txn};

use super::create::{Create, attributes};
use super::stored::Stored;
use super::timers::timed;
use super::{Fingerprint, Registry, convert, meta, store_error};
use crate::admission::{Attributes, Operation};
use crate::cache::Entry;
use crate::catalog::Served;
use crate::request::RequestContext;
use crate::resource::Preconditions;
use crate::strategy::Strategy;

/// Which part of the object is written.
#[derive(Clone)]
pub enum Part {
    Main,
    Status,
    /// By a strategy of its own.
    Other(Arc<dyn Strategy>),
}

/// Makes the new object, in the request's version, of the present one (None: there is none).
pub type Make<'a> = dyn Fn(Option<&Value>) -> Result<Value, Status> + Send + Sync + 'a;

/// See the module.
pub struct Update<'a> {
    pub cx: &'a RequestContext,
    pub served: &'a Arc<Served>,
    /// "" for the resource itself.
    pub subresource: &'a str,
    pub part: Part,
    pub namespace: &'a str,
    pub name: &'a str,
    pub make: &'a Make<'a>,
    pub options: Value,
    pub preconditions: Preconditions,
    /// Creates what is not there (apply; PUT where the strategy allows).
    pub create: bool,
    /// The new object comes from the caller as a whole (PUT), so its uid is a precondition.
    pub whole: bool,
    /// False: `make` has set managedFields.
    pub manage_fields: bool,
    /// False: internal changes.
    pub admit: bool,
    /// Of a request that says all that `make` and the checks go by, beside the present object.
    pub fingerprint: Option<Fingerprint>,
}

/// What an update came to.
pub struct Updated {
    pub entry: Arc<Entry>,
    pub created: bool,
}

enum Step {
    /// Nothing changed. True: what `make` made is what there is, before anybody else had a look.
    Same(bool),
    Write(Box<Value>),
    /// The last finalizer went: delete; this is how the object looked then.
    Vanish(Box<Value>),
}

impl Registry {
    pub async fn update(&self, request: Update<'_>) -> Result<Updated, Status> {
        let stored = request.served.stored.clone().ok_or_else(Status::no_route)?;
        let key = stored.key(request.namespace, request.name);
        let store_key = stored.store_key(&key);
        let mut present = stored.current(&key);
        let mut fresh = false;
        if present.is_none() {
            (present, fresh) = (self.read_entry(&stored, &store_key).await?, true);
        }
        loop {
            let Some(entry) = &present else { return self.create_instead(&request).await };
            let old = stored.tree(entry);
            let step = self.step_or_known(&request, &stored, &old, entry.revision).await;
            if !fresh && !matches!(step, Ok((Step::Write(_) | Step::Vanish(_), _))) {
                let now = self.read_entry(&stored, &store_key).await?;
                fresh = true;
                if now.as_ref().map(|e| e.revision) != Some(entry.revision) {
                    present = now;
                    continue;
                }
            }
            let (step, undo) = step?;
            let written = match step {
                Step::Same(made) => {
                    self.note_unchanged(&request, entry.revision, made && undo.is_none());
                    Ok(Ok(entry.clone()))
                }
                Step::Write(new) => self.swap(request.cx, &stored, &key, entry.revision, *new).await,
                Step::Vanish(new) => {
                    self.remove(request.cx, &stored, &key, entry.revision, Some(Arc::new(*new))).await
                }
            };
            match (written, undo) {
                (Ok(Ok(entry)), _) => {
                    if !request.cx.dry_run {
                        let new = stored.tree(&entry);
                        request.served.strategy.committed(request.cx, Some(&new), Some(&old)).await;
                    }
                    return Ok(Updated { entry, created: false });
                }
                (outcome, undo) => {
                    if let Some(undo) = undo {
                        undo.undo().await;
                    }
                    present = outcome?.err().flatten();
                    fresh = true;
                }
            }
        }
    }

    async fn create_instead(&self, request: &Update<'_>) -> Result<Updated, Status> {
        let not_found = || Status::not_found(&request.served.gr, request.name);
        if !request.create || !request.subresource.is_empty() {
            return Err(not_found());
        }
        let mut object = (request.make)(None)?;
        meta::ensure_same(&mut object, request.served, request.namespace, request.name)?;
        if !object.uid().is_empty() {
            let stored = request.served.stored.as_ref().ok_or_else(Status::no_route)?;
            let key = stored.store_key(&stored.key(request.namespace, request.name));
            return Err(Status::conflict(
                &request.served.gr,
                request.name,
                wrong_uid(&key, object.uid(), ""),
            ));
        }
        object.meta_mut().remove("resourceVersion");
        let create = Create {
            cx: request.cx,
            served: request.served,
            namespace: request.namespace,
            object,
            options: request.options.clone(),
            manage_fields: request.manage_fields,
        };
        Ok(Updated { entry: self.create(create).await?, created: true })
    }

    async fn step_or_known(
        &self,
        request: &Update<'_>,
        stored: &Arc<Stored>,
        old: &Arc<Value>,
        revision: i64,
    ) -> Result<(Step, Option<Box<dyn crate::strategy::Undo>>), Status> {
        let known = request.fingerprint.is_some_and(|f| self.unchanged.holds(f, revision));
        if known && self.still_unchanged(request, old).await? {
            return Ok((Step::Same(true), None));
        }
        self.step(request, stored, old).await
    }

    /// Whether admission, too, leaves the object of a request as it is that is known to change nothing.
    async fn still_unchanged(&self, request: &Update<'_>, old: &Arc<Value>) -> Result<bool, Status> {
        let objects = (Some(Value::clone(old)), Some(old.clone()));
        let mut told = attributes(
            request.cx,
            request.served,
            Operation::Update,
            request.subresource,
            (request.namespace, request.name),
            objects,
            request.options.clone(),
        );
        self.mutate(&mut told).await?;
        if told.object.as_ref() != Some(&**old) {
            return Ok(false);
        }
        self.admit(&told).await.map(|()| true)
    }

    fn note_unchanged(&self, request: &Update<'_>, revision: i64, made: bool) {
        let cx = request.cx;
        if let Some(fingerprint) = request.fingerprint
            && made
            && !cx.dry_run
            && cx.warnings.is_empty()
        {
            self.unchanged.note(fingerprint, revision);
        }
    }

    /// Everything up to the write.
    async fn step(
        &self,
        request: &Update<'_>,
        stored: &Arc<Stored>,
        old: &Arc<Value>,
    ) -> Result<(Step, Option<Box<dyn crate::strategy::Undo>>), Status> {
        let (cx, served) = (request.cx, request.served);
        check_preconditions(served, request.name, old, &request.preconditions)?;
        let live = convert::shown(served, old).await?;
        let same_version = Arc::ptr_eq(&live, old);
        let mut new = (request.make)(Some(&live))?;
        meta::ensure_same(&mut new, served, request.namespace, request.name)?;
        let uid = new.uid();
        if request.whole && !uid.is_empty() && uid != old.uid() {
            let key = stored.store_key(&stored.key(request.namespace, request.name));
            return Err(Status::conflict(&served.gr, request.name, wrong_uid(&key, uid, old.uid())));
        }
        if request.manage_fields {
            self.manage(cx, served, request.subresource, &live, &mut new);
        }
        let made = request.fingerprint.is_some() && request.admit && same_version && new == *live;
        let place = (request.namespace, request.name);
        let objects = (Some(new), Some(live));
        let mut told = attributes(
            cx,
            served,
            Operation::Update,
            request.subresource,
            place,
            objects,
            request.options.clone(),
        );
        if request.admit {
            self.mutate(&mut told).await?;
        }
        let mut new = convert::to_storage(served, told.object.take().unwrap_or_default()).await?;
        take_version(request, &mut new, old)?;
        prepare(request, &mut new, old);
        meta::inherit(&mut new, old);
        self.check_change(request, stored, &new, old)?;
        let undo = served.strategy.allocate(cx, &mut new, Some(old)).await?;
        if request.admit {
            let admitted = self.admit_last(&mut told, served, &mut new).await;
            if let Err(status) = admitted {
                if let Some(undo) = undo {
                    undo.undo().await;
                }
                return Err(status);
            }
        }
        ignore_timestamps(old, &mut new);
        let due = old.meta().deletion_timestamp().is_some()
            && old.meta().deletion_grace_period_seconds().unwrap_or(0) == 0;
        if due && !served.strategy.is_held(&new) {
            return Ok((Step::Vanish(Box::new(new)), undo));
        }
        Ok((if new == **old { Step::Same(made) } else { Step::Write(Box::new(new)) }, undo))
    }

    /// Shows the finished object to the validating plugins.
    async fn admit_last(
        &self,
        told: &mut Attributes<'_>,
        served: &Served,
        new: &mut Value,
    ) -> Result<(), Status> {
        if !convert::is_shown(served, new) {
            told.object = Some(convert::one_from_storage(served, new).await?);
            return self.admit(told).await;
        }
        told.object = Some(std::mem::take(new));
        let outcome = self.admit(told).await;
        *new = told.object.take().unwrap_or_default();
        outcome
    }

    fn check_change(
        &self,
        request: &Update<'_>,
        stored: &Stored,
        new: &Value,
        old: &Value,
    ) -> Result<(), Status> {
        let (cx, served) = (request.cx, request.served);
        let mut errors = meta::validate_update(new, old);
        errors.extend(match &request.part {
            Part::Main => served.strategy.validate_update(cx, new, old),
            Part::Status => served.strategy.validate_status_update(cx, new, old),
            Part::Other(strategy) => strategy.validate_update(cx, new, old),
        });
        errors.extend(super::rules(&self.options.gates, &stored.shape().schema, new, Some(old)));
        super::dedup(&mut errors);
        if !errors.is_empty() {
            return Err(Status::invalid(&served.error_kind(), request.name, &errors));
        }
        served.strategy.warnings(new, Some(old)).into_iter().for_each(|w| cx.warnings.add(w));
        Ok(())
    }

    /// Writes if the store still has `revision`. The inner error: what it has instead.
    pub(super) async fn swap(
        &self,
        cx: &RequestContext,
        stored: &Arc<Stored>,
        key: &str,
        revision: i64,
        mut new: Value,
    ) -> Result<Result<Arc<Entry>, Option<Arc<Entry>>>, Status> {
        if cx.dry_run {
            return Ok(Ok(stored.entry(key.into(), revision, Arc::new(new))));
        }
        let store_key = stored.store_key(key);
        let value = Bytes::from(stored.encode(&store_key, &mut new)?);
        let lease = self.lease_of(stored, cx).await?;
        let writing = stored.own.begin(stored, key.into(), value.clone(), new);
        let txn = Txn {
            compares: vec![Compare::mod_revision(store_key.clone(), revision)],
            success: vec![Op::Put(PutRequest { lease, ..PutRequest::new(store_key.clone(), value) })],
            failure: vec![Op::Range(RangeRequest::key(store_key))],
        };
        let answer = timed(&stored.timers.update, self.store.txn(txn)).await.map_err(store_error)?;
        if !answer.succeeded {
            return Ok(Err(present(stored, answer.responses).await?));
        }
        Ok(Ok(writing.done(answer.revision)))
    }

    /// Deletes if the store still has `revision`; answers how the object looked (`last`, or as it was), at the
    /// revision of the deletion.
    pub(super) async fn remove(
        &self,
        cx: &RequestContext,
        stored: &Arc<Stored>,
        key: &str,
        revision: i64,
        last: Option<Arc<Value>>,
    ) -> Result<Result<Arc<Entry>, Option<Arc<Entry>>>, Status> {
        let store_key = stored.store_key(key);
        let last = match last.or_else(|| stored.known(key, revision).map(|e| stored.tree(&e))) {
            Some(last) => last,
            None => match self.read_entry(stored, &store_key).await? {
                Some(entry) => stored.tree(&entry),
                None => return Ok(Err(None)),
            },
        };
        if cx.dry_run {
            return Ok(Ok(stored.entry(key.into(), revision, last)));
        }
        let txn = Txn {
            compares: vec![Compare::mod_revision(store_key.clone(), revision)],
            success: vec![Op::DeleteRange(etcd::DeleteRangeRequest::key(store_key.clone()))],
            failure: vec![Op::Range(RangeRequest::key(store_key))],
        };
        let answer = timed(&stored.timers.delete, self.store.txn(txn)).await.map_err(store_error)?;
        if !answer.succeeded {
            return Ok(Err(present(stored, answer.responses).await?));
        }
        let mut last = Arc::unwrap_or_clone(last);
        last.meta_mut().insert("resourceVersion", answer.revision.to_string());
        Ok(Ok(stored.entry(key.into(), answer.revision, Arc::new(last))))
    }

    /// The newest state of a key.
    pub async fn read_entry(&self, stored: &Stored, store_key: &str) -> Result<Option<Arc<Entry>>, Status> {
        let found = timed(&stored.timers.get, self.store.range(RangeRequest::key(store_key.to_owned())))
            .await
            .map_err(store_error)?;
        entry_of(stored, found.kvs.first()).await
    }
}

/// The entry of a stored pair, decoded only if nobody has it.
pub(super) async fn entry_of(
    stored: &Stored,
    pair: Option<&etcd::KeyValue>,
) -> Result<Option<Arc<Entry>>, Status> {
    let Some(pair) = pair else { return Ok(None) };
    let key =
        std::str::from_utf8(&pair.key).ok().and_then(|k| k.strip_prefix(stored.prefix())).unwrap_or_default();
    if let Some(known) = stored.known(key, pair.mod_revision) {
        return Ok(Some(known));
    }
    stored.entry_of(pair).await.map(Some).map_err(|error| {
        let name = key.rsplit('/').next().unwrap_or_default();
        Status::new(500, Reason::InternalError, format!("Internal error occurred: {name}: {error}"))
    })
}

async fn present(stored: &Stored, responses: Vec<OpResponse>) -> Result<Option<Arc<Entry>>, Status> {
    match responses.into_iter().next() {
        Some(OpResponse::Range(found)) => entry_of(stored, found.kvs.first()).await,
        _ => Ok(None),
    }
}

/// Upstream's words for an object that was made anew meanwhile.
fn wrong_uid(key: &str, wanted: &str, is: &str) -> String {
    format!(
        "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {is}"
    )
}

/// The resourceVersion of the request against the present one.
fn take_version(request: &Update<'_>, new: &mut Value, old: &Value) -> Result<(), Status> {
    let given = new.meta().resource_version();
    let current = old.meta().resource_version();
    if given.is_empty() || given == "0" {
        if !request.served.strategy.allows_unconditional_update() && request.admit {
            let field = Path::new("metadata").child("resourceVersion");
            let mut error = Error::invalid(&field, "", "must be specified for an update");
            error.value = Some("0".into());
            return Err(Status::invalid(&request.served.error_kind(), request.name, &[error]));
        }
    } else if given != current {
        return Err(Status::modified(&request.served.gr, request.name));
    }
    let current = current.to_owned();
    new.meta_mut().insert("resourceVersion", current);
    Ok(())
}

/// What the request may not change comes from the old object; the generation counts.
fn prepare(request: &Update<'_>, new: &mut Value, old: &Value) {
    let (cx, served) = (request.cx, request.served);
    match old.at(&["metadata", "generation"]) {
        Some(generation) => new.set_at(&["metadata", "generation"], generation.clone()),
        None => drop(new.meta_mut().remove("generation")),
    }
    let has_status = served.subresources.contains_key("status");
    let Some(before) = old.as_map() else { return };
    match &request.part {
        Part::Main => {
            if served.schema.custom {
                prepare_custom(new, old, has_status);
            }
            served.strategy.prepare_for_update(cx, new.as_map_or_make(), before);
        }
        Part::Status => {
            take_status(new, old, served.schema.custom);
            served.strategy.prepare_for_status_update(cx, new.as_map_or_make(), before);
        }
        Part::Other(strategy) => strategy.prepare_for_update(cx, new.as_map_or_make(), before),
    }
}

/// Custom resources: status is its subresource's, the generation counts changes of all but metadata and status.
fn prepare_custom(new: &mut Value, old: &Value, has_status: bool) {
    if has_status {
        match old.get("status") {
            Some(status) => new.set_at(&["status"], status.clone()),
            None => drop(new.remove_at(&["status"])),
        }
    }
    let rest = |value: &Value| -> Vec<(api::value::Key, Value)> {
        let skip =
            |k: &str| k == "metadata" || k == "apiVersion" || k == "kind" || (has_status && k == "status");
        let mut fields: Vec<_> = value
            .as_map()
            .into_iter()
            .flat_map(|m| m.iter())
            .filter(|(k, _)| !skip(k))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        fields
    };
    if rest(new) != rest(old) {
        new.set_at(&["metadata", "generation"], old.meta().generation() + 1);
    }
}

/// Only `status` comes from the request, and metadata (of custom resources only managedFields).
fn take_status(new: &mut Value, old: &Value, custom: bool) {
    let status = new.remove_at(&["status"]);
    let mut metadata = new.remove_at(&["metadata"]);
    if custom {
        let managed = metadata.as_mut().and_then(|m| m.as_map_mut()?.remove("managedFields"));
        let version = old.at(&["metadata", "resourceVersion"]).cloned();
        let mut kept = old.get("metadata").cloned().unwrap_or_else(Value::map);
        let map = kept.as_map_or_make();
        map.remove("managedFields");
        if let Some(managed) = managed {
            map.insert("managedFields", managed);
        }
        if let Some(version) = version {
            map.insert("resourceVersion", version);
        }
        metadata = Some(kept);
    }
    // What is the same is moved rather than copied.
    let (asked, mut kept) = (new.as_map_or_make(), Map::with_capacity(8));
    for (key, was) in old.as_map().into_iter().flat_map(Map::iter) {
        match (key.as_str(), asked.get_mut(key)) {
            ("metadata" | "status", _) => {}
            (_, Some(same)) if same == was => kept.push(key.clone(), std::mem::take(same)),
            _ => kept.push(key.clone(), was.clone()),
        }
    }
    for (key, value) in [("metadata", metadata), ("status", status)] {
        if let Some(value) = value {
            kept.push(key, value);
        }
    }
    *new = Value::Map(kept);
}

/// 409 in upstream's words when a precondition does not hold.
pub(super) fn check_preconditions(
    served: &Served,
    name: &str,
    old: &Value,
    preconditions: &Preconditions,
) -> Result<(), Status> {
    let of_kind = GroupResource { group: served.gr.group.clone(), resource: served.gvk.kind.clone() };
    let fail = |what: &str, wanted: &str, is: &str, tail: &str| {
        let why = format!(
            "the {what} in the precondition ({wanted}) does not match the {what} in record ({is}). The object might have been {tail}"
        );
        Err(Status::conflict(&of_kind, name, why))
    };
    if let Some(uid) = &preconditions.uid
        && uid != old.uid()
    {
        return fail("UID", uid, old.uid(), "deleted and then recreated");
    }
    if let Some(wanted) = preconditions.resource_version
        && wanted.to_string() != old.meta().resource_version()
    {
        return fail("ResourceVersion", &wanted.to_string(), old.meta().resource_version(), "modified");
    }
    Ok(())
}
