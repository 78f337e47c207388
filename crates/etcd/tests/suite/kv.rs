//! Ranges, puts, deletes and compaction.

use bytes::Bytes;
use etcd::{DeleteRangeRequest, Error, PutRequest, RangeRequest, SharedStore};

use crate::{put, text};

pub async fn a_new_store_is_at_revision_1(store: SharedStore) {
    let answer = store.range(RangeRequest::prefix("/")).await.unwrap();
    assert_eq!((answer.revision, answer.count, answer.more), (1, 0, false));
    assert_eq!(put(&store, "/a", "1").await, 2);
    assert_eq!(store.status().await.unwrap().revision, 2);
}

pub async fn versions_and_revisions_count_as_etcd_counts(store: SharedStore) {
    let first = put(&store, "/a", "1").await;
    let second = put(&store, "/a", "2").await;
    let kv = store.range(RangeRequest::key("/a")).await.unwrap().kvs.remove(0);
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (first, second, 2));
    store.delete_range(DeleteRangeRequest::key("/a")).await.unwrap();
    let again = put(&store, "/a", "3").await;
    let kv = store.range(RangeRequest::key("/a")).await.unwrap().kvs.remove(0);
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (again, again, 1));
}

pub async fn ranges_have_limit_more_and_count(store: SharedStore) {
    for n in 0..5 {
        put(&store, &format!("/p/{n}"), &n.to_string()).await;
    }
    put(&store, "/q", "beyond").await;
    for (limit, keys, more) in [(0, 5, false), (2, 2, true), (5, 5, false), (9, 5, false)] {
        let answer = store.range(RangeRequest { limit, ..RangeRequest::prefix("/p/") }).await.unwrap();
        assert_eq!((answer.kvs.len(), answer.more, answer.count), (keys, more, 5), "limit {limit}");
        assert!(answer.kvs.is_sorted_by(|a, b| a.key < b.key));
    }
    let answer = store.range(RangeRequest { count_only: true, ..RangeRequest::prefix("/p/") }).await.unwrap();
    assert_eq!((answer.kvs.len(), answer.count), (0, 5));
    let answer = store.range(RangeRequest { keys_only: true, ..RangeRequest::prefix("/p/") }).await.unwrap();
    assert!(answer.kvs.iter().all(|kv| kv.value.is_empty() && kv.mod_revision > 1));
    let from = RangeRequest { key: "/p/3".into(), range_end: Bytes::from_static(&[0]), ..Default::default() };
    assert_eq!(text(&store.range(from).await.unwrap().kvs), ["/p/3=3", "/p/4=4", "/q=beyond"]);
    let between = RangeRequest { key: "/p/1".into(), range_end: "/p/3".into(), ..Default::default() };
    assert_eq!(text(&store.range(between).await.unwrap().kvs), ["/p/1=1", "/p/2=2"]);
}

pub async fn ranges_at_old_revisions_show_the_past(store: SharedStore) {
    let one = put(&store, "/a", "1").await;
    let two = put(&store, "/b", "1").await;
    let three = put(&store, "/a", "2").await;
    let four = store.delete_range(DeleteRangeRequest::key("/a")).await.unwrap().revision;
    for (revision, wanted) in [
        (one, vec!["/a=1"]),
        (two, vec!["/a=1", "/b=1"]),
        (three, vec!["/a=2", "/b=1"]),
        (four, vec!["/b=1"]),
        (0, vec!["/b=1"]),
    ] {
        let answer = store.range(RangeRequest { revision, ..RangeRequest::prefix("/") }).await.unwrap();
        assert_eq!(text(&answer.kvs), wanted, "at {revision}");
        assert_eq!((answer.revision, answer.count), (four, wanted.len() as i64));
    }
    let future = RangeRequest { revision: four + 1, ..RangeRequest::prefix("/") };
    assert_eq!(store.range(future).await, Err(Error::FutureRevision));
}

pub async fn deletes_answer_what_was_there(store: SharedStore) {
    for key in ["/a/1", "/a/2", "/b"] {
        put(&store, key, "v").await;
    }
    let request = DeleteRangeRequest { key: "/a/".into(), range_end: "/a0".into(), prev_kv: true };
    let answer = store.delete_range(request.clone()).await.unwrap();
    assert_eq!((answer.deleted, text(&answer.prev_kvs)), (2, vec!["/a/1=v".into(), "/a/2=v".into()]));
    let revision = answer.revision;
    let answer = store.delete_range(request).await.unwrap();
    assert_eq!((answer.deleted, answer.revision), (0, revision), "nothing changed, no revision");
    assert_eq!(put(&store, "/c", "v").await, revision + 1);
}

pub async fn large_values_come_back_and_too_large_ones_are_refused(store: SharedStore) {
    let value = Bytes::from((0..1_400_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    for n in 0..4 {
        store.put(PutRequest::new(format!("/big/{n}"), value.clone())).await.unwrap();
    }
    let answer = store.range(RangeRequest::prefix("/big/")).await.unwrap();
    assert_eq!(answer.kvs.len(), 4);
    assert!(answer.kvs.iter().all(|kv| kv.value == value), "5.6 MB in one answer");
    let huge = PutRequest::new("/huge", vec![1; 2 << 20]);
    let error = store.put(huge).await.unwrap_err();
    assert!(matches!(error, Error::RequestTooLarge { .. }), "{error:?}");
}

pub async fn compaction_takes_the_past_away(store: SharedStore) {
    let one = put(&store, "/a", "1").await;
    let two = put(&store, "/a", "2").await;
    let three = put(&store, "/b", "1").await;
    assert_eq!(store.compact(three + 1).await, Err(Error::FutureRevision));
    store.compact(two).await.unwrap();
    let at = |revision| RangeRequest { revision, ..RangeRequest::prefix("/") };
    let error = store.range(at(one)).await.unwrap_err();
    assert!(matches!(error, Error::Compacted { .. }), "{error:?}");
    assert_eq!(text(&store.range(at(two)).await.unwrap().kvs), ["/a=2"]);
    assert_eq!(text(&store.range(at(0)).await.unwrap().kvs), ["/a=2", "/b=1"]);
    for again in [one, two] {
        assert!(matches!(store.compact(again).await, Err(Error::Compacted { .. })));
    }
    store.compact(three).await.unwrap();
}

pub async fn puts_can_keep_value_or_lease(store: SharedStore) {
    let lease = store.lease_grant(60, 0).await.unwrap().id;
    store.put(PutRequest { lease, ..PutRequest::new("/a", "1") }).await.unwrap();
    store.put(PutRequest { ignore_lease: true, ..PutRequest::new("/a", "2") }).await.unwrap();
    let kv = store.range(RangeRequest::key("/a")).await.unwrap().kvs.remove(0);
    assert_eq!((&kv.value[..], kv.lease), (&b"2"[..], lease));
    store.put(PutRequest { ignore_value: true, ..PutRequest::new("/a", "") }).await.unwrap();
    let kv = store.range(RangeRequest::key("/a")).await.unwrap().kvs.remove(0);
    assert_eq!((&kv.value[..], kv.lease, kv.version), (&b"2"[..], 0, 3));
    let missing = PutRequest { ignore_value: true, ..PutRequest::new("/b", "") };
    assert_eq!(store.put(missing).await, Err(Error::KeyNotFound));
}

pub async fn writers_side_by_side_get_revisions_of_their_own(store: SharedStore) {
    let (writers, each) = (16, 50);
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let store = store.clone();
        tasks.spawn(async move {
            let mut revisions = Vec::new();
            for n in 0..each {
                revisions.push(put(&store, &format!("/w/{writer}/{n}"), "v").await);
            }
            assert!(revisions.is_sorted_by(|a, b| a < b), "a writer's revisions grow");
            revisions
        });
    }
    let mut all: Vec<i64> = tasks.join_all().await.into_iter().flatten().collect();
    all.sort_unstable();
    let wanted: Vec<i64> = (2..2 + writers * each).collect();
    assert_eq!(all, wanted, "each revision once, none left out");
    let answer = store.range(RangeRequest { count_only: true, ..RangeRequest::prefix("/w/") }).await.unwrap();
    assert_eq!(answer.count, writers * each);
}

pub async fn empty_keys_are_refused(store: SharedStore) {
    assert_eq!(store.range(RangeRequest::default()).await, Err(Error::EmptyKey));
    assert_eq!(store.put(PutRequest::default()).await, Err(Error::EmptyKey));
    assert_eq!(store.delete_range(DeleteRangeRequest::default()).await, Err(Error::EmptyKey));
}
