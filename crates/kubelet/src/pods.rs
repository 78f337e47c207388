//! The table of the node's pods: which there are, and how to reach each one's worker.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::admission::Rejection;
use crate::eviction::Eviction;
use crate::pod::PodExt;

/// What a worker is told. The newest state counts; nothing is queued.
pub struct Mailbox {
    inbox: Mutex<Inbox>,
    /// Told at every change.
    pub wake: Notify,
    /// Cancelled when the pod must end: what the worker does for it to run is given up.
    pub ending: CancellationToken,
}

/// The state behind a mailbox.
#[derive(Clone)]
pub struct Inbox {
    /// The newest specification.
    pub pod: Arc<Pod>,
    /// For a static pod: its mirror in the API.
    pub mirror: Option<Arc<Pod>>,
    /// The object is gone from its source.
    pub gone: bool,
    /// The node refused it.
    pub rejected: Option<Rejection>,
    /// The node needs back what it uses.
    pub evicted: Option<Eviction>,
    /// The pod with the resources that it was given, where it asks for others.
    pub allocated: Option<Arc<Pod>>,
}

impl Mailbox {
    fn new(pod: Arc<Pod>, mirror: Option<Arc<Pod>>, rejected: Option<Rejection>) -> Self {
        let inbox = Mutex::new(Inbox { pod, mirror, gone: false, rejected, evicted: None, allocated: None });
        Self { inbox, wake: Notify::new(), ending: CancellationToken::new() }
    }

    /// The newest state.
    #[must_use]
    pub fn read(&self) -> Inbox {
        self.inbox.lock().clone()
    }

    fn change(&self, change: impl FnOnce(&mut Inbox)) {
        let ends = {
            let mut inbox = self.inbox.lock();
            change(&mut inbox);
            inbox.gone || inbox.evicted.is_some() || inbox.pod.metadata.deletion_timestamp.is_some()
        };
        if ends {
            self.ending.cancel();
        }
        self.wake.notify_one();
    }
}

/// The table; clones share it.
#[derive(Clone, Default)]
pub struct Pods {
    inner: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    pods: HashMap<String, Arc<Mailbox>>,
    /// Mirror pods by namespace and name.
    mirrors: HashMap<(String, String), Arc<Pod>>,
    /// Static pods that wait for an older one of the same name to end.
    waiting: HashMap<(String, String), Arc<Pod>>,
}

fn name_of(pod: &Pod) -> (String, String) {
    (pod.namespace().to_owned(), pod.name().to_owned())
}

impl Pods {
    /// Takes a pod's newest state. Gives the mailbox of a worker to start if the pod is new. `admit` is asked for
    /// a new pod, with those that the node runs already.
    pub fn upsert(
        &self,
        pod: Arc<Pod>,
        admit: impl FnOnce(&[&Pod]) -> Option<Rejection>,
    ) -> Option<Arc<Mailbox>> {
        let mut table = self.inner.lock();
        if let Some(mailbox) = table.pods.get(pod.uid()) {
            mailbox.change(|inbox| inbox.pod = pod);
            return None;
        }
        let name = name_of(&pod);
        if pod.is_static() {
            let older = table.pods.values().any(|mailbox| name_of(&mailbox.inbox.lock().pod) == name);
            if older {
                table.waiting.insert(name, pod);
                return None;
            }
        }
        let others: Vec<Arc<Pod>> =
            table.pods.values().filter_map(|mailbox| counted(&mailbox.inbox.lock())).collect();
        let rejected = admit(&others.iter().map(AsRef::as_ref).collect::<Vec<_>>());
        let mirror = table.mirrors.get(&name).filter(|_| pod.is_static()).cloned();
        let mailbox = Arc::new(Mailbox::new(pod.clone(), mirror, rejected));
        if pod.metadata.deletion_timestamp.is_some() {
            mailbox.ending.cancel();
        }
        table.pods.insert(pod.uid().to_owned(), mailbox.clone());
        Some(mailbox)
    }

    /// The pod is gone from its source.
    pub fn remove(&self, uid: &str) {
        let mut table = self.inner.lock();
        table.waiting.retain(|_, pod| pod.uid() != uid);
        if let Some(mailbox) = table.pods.get(uid) {
            mailbox.change(|inbox| inbox.gone = true);
        }
    }

    /// Has a pod ended for the node's sake. False if there is no such pod, or it is ending already.
    #[must_use]
    pub fn evict(&self, uid: &str, eviction: Eviction) -> bool {
        let table = self.inner.lock();
        let Some(mailbox) = table.pods.get(uid).filter(|mailbox| !mailbox.ending.is_cancelled()) else {
            return false;
        };
        mailbox.change(|inbox| inbox.evicted = Some(eviction));
        true
    }

    /// A worker is through. Gives the static pod that waited for it, if any.
    pub fn finish(&self, uid: &str) -> Option<Arc<Pod>> {
        let mut table = self.inner.lock();
        let mailbox = table.pods.remove(uid)?;
        let name = name_of(&mailbox.inbox.lock().pod);
        table.waiting.remove(&name)
    }

    /// A mirror pod appeared, changed or went away.
    pub fn set_mirror(&self, mirror: &Arc<Pod>, present: bool) {
        let mut table = self.inner.lock();
        let name = name_of(mirror);
        if present {
            table.mirrors.insert(name.clone(), mirror.clone());
        } else if table.mirrors.get(&name).is_none_or(|known| known.uid() == mirror.uid()) {
            table.mirrors.remove(&name);
        } else {
            // its successor is there already
            return;
        }
        let of_name = table.pods.values().find(|mailbox| {
            let inbox = mailbox.inbox.lock();
            inbox.pod.is_static() && name_of(&inbox.pod) == name
        });
        if let Some(mailbox) = of_name {
            mailbox.change(|inbox| inbox.mirror = Some(mirror.clone()).filter(|_| present));
        }
    }

    /// Mirror pods whose static pod is not there.
    #[must_use]
    pub fn orphaned_mirrors(&self) -> Vec<Arc<Pod>> {
        let table = self.inner.lock();
        let names: Vec<_> = table
            .pods
            .values()
            .map(|m| m.inbox.lock().pod.clone())
            .filter(|p| p.is_static())
            .map(|p| name_of(&p))
            .collect();
        table
            .mirrors
            .iter()
            .filter(|(name, _)| !names.contains(name))
            .map(|(_, mirror)| mirror.clone())
            .collect()
    }

    /// Lets a pod's worker look again.
    pub fn wake(&self, uid: &str) {
        if let Some(mailbox) = self.inner.lock().pods.get(uid) {
            mailbox.wake.notify_one();
        }
    }

    /// Lets every worker look again.
    pub fn wake_all(&self) {
        for mailbox in self.inner.lock().pods.values() {
            mailbox.wake.notify_one();
        }
    }

    /// Whether there is such a pod.
    #[must_use]
    pub fn contains(&self, uid: &str) -> bool {
        let table = self.inner.lock();
        table.pods.contains_key(uid) || table.waiting.values().any(|pod| pod.uid() == uid)
    }

    /// A pod by name; a static pod also by its mirror's name.
    #[must_use]
    pub fn by_name(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let table = self.inner.lock();
        table.pods.values().find_map(|mailbox| {
            let pod = mailbox.inbox.lock().pod.clone();
            (pod.name() == name && pod.namespace() == namespace).then_some(pod)
        })
    }

    /// A pod by UID, also by that of its mirror.
    #[must_use]
    pub fn by_uid(&self, uid: &str) -> Option<Arc<Pod>> {
        let table = self.inner.lock();
        if let Some(mailbox) = table.pods.get(uid) {
            return Some(mailbox.inbox.lock().pod.clone());
        }
        let mirror =
            table.mirrors.values().find(|mirror| mirror.uid() == uid).map(|mirror| name_of(mirror))?;
        table.pods.values().map(|mailbox| mailbox.inbox.lock().pod.clone()).find(|pod| name_of(pod) == mirror)
    }

    /// Takes note of what a pod was given.
    pub fn allocate(&self, uid: &str, given: Option<Arc<Pod>>) {
        if let Some(mailbox) = self.inner.lock().pods.get(uid) {
            mailbox.inbox.lock().allocated = given;
        }
    }

    /// The pods that take up resources, but for one, each with what it was given.
    #[must_use]
    pub fn others(&self, uid: &str) -> Vec<Arc<Pod>> {
        let table = self.inner.lock();
        let others = table.pods.iter().filter(|(other, _)| *other != uid);
        others.filter_map(|(_, mailbox)| counted(&mailbox.inbox.lock())).collect()
    }

    /// All pods.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Pod>> {
        self.inner.lock().pods.values().map(|mailbox| mailbox.inbox.lock().pod.clone()).collect()
    }
}

/// The pod with what it was given, if it takes up resources. One that is gone from its source does not, as who chose
/// this node for another pod knows nothing of it.
fn counted(inbox: &Inbox) -> Option<Arc<Pod>> {
    let phase = inbox.pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let over = matches!(phase, Some("Succeeded" | "Failed")) || inbox.rejected.is_some() || inbox.gone;
    (!over).then(|| inbox.allocated.as_ref().unwrap_or(&inbox.pod).clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(metadata: serde_json::Value) -> Arc<Pod> {
        Arc::new(serde_json::from_value(json!({"metadata": metadata})).unwrap())
    }

    #[test]
    fn a_pod_is_evicted_once() {
        let pods = Pods::default();
        let eviction = || Eviction { message: "low".to_owned(), grace: 1 };
        assert!(!pods.evict("u", eviction()));
        let mailbox = pods.upsert(pod(json!({"name": "p", "uid": "u"})), |_| None).unwrap();
        assert!(!mailbox.ending.is_cancelled());
        assert!(pods.evict("u", eviction()));
        assert!(mailbox.ending.is_cancelled());
        assert_eq!(mailbox.read().evicted, Some(eviction()));
        assert!(!pods.evict("u", eviction()));
    }

    #[test]
    fn what_is_gone_does_not_count_and_what_was_given_does() {
        let pods = Pods::default();
        for uid in ["a", "b"] {
            pods.upsert(pod(json!({"name": uid, "uid": uid})), |_| None).unwrap();
        }
        pods.allocate("a", Some(pod(json!({"name": "given", "uid": "a"}))));
        let names =
            |pods: &Pods| pods.others("b").iter().map(|pod| pod.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&pods), ["given"]);
        pods.allocate("a", None);
        assert_eq!(names(&pods), ["a"]);
        pods.remove("a");
        assert_eq!(names(&pods), [""; 0]);
    }

    #[test]
    fn a_mirrors_late_end_does_not_take_its_successor() {
        let pods = Pods::default();
        let own = json!({"name": "p", "uid": "s", "annotations": {"kubernetes.io/config.source": "file"}});
        let mailbox = pods.upsert(pod(own), |_| None).unwrap();
        let mirror = |uid| pod(json!({"name": "p", "uid": uid}));
        pods.set_mirror(&mirror("m1"), true);
        pods.set_mirror(&mirror("m2"), true);
        pods.set_mirror(&mirror("m1"), false);
        assert_eq!(mailbox.read().mirror.as_deref().map(PodExt::uid), Some("m2"));
        pods.set_mirror(&mirror("m2"), false);
        assert!(mailbox.read().mirror.is_none());
    }
}
