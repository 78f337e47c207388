//! What a controller has asked for and not seen yet in its informer. Until all of it was seen, or five minutes
//! passed, the controller does not act again on that object. Deletions are known by uid, so that seeing one twice
//! counts once.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::resource::ObjectKey;

const TIMEOUT: Duration = Duration::from_secs(300);

struct Entry {
    creations: i64,
    deletions: HashSet<String>,
    since: Instant,
}

/// Expectations of the objects of one controller.
#[derive(Default)]
pub struct Expectations {
    entries: Mutex<HashMap<ObjectKey, Entry>>,
}

impl Expectations {
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces what is expected for `key`: `creations` objects, and the deletion of the ones with these uids.
    pub fn expect(&self, key: &ObjectKey, creations: usize, deletions: impl IntoIterator<Item = String>) {
        let entry = Entry {
            creations: i64::try_from(creations).unwrap_or(i64::MAX),
            deletions: deletions.into_iter().collect(),
            since: Instant::now(),
        };
        self.entries.lock().insert(key.clone(), entry);
    }

    /// A creation was seen, or failed.
    pub fn creation_observed(&self, key: &ObjectKey) {
        self.lower_creations(key, 1);
    }

    /// `n` creations will not happen.
    pub fn lower_creations(&self, key: &ObjectKey, n: usize) {
        if let Some(entry) = self.entries.lock().get_mut(key) {
            entry.creations -= i64::try_from(n).unwrap_or(i64::MAX);
        }
    }

    /// The deletion of the object with this uid was seen, or failed.
    pub fn deletion_observed(&self, key: &ObjectKey, uid: &str) {
        if let Some(entry) = self.entries.lock().get_mut(key) {
            entry.deletions.remove(uid);
        }
    }

    /// Whether the controller may act on `key`.
    pub fn satisfied(&self, key: &ObjectKey) -> bool {
        self.entries.lock().get(key).is_none_or(|entry| {
            (entry.creations <= 0 && entry.deletions.is_empty()) || entry.since.elapsed() > TIMEOUT
        })
    }

    /// The object is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.entries.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn seen_failed_or_expired() {
        let (all, key) = (Expectations::new(), ObjectKey::new("a", "b"));
        assert!(all.satisfied(&key));
        all.expect(&key, 2, []);
        all.creation_observed(&key);
        assert!(!all.satisfied(&key));
        all.creation_observed(&key);
        assert!(all.satisfied(&key));
        all.expect(&key, 0, ["u".to_owned(), "v".to_owned()]);
        all.deletion_observed(&key, "u");
        all.deletion_observed(&key, "u");
        assert!(!all.satisfied(&key));
        tokio::time::advance(TIMEOUT * 2).await;
        assert!(all.satisfied(&key));
    }
}
