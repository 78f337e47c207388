//! Objects between the version of a request and the version of storage.

use api::Value;
use apimachinery::Status;

use crate::catalog::Served;

/// Brings an object of the request's version to the storage version.
pub async fn to_storage(served: &Served, object: Value) -> Result<Value, Status> {
    let Some(stored) = &served.stored else { return Ok(object) };
    let shape = stored.shape();
    if served.gv == shape.gv {
        return Ok(object);
    }
    let mut out = served.converter.convert(vec![object], &served.gv, &shape.gv).await?;
    out.pop().ok_or_else(|| Status::internal("conversion answered nothing"))
}

/// Brings objects of the storage version to the version in which they are served, with its defaults.
pub async fn from_storage(served: &Served, objects: Vec<Value>) -> Result<Vec<Value>, Status> {
    let Some(stored) = &served.stored else { return Ok(objects) };
    let shape = stored.shape();
    if served.gv == shape.gv {
        return Ok(objects);
    }
    let mut out = served.converter.convert(objects, &shape.gv, &served.gv).await?;
    for object in &mut out {
        api::defaults::apply(object, &served.schema);
        served.strategy.default(&served.gv.version, object.as_map_or_make());
    }
    Ok(out)
}

pub async fn one_from_storage(served: &Served, object: &Value) -> Result<Value, Status> {
    let mut out = from_storage(served, vec![object.clone()]).await?;
    out.pop().ok_or_else(|| Status::internal("conversion answered nothing"))
}
