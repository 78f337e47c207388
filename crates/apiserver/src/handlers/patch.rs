//! PATCH: JSON patch, merge patch, strategic merge patch and server-side apply, each a way to make the new object out
//! of the present one; the rest is an update.

use std::sync::Arc;

use api::Value;
use api::canonical::{CanonError, Finding, Found, canonicalize};
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
use crate::registry::{Fingerprint, KindVersions, Update, reset_of};
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
    /// Fields that came twice in it (keys, of an applied configuration).
    found: Found,
    manager: String,
    force: bool,
}

impl Patch {
    pub fn read(asked: &Asked<'_>, kind: Kind, bytes: &Bytes) -> Result<Self, Status> {
        let bad = |e: String| Status::bad_request(format!("error decoding patch: {e}"));
        let invalid = |_| Status::bad_request("invalid JSON patch");
        let (body, found) = match kind {
            Kind::Apply => {
                let (value, doubles) = api::yaml::parse_strict(bytes).map_err(|e| {
                    let why = e.to_string();
                    let why = why.trim_start_matches("error converting YAML to JSON: ");
                    Status::bad_request(format!("error encoding patch: {why}"))
                })?;
                if value.is_null() {
                    return Err(Status::bad_request("invalid object type: /, Kind="));
                }
                if value.as_map().is_none() {
                    let why = no_map(&value);
                    return Err(bad(format!("error unmarshaling JSON: while decoding JSON: {why}")));
                }
                (value, doubles)
            }
            Kind::Json => {
                let parsed = api::json::parse_strict(bytes).map_err(invalid)?;
                let told = parsed.found.messages().into_iter().map(|m| format!("json patch {m}"));
                (parsed.value, told.map(Finding::Text).collect())
            }
            Kind::Merge | Kind::Strategic => {
                let parsed = api::json::parse_strict(bytes).map_err(invalid)?;
                if parsed.value.as_map().is_none() {
                    let error = no_map(&parsed.value);
                    return Err(if kind == Kind::Merge { bad(error) } else { Status::bad_request(error) });
                }
                (parsed.value, parsed.found)
            }
        };
        let manager = asked.cx.field_manager.clone();
        Ok(Self { kind, body, found, manager, force: asked.query.flag("force") })
    }

    /// The patched object, canonical and defaulted, of one of the version of `served`.
    pub fn apply(
        &self,
        served: &Served,
        live: &Value,
        validation: FieldValidation,
        cx: &RequestContext,
    ) -> Result<Value, Status> {
        let refused = |error: String| refusal(&self.shown(served, live), &error);
        let mut object = self.patched(served, live)?;
        self.keep_type(served, live, &mut object).map_err(refused)?;
        let mut found = self.found.clone();
        canonicalize(&mut object, &served.schema, &mut found).map_err(|e| {
            refused(if self.kind == Kind::Strategic { restore_error(&e) } else { e.to_string() })
        })?;
        if validation == FieldValidation::Strict && !found.is_empty() {
            return Err(refused(found.strict_error()));
        }
        decode::report(&found, validation, cx, "")?;
        decode::complete(served, &mut object);
        Ok(object)
    }

    /// A patch does not make the object one of another type: a strategic one is of this type whatever it says.
    fn keep_type(&self, served: &Served, live: &Value, object: &mut Value) -> Result<(), String> {
        let other = |key: &str, of: &str| !matches!(object.str_at(&[key]), "") && object.str_at(&[key]) != of;
        let (kind, version) = (live.kind().to_owned(), live.api_version().to_owned());
        let differs = other("kind", &kind) || other("apiVersion", &version);
        if differs && self.kind != Kind::Strategic && !served.schema.custom {
            return Err(format!(
                "no kind {:?} is registered for version {:?} in scheme \"pkg/runtime/scheme.go:111\"",
                object.kind(),
                object.api_version()
            ));
        }
        if differs && served.schema.custom && self.kind != Kind::Strategic {
            return Ok(());
        }
        object.set_at(&["kind"], kind);
        object.set_at(&["apiVersion"], version);
        Ok(())
    }

    /// The patched object as errors show it: in Go's order, but for the maps that the patch went into, which are
    /// sorted. Of a strategic patch it is the patch itself. Made anew, as this is rare.
    fn shown(&self, served: &Served, live: &Value) -> String {
        if self.kind == Kind::Strategic {
            return merge::go_text(&self.body);
        }
        let mut text = Vec::new();
        api::json::write(&mut text, live, &served.schema);
        let ordered = api::json::parse(&text).unwrap_or_default();
        let mut object = self.patched(served, &ordered).unwrap_or_default();
        match self.kind {
            Kind::Merge => sort_along(&mut object, &self.body),
            _ => {
                let paths = self.body.as_list().into_iter().flatten().map(|o| o.str_at(&["path"]));
                paths.for_each(|path| sort_at(&mut object, path));
            }
        }
        api::json::to_string(&object)
    }

    /// Unknown and double fields of an applied configuration.
    fn report_apply(
        &self,
        served: &Served,
        validation: FieldValidation,
        cx: &RequestContext,
    ) -> Result<(), Status> {
        if validation == FieldValidation::Ignore {
            return Ok(());
        }
        let read = api::yaml::canonical(self.body.clone(), self.found.clone(), &served.schema);
        // What does not fit the type is told by apply in its own words.
        let Ok((_, found)) = read else { return Ok(()) };
        let twice = found.only_double();
        if validation == FieldValidation::Strict && !twice.is_empty() {
            let twice = twice.words().join("");
            return Err(Status::bad_request(format!(
                "error strict decoding patch: error converting YAML to JSON: {twice}"
            )));
        }
        decode::report(&found, validation, cx, "")
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
    refusal(&api::json::to_string(object), error)
}

/// The 422 of a patch that makes no object of the type; `shown`: what it made.
fn refusal(shown: &str, error: &str) -> Status {
    let error = Error::invalid(&Path::new("patch"), &shown.to_owned(), error);
    Status::invalid(&GroupKind { group: "".into(), kind: "".into() }, "", &[error])
}

fn no_map(value: &Value) -> String {
    let got = match value {
        Value::List(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Null => "null",
        _ => "number",
    };
    format!("json: cannot unmarshal {got} into Go value of type map[string]interface {{}}")
}

/// A value of the wrong type, in the words of Go's reader of maps.
fn restore_error(error: &CanonError) -> String {
    let CanonError::Type { got, wanted, .. } = error else { return error.to_string() };
    let kind = match got.split(' ').next().unwrap_or_default() {
        "number" => "int64",
        "array" => "slice",
        "object" => "map",
        other => other,
    };
    match wanted.as_str() {
        w if w.starts_with("[]") => format!("cannot restore slice from {kind}"),
        w if w.starts_with("map[") => format!("cannot restore map from {kind}"),
        w if w.contains('.') => format!("cannot restore struct from: {kind}"),
        w => format!("unrecognized type: {w}"),
    }
}

/// Sorts the maps that a merge patch goes into.
fn sort_along(object: &mut Value, patch: &Value) {
    let (Some(map), Some(patch)) = (object.as_map_mut(), patch.as_map()) else { return };
    map.sort_keys();
    for (key, below) in patch.iter() {
        if let Some(value) = map.get_mut(key) {
            sort_along(value, below);
        }
    }
}

/// Sorts the maps on the way to what a JSON pointer names.
fn sort_at(object: &mut Value, pointer: &str) {
    let mut at = object;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        if let Some(map) = at.as_map_mut() {
            map.sort_keys();
        }
        let next = match at {
            Value::Map(map) => map.get_mut(&token),
            Value::List(list) => token.parse::<usize>().ok().and_then(|i| list.get_mut(i)),
            _ => None,
        };
        let Some(next) = next else { return };
        at = next;
    }
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

/// Of a patch: all that its result depends on, beside the object.
fn fingerprint(asked: &Asked<'_>, served: &Served, kind: Kind, bytes: &Bytes) -> Fingerprint {
    let (cx, uri) = (asked.cx, asked.request.uri());
    let query = uri.query().unwrap_or_default();
    let parts =
        [&[kind as u8][..], uri.path().as_bytes(), query.as_bytes(), cx.field_manager.as_bytes(), bytes];
    Fingerprint::of(&parts, &cx.user, served.generation)
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
            patch.report_apply(&served, validation, cx)?;
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
        fingerprint: Some(fingerprint(&asked, &served, kind, &bytes)),
    };
    let updated = asked.chain.registry.update(request).await?;
    let code = if updated.created { 201 } else { 200 };
    represent::answer(&asked, &served, &updated.entry, code, &offer).await
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
