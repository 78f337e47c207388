//! Leases of short-lived objects (events): one lease serves all objects of a while, as upstream's lease manager does,
//! so that the store does not hold one each.

use std::collections::HashMap;

use apimachinery::Status;
use jiff::Timestamp;
use tokio::sync::Mutex;

/// A lease takes objects for so many seconds, or 5% of their life if that is less.
const REUSE_SECONDS: i64 = 60;
/// and at most so many of them.
const REUSE_COUNT: u32 = 1000;

struct Current {
    id: i64,
    until: i64,
    left: u32,
}

pub struct Leases {
    store: etcd::SharedStore,
    /// By seconds to live.
    current: Mutex<HashMap<i64, Current>>,
}

impl Leases {
    pub fn new(store: etcd::SharedStore) -> Self {
        Self { store, current: Mutex::default() }
    }

    /// A lease that lives at least `seconds` from `now`.
    pub async fn of(&self, seconds: i64, now: Timestamp) -> Result<i64, Status> {
        let mut current = self.current.lock().await;
        let now = now.as_second();
        if let Some(lease) = current.get_mut(&seconds)
            && lease.until > now
            && lease.left > 0
        {
            lease.left -= 1;
            return Ok(lease.id);
        }
        let reuse = REUSE_SECONDS.min(seconds / 20).max(1);
        let lease = self.store.lease_grant(seconds + reuse, 0).await.map_err(super::store_error)?;
        current.insert(seconds, Current { id: lease.id, until: now + reuse, left: REUSE_COUNT });
        Ok(lease.id)
    }
}
