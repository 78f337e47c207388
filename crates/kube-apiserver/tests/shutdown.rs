//! A server that has ended holds nothing: its store can be opened again in the same process.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use etcd::Store as _;
use serde_json::json;
use support::Bed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_free_after_the_end() {
    let bed = Bed::start(&[]).await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}});
    let (code, _) = bed.call("POST", "/api/v1/namespaces/default/configmaps", Some(&map)).await;
    assert_eq!(code, 201);
    let (server, folder) = bed.into_parts();
    let store = Arc::downgrade(server.store());
    server.shutdown().await;
    // Tasks that were at work end by themselves.
    let freed = async {
        while store.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(20), freed).await.is_ok(),
        "{} hold it",
        store.strong_count()
    );
    let again = etcd::Embedded::open(etcd::embedded::Options::new(folder.path().join("store"))).unwrap();
    let key = "/registry/configmaps/default/kept";
    assert_eq!(again.range(etcd::RangeRequest::key(key)).await.unwrap().kvs.len(), 1);
}
