//! Signs `kube-public/cluster-info` with the bootstrap tokens, and deletes tokens that have ended.

pub mod plan;

use std::time::Duration;

use client::{
    Api, DeleteOptions, Error, Informer, InformerOptions, ObjectKey, Resource, Store, Time, View, WorkQueue,
    resource,
};
use serde::de::IgnoredAny;
use serde_json::json;

use crate::context::{Context, on_change};
use crate::views::ConfigMap;
use plan::TokenSecret;

const TOKENS: &str = "kube-system";
const PUBLIC: &str = "kube-public";
const NAME: &str = "cluster-info";

fn watch<V: View>(
    context: &Context,
    resource: Resource,
    namespace: &str,
    field_selector: &str,
) -> Informer<V> {
    let options = InformerOptions {
        namespace: namespace.into(),
        field_selector: field_selector.into(),
        ..InformerOptions::default()
    };
    let informer = Informer::new(context.manager.clone(), resource, options);
    informer.start(context.shutdown.clone());
    informer
}

fn tokens(context: &Context) -> Informer<TokenSecret> {
    watch(context, resource::SECRETS, TOKENS, "type=bootstrap.kubernetes.io/token")
}

/// The signer; runs until shutdown.
pub async fn run_signer(context: Context) {
    let api = context.api("bootstrap-signer").await;
    let tokens = tokens(&context);
    let maps: Informer<ConfigMap> =
        watch(&context, resource::CONFIG_MAPS, PUBLIC, "metadata.name=cluster-info");
    let queue: WorkQueue<()> = WorkQueue::new("bootstrap_signer_queue");
    let enqueue = queue.clone();
    on_change(&tokens, move |_, _, _| enqueue.add(()));
    let enqueue = queue.clone();
    on_change(&maps, move |_, _, _| enqueue.add(()));
    tokens.wait_synced().await;
    maps.wait_synced().await;
    let (tokens, maps) = (tokens.store(), maps.store());
    let sync = move |()| {
        let (api, tokens, maps) = (api.clone(), tokens.clone(), maps.clone());
        async move { sign(&api, &tokens, &maps).await.map(|()| None) }
    };
    context.work(&queue, 1, "bootstrapsigner", sync).await;
}

async fn sign(api: &Api, tokens: &Store<TokenSecret>, maps: &Store<ConfigMap>) -> Result<(), Error> {
    let Some(map) = maps.get(PUBLIC, NAME) else { return Ok(()) };
    let Some(data) = plan::sign(&map.data, &tokens.list(), Time::now()) else { return Ok(()) };
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": map.metadata, "data": data});
    match api.update::<IgnoredAny>(&resource::CONFIG_MAPS, PUBLIC, NAME, "", &body).await {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(()),
    }
}

/// The cleaner; runs until shutdown.
pub async fn run_cleaner(context: Context) {
    let api = context.api("token-cleaner").await;
    let tokens = tokens(&context);
    let queue: WorkQueue<ObjectKey> = WorkQueue::new("token_cleaner");
    let enqueue = queue.clone();
    on_change(&tokens, move |_, token, deleted| {
        if !deleted {
            enqueue.add(token.metadata.key());
        }
    });
    tokens.wait_synced().await;
    let store = tokens.store();
    let sync = move |key: ObjectKey| {
        let (api, store) = (api.clone(), store.clone());
        async move { clean(&api, &store, &key).await }
    };
    context.work(&queue, 1, "tokencleaner", sync).await;
}

async fn clean(api: &Api, tokens: &Store<TokenSecret>, key: &ObjectKey) -> Result<Option<Duration>, Error> {
    let Some(token) = tokens.get_key(key) else { return Ok(None) };
    let now = Time::now();
    if !token.is_expired(now) {
        let left = token.expiration().map(|end| end.seconds() - now.seconds() + 1);
        return Ok(left.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs));
    }
    let options = DeleteOptions::uid(&token.metadata.uid);
    match api.delete(&resource::SECRETS, TOKENS, key.name(), &options).await {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(None),
    }
}
