//! The objects that an informer knows, by key and by secondary indexes. Reads take a shared lock for the time
//! of a lookup and hand out `Arc`s; there is one writer, the informer.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::meta::View;
use crate::resource::ObjectKey;

/// Computes an object's keys in an index.
pub type IndexFn<V> = Box<dyn Fn(&V) -> Vec<String> + Send + Sync>;

struct Index<V> {
    name: &'static str,
    keys_of: IndexFn<V>,
    entries: HashMap<String, HashMap<ObjectKey, Arc<V>>>,
}

struct Inner<V> {
    objects: HashMap<ObjectKey, Arc<V>>,
    indexes: Vec<Index<V>>,
    /// The highest resourceVersion that was shown: of an object, a delete or a bookmark.
    version: u64,
}

/// Objects by namespace and name. Clones share the objects.
pub struct Store<V> {
    inner: Arc<RwLock<Inner<V>>>,
}

impl<V> Clone for Store<V> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<V: View> Default for Store<V> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl<V: View> Store<V> {
    /// An empty store with these indexes. Informers make their own; tests fill one with [`Store::insert`].
    pub fn new(indexes: Vec<(&'static str, IndexFn<V>)>) -> Self {
        let indexes = indexes
            .into_iter()
            .map(|(name, keys_of)| Index { name, keys_of, entries: HashMap::new() })
            .collect();
        Self { inner: Arc::new(RwLock::new(Inner { objects: HashMap::new(), indexes, version: 0 })) }
    }

    /// `namespace` is empty for cluster-scoped objects.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<V>> {
        self.get_key(&ObjectKey::new(namespace, name))
    }

    pub fn get_key(&self, key: &ObjectKey) -> Option<Arc<V>> {
        self.inner.read().objects.get(key).cloned()
    }

    pub fn len(&self) -> usize {
        self.inner.read().objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every object, in no order.
    pub fn list(&self) -> Vec<Arc<V>> {
        self.inner.read().objects.values().cloned().collect()
    }

    /// Every key, in no order.
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.inner.read().objects.keys().cloned().collect()
    }

    /// Those of every object that `keep` accepts. It runs under the lock: keep it short.
    pub fn select(&self, mut keep: impl FnMut(&V) -> bool) -> Vec<Arc<V>> {
        self.inner.read().objects.values().filter(|v| keep(v)).cloned().collect()
    }

    /// The objects under a key of an index; none where there is no such index.
    pub fn by_index(&self, index: &str, key: &str) -> Vec<Arc<V>> {
        let inner = self.inner.read();
        let found = inner.indexes.iter().find(|i| i.name == index).and_then(|i| i.entries.get(key));
        found.map(|objects| objects.values().cloned().collect()).unwrap_or_default()
    }

    /// How many objects are under a key of an index.
    pub fn count_by_index(&self, index: &str, key: &str) -> usize {
        let inner = self.inner.read();
        let found = inner.indexes.iter().find(|i| i.name == index).and_then(|i| i.entries.get(key));
        found.map_or(0, HashMap::len)
    }

    /// Puts an object in; the one that it replaces.
    pub fn insert(&self, object: Arc<V>) -> Option<Arc<V>> {
        let key = object.key();
        let mut inner = self.inner.write();
        let inner = &mut *inner;
        inner.version = inner.version.max(number(object.resource_version()));
        let old = inner.objects.insert(key.clone(), object.clone());
        for index in &mut inner.indexes {
            index.replace(&key, old.as_deref(), Some(&object));
        }
        old
    }

    pub fn remove(&self, key: &ObjectKey) -> Option<Arc<V>> {
        let mut inner = self.inner.write();
        let inner = &mut *inner;
        let old = inner.objects.remove(key)?;
        for index in &mut inner.indexes {
            index.replace(key, Some(&old), None);
        }
        Some(old)
    }

    /// The highest resourceVersion that the informer has taken in; 0 before the first. Everything that the server
    /// told before it is in the store.
    pub fn version(&self) -> u64 {
        self.inner.read().version
    }

    /// All up to this resourceVersion is in the store.
    pub fn advance(&self, resource_version: &str) {
        let mut inner = self.inner.write();
        inner.version = inner.version.max(number(resource_version));
    }

    pub(crate) fn add_index(&self, name: &'static str, keys_of: IndexFn<V>) {
        let mut inner = self.inner.write();
        let mut index = Index { name, keys_of, entries: HashMap::new() };
        for (key, object) in &inner.objects {
            index.replace(key, None, Some(object));
        }
        inner.indexes.push(index);
    }
}

/// A resourceVersion as the number that it is (KEP-5504); 0 where it is none.
pub(crate) fn number(resource_version: &str) -> u64 {
    resource_version.parse().unwrap_or(0)
}

impl<V> Index<V> {
    fn replace(&mut self, key: &ObjectKey, old: Option<&V>, new: Option<&Arc<V>>) {
        for entry in old.map(&self.keys_of).unwrap_or_default() {
            if let Some(objects) = self.entries.get_mut(&entry) {
                objects.remove(key);
                if objects.is_empty() {
                    self.entries.remove(&entry);
                }
            }
        }
        let Some(new) = new else { return };
        for entry in (self.keys_of)(new) {
            self.entries.entry(entry).or_default().insert(key.clone(), new.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::{ObjectMeta, Partial};

    fn object(name: &str, app: &str) -> Arc<Partial> {
        let labels = [("app", app)].into_iter().collect();
        Arc::new(Partial {
            metadata: ObjectMeta {
                name: name.into(),
                namespace: "ns".into(),
                labels,
                ..ObjectMeta::default()
            },
        })
    }

    #[test]
    fn indexes_follow_changes() {
        let store = Store::<Partial>::default();
        store.insert(object("a", "x"));
        store.add_index(
            "app",
            Box::new(|v: &Partial| v.metadata.labels.get("app").map(str::to_owned).into_iter().collect()),
        );
        store.insert(object("b", "x"));
        assert_eq!(store.count_by_index("app", "x"), 2);
        assert!(store.insert(object("b", "y")).is_some());
        assert_eq!(store.by_index("app", "x").len(), 1);
        assert_eq!(store.by_index("app", "y")[0].metadata.name, "b");
        store.remove(&ObjectKey::new("ns", "b")).unwrap();
        assert!(store.by_index("app", "y").is_empty());
        assert_eq!(store.len(), 1);
    }
}
