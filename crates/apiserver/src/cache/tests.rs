//! The cache's promises, on states applied by hand.

use std::sync::Arc;

use apimachinery::{fields, labels};

use super::*;

fn entry(key: &str, app: &str, node: &str, revision: i64) -> Arc<Entry> {
    let labels = Box::new([("app".into(), app.into())]);
    let body = (bytes::Bytes::from_static(b"{"), bytes::Bytes::from_static(b",{}\n"));
    let version = Arc::new(apimachinery::GroupVersion::new("", "v1"));
    Arc::new(Entry::new(key.into(), true, labels, Box::new([node.into()]), revision, version, body))
}

fn cache() -> Arc<Cache> {
    let cache = Cache::new(vec![0]);
    cache.state.write().reset(vec![entry("a/x", "web", "n1", 5), entry("b/y", "db", "n2", 6)], 10);
    cache
}

fn set(cache: &Cache, entry: Arc<Entry>) {
    let mut state = cache.state.write();
    state.revision = entry.revision;
    state.apply(Applied::Set(entry));
}

fn gone(cache: &Cache, key: &str, revision: i64) {
    let mut state = cache.state.write();
    state.revision = revision;
    state.apply(Applied::Gone { key: key.into(), revision });
}

fn all() -> Selection {
    Selection::new(true, "", "")
}

fn with_labels(text: &str) -> Selection {
    all().with_labels(labels::Selector::parse(text).unwrap())
}

fn on_node(text: &str) -> Selection {
    let selector = fields::Selector::parse(text).unwrap();
    all().with_fields(&selector, |f| (f == "spec.nodeName").then_some(0)).unwrap()
}

fn keys(cache: &Cache, selection: &Selection) -> Vec<String> {
    cache.select(selection, None).entries.iter().map(|e| e.key.to_string()).collect()
}

async fn take(watch: &mut Subscription, n: usize) -> Vec<(EventKind, i64)> {
    let mut out = Vec::new();
    for _ in 0..n {
        let (kind, change) = watch.next().await.unwrap();
        out.push((kind, change.revision));
    }
    out
}

fn idle(watch: &mut Subscription) -> bool {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    watch.poll_next(&mut cx).is_pending()
}

#[test]
fn selects_by_index_and_by_looking() {
    let cache = cache();
    set(&cache, entry("a/z", "web", "n2", 11));
    for (selection, expected) in [
        (all(), vec!["a/x", "a/z", "b/y"]),
        (Selection::new(true, "a", ""), vec!["a/x", "a/z"]),
        (Selection::new(true, "a", "z"), vec!["a/z"]),
        (with_labels("app=web"), vec!["a/x", "a/z"]),
        (with_labels("app!=web"), vec!["b/y"]),
        (on_node("spec.nodeName=n2"), vec!["a/z", "b/y"]),
        (on_node("spec.nodeName!=n2"), vec!["a/x"]),
        (on_node("metadata.name=y"), vec!["b/y"]),
        (on_node("spec.nodeName=n3"), vec![]),
    ] {
        assert_eq!(keys(&cache, &selection), expected, "{selection:?}");
    }
    set(&cache, entry("a/x", "web", "n2", 12));
    assert_eq!(keys(&cache, &on_node("spec.nodeName=n1")), Vec::<String>::new());
    gone(&cache, "a/z", 13);
    assert_eq!(keys(&cache, &on_node("spec.nodeName=n2")), ["a/x", "b/y"]);
}

#[tokio::test]
async fn a_selector_that_an_object_enters_and_leaves() {
    let cache = cache();
    let mut watch = cache.watch_after(with_labels("app=web"), 10).unwrap();
    set(&cache, entry("b/y", "web", "n2", 11));
    set(&cache, entry("b/y", "web", "n3", 12));
    set(&cache, entry("b/y", "db", "n3", 13));
    set(&cache, entry("b/y", "db", "n4", 14));
    gone(&cache, "a/x", 15);
    let expected = [
        (EventKind::Added, 11),
        (EventKind::Modified, 12),
        (EventKind::Deleted, 13),
        (EventKind::Deleted, 15),
    ];
    assert_eq!(take(&mut watch, 4).await, expected);
    assert!(idle(&mut watch));
    assert_eq!(watch.bookmark(), 15);
}

#[tokio::test]
async fn a_node_watcher_sees_pods_come_and_go() {
    let cache = cache();
    let mut watch = cache.watch_after(on_node("spec.nodeName=n1"), 10).unwrap();
    set(&cache, entry("a/x", "web", "n2", 11));
    set(&cache, entry("b/y", "db", "n1", 12));
    set(&cache, entry("b/q", "db", "n7", 13));
    assert_eq!(take(&mut watch, 2).await, [(EventKind::Deleted, 11), (EventKind::Added, 12)]);
    assert!(idle(&mut watch));
}

#[tokio::test]
async fn resumes_from_the_window_and_refuses_what_it_has_passed() {
    let cache = cache();
    for revision in 11..20 {
        set(&cache, entry("a/x", "web", "n1", revision));
    }
    let mut watch = cache.watch_after(all(), 15).unwrap();
    assert_eq!(take(&mut watch, 4).await.last(), Some(&(EventKind::Modified, 19)));
    assert!(cache.watch_after(all(), 9).is_none());
    assert!(cache.watch_after(all(), 10).is_some());
    for revision in 20..9000 {
        set(&cache, entry("a/x", "web", "n1", revision));
    }
    assert!(cache.watch_after(all(), 15).is_none());
}

#[tokio::test]
async fn a_slow_watcher_catches_up_from_the_window_or_ends() {
    let cache = cache();
    let mut slow = cache.watch_after(all(), 10).unwrap();
    for revision in 11..2011 {
        set(&cache, entry("a/x", "web", "n1", revision));
    }
    let seen = take(&mut slow, 2000).await;
    assert!(seen.iter().map(|(_, r)| *r).eq(11..2011));
    for revision in 2011..9000 {
        set(&cache, entry("a/x", "web", "n1", revision));
    }
    let end = loop {
        if let Err(end) = slow.next().await {
            break end;
        }
    };
    assert_eq!(end, End::TooSlow);
}

#[tokio::test]
async fn starting_anew_ends_watchers() {
    let cache = cache();
    let mut watch = cache.watch_after(all(), 10).unwrap();
    cache.state.write().reset(vec![], 30);
    assert_eq!(watch.next().await.err(), Some(End::Closed));
    drop(watch);
    assert_eq!(cache.watchers(), 0);
}
