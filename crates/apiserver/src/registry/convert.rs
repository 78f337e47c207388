//! Objects between the version of a request and the version of storage.
//!
//! Which version an object has it says itself: the storage version of a custom resource may have become another one
//! since the object was read or written.

use std::sync::Arc;

use api::Value;
use apimachinery::{GroupVersion, Status};

use crate::catalog::Served;

/// Brings an object of the request's version to the storage version.
pub async fn to_storage(served: &Served, object: Value) -> Result<Value, Status> {
    let Some(stored) = &served.stored else { return Ok(object) };
    let shape = stored.shape();
    if served.gv == *shape.gv {
        return Ok(object);
    }
    let mut out = served.converter.convert(vec![object], &served.gv, &shape.gv).await?;
    out.pop().ok_or_else(no_answer)
}

/// Whether an object is in the version in which it is served.
pub fn is_shown(served: &Served, object: &Value) -> bool {
    let (group, version) = api::resources::split(object.api_version());
    *served.gv.group == *group && *served.gv.version == *version
}

/// The object in the version in which it is served, with its defaults; the same one if it is in that version.
pub async fn shown(served: &Served, object: &Arc<Value>) -> Result<Arc<Value>, Status> {
    if is_shown(served, object) {
        return Ok(object.clone());
    }
    one_from_storage(served, object).await.map(Arc::new)
}

/// [`shown`], for an object that stays with the caller.
pub async fn one_from_storage(served: &Served, object: &Value) -> Result<Value, Status> {
    if is_shown(served, object) {
        return Ok(object.clone());
    }
    let (group, version) = api::resources::split(object.api_version());
    let from = GroupVersion::new(group, version);
    let mut out = served.converter.convert(vec![object.clone()], &from, &served.gv).await?;
    let mut object = out.pop().ok_or_else(no_answer)?;
    api::defaults::apply(&mut object, &served.schema);
    served.strategy.default(&served.gv.version, object.as_map_or_make());
    Ok(object)
}

fn no_answer() -> Status {
    Status::internal("conversion answered nothing")
}
