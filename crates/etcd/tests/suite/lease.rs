//! Leases.

use etcd::{Error, EventType, PutRequest, RangeRequest, SharedStore, WatchRequest};
use futures::StreamExt;

async fn put_leased(store: &SharedStore, key: &'static str, lease: i64) {
    store.put(PutRequest { lease, ..PutRequest::new(key, "v") }).await.unwrap();
}

pub async fn keys_go_with_their_lease(store: SharedStore) {
    let short = store.lease_grant(1, 0).await.unwrap();
    assert!(short.id != 0 && short.ttl >= 1);
    let mut watch = store.watch(WatchRequest::prefix("/l/", 0)).await.unwrap();
    put_leased(&store, "/l/a", short.id).await;
    put_leased(&store, "/l/b", short.id).await;
    put_leased(&store, "/l/stays", short.id).await;
    put_leased(&store, "/l/stays", 0).await;
    let mut gone = Vec::new();
    while gone.len() < 2 {
        let response = watch.next().await.unwrap().unwrap();
        gone.extend(response.events.into_iter().filter(|event| event.kind == EventType::Delete));
    }
    assert_eq!(gone[0].kv.mod_revision, gone[1].kv.mod_revision, "at one revision");
    assert!(gone.iter().all(|event| event.prev_kv.as_ref().is_some_and(|kv| kv.lease == short.id)));
    let left = store.range(RangeRequest::prefix("/l/")).await.unwrap().kvs;
    assert_eq!((left.len(), &left[0].key[..]), (1, &b"/l/stays"[..]));
    assert_eq!(store.lease_keep_alive(short.id).await, Err(Error::LeaseNotFound { id: short.id }));

    let other = store.lease_grant(100, 0).await.unwrap().id;
    put_leased(&store, "/l/c", other).await;
    store.lease_revoke(other).await.unwrap();
    assert!(store.range(RangeRequest::key("/l/c")).await.unwrap().kvs.is_empty());
}

pub async fn a_kept_lease_stays(store: SharedStore) {
    let kept = store.lease_grant(2, 0).await.unwrap().id;
    let lost = store.lease_grant(2, 0).await.unwrap().id;
    let mut watch = store.watch(WatchRequest::prefix("/k/", 0)).await.unwrap();
    put_leased(&store, "/k/kept", kept).await;
    put_leased(&store, "/k/lost", lost).await;
    let mut gone = Vec::new();
    while gone.is_empty() {
        assert_eq!(store.lease_keep_alive(kept).await, Ok(2));
        let wait = tokio::time::timeout(std::time::Duration::from_millis(300), watch.next()).await;
        let Ok(response) = wait else { continue };
        let events = response.unwrap().unwrap().events;
        gone.extend(events.into_iter().filter(|event| event.kind == EventType::Delete));
    }
    assert_eq!((gone.len(), &gone[0].kv.key[..]), (1, &b"/k/lost"[..]));
}

pub async fn leases_tell_their_keys(store: SharedStore) {
    let lease = store.lease_grant(100, 0x5001).await.unwrap();
    assert_eq!(lease.id, 0x5001);
    put_leased(&store, "/b", lease.id).await;
    put_leased(&store, "/a", lease.id).await;
    let status = store.lease_time_to_live(lease.id, true).await.unwrap();
    assert_eq!((status.granted_ttl, status.keys), (100, vec!["/a".into(), "/b".into()]));
    assert!((90..=100).contains(&status.ttl));
    assert!(store.lease_time_to_live(lease.id, false).await.unwrap().keys.is_empty());
    assert_eq!(store.lease_grant(100, 0x5001).await, Err(Error::LeaseExists { id: 0x5001 }));
}

pub async fn unknown_leases_are_errors(store: SharedStore) {
    let error = Error::LeaseNotFound { id: 99 };
    assert_eq!(store.lease_revoke(99).await, Err(error.clone()));
    assert_eq!(store.lease_keep_alive(99).await, Err(error.clone()));
    assert_eq!(store.lease_time_to_live(99, true).await, Err(error));
}
