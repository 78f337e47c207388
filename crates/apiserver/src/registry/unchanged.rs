//! Requests that were found to change nothing, so that the same one on the same state of the object is known at once:
//! who applies a configuration over and over (a reconciling client) mostly says what is there already.
//!
//! What is remembered follows from the request and the object alone. Admission, which looks at more than that, is
//! asked each time. At most twice [`KEPT`] requests of 32 bytes each are remembered, about 200 KiB.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use parking_lot::Mutex;

use crate::request::UserInfo;

const KEPT: usize = 2048;

/// Stands for all that a request says and who says it. Keyed with what only this process knows, so that nobody can
/// make two requests that share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64, u64);

impl Fingerprint {
    /// `parts`: everything of the request that its object is made of.
    pub fn of(parts: &[&[u8]], user: &UserInfo, generation: u64) -> Self {
        static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
        let one = |key: &RandomState| {
            let mut hasher = key.build_hasher();
            parts.hash(&mut hasher);
            (&user.name, &user.uid, &user.groups, &user.extra, generation).hash(&mut hasher);
            hasher.finish()
        };
        Self(one(&KEYS[0]), one(&KEYS[1]))
    }
}

type Generation = HashMap<Fingerprint, i64>;

/// See the module. Two generations, the older dropped whole when the younger is full.
#[derive(Default)]
pub struct Unchanged(Mutex<(Generation, Generation)>);

impl Unchanged {
    /// Whether this request was found to change nothing of the object as of `revision`.
    pub fn holds(&self, request: Fingerprint, revision: i64) -> bool {
        let generations = self.0.lock();
        let found = generations.0.get(&request).or_else(|| generations.1.get(&request));
        found == Some(&revision)
    }

    pub fn note(&self, request: Fingerprint, revision: i64) {
        let mut generations = self.0.lock();
        if generations.0.len() >= KEPT {
            generations.1 = std::mem::take(&mut generations.0);
        }
        generations.0.insert(request, revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(parts: &[&[u8]], user: &str) -> Fingerprint {
        Fingerprint::of(parts, &UserInfo { name: user.into(), ..UserInfo::default() }, 0)
    }

    #[test]
    fn only_the_same_request_at_the_same_revision() {
        let known = Unchanged::default();
        known.note(print(&[b"ab", b"c"], "me"), 7);
        assert!(known.holds(print(&[b"ab", b"c"], "me"), 7));
        assert!(!known.holds(print(&[b"ab", b"c"], "me"), 8));
        assert!(!known.holds(print(&[b"a", b"bc"], "me"), 7));
        assert!(!known.holds(print(&[b"ab", b"c"], "you"), 7));
    }

    #[test]
    fn forgets_the_oldest() {
        let known = Unchanged::default();
        let at = |i: usize| print(&[&i.to_be_bytes()], "");
        (0..3 * KEPT).for_each(|i| known.note(at(i), 1));
        assert!(known.holds(at(3 * KEPT - 1), 1) && known.holds(at(2 * KEPT), 1) && !known.holds(at(0), 1));
        let generations = known.0.lock();
        assert!(generations.0.len() + generations.1.len() <= 2 * KEPT);
    }
}
