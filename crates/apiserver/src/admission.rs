//! The contract of admission plugins: what looks at, changes or refuses an object between authorization and
//! storage (the registry calls mutating ones before validation, validating ones after).

mod rounds;

use std::sync::Arc;

use api::Value;
use apimachinery::{GroupVersionKind, GroupVersionResource, Status};
use async_trait::async_trait;

use crate::request::RequestContext;

pub use rounds::Rounds;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// One write as admission sees it.
#[derive(Debug)]
pub struct Attributes<'a> {
    pub cx: &'a RequestContext,
    pub operation: Operation,
    /// Of the object as the request has it.
    pub kind: GroupVersionKind,
    pub resource: GroupVersionResource,
    /// "" for the resource itself.
    pub subresource: &'a str,
    pub namespace: &'a str,
    /// May be empty on create with generateName.
    pub name: &'a str,
    /// The object to be written, in the version of the request; None on delete.
    pub object: Option<Value>,
    /// Update and delete: what is stored now.
    pub old_object: Option<Arc<Value>>,
    /// CreateOptions, UpdateOptions, DeleteOptions or PatchOptions.
    pub options: Value,
    /// How often mutating plugins run.
    pub rounds: Rounds,
}

#[async_trait]
pub trait Plugin: Send + Sync {
    /// As `--enable-admission-plugins` spells it.
    fn name(&self) -> &'static str;

    fn handles(&self, operation: Operation) -> bool;

    /// May change `attributes.object`.
    async fn mutate(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let _ = attributes;
        Ok(())
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let _ = attributes;
        Ok(())
    }
}
