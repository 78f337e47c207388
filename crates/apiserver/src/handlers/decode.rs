//! Request bodies: decoded into the canonical form, with upstream's words for what is wrong with them, and defaults.

use api::Value;
use api::canonical::Found;
use api::schema::Type;
use apimachinery::{GroupVersionKind, Status};

use crate::catalog::Served;
use crate::codec;
use crate::endpoint::Query;
use crate::form::Media;
use crate::request::RequestContext;

/// What to do with fields that the type does not have, and with those that come twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    Strict,
    Warn,
    Ignore,
}

/// `fieldValidation` of the query; `kind` is of the options object, for the error.
pub fn field_validation(query: &Query, kind: &str) -> Result<FieldValidation, Status> {
    match query.get("fieldValidation").unwrap_or_default() {
        "" | "Warn" => Ok(FieldValidation::Warn),
        "Strict" => Ok(FieldValidation::Strict),
        "Ignore" => Ok(FieldValidation::Ignore),
        other => {
            let field = apimachinery::field::Path::new("fieldValidation");
            let error =
                apimachinery::field::Error::not_supported(&field, other, &["", "Ignore", "Strict", "Warn"]);
            let kind = apimachinery::GroupKind { group: "meta.k8s.io".into(), kind: kind.into() };
            Err(Status::invalid(&kind, "", &[error]))
        }
    }
}

/// What the words of strict decoding begin with for the body of a kind.
pub fn subject(kind: &GroupVersionKind) -> String {
    format!("{} in version {:?} cannot be handled as a {}: ", kind.kind, kind.version, kind.kind)
}

/// Refuses or warns of what decoding came across; `subject` begins the refusal.
pub fn report(
    found: &Found,
    validation: FieldValidation,
    cx: &RequestContext,
    subject: &str,
) -> Result<(), Status> {
    if found.is_empty() {
        return Ok(());
    }
    match validation {
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            found.messages().into_iter().for_each(|m| cx.warnings.add(m));
            Ok(())
        }
        FieldValidation::Strict => Err(Status::bad_request(format!("{subject}{}", found.strict_error()))),
    }
}

/// Decodes a body that must be of `kind`; an empty apiVersion or kind in it takes the endpoint's.
pub fn object(
    media: Media,
    bytes: &[u8],
    of: &Type,
    kind: &GroupVersionKind,
) -> Result<(Value, Found), Status> {
    let (api_version, own_kind) =
        codec::type_meta(media, bytes).map_err(|error| unreadable(media, bytes, kind, error))?;
    let wanted = kind.api_version();
    let version = if api_version.is_empty() { &wanted } else { &api_version };
    let named = if own_kind.is_empty() { &*kind.kind } else { own_kind.as_str() };
    if *version != wanted || *named != *kind.kind {
        return Err(wrong_kind(version, named, kind));
    }
    let (mut value, found) = codec::decode_body(media, bytes, of, &kind.kind, &kind.version)?;
    if own_kind.is_empty() {
        value.set_at(&["kind"], &*kind.kind);
    }
    if api_version.is_empty() {
        value.set_at(&["apiVersion"], wanted);
    }
    Ok((value, found))
}

/// A body that does not even tell its kind; its first bytes are shown.
fn unreadable(media: Media, bytes: &[u8], kind: &GroupVersionKind, error: Status) -> Status {
    let encoding = match media {
        Media::Json => api::codec::Media::Json,
        Media::Yaml => api::codec::Media::Yaml,
        Media::Protobuf => api::codec::Media::Protobuf,
        Media::Cbor => return error,
    };
    match api::codec::type_meta(bytes, encoding) {
        Err(error) => Status::bad_request(api::codec::refusal(&error, bytes, &kind.version, &kind.kind)),
        Ok(_) => error,
    }
}

/// Go's package of a group's internal types.
fn package(group: &str) -> &str {
    if group.is_empty() { "core" } else { group.split('.').next().unwrap_or_default() }
}

fn wrong_kind(version: &str, named: &str, wanted: &GroupVersionKind) -> Status {
    let (group, v) = api::resources::split(version);
    let why = if api::schema::by_gvk(group, v, named).is_some() {
        format!(
            "converting ({v}.{named}) to ({}.{}): unknown conversion",
            package(&wanted.group),
            wanted.kind
        )
    } else {
        format!(
            "no kind {named:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\""
        )
    };
    Status::bad_request(format!("{named} in version {v:?} cannot be handled as a {}: {why}", wanted.kind))
}

/// Defaults of the table and of the kind, in the version of `served`.
pub fn complete(served: &Served, object: &mut Value) {
    if object.kind().is_empty() {
        object.set_at(&["kind"], &*served.gvk.kind);
    }
    if object.api_version().is_empty() {
        object.set_at(&["apiVersion"], served.gv.to_string());
    }
    api::defaults::apply(object, &served.schema);
    served.strategy.default(&served.gv.version, object.as_map_or_make());
}
