//! This server's own writes on their way: each is remembered from before it is sent until both the store's answer and
//! the watch event of it have come, whichever is first. So its entry is made once, and what was encoded here is not
//! decoded again.

use std::collections::VecDeque;
use std::sync::Arc;

use api::Value;
use bytes::Bytes;
use etcd::KeyValue;
use parking_lot::Mutex;

use super::stored::Stored;
use crate::cache::Entry;

/// More are not remembered: the watch then lags far behind.
const KEPT: usize = 512;

/// See the module.
struct Own {
    key: Arc<str>,
    /// As it is sent to the store.
    encoded: Bytes,
    made: Mutex<Made>,
}

enum Made {
    /// The object as reading it back would give it, but for its resourceVersion.
    Not(Value),
    Yet(Arc<Entry>),
}

impl Own {
    fn entry_at(&self, stored: &Stored, revision: i64) -> Arc<Entry> {
        let mut made = self.made.lock();
        let mut object = match &mut *made {
            Made::Yet(entry) if entry.revision == revision => return entry.clone(),
            // Somebody else has written the same at another revision.
            Made::Yet(entry) => Value::clone(&stored.tree(entry)),
            Made::Not(object) => std::mem::take(object),
        };
        object.meta_mut().insert("resourceVersion", revision.to_string());
        let entry = stored.entry(self.key.clone(), revision, Arc::new(object));
        *made = Made::Yet(entry.clone());
        entry
    }

    fn made_at(&self, revision: i64) -> Option<Arc<Entry>> {
        match &*self.made.lock() {
            Made::Yet(entry) if entry.revision == revision => Some(entry.clone()),
            _ => None,
        }
    }
}

/// Those of one resource.
#[derive(Default)]
pub struct OwnWrites(Mutex<VecDeque<Arc<Own>>>);

impl OwnWrites {
    /// `encoded`: what is about to be sent.
    pub fn begin<'a>(&self, stored: &'a Stored, key: Arc<str>, encoded: Bytes, object: Value) -> Writing<'a> {
        let own = Arc::new(Own { key, encoded, made: Mutex::new(Made::Not(object)) });
        if !stored.has_late_fields() {
            let mut all = self.0.lock();
            if all.len() >= KEPT {
                all.pop_front();
            }
            all.push_back(own.clone());
        }
        Writing { stored, own, is_done: false }
    }

    /// What a watch event brings, if it was written here.
    pub fn seen(&self, stored: &Stored, key: &str, pair: &KeyValue) -> Option<Arc<Entry>> {
        let of_key = |o: &&Arc<Own>| *o.key == *key;
        let own = self.0.lock().iter().filter(of_key).find(|o| o.encoded == pair.value)?.clone();
        let answered = own.made_at(pair.mod_revision);
        if answered.is_some() {
            self.forget(&own);
        }
        answered
            .or_else(|| Some(own.entry_at(stored, pair.mod_revision)))
            .filter(|entry| stored.is_current(entry))
    }

    /// An entry that was made for exactly this revision.
    pub fn known(&self, key: &str, revision: i64) -> Option<Arc<Entry>> {
        self.0.lock().iter().filter(|o| *o.key == *key).find_map(|o| o.made_at(revision))
    }

    pub fn clear(&self) {
        self.0.lock().clear();
    }

    fn forget(&self, own: &Arc<Own>) {
        self.0.lock().retain(|o| !Arc::ptr_eq(o, own));
    }
}

/// One write that is being sent; dropped before it is done it is forgotten.
pub struct Writing<'a> {
    stored: &'a Stored,
    own: Arc<Own>,
    is_done: bool,
}

impl Writing<'_> {
    /// The store has it at this revision.
    pub fn done(mut self, revision: i64) -> Arc<Entry> {
        let was_seen = self.own.made_at(revision).is_some();
        let entry = self.own.entry_at(self.stored, revision);
        // Otherwise the event of it still comes.
        self.is_done = !was_seen && self.stored.cache.revision() < revision;
        entry
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.stored.own.forget(&self.own);
        }
    }
}
