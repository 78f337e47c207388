//! A watch of one kind that goes on from its last resourceVersion whenever the server comes back: no event may be
//! missing, unless the server says 410, after which a list takes its place.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use crate::http::Client;
use crate::ledger::Kind;

/// What a watch has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Versions of events since they were last taken.
    pub versions: BTreeSet<u64>,
    /// Versions up to this one were skipped with a 410 and a list.
    pub skipped_to: u64,
    pub expired: u64,
    pub resumed: u64,
    pub findings: Vec<String>,
    last: u64,
}

impl Seen {
    /// One event in order.
    fn event(&mut self, kind: Kind, version: u64, of: &str) {
        if version <= self.last {
            let last = self.last;
            self.findings.push(format!("watch of {kind:?}: {of} of version {version} after {last}"));
        }
        self.last = self.last.max(version);
        self.versions.insert(version);
    }

    /// The acknowledged versions that no event had.
    pub fn missing(&self, acknowledged: impl Iterator<Item = u64>) -> Vec<u64> {
        acknowledged.filter(|v| *v > self.skipped_to && !self.versions.contains(v)).collect()
    }
}

pub struct Watcher {
    pub kind: Kind,
    seen: Arc<Mutex<Seen>>,
    /// The last version seen.
    progress: watch::Receiver<u64>,
    task: tokio::task::JoinHandle<()>,
}

impl Watcher {
    /// Watches from a version on.
    pub fn start(client: Client, kind: Kind, from: u64) -> Self {
        let seen = Arc::new(Mutex::new(Seen { last: from, skipped_to: from, ..Seen::default() }));
        let (sender, progress) = watch::channel(from);
        let task = tokio::spawn(follow(client, kind, seen.clone(), sender));
        Self { kind, seen, progress, task }
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False where the version does not come in time.
    pub async fn reaches(&mut self, version: u64, limit: Duration) -> bool {
        let reached = self.progress.wait_for(|last| *last >= version);
        tokio::time::timeout(limit, reached).await.is_ok_and(|r| r.is_ok())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(client: Client, kind: Kind, seen: Arc<Mutex<Seen>>, progress: watch::Sender<u64>) {
    let lock = || seen.lock().unwrap_or_else(PoisonError::into_inner);
    let mut again = tokio::time::interval(Duration::from_millis(50));
    loop {
        // While the server is away there is nothing but to ask again.
        again.tick().await;
        let from = lock().last;
        match client.watch(kind, from).await {
            Some(Ok(mut lines)) => {
                lock().resumed += 1;
                while let Some(line) = lines.next().await {
                    let expired = take(&mut lock(), kind, &line);
                    let _ = progress.send(lock().last);
                    if expired {
                        relist(&client, kind, &seen, &progress).await;
                        break;
                    }
                }
            }
            Some(Err(410)) => relist(&client, kind, &seen, &progress).await,
            Some(Err(code @ 400..=499)) if code != 429 => {
                lock().findings.push(format!("watch of {kind:?} from {from}: refused with {code}"));
            }
            _ => {}
        }
    }
}

/// Takes one line in. True: the watch has expired.
fn take(seen: &mut Seen, kind: Kind, line: &[u8]) -> bool {
    let Ok(event) = serde_json::from_slice::<Value>(line) else {
        seen.findings.push(format!("watch of {kind:?}: a line that is no JSON"));
        return false;
    };
    let version = event["object"]["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok());
    match (event["type"].as_str().unwrap_or_default(), version) {
        ("ERROR", _) if event["object"]["code"] == 410 => return true,
        ("ERROR", _) => {}
        ("BOOKMARK", Some(version)) => seen.last = seen.last.max(version),
        (of, Some(version)) => seen.event(kind, version, of),
        (of, None) => seen.findings.push(format!("watch of {kind:?}: {of} without a version")),
    }
    false
}

async fn relist(client: &Client, kind: Kind, seen: &Mutex<Seen>, progress: &watch::Sender<u64>) {
    let Ok((_, version)) = client.list(kind).await else { return };
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.expired += 1;
    seen.last = seen.last.max(version);
    seen.skipped_to = seen.last;
    let _ = progress.send(seen.last);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(of: &str, version: &str) -> Vec<u8> {
        format!("{{\"type\":\"{of}\",\"object\":{{\"metadata\":{{\"resourceVersion\":\"{version}\"}}}}}}\n")
            .into_bytes()
    }

    #[test]
    fn gaps_and_disorder_are_found() {
        let mut seen = Seen { last: 4, skipped_to: 4, ..Seen::default() };
        for (of, version) in [("ADDED", "5"), ("BOOKMARK", "7"), ("MODIFIED", "8")] {
            assert!(!take(&mut seen, Kind::Custom, &line(of, version)));
        }
        assert_eq!(seen.missing([3, 5, 6, 8].into_iter()), [6]);
        assert!(seen.findings.is_empty());
        take(&mut seen, Kind::Custom, &line("DELETED", "8"));
        assert_eq!(seen.findings.len(), 1);
        assert!(take(&mut seen, Kind::Custom, b"{\"type\":\"ERROR\",\"object\":{\"code\":410}}"));
    }
}
