//! DELETE of one object and of a collection.

use std::sync::Arc;

use api::Value;
use apimachinery::field::{Error, Path};
use apimachinery::{GroupKind, Reason, Status};
use bytes::Bytes;
use http::Response;

use super::{Asked, list, represent};
use crate::cache::Entry;
use crate::catalog::Served;
use crate::codec;
use crate::endpoint::Body;
use crate::http::body::Pieces;
use crate::http::negotiate::{Wanted, body_media, wanted};
use crate::http::respond;
use crate::registry::read::ListOptions;
use crate::registry::{DeleteOptions, Propagation};
use crate::resource::Preconditions;

/// DeleteOptions of the body, completed (without a body: made) from the query.
async fn options(asked: &mut Asked<'_>) -> Result<DeleteOptions, Status> {
    let media = body_media(asked.request.headers());
    let bytes = asked.body().await?;
    let object = if bytes.is_empty() { from_query(asked)? } else { from_body(asked, media?, &bytes)? };
    let int = |key: &str| object.int_at(&[key]);
    let text = |path: &[&str]| Some(object.str_at(path).to_owned()).filter(|t| !t.is_empty());
    let version = text(&["preconditions", "resourceVersion"]);
    let options = DeleteOptions {
        grace_seconds: int("gracePeriodSeconds").map(|s| s.max(0)),
        preconditions: Preconditions {
            uid: text(&["preconditions", "uid"]),
            resource_version: version.map(|v| v.parse().unwrap_or(-1)),
        },
        orphan_dependents: object.bool_at(&["orphanDependents"]),
        propagation: match object.str_at(&["propagationPolicy"]) {
            "Orphan" => Some(Propagation::Orphan),
            "Background" => Some(Propagation::Background),
            "Foreground" => Some(Propagation::Foreground),
            _ => None,
        },
        object,
    };
    check(&options)?;
    Ok(options)
}

fn check(options: &DeleteOptions) -> Result<(), Status> {
    let field = Path::new("propagationPolicy");
    let policy = options.object.str_at(&["propagationPolicy"]);
    let error = if options.orphan_dependents.is_some() && options.propagation.is_some() {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        Some(Error::invalid(&field, policy, why))
    } else if !policy.is_empty() && options.propagation.is_none() {
        Some(Error::not_supported(&field, policy, &["Foreground", "Background", "Orphan", "nil"]))
    } else {
        None
    };
    match error {
        Some(error) => {
            let kind = GroupKind { group: "meta.k8s.io".into(), kind: "DeleteOptions".into() };
            Err(Status::invalid(&kind, "", &[error]))
        }
        None => Ok(()),
    }
}

fn from_body(asked: &Asked<'_>, media: crate::form::Media, bytes: &Bytes) -> Result<Value, Status> {
    let of = api::schema::by_gvk("meta.k8s.io", "v1", "DeleteOptions")
        .ok_or_else(|| Status::internal("the table has no DeleteOptions"))?;
    let (mut object, _) = codec::decode_body(media, bytes, &of, "DeleteOptions", "meta.k8s.io/v1")?;
    if !matches!(object.kind(), "" | "DeleteOptions") {
        return Err(Status::bad_request(format!(
            "no kind {:?} is registered for version {:?} in scheme \"pkg/runtime/scheme.go:111\"",
            object.kind(),
            object.api_version()
        )));
    }
    if asked.cx.dry_run {
        object.set_at(&["dryRun"], vec![Value::from("All")]);
    }
    Ok(object)
}

fn from_query(asked: &Asked<'_>) -> Result<Value, Status> {
    let mut object = Value::map();
    if let Some(text) = asked.query.get("gracePeriodSeconds").filter(|t| !t.is_empty()) {
        let seconds: i64 = text.parse().map_err(|_| {
            Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
        })?;
        object.set_at(&["gracePeriodSeconds"], seconds);
    }
    if let Some(policy) = asked.query.get("propagationPolicy").filter(|t| !t.is_empty()) {
        object.set_at(&["propagationPolicy"], policy);
    }
    if asked.query.get("orphanDependents").is_some() {
        object.set_at(&["orphanDependents"], asked.query.flag("orphanDependents"));
    }
    if asked.cx.dry_run {
        object.set_at(&["dryRun"], vec![Value::from("All")]);
    }
    Ok(object)
}

/// The success `Status` of a delete that is done.
fn success(served: &Served, name: &str, uid: &str) -> Value {
    let mut details = api::Map::new();
    details.push("name", name);
    if !served.gr.group.is_empty() {
        details.push("group", &*served.gr.group);
    }
    details.push("kind", &*served.gr.resource);
    details.push("uid", uid);
    let mut out = api::Map::new();
    out.push("kind", "Status");
    out.push("apiVersion", "v1");
    out.push("metadata", Value::map());
    out.push("status", "Success");
    out.push("details", details);
    Value::Map(out)
}

pub(super) async fn delete(mut asked: Asked<'_>, served: Arc<Served>) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, represent::stored_offer(&served))?;
    let options = options(&mut asked).await?;
    let cx = with_dry_run(&asked, &options);
    let cx = cx.as_ref().unwrap_or(asked.cx);
    let info = &asked.cx.info;
    let namespace = if served.row.namespaced { info.namespace.as_str() } else { "" };
    let silent = options.object.get("propagationPolicy").is_none() && options.orphan_dependents.is_none();
    served.strategy.delete_warning().filter(|_| silent).into_iter().for_each(|w| asked.cx.warnings.add(w));
    let deleted = asked.chain.registry.delete(cx, &served, (namespace, &info.name), &options, true).await?;
    if deleted.gone && !served.strategy.returns_deleted() {
        let uid = served.stored.as_ref().map(|s| s.tree(&deleted.entry).uid().to_owned()).unwrap_or_default();
        return represent::answer_value(&offer, &success(&served, &info.name, &uid), 200);
    }
    let code = if !deleted.gone && options.orphan_dependents == Some(false) { 202 } else { 200 };
    represent::answer(&asked, &served, &deleted.entry, code, &offer).await
}

/// A body may ask for a dry run that the query did not.
fn with_dry_run(asked: &Asked<'_>, options: &DeleteOptions) -> Option<crate::request::RequestContext> {
    let asks = options.object.list_at(&["dryRun"]).iter().any(|v| v.as_str() == Some("All"));
    if asked.cx.dry_run || !asks {
        return None;
    }
    let cx = asked.cx;
    Some(crate::request::RequestContext {
        info: cx.info.clone(),
        user: cx.user.clone(),
        dry_run: true,
        field_manager: cx.field_manager.clone(),
        user_agent: cx.user_agent.clone(),
        audit_id: cx.audit_id.clone(),
        now: cx.now,
        warnings: crate::request::Warnings::default(),
    })
}

/// Deletes what the selectors take, one after the other, and answers what was there.
pub(super) async fn collection(mut asked: Asked<'_>, served: Arc<Served>) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, represent::stored_offer(&served))?;
    let listing = ListOptions::of(asked.query)?;
    let selection = list::selection(&served, &asked.cx.info.namespace, "", asked.query)?;
    let options = options(&mut asked).await?;
    let cx = with_dry_run(&asked, &options);
    let cx = cx.as_ref().unwrap_or(asked.cx);
    let registry = &asked.chain.registry;
    let found = registry.list(&served, &selection, &listing).await?;
    for entry in &found.entries {
        match registry.delete(cx, &served, (entry.namespace(), entry.name()), &options, true).await {
            Ok(_) => {}
            Err(status) if status.is(Reason::NotFound) => {}
            Err(status) => return Err(status),
        }
    }
    answer_list(&served, &found.entries, found.revision, &offer).await
}

async fn answer_list(
    served: &Served,
    entries: &[Arc<Entry>],
    revision: i64,
    offer: &Wanted,
) -> Result<Response<Body>, Status> {
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{revision}\"}},\"items\":[",
        served.gvk.kind, served.gv
    );
    let mut pieces = vec![Bytes::from(head)];
    for (at, entry) in entries.iter().enumerate() {
        pieces.push(represent::json(served, entry).await?.item(at == 0));
    }
    pieces.push(Bytes::from_static(b"]}\n"));
    let json = Pieces::new(pieces).concat();
    if offer.media == crate::form::Media::Protobuf {
        let of =
            api::schema::by_gvk(&served.gv.group, &served.gv.version, &format!("{}List", served.gvk.kind));
        let of = of.ok_or_else(|| Status::not_acceptable("this list has no protobuf form"))?;
        let (value, _) = api::json::decode(&json, &of).map_err(|e| Status::internal(e.to_string()))?;
        let bytes = codec::encode(offer.media, &value, &of)?;
        return Ok(respond::bytes(200, offer.media.content_type(), bytes));
    }
    Ok(respond::document(200, offer, json.into()))
}
