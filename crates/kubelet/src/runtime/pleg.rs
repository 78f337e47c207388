//! Which pods changed in the runtime: by its event stream, or by listing every second where it has none.
//!
//! It only tells that a pod changed; the pod's worker reads what. A slow listing beside the stream is the safety
//! net for events that were lost with a connection.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cri::v1;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::labels;

/// Period of listings where there are no events, and where there are.
const POLL: Duration = Duration::from_secs(1);
const SAFETY_NET: Duration = Duration::from_secs(60);

/// Called with the uid of a changed pod.
pub type Changed = Arc<dyn Fn(&str) + Send + Sync>;

/// The generator of pod lifecycle events.
pub struct Pleg {
    runtime: cri::Runtime,
    changed: Changed,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// State of each container and sandbox, with its pod.
    states: HashMap<String, (String, i32)>,
    at: Option<Instant>,
}

impl Pleg {
    /// `changed` is called for each pod that changes.
    #[must_use]
    pub fn new(runtime: cri::Runtime, changed: Changed) -> Self {
        Self { runtime, changed, last: Mutex::default() }
    }

    /// When the runtime was last seen to answer.
    #[must_use]
    pub fn last_seen(&self) -> Option<Instant> {
        self.last.lock().at
    }

    /// Runs until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.watch() => {}
        }
    }

    /// The stream and the safety net side by side: a runtime answers for the stream with its first event only, which
    /// on an idle node is long after the first listing is due.
    async fn watch(&self) {
        tokio::join!(self.stream(), self.list_every(SAFETY_NET));
    }

    async fn stream(&self) {
        loop {
            match self.runtime.container_events().await {
                Ok(events) => self.follow(events).await,
                Err(error) if error.is_unimplemented() => {
                    tracing::info!("the runtime has no container events; listing every second");
                    self.list_every(POLL).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "container events");
                    tokio::time::sleep(POLL).await;
                }
            }
            // what happened meanwhile
            self.relist().await;
        }
    }

    async fn follow(&self, mut events: cri::Events) {
        loop {
            match events.message().await {
                Ok(Some(event)) => self.event(&event),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "the stream of container events broke");
                    return;
                }
            }
        }
    }

    fn event(&self, event: &v1::ContainerEventResponse) {
        self.last.lock().at = Some(Instant::now());
        let metadata = event.pod_sandbox_status.as_ref().and_then(|status| status.metadata.as_ref());
        if let Some(metadata) = metadata {
            (self.changed)(&metadata.uid);
        }
    }

    async fn list_every(&self, period: Duration) {
        let mut tick = tokio::time::interval(period);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.relist().await;
        }
    }

    /// Compares with the last listing and tells of each pod that differs.
    pub async fn relist(&self) {
        let sandboxes = self.runtime.list_pod_sandbox(v1::PodSandboxFilter::default());
        let containers = self.runtime.list_containers(v1::ContainerFilter::default());
        let (sandboxes, containers) = match tokio::try_join!(sandboxes, containers) {
            Ok(both) => both,
            Err(error) => {
                tracing::warn!(%error, "list containers");
                return;
            }
        };
        let uid = |labels: &HashMap<String, String>| labels.get(labels::POD_UID).cloned().unwrap_or_default();
        let mut states: HashMap<String, (String, i32)> =
            containers.into_iter().map(|c| (c.id, (uid(&c.labels), c.state))).collect();
        states.extend(sandboxes.into_iter().map(|s| (s.id, (uid(&s.labels), s.state))));
        let changed = {
            let mut last = self.last.lock();
            let changed = difference(&last.states, &states);
            last.states = states;
            last.at = Some(Instant::now());
            changed
        };
        for uid in changed {
            (self.changed)(&uid);
        }
    }
}

type States = HashMap<String, (String, i32)>;

/// Pods of which something appeared, went away or changed.
fn difference(old: &States, new: &States) -> HashSet<String> {
    let one_way = |from: &States, to: &States| {
        from.iter()
            .filter(|(id, state)| to.get(*id) != Some(state))
            .map(|(_, (uid, _))| uid.clone())
            .collect::<Vec<_>>()
    };
    one_way(old, new).into_iter().chain(one_way(new, old)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_differs() {
        let states = |list: &[(&str, &str, i32)]| -> States {
            list.iter().map(|(id, uid, state)| ((*id).to_owned(), ((*uid).to_owned(), *state))).collect()
        };
        let old = states(&[("a", "p", 1), ("b", "q", 1), ("c", "r", 1)]);
        let new = states(&[("a", "p", 2), ("b", "q", 1), ("d", "s", 0)]);
        let mut got: Vec<_> = difference(&old, &new).into_iter().collect();
        got.sort();
        assert_eq!(got, ["p", "r", "s"]);
    }
}
