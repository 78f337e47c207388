//! Watches.

use etcd::{
    DeleteRangeRequest, Error, Event, EventFilter, EventType, Op, PutRequest, SharedStore, Txn, Watch,
    WatchRequest,
};
use futures::StreamExt;

use crate::put;

/// The next `count` events, as text.
async fn events(watch: &mut Watch, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        let response = watch.next().await.expect("the watch goes on").unwrap();
        let last = response.events.last().map_or(0, |event| event.kv.mod_revision);
        assert!(response.revision >= last, "{response:?}");
        events.extend(response.events);
    }
    assert!(events.is_sorted_by_key(|event| event.kv.mod_revision));
    assert_eq!(events.len(), count, "{events:?}");
    events
}

fn text(event: &Event) -> String {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match event.kind {
        EventType::Put => format!("{}={}", lossy(&event.kv.key), lossy(&event.kv.value)),
        EventType::Delete => format!("-{}", lossy(&event.kv.key)),
    }
}

fn texts(events: &[Event]) -> Vec<String> {
    events.iter().map(text).collect()
}

async fn delete(store: &SharedStore, key: &'static str) -> i64 {
    store.delete_range(DeleteRangeRequest::key(key)).await.unwrap().revision
}

pub async fn from_now_on_and_from_the_past(store: SharedStore) {
    let one = put(&store, "/a/1", "1").await;
    let mut now = store.watch(WatchRequest::prefix("/a/", 0)).await.unwrap();
    put(&store, "/b", "other").await;
    put(&store, "/a/1", "2").await;
    let deleted = delete(&store, "/a/1").await;
    let mut past = store.watch(WatchRequest::prefix("/a/", one)).await.unwrap();
    let mut single = store
        .watch(WatchRequest { key: "/a/1".into(), start_revision: one + 1, ..Default::default() })
        .await
        .unwrap();
    put(&store, "/a/2", "3").await;
    assert_eq!(texts(&events(&mut now, 3).await), ["/a/1=2", "-/a/1", "/a/2=3"]);
    let seen = events(&mut past, 4).await;
    assert_eq!(texts(&seen), ["/a/1=1", "/a/1=2", "-/a/1", "/a/2=3"]);
    assert!(seen[0].is_create() && !seen[1].is_create());
    assert_eq!((seen[2].kv.mod_revision, seen[2].kv.version), (deleted, 0));
    assert_eq!(texts(&events(&mut single, 2).await), ["/a/1=2", "-/a/1"]);
}

pub async fn previous_pairs(store: SharedStore) {
    let one = put(&store, "/a", "1").await;
    let mut live = store.watch(WatchRequest::prefix("/a", 0)).await.unwrap();
    put(&store, "/a", "2").await;
    delete(&store, "/a").await;
    put(&store, "/a", "3").await;
    let mut past = store.watch(WatchRequest::prefix("/a", one)).await.unwrap();
    let live = events(&mut live, 3).await;
    let past = events(&mut past, 4).await;
    assert_eq!(live, past[1..], "history tells what the live watch told");
    let prev: Vec<_> = past
        .iter()
        .map(|event| event.prev_kv.as_ref().map(|kv| (kv.value.clone(), kv.mod_revision)))
        .collect();
    assert_eq!(prev, [None, Some(("1".into(), one)), Some(("2".into(), one + 1)), None]);
    let without = WatchRequest { prev_kv: false, ..WatchRequest::prefix("/a", one) };
    let mut without = store.watch(without).await.unwrap();
    assert!(events(&mut without, 4).await.iter().all(|event| event.prev_kv.is_none()));
}

pub async fn one_response_has_all_of_a_revision(store: SharedStore) {
    let ops = (0..100).map(|n| Op::Put(PutRequest::new(format!("/t/{n:03}"), "v"))).collect();
    let mut live = store.watch(WatchRequest::prefix("/t/", 0)).await.unwrap();
    let revision = store.txn(Txn { success: ops, ..Txn::default() }).await.unwrap().revision;
    let mut past = store.watch(WatchRequest::prefix("/t/", revision)).await.unwrap();
    for watch in [&mut live, &mut past] {
        let response = watch.next().await.unwrap().unwrap();
        assert_eq!(response.events.len(), 100);
        assert!(response.events.iter().all(|event| event.kv.mod_revision == revision));
        assert!(response.events.is_sorted_by(|a, b| a.kv.key < b.kv.key), "in the order of the operations");
    }
}

pub async fn a_compacted_start_ends_the_watch(store: SharedStore) {
    let one = put(&store, "/a", "1").await;
    put(&store, "/a", "2").await;
    let three = put(&store, "/a", "3").await;
    store.compact(three).await.unwrap();
    let mut watch = store.watch(WatchRequest::prefix("/a", one)).await.unwrap();
    let error = watch.next().await.unwrap().unwrap_err();
    assert_eq!(error, Error::Compacted { compact_revision: three });
    assert!(watch.next().await.is_none(), "an error is the last item");
    let mut watch = store.watch(WatchRequest::prefix("/a", three)).await.unwrap();
    assert_eq!(texts(&events(&mut watch, 1).await), ["/a=3"]);
}

pub async fn progress_comes_after_all_events(store: SharedStore) {
    let mut watch = store.watch(WatchRequest::prefix("/a/", 0)).await.unwrap();
    let handle = watch.progress_handle();
    for n in 0..20 {
        put(&store, &format!("/a/{n}"), "v").await;
        let newest = put(&store, "/other", "v").await;
        handle.request_progress();
        let mut seen = 0;
        loop {
            let response = watch.next().await.unwrap().unwrap();
            if response.is_progress() && response.revision >= newest {
                break;
            }
            seen += response.events.len();
        }
        assert_eq!(seen, 1, "round {n}: the event comes before the progress");
    }
}

pub async fn filters_leave_kinds_out(store: SharedStore) {
    let filtered = |filter| WatchRequest { filters: vec![filter], ..WatchRequest::prefix("/a", 2) };
    let mut early = store.watch(filtered(EventFilter::NoPut)).await.unwrap();
    put(&store, "/a", "1").await;
    delete(&store, "/a").await;
    put(&store, "/a", "2").await;
    let mut late = store.watch(filtered(EventFilter::NoDelete)).await.unwrap();
    assert_eq!(texts(&events(&mut early, 1).await), ["-/a"]);
    assert_eq!(texts(&events(&mut late, 2).await), ["/a=1", "/a=2"]);
}

pub async fn slow_watchers_miss_nothing(store: SharedStore) {
    let mut slow = store.watch(WatchRequest::prefix("/s/", 0)).await.unwrap();
    let count = 4000;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for n in 0..count / 8 {
                put(&store, &format!("/s/{writer}"), &"x".repeat(n % 600)).await;
            }
        });
    }
    tasks.join_all().await;
    let seen = events(&mut slow, count).await;
    for (event, wanted) in seen.iter().zip(seen[0].kv.mod_revision..) {
        assert_eq!(event.kv.mod_revision, wanted, "each revision once");
        assert_eq!(event.prev_kv.is_some(), event.kv.version > 1);
    }
}

pub async fn many_watches_see_their_own_keys(store: SharedStore) {
    let mut watches = Vec::new();
    for n in 0..30 {
        watches.push(store.watch(WatchRequest::prefix(format!("/m/{n:02}/"), 0)).await.unwrap());
    }
    drop(watches.split_off(20));
    for n in 0..30 {
        put(&store, &format!("/m/{n:02}/k"), &n.to_string()).await;
    }
    for (n, watch) in watches.iter_mut().enumerate() {
        assert_eq!(texts(&events(watch, 1).await), [format!("/m/{n:02}/k={n}")]);
    }
}

pub async fn a_start_in_the_future_waits(store: SharedStore) {
    let one = put(&store, "/a", "1").await;
    let mut watch = store.watch(WatchRequest::prefix("/a", one + 3)).await.unwrap();
    for n in 2..=4 {
        put(&store, "/a", &n.to_string()).await;
    }
    assert_eq!(texts(&events(&mut watch, 1).await), ["/a=4"]);
}

pub async fn a_watch_from_the_compacted_revision_sees_its_deletion(store: SharedStore) {
    put(&store, "/a", "1").await;
    let deleted = delete(&store, "/a").await;
    put(&store, "/b", "1").await;
    store.compact(deleted).await.unwrap();
    let mut watch = store.watch(WatchRequest::prefix("/", deleted)).await.unwrap();
    assert_eq!(texts(&events(&mut watch, 2).await), ["-/a", "/b=1"]);
}
