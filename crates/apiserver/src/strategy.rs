//! What a kind adds to its rows in the table: a strategy is what is not data. Every method has a default, so a
//! kind whose behaviour the table says in full needs none.
//!
//! Order on create: decode and canonical form -> constant defaults of the table -> `default` -> mutating admission ->
//! `prepare_for_create` -> declarative rules and `validate` -> `allocate` -> validating admission -> store.
//! Order on update: ... -> `prepare_for_update` -> rules and `validate_update` -> `allocate` -> store.
//! Objects are in the storage version's (internal) form unless a method says otherwise.

use std::sync::Arc;

use api::{Map, Value};
use apimachinery::Status;
use apimachinery::field::ErrorList;
use async_trait::async_trait;

use crate::request::RequestContext;

/// Undoes what [`Strategy::allocate`] took, when the write then fails; dropped without effect when it succeeds.
#[async_trait]
pub trait Undo: Send {
    async fn undo(self: Box<Self>);
}

/// What deleting means for this object now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grace {
    /// The kind knows no grace: finalizers alone decide.
    Immediate,
    /// Set deletionTimestamp and deletionGracePeriodSeconds and wait for somebody to delete with 0.
    Seconds(i64),
}

#[async_trait]
pub trait Strategy: Send + Sync {
    /// Defaults that look at other fields. `version` is the one the object is in; also runs on objects read from
    /// the store, so it must be idempotent and must not need a request.
    fn default(&self, version: &str, object: &mut Map) {
        let _ = (version, object);
    }

    /// Removes what the caller may not set, sets what the server decides (status, generation, ...).
    fn prepare_for_create(&self, cx: &RequestContext, object: &mut Map) {
        let _ = (cx, object);
    }

    /// Keeps what this request may not change (status on the main resource) and counts the generation. The registry
    /// has put the old generation into `object` before.
    fn prepare_for_update(&self, cx: &RequestContext, object: &mut Map, old: &Map) {
        let _ = (cx, object, old);
    }

    /// For the `status` subresource. The registry has put everything of `old` but `metadata` and `status` into `object`
    /// before (as most upstream strategies do); this resets what else may not be changed, such as labels.
    fn prepare_for_status_update(&self, cx: &RequestContext, object: &mut Map, old: &Map) {
        let _ = (cx, object, old);
    }

    fn validate(&self, cx: &RequestContext, object: &Value) -> ErrorList {
        let _ = (cx, object);
        ErrorList::new()
    }

    fn validate_update(&self, cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        let _ = (cx, object, old);
        ErrorList::new()
    }

    fn validate_status_update(&self, cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        let _ = (cx, object, old);
        ErrorList::new()
    }

    /// Warnings for the caller about an accepted object.
    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let _ = (object, old);
        Vec::new()
    }

    /// Takes what exists once in the cluster (service IPs, node ports) and writes it into the object.
    /// `old` is None on create. Must not keep anything on dry run.
    async fn allocate(
        &self,
        cx: &RequestContext,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Option<Box<dyn Undo>>, Status> {
        let _ = (cx, object, old);
        Ok(None)
    }

    /// After the write is durable: release of what the old object held, companions made by the server itself.
    async fn committed(&self, cx: &RequestContext, object: Option<&Arc<Value>>, old: Option<&Arc<Value>>) {
        let _ = (cx, object, old);
    }

    /// `requested` is `gracePeriodSeconds` of the delete, if given.
    fn grace(&self, object: &Value, requested: Option<i64>) -> Grace {
        let _ = (object, requested);
        Grace::Immediate
    }

    /// Whether something still holds the object back from vanishing: its finalizers (namespaces: `spec.finalizers`
    /// too).
    fn is_held(&self, object: &Value) -> bool {
        object.meta().finalizers().next().is_some()
    }

    /// The object has just been marked for deletion: what else shows it (namespaces: `status.phase`).
    fn mark_deleted(&self, cx: &RequestContext, object: &mut Map) {
        let _ = (cx, object);
    }

    /// May refuse a delete (or a part of deletecollection).
    fn validate_delete(&self, cx: &RequestContext, object: &Value) -> Result<(), Status> {
        let _ = (cx, object);
        Ok(())
    }

    /// The warning that every request for the kind gets (upstream's lifecycle of APIs).
    fn deprecation(&self) -> Option<&str> {
        None
    }

    /// The warning to who deletes without saying what becomes of the dependents.
    fn delete_warning(&self) -> Option<&str> {
        None
    }

    /// `conditions` of the object's row in a Table.
    fn row_conditions(&self, object: &Value) -> Option<Value> {
        let _ = object;
        None
    }

    /// DELETE answers the deleted object instead of a Status.
    fn returns_deleted(&self) -> bool {
        false
    }

    /// PUT to a name that does not exist creates it.
    fn allows_create_on_update(&self) -> bool {
        false
    }

    /// PUT without a resourceVersion overwrites.
    fn allows_unconditional_update(&self) -> bool {
        true
    }

    /// Orphan rather than collect dependents when a delete says nothing (upstream's default GC policy of a few old
    /// kinds and versions).
    fn orphans_dependents_by_default(&self, version: &str) -> bool {
        let _ = version;
        false
    }

    /// Refuses a name that DNS-1123 subdomain syntax would accept, or accepts one it would not; upstream's words.
    /// None: the default rule (DNS-1123 subdomain).
    fn name_errors(&self, name: &str, generated_prefix: bool) -> Option<Vec<String>> {
        let _ = (name, generated_prefix);
        None
    }

    /// The values of the Table's columns, in the order of `columns.jsonl`. None: name and age only.
    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let _ = (object, now);
        None
    }

    /// The value of a field label other than metadata.name and metadata.namespace, for field selectors and the
    /// cache's indexes (`spec.nodeName`, `status.phase`). Only labels of the resource's row are asked for.
    fn field_value(&self, object: &Value, label: &str) -> String {
        let path: Vec<&str> = label.split('.').collect();
        match object.at(&path) {
            Some(Value::String(s)) => s.to_string(),
            Some(Value::Bool(b)) => b.to_string(),
            Some(Value::Int(n)) => n.to_string(),
            _ => String::new(),
        }
    }

    /// Field labels that the watch cache indexes, beside namespace and labels.
    fn indexed_fields(&self) -> &'static [&'static str] {
        &[]
    }
}

/// The strategy of a kind about which the table says all.
pub struct Plain;

#[async_trait]
impl Strategy for Plain {}
