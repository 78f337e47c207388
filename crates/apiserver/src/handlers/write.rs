//! POST and PUT of stored objects.

use std::sync::Arc;

use api::Value;
use apimachinery::Status;
use http::Response;

use super::{Asked, decode, represent, wrong_method};
use crate::catalog::{Served, Subresource};
use crate::endpoint::Body;
use crate::http::negotiate::{body_media, wanted};
use crate::registry::{Create, Part, Update};
use crate::resource::Preconditions;

/// The options of a request as an object, for admission.
pub(super) fn options(asked: &Asked<'_>, kind: &str) -> Value {
    let mut out = Value::map();
    out.set_at(&["kind"], kind);
    out.set_at(&["apiVersion"], "meta.k8s.io/v1");
    if asked.cx.dry_run {
        out.set_at(&["dryRun"], vec![Value::from("All")]);
    }
    for key in ["fieldManager", "fieldValidation"] {
        if let Some(value) = asked.query.get(key).filter(|v| !v.is_empty()) {
            out.set_at(&[key], value);
        }
    }
    if asked.query.flag("force") {
        out.set_at(&["force"], true);
    }
    out
}

pub(super) async fn create(mut asked: Asked<'_>, served: Arc<Served>) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, represent::stored_offer(&served))?;
    let validation = decode::field_validation(asked.query, "CreateOptions")?;
    let media = body_media(asked.request.headers())?;
    let bytes = asked.body().await?;
    let (mut object, found) = decode::object(media, &bytes, &served.schema, &served.gvk)?;
    decode::report(&found, validation, asked.cx, &decode::subject(&served.gvk))?;
    drop(bytes);
    decode::complete(&served, &mut object);
    let namespace = if served.row.namespaced { asked.cx.info.namespace.as_str() } else { "" };
    let request = Create {
        cx: asked.cx,
        served: &served,
        namespace,
        object,
        options: options(&asked, "CreateOptions"),
        manage_fields: true,
    };
    let entry = asked.chain.registry.create(request).await?;
    represent::answer(&asked, &served, &entry, 201, &offer).await
}

/// Which part of the object a subresource writes.
pub(super) fn part(served: &Served, subresource: &str) -> Result<Part, Status> {
    match served.subresources.get(subresource) {
        None if subresource.is_empty() => Ok(Part::Main),
        Some(Subresource::Status) => Ok(Part::Status),
        Some(Subresource::Part(strategy)) => Ok(Part::Other(strategy.clone())),
        _ => Err(wrong_method()),
    }
}

pub(super) async fn update(
    mut asked: Asked<'_>,
    served: Arc<Served>,
    subresource: &str,
) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, represent::stored_offer(&served))?;
    let validation = decode::field_validation(asked.query, "UpdateOptions")?;
    let media = body_media(asked.request.headers())?;
    let bytes = asked.body().await?;
    let (mut object, found) = decode::object(media, &bytes, &served.schema, &served.gvk)?;
    decode::report(&found, validation, asked.cx, &decode::subject(&served.gvk))?;
    drop(bytes);
    decode::complete(&served, &mut object);
    let info = &asked.cx.info;
    let make = |_: Option<&Value>| Ok(object.clone());
    let request = Update {
        cx: asked.cx,
        served: &served,
        subresource,
        part: part(&served, subresource)?,
        namespace: if served.row.namespaced { &info.namespace } else { "" },
        name: &info.name,
        make: &make,
        options: options(&asked, "UpdateOptions"),
        preconditions: Preconditions::default(),
        create: subresource.is_empty() && served.strategy.allows_create_on_update(),
        whole: true,
        manage_fields: true,
        admit: true,
        fingerprint: None,
    };
    let updated = asked.chain.registry.update(request).await?;
    let code = if updated.created { 201 } else { 200 };
    represent::answer(&asked, &served, &updated.entry, code, &offer).await
}
