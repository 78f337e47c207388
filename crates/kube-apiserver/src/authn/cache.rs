//! A small bounded cache: two generations, the older dropped whole when the younger is full.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;

/// Holds at least the last `size` keys used and at most twice as many.
#[derive(Debug)]
pub struct Cache<K, V> {
    size: usize,
    generations: Mutex<(HashMap<K, V>, HashMap<K, V>)>,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub fn new(size: usize) -> Self {
        Self { size, generations: Mutex::new((HashMap::new(), HashMap::new())) }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let mut generations = self.generations.lock();
        if let Some(value) = generations.0.get(key) {
            return Some(value.clone());
        }
        let value = generations.1.remove(key)?;
        generations.0.insert(key.clone(), value.clone());
        Some(value)
    }

    pub fn put(&self, key: K, value: V) {
        let mut generations = self.generations.lock();
        if generations.0.len() >= self.size {
            generations.1 = std::mem::take(&mut generations.0);
        }
        generations.0.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_used_and_drops_the_rest() {
        let cache = Cache::new(2);
        cache.put(1, "a");
        cache.put(2, "b");
        cache.put(3, "c");
        assert_eq!(cache.get(&1), Some("a"), "moved to the younger generation");
        cache.put(4, "d");
        assert_eq!(cache.get(&2), None);
        assert_eq!(cache.get(&1), Some("a"));
    }
}
