//! Compaction of the store's history, by the protocol that all masters of one etcd follow: whoever first counts up
//! the key `compact_rev_key` in an interval compacts to the revision of the interval before.

use std::time::Duration;

use bytes::Bytes;
use etcd::{Compare, Op, OpResponse, PutRequest, RangeRequest, SharedStore, Txn};
use tokio_util::sync::CancellationToken;

const KEY: &str = "compact_rev_key";

/// What this master knew at the last interval.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Version of the key, which counts compactions.
    time: i64,
    revision: i64,
}

/// Runs until `stop`; not at all with an interval of zero.
pub async fn run(store: SharedStore, interval: Duration, stop: CancellationToken) {
    if interval.is_zero() {
        return;
    }
    let mut seen = Seen::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        match once(&store, &seen).await {
            Ok(next) => seen = next,
            Err(error) => tracing::warn!(%error, "the store is not compacted"),
        }
    }
}

async fn once(store: &SharedStore, seen: &Seen) -> etcd::Result<Seen> {
    let key = Bytes::from_static(KEY.as_bytes());
    let txn = Txn {
        compares: vec![Compare::version(key.clone(), seen.time)],
        success: vec![Op::Put(PutRequest::new(key.clone(), seen.revision.to_string()))],
        failure: vec![Op::Range(RangeRequest::key(key))],
    };
    let answer = store.txn(txn).await?;
    if !answer.succeeded {
        // Another master was faster: from here on we count as it does.
        let time = match answer.responses.first() {
            Some(OpResponse::Range(range)) => range.kvs.first().map_or(0, |kv| kv.version),
            _ => seen.time,
        };
        return Ok(Seen { time, revision: answer.revision });
    }
    if seen.revision != 0 {
        match store.compact(seen.revision).await {
            Ok(_) | Err(etcd::Error::Compacted { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Seen { time: seen.time + 1, revision: answer.revision })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn two_masters_compact_once() {
        let folder = tempfile::tempdir().unwrap();
        let store: SharedStore =
            Arc::new(etcd::Embedded::open(etcd::embedded::Options::new(folder.path())).unwrap());
        let (mut a, mut b) = (Seen::default(), Seen::default());
        a = once(&store, &a).await.unwrap();
        b = once(&store, &b).await.unwrap();
        assert_eq!((a.time, b.time), (1, 1));
        let at = a.revision;
        store.put(PutRequest::new("k", "1")).await.unwrap();
        a = once(&store, &a).await.unwrap();
        assert_eq!(a.time, 2);
        let old = store.range(RangeRequest { revision: at - 1, ..RangeRequest::key("k") }).await;
        assert!(matches!(old, Err(etcd::Error::Compacted { .. })), "{old:?}");
        b = once(&store, &b).await.unwrap();
        assert_eq!(b.time, 2);
    }
}
