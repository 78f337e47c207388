//! The leases and what hangs on them. When one ends, its keys are deleted; the committer asks here
//! when that is. A lease's seconds are on disk, its clock is not: a store that is opened gives every
//! lease its full time again, as etcd does after a change of leader.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{Error, LeaseStatus, Result};

#[derive(Debug)]
struct Entry {
    ttl: i64,
    expires: Instant,
    keys: BTreeSet<Arc<[u8]>>,
}

/// See the module's words.
#[derive(Debug, Default)]
pub struct Leases {
    entries: HashMap<i64, Entry>,
    by_expiry: BTreeSet<(Instant, i64)>,
    attached: HashMap<Arc<[u8]>, i64>,
}

impl Leases {
    /// Whether there is such a lease.
    pub fn contains(&self, id: i64) -> bool {
        self.entries.contains_key(&id)
    }

    /// Whether there is no lease at all.
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a lease of `ttl` seconds.
    pub fn grant(&mut self, id: i64, ttl: i64, now: Instant) {
        let expires = now + seconds(ttl);
        self.by_expiry.insert((expires, id));
        self.entries.insert(id, Entry { ttl, expires, keys: BTreeSet::new() });
    }

    /// Removes a lease; its keys are to be deleted by the caller, which detaches them.
    pub fn remove(&mut self, id: i64) -> Vec<Bytes> {
        let Some(entry) = self.entries.remove(&id) else { return Vec::new() };
        self.by_expiry.remove(&(entry.expires, id));
        entry.keys.iter().map(|key| Bytes::copy_from_slice(key)).collect()
    }

    /// Gives a lease its full time again; answers its seconds.
    pub fn keep_alive(&mut self, id: i64, now: Instant) -> Result<i64> {
        let entry = self.entries.get_mut(&id).ok_or(Error::LeaseNotFound { id })?;
        if entry.expires <= now {
            return Err(Error::LeaseNotFound { id });
        }
        self.by_expiry.remove(&(entry.expires, id));
        entry.expires = now + seconds(entry.ttl);
        self.by_expiry.insert((entry.expires, id));
        Ok(entry.ttl)
    }

    /// How a lease stands.
    pub fn status(&self, id: i64, keys: bool, now: Instant) -> Result<LeaseStatus> {
        let entry = self.entries.get(&id).ok_or(Error::LeaseNotFound { id })?;
        let left = entry.expires.saturating_duration_since(now);
        let named = entry.keys.iter().filter(|_| keys);
        Ok(LeaseStatus {
            id,
            ttl: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            granted_ttl: entry.ttl,
            keys: named.map(|key| Bytes::copy_from_slice(key)).collect(),
        })
    }

    /// The lease of a key, 0 for none.
    pub fn of_key(&self, key: &[u8]) -> i64 {
        self.attached.get(key).copied().unwrap_or_default()
    }

    /// Hangs a key on a lease, or on none with 0, and takes it off the one before.
    pub fn attach(&mut self, key: &[u8], id: i64) {
        if let Some((key, before)) = self.attached.remove_entry(key)
            && let Some(entry) = self.entries.get_mut(&before)
        {
            entry.keys.remove(&key);
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            let key: Arc<[u8]> = key.into();
            entry.keys.insert(key.clone());
            self.attached.insert(key, id);
        }
    }

    /// When the next lease ends.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.by_expiry.first().map(|(at, _)| *at)
    }

    /// The lease that ended first, if one has.
    pub fn expired(&self, now: Instant) -> Option<i64> {
        self.by_expiry.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }
}

fn seconds(ttl: i64) -> Duration {
    // A century is for ever, and cannot overflow the clock.
    Duration::from_secs(u64::try_from(ttl).unwrap_or_default().min(100 * 365 * 86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_hangs_on_one_lease_at_a_time() {
        let (mut leases, now) = (Leases::default(), Instant::now());
        leases.grant(1, 10, now);
        leases.grant(2, 5, now);
        leases.attach(b"k", 1);
        leases.attach(b"k", 2);
        assert_eq!(leases.of_key(b"k"), 2);
        assert!(leases.status(1, true, now).unwrap().keys.is_empty());
        assert_eq!(leases.remove(2), ["k"]);
        leases.attach(b"k", 0);
        assert_eq!(leases.of_key(b"k"), 0);
    }

    #[test]
    fn keeping_alive_moves_the_end() {
        let (mut leases, now) = (Leases::default(), Instant::now());
        leases.grant(1, 10, now);
        leases.grant(2, 12, now);
        let later = now + Duration::from_secs(9);
        assert_eq!(leases.keep_alive(1, later), Ok(10));
        let end = now + Duration::from_secs(12);
        assert_eq!((leases.expired(later), leases.expired(end)), (None, Some(2)));
        assert_eq!(leases.keep_alive(2, end), Err(Error::LeaseNotFound { id: 2 }), "it has ended");
    }
}
