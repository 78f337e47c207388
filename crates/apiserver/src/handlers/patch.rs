//! PATCH: JSON patch, merge patch, strategic merge patch and server-side apply, each a way to make the new object out
//! of the present one; the rest is an update.

use std::sync::Arc;

use api::Value;
use api::canonical::{Found, canonicalize};
use api::merge::{self, FieldManager};
use apimachinery::field::{Error, Path};
use apimachinery::status::Details;
use apimachinery::{GroupKind, Status};
use bytes::Bytes;
use http::{Response, header};

use super::decode::{self, FieldValidation};
use super::{Asked, represent, write};
use crate::catalog::Served;
use crate::endpoint::Body;
use crate::http::negotiate::wanted;
use crate::registry::{KindVersions, Update, reset_of};
use crate::request::RequestContext;
use crate::resource::Preconditions;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Merge,
    Strategic,
    Apply,
}

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// The kind of patch by its media type; 415 in upstream's words.
pub(super) fn kind(asked: &Asked<'_>, custom: bool) -> Result<Kind, Status> {
    let value =
        asked.request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match value.split(';').next().unwrap_or_default().trim() {
        JSON => Ok(Kind::Json),
        MERGE => Ok(Kind::Merge),
        STRATEGIC if !custom => Ok(Kind::Strategic),
        APPLY => Ok(Kind::Apply),
        _ => {
            Err(Status::unsupported_media_type("415: Unsupported Media Type")
                .with_details(Details::default()))
        }
    }
}

fn bad_options(error: Error) -> Status {
    Status::invalid(&GroupKind { group: "meta.k8s.io".into(), kind: "PatchOptions".into() }, "", &[error])
}

/// `force` and `fieldManager` belong to apply.
pub(super) fn check_options(asked: &Asked<'_>, kind: Kind) -> Result<(), Status> {
    let manager = asked.query.get("fieldManager").unwrap_or_default();
    match kind {
        Kind::Apply if manager.is_empty() => {
            Err(bad_options(Error::required(&Path::new("fieldManager"), "is required for apply patch")))
        }
        Kind::Apply => Ok(()),
        _ if asked.query.get("force").is_some() => Err(bad_options(Error::forbidden(
            &Path::new("force"),
            "may not be specified for non-apply patch",
        ))),
        _ => Ok(()),
    }
}

/// A patch that was read.
pub(super) struct Patch {
    pub kind: Kind,
    body: Value,
    manager: String,
    force: bool,
}

impl Patch {
    pub fn read(asked: &Asked<'_>, kind: Kind, bytes: &Bytes) -> Result<Self, Status> {
        let bad = |e: String| Status::bad_request(format!("error decoding patch: {e}"));
        let body = match kind {
            Kind::Apply => {
                let value = api::yaml::parse(bytes)
                    .map_err(|e| Status::bad_request(format!("error decoding YAML: {e}")))?;
                if value.as_map().is_none() {
                    return Err(Status::bad_request("error decoding YAML: the configuration is no object"));
                }
                value
            }
            Kind::Json => api::json::parse(bytes).map_err(|e| bad(e.to_string()))?,
            Kind::Merge => api::json::parse(bytes).map_err(|_| Status::bad_request("invalid JSON patch"))?,
            Kind::Strategic => api::json::parse(bytes).map_err(|e| Status::bad_request(e.to_string()))?,
        };
        let manager = asked.cx.field_manager.clone();
        Ok(Self { kind, body, manager, force: asked.query.flag("force") })
    }

    /// The patched object, canonical and defaulted, of one of the version of `served`.
    pub fn apply(
        &self,
        served: &Served,
        live: &Value,
        validation: FieldValidation,
        cx: &RequestContext,
    ) -> Result<Value, Status> {
        let mut object = self.patched(served, live)?;
        canonical(served, &mut object, validation, cx).map_err(|error| match error {
            // The object as patched stands in the message; it is made again, as this is rare.
            Refused::Type(error) => wrong_type(&self.patched(served, live).unwrap_or_default(), &error),
            Refused::Status(status) => status,
        })?;
        Ok(object)
    }

    fn patched(&self, served: &Served, live: &Value) -> Result<Value, Status> {
        match self.kind {
            Kind::Json => merge::json_patch(live.clone(), &self.body),
            Kind::Merge => {
                let mut object = live.clone();
                merge::merge_patch(&mut object, self.body.clone());
                Ok(object)
            }
            Kind::Strategic => {
                let mut object = live.clone();
                merge::strategic_merge_patch(&served.schema, &mut object, self.body.clone())?;
                Ok(object)
            }
            Kind::Apply => Err(Status::internal("apply needs the field manager")),
        }
    }
}

enum Refused {
    Type(String),
    Status(Status),
}

fn wrong_type(object: &Value, error: &str) -> Status {
    let error = Error::invalid(&Path::new("patch"), &api::json::to_string(object), error);
    Status::invalid(&GroupKind { group: "".into(), kind: "".into() }, "", &[error])
}

/// Back into the canonical form after a patch, with defaults.
fn canonical(
    served: &Served,
    object: &mut Value,
    validation: FieldValidation,
    cx: &RequestContext,
) -> Result<(), Refused> {
    let mut found = Found::default();
    canonicalize(object, &served.schema, &mut found).map_err(|e| Refused::Type(e.to_string()))?;
    decode::report(&found, validation, cx, "").map_err(Refused::Status)?;
    decode::complete(served, object);
    Ok(())
}

pub(super) async fn patch(
    mut asked: Asked<'_>,
    served: Arc<Served>,
    subresource: &str,
) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, represent::stored_offer(&served))?;
    let kind = kind(&asked, served.schema.custom)?;
    check_options(&asked, kind)?;
    let validation = decode::field_validation(asked.query, "PatchOptions")?;
    let bytes = asked.body().await?;
    let patch = Patch::read(&asked, kind, &bytes)?;
    let (cx, info) = (asked.cx, &asked.cx.info);
    let versions = KindVersions { catalog: &asked.chain.registry.catalog, served: &served };
    let reset = reset_of(&served, subresource);
    let fields = FieldManager { kind: &served.gvk, subresource, versions: &versions, reset: &reset };
    let make = |live: Option<&Value>| match (patch.kind, live) {
        (Kind::Apply, live) => {
            let empty;
            let live = match live {
                Some(live) => live,
                None => {
                    empty = merge::empty(&served.schema, &served.gvk);
                    &empty
                }
            };
            let mut object = fields.apply(live, &patch.body, &patch.manager, patch.force, cx.now)?;
            report_apply(&served, &bytes, validation, cx)?;
            canonical(&served, &mut object, FieldValidation::Ignore, cx).map_err(|error| match error {
                Refused::Type(error) => wrong_type(&patch.body, &error),
                Refused::Status(status) => status,
            })?;
            Ok(object)
        }
        (_, Some(live)) => patch.apply(&served, live, validation, cx),
        (_, None) => Err(Status::not_found(&served.gr, &info.name)),
    };
    let request = Update {
        cx,
        served: &served,
        subresource,
        part: write::part(&served, subresource)?,
        namespace: if served.row.namespaced { &info.namespace } else { "" },
        name: &info.name,
        make: &make,
        options: write::options(&asked, "PatchOptions"),
        preconditions: Preconditions::default(),
        create: kind == Kind::Apply && subresource.is_empty(),
        whole: false,
        manage_fields: kind != Kind::Apply,
        admit: true,
    };
    let updated = asked.chain.registry.update(request).await?;
    let code = if updated.created { 201 } else { 200 };
    represent::answer(&asked, &served, &updated.entry, code, &offer).await
}

/// Unknown and double fields of an applied configuration.
fn report_apply(
    served: &Served,
    bytes: &Bytes,
    validation: FieldValidation,
    cx: &RequestContext,
) -> Result<(), Status> {
    if validation == FieldValidation::Ignore {
        return Ok(());
    }
    let found = match api::yaml::decode(bytes, &served.schema) {
        Ok((_, found)) => found,
        // What does not fit the type is told by apply in its own words.
        Err(_) => return Ok(()),
    };
    decode::report(&found, validation, cx, "")
}

/// A patch of an object that has no managedFields of its own (scale, endpoints); apply overlays what it says.
pub(super) fn plain(
    kind: Kind,
    mut object: Value,
    bytes: &Bytes,
    of: &api::schema::Type,
) -> Result<Value, Status> {
    let bad = |e: String| Status::bad_request(format!("error decoding patch: {e}"));
    let body = match kind {
        Kind::Apply => api::yaml::parse(bytes).map_err(|e| bad(e.to_string()))?,
        _ => api::json::parse(bytes).map_err(|e| bad(e.to_string()))?,
    };
    match kind {
        Kind::Json => object = merge::json_patch(object, &body)?,
        Kind::Strategic => merge::strategic_merge_patch(of, &mut object, body)?,
        Kind::Merge | Kind::Apply => merge::merge_patch(&mut object, body),
    }
    canonicalize(&mut object, of, &mut Found::default()).map_err(|e| Status::bad_request(e.to_string()))?;
    Ok(object)
}
