//! Watches from before the cache's start, over a real store.

use std::sync::Arc;

use async_trait::async_trait;
use etcd::{DeleteRangeRequest, Embedded, KeyValue, PutRequest, Store};
use tokio_util::sync::CancellationToken;

use super::*;

struct Things(Embedded);

#[async_trait]
impl Source for Things {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn prefix(&self) -> &str {
        "/registry/things/"
    }

    /// The value is the label `app`.
    async fn decode(&self, pairs: Vec<KeyValue>) -> Vec<Arc<Entry>> {
        let entry = |kv: KeyValue| {
            let key = String::from_utf8_lossy(&kv.key[self.prefix().len()..]).into();
            let labels = Box::new([("app".into(), String::from_utf8_lossy(&kv.value).as_ref().into())]);
            let body = (bytes::Bytes::from_static(b"{"), bytes::Bytes::from_static(b",{}\n"));
            let version = Arc::new(apimachinery::GroupVersion::new("", "v1"));
            Arc::new(Entry::new(key, true, labels, Box::new([]), kv.mod_revision, version, body))
        };
        pairs.into_iter().map(entry).collect()
    }

    fn made(&self, _: &str, _: &KeyValue) -> Option<Arc<Entry>> {
        None
    }
}

impl Things {
    async fn put(&self, key: &str, app: &str) -> i64 {
        let put = PutRequest::new(format!("{}{key}", self.prefix()), app.to_owned());
        self.0.put(put).await.unwrap().revision
    }

    async fn delete(&self, key: &str) -> i64 {
        let delete = DeleteRangeRequest::key(format!("{}{key}", self.prefix()));
        self.0.delete_range(delete).await.unwrap().revision
    }
}

/// A store with a past (revisions from the first on), and a cache that starts after it.
async fn restarted(folder: &std::path::Path) -> (Arc<Things>, Arc<Cache>, i64) {
    let things = Arc::new(Things(Embedded::open(etcd::embedded::Options::new(folder)).unwrap()));
    let first = things.put("a/x", "web").await;
    things.put("a/y", "web").await;
    things.0.put(PutRequest::new("/registry/other/z", "web")).await.unwrap();
    things.put("a/x", "db").await;
    things.delete("a/y").await;
    let cache = Cache::new(vec![]);
    cache.start(things.clone(), CancellationToken::new());
    cache.ready().await.unwrap();
    (things, cache, first)
}

async fn seen(watch: &mut Subscription, n: usize) -> Vec<(EventKind, i64)> {
    let mut out = Vec::new();
    for _ in 0..n {
        let (kind, change) = watch.next().await.unwrap();
        out.push((kind, change.revision));
    }
    out
}

fn app(value: &str) -> Selection {
    let selector = apimachinery::labels::Selector::parse(&format!("app={value}")).unwrap();
    Selection::new(true, "", "").with_labels(selector)
}

#[tokio::test]
async fn a_watch_goes_on_over_the_servers_restart() {
    use EventKind::{Added, Deleted, Modified};
    let folder = tempfile::tempdir().unwrap();
    let (things, cache, first) = restarted(folder.path()).await;
    let all = || Selection::new(true, "", "");
    assert!(cache.watch_after(all(), first).is_none(), "the window alone does not reach back");
    let mut late = cache.watch_from(&*things, all(), first + 3).await.unwrap();
    let mut watch = cache.watch_from(&*things, all(), first).await.unwrap();
    let mut web = cache.watch_from(&*things, app("web"), first).await.unwrap();
    let next = things.put("a/w", "web").await;
    let past = [(Added, first + 1), (Modified, first + 3), (Deleted, first + 4)];
    assert_eq!(seen(&mut watch, 4).await, [&past[..], &[(Added, next)]].concat());
    assert_eq!(seen(&mut late, 2).await, [(Deleted, first + 4), (Added, next)]);
    // `a/x` left the selection when it became `db`.
    let of_web = [(Added, first + 1), (Deleted, first + 3), (Deleted, first + 4), (Added, next)];
    assert_eq!(seen(&mut web, 4).await, of_web);
}

#[tokio::test]
async fn what_the_store_compacted_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let (things, cache, first) = restarted(folder.path()).await;
    things.0.compact(first + 3).await.unwrap();
    let all = || Selection::new(true, "", "");
    assert!(cache.watch_from(&*things, all(), first).await.is_none());
    let mut watch = cache.watch_from(&*things, all(), first + 3).await.unwrap();
    assert_eq!(seen(&mut watch, 1).await, [(EventKind::Deleted, first + 4)]);
}
