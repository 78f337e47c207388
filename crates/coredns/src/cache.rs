//! Answers as bytes, under the question as it came. Emptied whenever a record may have changed: changes are rare
//! beside questions, and an empty cache fills in microseconds.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

/// More distinct questions than this are not kept: somebody is walking random names.
const LIMIT: usize = 8192;

/// A whole answer; its first two bytes (the id) belong to whoever asks.
pub type Answer = Arc<[u8]>;

#[derive(Default)]
pub struct Cache {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Counts the clears, so that an answer made before one is not kept after it.
    generation: u64,
    answers: HashMap<Box<[u8]>, Answer>,
}

impl Cache {
    /// `question` is everything of the query behind its id.
    pub fn get(&self, question: &[u8]) -> Option<Answer> {
        self.inner.read().answers.get(question).cloned()
    }

    /// To be read before an answer is made; see [`Cache::put`].
    pub fn generation(&self) -> u64 {
        self.inner.read().generation
    }

    pub fn put(&self, generation: u64, question: &[u8], answer: Answer) {
        let mut inner = self.inner.write();
        if inner.generation == generation && inner.answers.len() < LIMIT {
            inner.answers.insert(question.into(), answer);
        }
    }

    pub fn clear(&self) {
        let mut inner = self.inner.write();
        inner.generation += 1;
        inner.answers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_from_before_a_change_is_not_kept() {
        let cache = Cache::default();
        let before = cache.generation();
        cache.clear();
        cache.put(before, b"q", Arc::from(&b"old"[..]));
        assert!(cache.get(b"q").is_none());
        cache.put(cache.generation(), b"q", Arc::from(&b"new"[..]));
        assert_eq!(&*cache.get(b"q").unwrap(), b"new");
    }
}
