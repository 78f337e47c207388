//! Watches: what there is at the start where asked for, then each change, bookmarks, and a proper end.

mod stream;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use apimachinery::Status;
use http::Response;

use self::stream::{Gauge, Stream};
use self::writer::Writer;
use super::{Asked, list, represent, table};
use crate::catalog::Served;
use crate::endpoint::{Body, Query};
use crate::form::{Media, Projection};
use crate::http::negotiate::{As, wanted};
use crate::http::{body, metrics, respond};
use crate::registry::read::{check_watch_options, parse_int, parse_single_revision};

fn gauge(asked: &Asked<'_>) -> Gauge {
    let i = &asked.cx.info;
    let labels = ["WATCH", &i.group, &i.version, &i.resource, &i.subresource, metrics::scope(i), "apiserver"];
    let gauge = metrics::METRICS.long_running.with(&labels);
    gauge.inc();
    Gauge(gauge, metrics::METRICS.watch_events.with(&[&i.group, &i.version, &i.resource]))
}

/// `timeoutSeconds`, or upstream's random time.
fn time_limit(query: &Query, least: Duration) -> Duration {
    match query.get("timeoutSeconds").and_then(|t| t.parse::<u64>().ok()) {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => least.mul_f64(1.0 + f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 256.0),
    }
}

pub(super) async fn watch(asked: Asked<'_>, served: Arc<Served>) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, represent::list_offer(&served))?;
    if offer.media == Media::Yaml {
        return Err(Status::not_acceptable(
            "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
        ));
    }
    check_watch_options(asked.query)?;
    if let Some(text) = asked.query.get("timeoutSeconds").filter(|t| !t.is_empty()) {
        parse_int(text)?;
    }
    let info = &asked.cx.info;
    let name = if info.parts.len() > 1 { info.name.as_str() } else { "" };
    let selection = list::selection(&served, &info.namespace, name, asked.query)?;
    let revision = parse_single_revision(asked.query.get("resourceVersion").unwrap_or_default())?;
    let stored = served.stored.clone().ok_or_else(Status::no_route)?;
    let bookmarks = asked.query.flag("allowWatchBookmarks");
    let send_initial = asked.query.get("sendInitialEvents").map(|_| asked.query.flag("sendInitialEvents"));
    let limit = time_limit(asked.query, asked.chain.options.min_request_timeout);
    let projection =
        if matches!(offer.shape, As::Metadata(_)) { Projection::Metadata } else { Projection::Whole };
    let writer = Writer {
        form: represent::form(&served, offer.media, projection),
        include: table::include(asked.query)?,
        served,
        media: offer.media,
        shape: offer.shape,
        now: asked.cx.now,
    };
    let is_spaced = asked.peer.address.is_some();
    let mut stream = Stream::new(writer, bookmarks, limit, is_spaced, gauge(&asked));
    match (send_initial, revision) {
        (Some(true), _) | (None, None | Some(0)) => {
            let at_least = match (send_initial, revision) {
                (Some(true), None) => asked.chain.registry.current_revision(&stored).await?,
                (_, revision) => revision.unwrap_or(0),
            };
            stored.cache.fresh(at_least).await?;
            stored.decide(&selection).await?;
            let (snapshot, subscription) = stored.cache.list_and_watch(selection);
            stream.end_of_initial = (send_initial == Some(true) && bookmarks).then_some(snapshot.revision);
            stream.initial = snapshot.entries.into();
            stream.subscription = Some(subscription);
        }
        (Some(false), None | Some(0)) => {
            stored.cache.ready().await?;
            stored.decide(&selection).await?;
            stream.subscription = Some(stored.cache.list_and_watch(selection).1);
        }
        (_, Some(revision)) => {
            stored.cache.ready().await?;
            stored.decide(&selection).await?;
            stream.after = revision;
            stream.subscription = stored.cache.watch_from(&*stored, selection, revision).await;
            if stream.subscription.is_none() {
                let current = stored.cache.revision();
                stream.failed =
                    Some(Status::expired(format!("too old resource version: {revision} ({current})")));
            }
        }
    }
    let content_type = stream.writer.media.stream_content_type();
    let body = crate::http::memory_shared(stream);
    Ok(respond::finish(respond::head(200, content_type), body::boxed(body)))
}
