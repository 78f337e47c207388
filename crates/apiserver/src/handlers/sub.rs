//! Subresources, and resources that are not stored.

use std::sync::Arc;

use apimachinery::{GroupVersionKind, Status};
use http::{Method, Response};

use super::{Asked, admit, decode, endpoint_verb, patch, represent, scale, write, wrong_method};
use crate::catalog::{Served, Subresource};
use crate::endpoint::{Answer, Body, Call, Endpoint, Verb};
use crate::form::Media;
use crate::http::negotiate::{Offer, body_media, wanted};

pub(super) async fn serve(asked: Asked<'_>, served: Arc<Served>) -> Result<Response<Body>, Status> {
    let info = &asked.cx.info;
    let Some(what) = served.subresources.get(&info.subresource).cloned() else {
        return Err(Status::no_route());
    };
    if let Subresource::Endpoint(endpoint) = &what
        && endpoint.is_connect()
    {
        let row = served.row.subresource(&info.subresource).ok_or_else(Status::no_route)?;
        admit::connect(&asked, &served, &served.row.subresource_gvk(row)).await?;
        return connect(asked, endpoint.clone()).await;
    }
    super::refuse_head(&asked)?;
    let row = served.row.subresource(&info.subresource).ok_or_else(Status::no_route)?;
    if info.parts.len() > 3 {
        return Err(Status::no_route());
    }
    if !row.verbs.iter().any(|v| **v == *info.verb) {
        return Err(wrong_method());
    }
    let kind = served.row.subresource_gvk(row);
    let name = info.subresource.clone();
    match (what, info.verb.as_str()) {
        (Subresource::Status | Subresource::Part(_), "get") => represent::get(asked, &served).await,
        (Subresource::Status | Subresource::Part(_), "update") => write::update(asked, served, &name).await,
        (Subresource::Status | Subresource::Part(_), "patch") => patch::patch(asked, served, &name).await,
        (Subresource::Scale(paths), _) => scale::serve(asked, served, paths).await,
        (Subresource::Endpoint(endpoint), _) => call(asked, &served, &*endpoint, &kind).await,
        _ => Err(wrong_method()),
    }
}

/// A resource of its own that is an endpoint (reviews).
pub(super) async fn endpoint(asked: Asked<'_>, served: Arc<Served>) -> Result<Response<Body>, Status> {
    let Some(endpoint) = served.endpoint.clone() else { return Err(Status::no_route()) };
    if endpoint.is_connect() {
        return connect(asked, endpoint).await;
    }
    call(asked, &served, &*endpoint, &served.gvk).await
}

async fn connect(asked: Asked<'_>, endpoint: Arc<dyn Endpoint>) -> Result<Response<Body>, Status> {
    let Asked { cx, request, peer, .. } = asked;
    match endpoint.call(cx, Call::Connect(Box::new(request), peer)).await? {
        Answer::Raw(answer) => Ok(answer),
        Answer::Object(code, value) => {
            let offer = crate::http::negotiate::Wanted {
                media: Media::Json,
                shape: crate::http::negotiate::As::Object,
                pretty: false,
                gzip: false,
            };
            represent::answer_value(&offer, &value, code)
        }
    }
}

async fn call(
    mut asked: Asked<'_>,
    served: &Served,
    endpoint: &dyn Endpoint,
    kind: &GroupVersionKind,
) -> Result<Response<Body>, Status> {
    let verb = endpoint_verb(asked.request.method()).ok_or_else(wrong_method)?;
    let offer = wanted(asked.request.headers(), asked.query, Offer::PLAIN)?;
    let made = match verb {
        Verb::Get | Verb::Delete => Call::Plain { verb, query: asked.query.clone() },
        Verb::Create | Verb::Update => {
            let of = api::schema::by_gvk(&kind.group, &kind.version, &kind.kind)
                .ok_or_else(|| Status::internal(format!("the table has no {kind}")))?;
            let object = if *asked.request.method() == Method::PATCH {
                patched(&mut asked, endpoint, &of).await?
            } else {
                posted(&mut asked, &of, kind).await?
            };
            let object = if served.endpoint.is_some() && verb == Verb::Create {
                let mut object = object;
                let empty = api::merge::empty(&served.schema, &served.gvk);
                asked.chain.registry.manage(asked.cx, served, "", &empty, &mut object);
                object
            } else {
                object
            };
            // Updates (approvals and the like) are admitted where they are stored.
            let object = match verb {
                Verb::Create => admit::create(&asked, served, kind, object).await?,
                _ => object,
            };
            Call::Object { verb, object, query: asked.query.clone() }
        }
    };
    match endpoint.call(asked.cx, made).await? {
        Answer::Raw(answer) => Ok(answer),
        Answer::Object(code, value) => represent::answer_value(&offer, &value, code),
    }
}

async fn posted(
    asked: &mut Asked<'_>,
    of: &api::schema::Type,
    kind: &GroupVersionKind,
) -> Result<api::Value, Status> {
    let validation = decode::field_validation(asked.query, "CreateOptions")?;
    let media = body_media(asked.request.headers())?;
    let bytes = asked.body().await?;
    let (mut object, found) = decode::object(media, &bytes, of, kind)?;
    decode::report(&found, validation, asked.cx, &decode::subject(kind))?;
    api::defaults::apply(&mut object, of);
    Ok(object)
}

async fn patched(
    asked: &mut Asked<'_>,
    endpoint: &dyn Endpoint,
    of: &api::schema::Type,
) -> Result<api::Value, Status> {
    let kind = patch::kind(asked, false)?;
    let bytes = asked.body().await?;
    let current = endpoint.current(asked.cx).await?;
    patch::plain(kind, current, &bytes, of)
}
