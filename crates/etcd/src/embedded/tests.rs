//! Tests of the engine that look inside it; what any store must do is in `tests/suite`.

use std::path::Path;
use std::sync::atomic::Ordering;

use futures::StreamExt;

use super::*;
use crate::{PutRequest, RangeRequest};

fn open(path: &Path) -> Embedded {
    Embedded::open(Options::new(path)).unwrap()
}

async fn put(store: &Embedded, key: &str, bytes: usize) -> i64 {
    store.put(PutRequest::new(key.to_owned(), vec![7; bytes])).await.unwrap().revision
}

#[tokio::test]
async fn a_reopened_store_keeps_its_memory_small() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let store = open(dir.path());
    for n in 0..48 {
        put(&store, &format!("/{n}"), 1 << 20).await;
        check_memory(&store);
    }
    drop(store);
    check_memory(&open(dir.path()));
}

/// fjall's own default would let all 48 MiB stay.
fn check_memory(store: &Embedded) {
    let sizes = Sizes::default();
    let (values, meta, cache) = store.engine.as_ref().unwrap().disk.memory();
    // A memtable is exchanged in the background, some writes after it is full.
    assert!(values <= sizes.values_memtable + (12 << 20), "{values} bytes of values in memory");
    assert!(meta <= sizes.meta_memtable, "{meta} bytes of metadata in memory");
    assert_eq!(cache, sizes.block_cache);
}

#[tokio::test]
async fn a_failed_write_poisons_until_the_store_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let acknowledged = put(&store, "/a", 10).await;
    let mut watch = store.watch(WatchRequest::prefix("/", 0)).await.unwrap();
    store.engine.as_ref().unwrap().disk.fail_commits.store(true, Ordering::Relaxed);
    let poisoned = |e: Error| matches!(e, Error::Poisoned { .. });
    assert!(poisoned(store.put(PutRequest::new("/a", "lost")).await.unwrap_err()));
    store.engine.as_ref().unwrap().disk.fail_commits.store(false, Ordering::Relaxed);
    assert!(poisoned(store.put(PutRequest::new("/b", "v")).await.unwrap_err()));
    assert!(poisoned(store.range(RangeRequest::key("/a")).await.unwrap_err()));
    assert!(poisoned(store.status().await.unwrap_err()));
    assert!(poisoned(watch.next().await.unwrap().unwrap_err()), "watches end");
    drop((store, watch));
    let store = open(dir.path());
    let answer = store.range(RangeRequest::prefix("/")).await.unwrap();
    assert_eq!((answer.revision, answer.kvs.len()), (acknowledged, 1));
    assert_eq!(put(&store, "/a", 1).await, acknowledged + 1);
}

#[tokio::test]
async fn compaction_gives_disk_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.reclaim_above = 1 << 20;
    let store = Embedded::open(options).unwrap();
    let mut newest = 0;
    for n in 0..400 {
        newest = put(&store, &format!("/{}", n % 4), 64 << 10).await;
    }
    let before = store.status().await.unwrap().db_size;
    store.compact(newest).await.unwrap();
    drop(store); // waits for the collector
    let store = open(dir.path());
    let after = store.status().await.unwrap().db_size;
    assert!(before > 12 << 20 && after < 2 << 20, "{before} -> {after} bytes");
    assert_eq!(store.range(RangeRequest::prefix("/")).await.unwrap().kvs.len(), 4);
    assert!(matches!(store.compact(newest).await, Err(Error::Compacted { .. })), "it is remembered");
}

#[tokio::test]
async fn leases_and_what_hangs_on_them_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (long, short) =
        (store.lease_grant(100, 1).await.unwrap().id, store.lease_grant(1, 2).await.unwrap().id);
    for (key, lease) in [("/long", long), ("/short", short), ("/moved", short), ("/moved", long)] {
        store.put(PutRequest { lease, ..PutRequest::new(key, "v") }).await.unwrap();
    }
    drop(store);
    let store = open(dir.path());
    let mut watch = store.watch(WatchRequest::prefix("/", 0)).await.unwrap();
    let keys = store.lease_time_to_live(long, true).await.unwrap().keys;
    assert_eq!(keys, ["/long", "/moved"]);
    let gone = watch.next().await.unwrap().unwrap();
    assert_eq!((gone.events.len(), &gone.events[0].kv.key[..]), (1, &b"/short"[..]));
    drop((store, watch));
    let store = open(dir.path());
    assert_eq!(store.lease_revoke(short).await, Err(Error::LeaseNotFound { id: short }));
    assert_eq!(store.range(RangeRequest::prefix("/")).await.unwrap().count, 2);
}

#[tokio::test]
async fn history_and_watches_go_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let first = put(&store, "/a", 1).await;
    put(&store, "/a", 2).await;
    drop(store);
    let store = open(dir.path());
    let mut watch = store.watch(WatchRequest::prefix("/a", first)).await.unwrap();
    let seen = watch.next().await.unwrap().unwrap();
    let lengths: Vec<_> = seen.events.iter().map(|event| event.kv.value.len()).collect();
    assert_eq!(lengths, [1, 2]);
    assert_eq!(seen.events[1].prev_kv.as_ref().map(|kv| kv.mod_revision), Some(first));
    assert_eq!(put(&store, "/a", 3).await, first + 2);
}

/// Not a test: durable puts a second. `cargo test -p etcd --lib --release puts_a_second -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn puts_a_second() {
    for writers in [1, 16, 64] {
        let dir = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or("/var/tmp".into())).unwrap();
        let store = Arc::new(open(dir.path()));
        let (begun, time) = (Instant::now(), Duration::from_secs(4));
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..writers {
            let store = store.clone();
            tasks.spawn(async move {
                let mut count = 0;
                while begun.elapsed() < time {
                    put(&store, &format!("/registry/pods/default/{writer}-{}", count % 1000), 1024).await;
                    count += 1;
                }
                count
            });
        }
        let count: usize = tasks.join_all().await.into_iter().sum();
        println!("{writers:3} writers: {:.0} puts/s", count as f64 / begun.elapsed().as_secs_f64());
    }
}

/// Not a test: memory and time to open with 100,000 keys of 1 KB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn memory_of_many_keys() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        status.lines().find(|line| line.starts_with("RssAnon")).unwrap_or_default().to_owned()
    };
    let dir = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or("/var/tmp".into())).unwrap();
    let store = Arc::new(open(dir.path()));
    println!("empty: {}", resident());
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..50 {
        let store = store.clone();
        tasks.spawn(async move {
            for n in 0..2000 {
                put(&store, &format!("/registry/pods/namespace-{writer}/deployment-{n}-7f9c6d-x{n}"), 1024)
                    .await;
            }
        });
    }
    tasks.join_all().await;
    println!("100,000 written: {}", resident());
    drop(store);
    println!("closed: {}", resident());
    let begun = Instant::now();
    let store = open(dir.path());
    println!("opened in {:?}: {}", begun.elapsed(), resident());
    let begun = Instant::now();
    let answer = store.range(RangeRequest { limit: 500, ..RangeRequest::prefix("/") }).await.unwrap();
    println!(
        "500 of {} in {:?}, db {} bytes",
        answer.count,
        begun.elapsed(),
        store.status().await.unwrap().db_size
    );
}
