//! Kills the embedded engine at random moments under load, and damages its journals: what was
//! acknowledged is there after opening again, or the store refuses to open.
//!
//! The child of the kill test is this test binary itself, run with `ETCD_CRASH_DIR` set: it writes
//! and prints each write after its acknowledgement.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use etcd::embedded::Options;
use etcd::{DeleteRangeRequest, Embedded, Error, PutRequest, RangeRequest, SharedStore};

const WRITERS: usize = 8;
const ROUNDS: u64 = 20;

fn open(dir: &Path) -> Result<SharedStore, Error> {
    let mut options = Options::new(dir);
    options.sizes.values_memtable = 256 << 10; // flushes and journal changes are under test too
    options.sizes.meta_memtable = 64 << 10;
    options.reclaim_above = 256 << 10;
    Ok(Arc::new(Embedded::open(options)?))
}

fn value(key: &str, n: u64) -> String {
    format!("{key} {n} {}", "x".repeat((n % 700) as usize))
}

/// The child: writes for ever, and tells each acknowledged write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os("ETCD_CRASH_DIR") else { return };
    let store = open(Path::new(&dir)).unwrap();
    let begin = store.status().await.unwrap().revision as u64;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        tasks.spawn(async move {
            for n in begin.. {
                write_one(&store, &format!("/w/{writer}/{}", n % 40), n).await;
            }
        });
    }
    tasks.spawn(async move {
        loop {
            let now = store.status().await.unwrap().revision;
            if now > 500 {
                let _compacted_already = store.compact(now - 400).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    tasks.join_next().await;
}

async fn write_one(store: &SharedStore, key: &str, n: u64) {
    let done = if n % 7 == 3 {
        let answer = store.delete_range(DeleteRangeRequest::key(key.to_owned())).await.unwrap();
        format!("ack {} {key} -\n", answer.revision)
    } else {
        let answer = store.put(PutRequest::new(key.to_owned(), value(key, n))).await.unwrap();
        format!("ack {} {key} {n}\n", answer.revision)
    };
    std::io::stdout().lock().write_all(done.as_bytes()).unwrap();
}

/// What was acknowledged of a key: the revision, and what was written if it was a put.
type Acked = BTreeMap<String, (i64, Option<u64>)>;

/// Runs the child until `after` writes were acknowledged, kills it, and notes all it told.
fn run_and_kill(dir: &Path, after: usize, acked: &mut Acked) -> i64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_writes_until_it_is_killed", "--exact", "--nocapture"])
        .env("ETCD_CRASH_DIR", dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut count, mut last) = (0, 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let Ok(line) = line else { break };
        let words: Vec<&str> = line.split(' ').collect();
        let ["ack", revision, key, n] = words[..] else { continue };
        let revision: i64 = revision.parse().unwrap();
        last = last.max(revision);
        let entry = acked.entry(key.to_owned()).or_default();
        if entry.0 <= revision {
            *entry = (revision, n.parse().ok());
        }
        count += 1;
        if count == after {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    last
}

async fn check(store: &SharedStore, acked: &Acked, last: i64) {
    let status = store.status().await.unwrap();
    assert!(status.revision >= last, "revision {} is lost", last);
    let mut seen = 0;
    for (key, (revision, n)) in acked {
        // As of its own revision, since writes after it may have happened without being told.
        let then = RangeRequest { revision: *revision, ..RangeRequest::key(key.clone()) };
        let kvs = match store.range(then).await {
            Err(Error::Compacted { compact_revision }) if compact_revision > *revision => continue,
            answer => answer.unwrap().kvs,
        };
        seen += 1;
        let found = kvs.first().map(|kv| (kv.mod_revision, kv.value.to_vec()));
        let wanted = n.map(|n| (*revision, value(key, n).into_bytes()));
        assert_eq!(found, wanted, "{key} as of {revision}");
    }
    assert!(seen > 20, "most recent writes are not compacted: {seen}");
    // The past is there as well, value by value.
    let old = RangeRequest { revision: status.revision - 20, ..RangeRequest::prefix("/w/") };
    for kv in store.range(old).await.unwrap().kvs {
        assert!(kv.value.starts_with(&kv.key), "{kv:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kills() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = Acked::new();
    let mut last = 0;
    for round in 0..ROUNDS {
        let after = 150 + (round * 7919 % 613) as usize;
        last = run_and_kill(dir.path(), after, &mut acked).max(last);
        let store = open(dir.path()).unwrap();
        check(&store, &acked, last).await;
    }
    assert!(acked.len() > 100 && last > 3000, "{} keys, revision {last}", acked.len());
}

fn journals(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("db")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "jnl"));
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// A store of `count` writes, one a group, closed; its only journal, without the zeros.
async fn small_store(dir: &Path, count: i64) -> (PathBuf, Vec<u8>) {
    let store = open(dir).unwrap();
    for n in 2..2 + count {
        store.put(PutRequest::new(format!("/k/{n}"), value("/k", n as u64))).await.unwrap();
    }
    drop(store);
    let journals = journals(dir);
    let bytes = std::fs::read(&journals[0]).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    (journals[0].strip_prefix(dir).unwrap().to_owned(), bytes[..end].to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_is_cut_and_damage_before_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    let (journal, bytes) = small_store(&base, 30).await;
    let (mut opened, mut refused) = (0, 0);
    for round in 0..24 {
        let at = bytes.len() * (round * 37 % 97 + 2) / 100;
        let (cut, flipped) =
            (dir.path().join(format!("cut{round}")), dir.path().join(format!("flip{round}")));
        copy(&base, &cut);
        std::fs::write(cut.join(&journal), &bytes[..at]).unwrap();
        let store = open(&cut).expect("a torn tail is no damage");
        let newest = store.status().await.unwrap().revision;
        let kvs = store.range(RangeRequest::prefix("/k/")).await.unwrap().kvs;
        assert_eq!(kvs.len() as i64, newest - 1, "a whole beginning of history");
        assert!(kvs.iter().all(|kv| kv.value == value("/k", kv.mod_revision as u64)));
        store.put(PutRequest::new("/k/more", "v")).await.unwrap();
        drop(store);
        assert_eq!(open(&cut).unwrap().status().await.unwrap().revision, newest + 1);
        opened += 1;

        copy(&base, &flipped);
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(flipped.join(&journal), &damaged).unwrap();
        for attempt in 0..2 {
            match open(&flipped) {
                Err(Error::Corrupt { .. }) => refused += 1,
                Err(e) => panic!("attempt {attempt}: {e:?}"),
                Ok(store) => {
                    // Only what nobody needs may be damaged: the marker of the end.
                    assert_eq!(store.status().await.unwrap().revision, 31, "flipped byte {at}");
                }
            }
        }
    }
    assert!(opened == 24 && refused >= 44, "{opened} {refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_tables_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (_, _) = small_store(dir.path(), 2500).await;
    let mut tables = Vec::new();
    for keyspace in std::fs::read_dir(dir.path().join("db/keyspaces")).unwrap() {
        let tables_dir = keyspace.unwrap().path().join("tables");
        let Ok(entries) = std::fs::read_dir(tables_dir) else { continue };
        tables.extend(entries.map(|entry| entry.unwrap().path()));
    }
    assert!(!tables.is_empty(), "there are tables");
    for table in tables {
        let mut bytes = std::fs::read(&table).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle] ^= 1;
        std::fs::write(&table, bytes).unwrap();
    }
    let outcome = match open(dir.path()) {
        Err(e) => Err(e),
        Ok(store) => store.range(RangeRequest::prefix("/k/")).await,
    };
    assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{outcome:?}");
}
