//! Deletes PodCertificateRequests a quarter of an hour after they were made: by then every one was answered and its
//! answer taken, or nobody waits for it.

use std::time::Duration;

use client::meta::Partial;
use client::{
    Api, DeleteOptions, Error, Informer, InformerOptions, ObjectKey, Resource, Store, Time, WorkQueue,
};

use crate::context::{Context, on_change};

const REQUESTS: Resource =
    Resource::of("certificates.k8s.io", "v1", "podcertificaterequests", "PodCertificateRequest", true);
const KEPT: Duration = Duration::from_secs(900);

/// Runs until shutdown.
pub async fn run_pod_request_cleaner(context: Context) {
    let api = context.api("podcertificaterequestcleaner").await;
    let options = InformerOptions { metadata_only: true, ..InformerOptions::default() };
    let requests = Informer::<Partial>::new(api.clone(), REQUESTS, options);
    let (store, queue) = (requests.store(), WorkQueue::<ObjectKey>::new("pcrcleaner"));
    let enqueue = queue.clone();
    on_change(&requests, move |old, new, deleted| {
        if !deleted && old.is_none() {
            enqueue.add(new.metadata.key());
        }
    });
    drop(requests.start(context.shutdown.clone()));
    let sync = move |key| {
        let (api, store) = (api.clone(), store.clone());
        async move { clean(&api, &store, &key).await }
    };
    context.work(&queue, 1, "pcrcleaner", sync).await;
}

async fn clean(api: &Api, requests: &Store<Partial>, key: &ObjectKey) -> Result<Option<Duration>, Error> {
    let Some(request) = requests.get_key(key) else { return Ok(None) };
    if let Some(left) = left(&request, Time::now()) {
        return Ok(Some(left));
    }
    let options = DeleteOptions::uid(&request.metadata.uid);
    match api.delete(&REQUESTS, key.namespace(), key.name(), &options).await {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(None),
    }
}

/// How long a request is still kept.
fn left(request: &Partial, now: Time) -> Option<Duration> {
    let age = now.0.duration_since(request.metadata.creation_timestamp?.0);
    KEPT.checked_sub(Duration::try_from(age).unwrap_or_default()).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_for_a_quarter_of_an_hour() {
        let now = Time("2026-01-01T00:30:00Z".parse().unwrap());
        for (made, expected) in
            [("00:15:01", Some(1)), ("00:15:00", None), ("00:14:59", None), ("00:31:00", Some(900))]
        {
            let metadata = serde_json::json!({"creationTimestamp": format!("2026-01-01T{made}Z")});
            let request: Partial = serde_json::from_value(serde_json::json!({"metadata": metadata})).unwrap();
            assert_eq!(left(&request, now).map(|left| left.as_secs()), expected, "{made}");
        }
    }
}
