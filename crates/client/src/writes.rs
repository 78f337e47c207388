//! What a controller has written and its informer may not have shown yet. A controller that would act on what it
//! just changed asks [`Writes::is_settled`] first, or it would do the same again.
//!
//! In one process the watch often tells of a write before its answer is there. So nothing here counts events: a write
//! is remembered by its resourceVersion, and is settled once the store has come that far, whichever came first.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::meta::View;
use crate::resource::ObjectKey;
use crate::store::{Store, number};

/// After so long a write counts as shown.
pub const FORGET: Duration = Duration::from_secs(10);

enum Write {
    /// The object as of this resourceVersion, or anything later.
    At(u64),
    /// The object with this uid is gone.
    Gone(String),
}

struct Pending {
    objects: HashMap<ObjectKey, Write>,
    since: Instant,
}

/// The writes of one controller to objects of one kind, by the object on whose behalf they were made.
pub struct Writes<V> {
    shown: Store<V>,
    pending: Mutex<HashMap<ObjectKey, Pending>>,
}

impl<V: View> Writes<V> {
    /// `shown` is the informer's store of what is written.
    pub fn new(shown: Store<V>) -> Self {
        Self { shown, pending: Mutex::default() }
    }

    /// The server answered that `object` was created or changed, to `resource_version`.
    pub fn written(&self, owner: &ObjectKey, object: ObjectKey, resource_version: &str) {
        self.remember(owner, object, Write::At(number(resource_version)));
    }

    /// The server answered that `object` is gone. Not for a delete that only begins.
    pub fn deleted(&self, owner: &ObjectKey, object: ObjectKey, uid: &str) {
        self.remember(owner, object, Write::Gone(uid.to_owned()));
    }

    /// Whether the informer has shown all that was written for `owner`. A controller that finds it has not does
    /// nothing: the event that is missing brings the key back.
    pub fn is_settled(&self, owner: &ObjectKey) -> bool {
        let mut all = self.pending.lock();
        let Some(pending) = all.get_mut(owner) else { return true };
        pending.objects.retain(|object, write| !self.is_shown(object, write));
        let settled = pending.objects.is_empty() || pending.since.elapsed() > FORGET;
        if settled {
            all.remove(owner);
        }
        settled
    }

    /// The owner is gone.
    pub fn forget(&self, owner: &ObjectKey) {
        self.pending.lock().remove(owner);
    }

    fn remember(&self, owner: &ObjectKey, object: ObjectKey, write: Write) {
        let mut all = self.pending.lock();
        if self.is_shown(&object, &write) {
            return;
        }
        let fresh = || Pending { objects: HashMap::new(), since: Instant::now() };
        let pending = all.entry(owner.clone()).or_insert_with(fresh);
        pending.since = Instant::now();
        pending.objects.insert(object, write);
    }

    fn is_shown(&self, object: &ObjectKey, write: &Write) -> bool {
        match write {
            Write::At(version) => self.shown.version() >= *version,
            Write::Gone(uid) => self.shown.get_key(object).is_none_or(|o| o.uid() != uid),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::meta::{ObjectMeta, Partial};

    fn object(name: &str, uid: &str, version: &str) -> Arc<Partial> {
        let metadata = ObjectMeta {
            name: name.into(),
            uid: uid.into(),
            resource_version: version.into(),
            ..ObjectMeta::default()
        };
        Arc::new(Partial { metadata })
    }

    /// What happens, in order: `a@5` answers a write of a at 5, `=a@5` shows it, `-a` answers its delete (uid u),
    /// `x a` shows that, `b5` is a bookmark. The value is whether all is settled at the end.
    #[tokio::test(start_paused = true)]
    async fn whichever_comes_first() {
        for (steps, expected) in [
            ("a@5", false),
            ("a@5 =a@5", true),
            ("=a@5 a@5", true),
            ("a@5 =a@4", false),
            ("a@5 =a@9", true),
            ("=a@4 a@5 c@6 =c@6", true),
            ("a@5 b5", true),
            ("=a@5 xa@6 a@5", true),
            ("a@5 c@6 =a@5", false),
            ("=a@5 -a", false),
            ("=a@5 -a xa@7", true),
            ("=a@5 xa@7 -a", true),
        ] {
            let store = Store::default();
            let (writes, owner) = (Writes::new(store.clone()), ObjectKey::from("n/owner"));
            for step in steps.split(' ') {
                let (name, version) = step.split_once('@').unwrap_or((step, ""));
                match name.as_bytes()[0] {
                    b'=' => drop(store.insert(object(&name[1..], "u", version))),
                    b'x' => {
                        store.remove(&ObjectKey::from(&name[1..]));
                        store.advance(version);
                    }
                    b'-' => writes.deleted(&owner, ObjectKey::from(&name[1..]), "u"),
                    b'b' => store.advance(&name[1..]),
                    _ => writes.written(&owner, ObjectKey::from(name), version),
                }
            }
            assert_eq!(writes.is_settled(&owner), expected, "{steps}");
            tokio::time::advance(FORGET * 2).await;
            assert!(writes.is_settled(&owner), "{steps}: for ever");
        }
    }
}
