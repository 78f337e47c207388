//! A heap whose entries are not removed but outdated: each carries the ticket that its pod had when it was pushed.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use compact_str::CompactString;
use tokio::time::Instant;

/// Order of the pods to try: the greatest is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveKey {
    pub priority: i32,
    pub since: Instant,
    pub ticket: u64,
}

impl Ord for ActiveKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |k: &Self| (k.priority, Reverse(k.since), Reverse(k.ticket));
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for ActiveKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Order of the pods in backoff: the one that ends first is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffKey {
    pub ends: Instant,
    pub ticket: u64,
}

impl Ord for BackoffKey {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.ends, other.ticket).cmp(&(self.ends, self.ticket))
    }
}

impl PartialOrd for BackoffKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Pods by key, with lazy removal.
#[derive(Debug)]
pub struct Heap<K> {
    entries: BinaryHeap<(K, CompactString, u64)>,
}

impl<K: Ord> Default for Heap<K> {
    fn default() -> Self {
        Self { entries: BinaryHeap::new() }
    }
}

impl<K: Ord + Copy> Heap<K> {
    pub fn push(&mut self, key: K, uid: CompactString, ticket: u64) {
        self.entries.push((key, uid, ticket));
    }

    /// The first key whose pod `is_there`; drops what is outdated before it.
    pub fn peek(&mut self, is_there: impl Fn(&str, u64) -> bool) -> Option<K> {
        while let Some((key, uid, ticket)) = self.entries.peek() {
            if is_there(uid, *ticket) {
                return Some(*key);
            }
            self.entries.pop();
        }
        None
    }

    pub fn pop(&mut self, is_there: impl Fn(&str, u64) -> bool) -> Option<CompactString> {
        self.peek(is_there)?;
        self.entries.pop().map(|(_, uid, _)| uid)
    }
}
