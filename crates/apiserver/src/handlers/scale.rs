//! The `scale` subresource: an autoscaling/v1 Scale read out of an object and written into it, by paths.

use std::sync::Arc;

use api::Value;
use apimachinery::field::{Error, Path};
use apimachinery::labels::{LabelSelector, Selector};
use apimachinery::{GroupKind, GroupVersionKind, Status};
use http::{Method, Response};

use super::{Asked, decode, patch, represent, write};
use crate::catalog::{ScalePaths, Served};
use crate::endpoint::Body;
use crate::http::negotiate::{Offer, body_media, wanted};
use crate::registry::{Part, Update};
use crate::resource::Preconditions;

fn kind() -> GroupVersionKind {
    GroupVersionKind::new("autoscaling", "v1", "Scale")
}

fn path(text: &str) -> Vec<&str> {
    text.split('.').filter(|p| !p.is_empty()).collect()
}

/// The Scale of an object.
pub fn scale_of(object: &Value, paths: &ScalePaths) -> Value {
    let mut out = Value::map();
    out.set_at(&["kind"], "Scale");
    out.set_at(&["apiVersion"], "autoscaling/v1");
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.at(&["metadata", key]) {
            out.set_at(&["metadata", key], value.clone());
        }
    }
    out.set_at(&["spec"], Value::map());
    if let Some(replicas) = object.int_at(&path(&paths.spec_replicas)).filter(|n| *n != 0) {
        out.set_at(&["spec", "replicas"], replicas);
    }
    out.set_at(&["status", "replicas"], object.int_at(&path(&paths.status_replicas)).unwrap_or(0));
    let at = path(&paths.selector);
    let selector = selector_text(object.at(&at).filter(|_| !at.is_empty()));
    if !selector.is_empty() {
        out.set_at(&["status", "selector"], selector);
    }
    out
}

/// A selector as text: it is text (custom resources), a LabelSelector, or a map of labels.
fn selector_text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.to_string(),
        Some(Value::Map(map)) if map.contains_key("matchLabels") || map.contains_key("matchExpressions") => {
            let selector = value.and_then(|v| v.view::<LabelSelector>().ok()).and_then(|s| s.selector().ok());
            selector.map(|s| s.to_string()).unwrap_or_default()
        }
        Some(Value::Map(map)) => {
            let pairs = map.iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default()));
            Selector::of_pairs(pairs).to_string()
        }
        _ => String::new(),
    }
}

pub(super) async fn serve(
    asked: Asked<'_>,
    served: Arc<Served>,
    paths: ScalePaths,
) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, Offer::PLAIN)?;
    let info = &asked.cx.info;
    let namespace = if served.row.namespaced { info.namespace.as_str() } else { "" };
    let of = api::schema::by_gvk("autoscaling", "v1", "Scale")
        .ok_or_else(|| Status::internal("the table has no Scale"))?;
    let registry = asked.chain.registry.clone();
    if info.verb == "get" {
        let entry = registry.get(&served, (namespace, &info.name), None).await?;
        let scale = scale_of(&*represent::tree(&served, &entry).await?, &paths);
        return represent::answer_value(&offer, &scale, 200);
    }
    let is_patch = *asked.request.method() == Method::PATCH;
    let kind_of_patch = if is_patch { Some(patch::kind(&asked, false)?) } else { None };
    let (cx, name, options) = (asked.cx, info.name.clone(), write::options(&asked, "UpdateOptions"));
    let mut asked = asked;
    let media = if is_patch { crate::form::Media::Json } else { body_media(asked.request.headers())? };
    let bytes = asked.body().await?;
    let sent = if is_patch { None } else { Some(decode::object(media, &bytes, &of, &kind())?.0) };
    sent.iter().try_for_each(|scale| check_place(scale, namespace, &name))?;
    let make = |live: Option<&Value>| {
        let live = live.ok_or_else(|| Status::not_found(&served.gr, &name))?;
        let scale = match (&sent, kind_of_patch) {
            (Some(sent), _) => sent.clone(),
            (None, Some(kind)) => patch::plain(kind, scale_of(live, &paths), &bytes, &of)?,
            (None, None) => return Err(Status::bad_request("no scale was sent")),
        };
        written(live, &scale, &paths, &name)
    };
    let request = Update {
        cx,
        served: &served,
        subresource: "scale",
        part: Part::Main,
        namespace,
        name: &name,
        make: &make,
        options,
        preconditions: Preconditions::default(),
        create: false,
        whole: sent.is_some(),
        manage_fields: true,
        admit: true,
        fingerprint: None,
    };
    let updated = registry.update(request).await?;
    let scale = scale_of(&*represent::tree(&served, &updated.entry).await?, &paths);
    represent::answer_value(&offer, &scale, 200)
}

/// A Scale is of the object that the path names.
fn check_place(scale: &Value, namespace: &str, name: &str) -> Result<(), Status> {
    if !matches!(scale.namespace(), "") && scale.namespace() != namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(why));
    }
    if scale.name().is_empty() || scale.name() == name {
        return Ok(());
    }
    let own = scale.name();
    let why = format!("the name of the object ({own}) does not match the name on the URL ({name})");
    Err(Status::bad_request(why))
}

/// The object with what the Scale says.
fn written(live: &Value, scale: &Value, paths: &ScalePaths, name: &str) -> Result<Value, Status> {
    let replicas = scale.int_at(&["spec", "replicas"]).unwrap_or(0);
    if replicas < 0 {
        let field = Path::new("spec").child("replicas");
        let error = Error::invalid(&field, &replicas, "must be greater than or equal to 0");
        let kind = GroupKind { group: "autoscaling".into(), kind: "Scale".into() };
        return Err(Status::invalid(&kind, name, &[error]));
    }
    let mut object = live.clone();
    object.set_at(&path(&paths.spec_replicas), replicas);
    for key in ["resourceVersion", "uid"] {
        let given = scale.str_at(&["metadata", key]);
        if !given.is_empty() {
            object.set_at(&["metadata", key], given);
        }
    }
    Ok(object)
}
