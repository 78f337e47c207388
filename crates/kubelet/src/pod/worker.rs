//! The worker of one pod: reads the runtime, asks the plan, acts, reports; woken by events only.
//!
//! Its life: running, then terminating (everything is stopped), then terminated (status final, volumes and groups
//! taken down), and after the object is gone from its source: removed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus};
use parking_lot::Mutex;

use super::busy::Busy;
use super::plan::Backoffs;
use super::{PodExt, kill};
use crate::context::Context;
use crate::events;
use crate::pods::Mailbox;
use crate::runtime::read::{self, Ids};
use crate::runtime::status::{PodRuntime, State};
use crate::status::containers::Reasons;
use crate::status::generate::{Health, Input, generate};

/// Pause after the runtime could not be asked.
const RETRY: Duration = Duration::from_secs(1);

/// When to look again if nothing happens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// At once: something was changed.
    Now,
    /// At this time.
    At(Timestamp),
    /// When woken.
    Woken,
    /// The pod is to end.
    End,
}

impl Next {
    pub(super) fn after(delay: Duration) -> Self {
        Self::At(Timestamp::now() + delay)
    }

    /// The earlier of two.
    pub(super) fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::End, _) | (_, Self::End) => Self::End,
            (Self::Now, _) | (_, Self::Now) => Self::Now,
            (Self::At(a), Self::At(b)) => Self::At(a.min(b)),
            (Self::At(a), Self::Woken) | (Self::Woken, Self::At(a)) => Self::At(a),
            (Self::Woken, Self::Woken) => Self::Woken,
        }
    }
}

/// What the end of a pod adds to its status.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub phase: &'static str,
    pub reason: String,
    pub message: String,
}

/// The worker of one pod.
pub struct Worker {
    pub(super) cx: Arc<Context>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) backoffs: Backoffs,
    pub(super) reasons: Reasons,
    pub(super) failures: u32,
    pub(super) verdict: Option<Verdict>,
    /// The pod with the resources that it was given last.
    pub(super) allocated: Option<Arc<Pod>>,
    /// What its containers requested when they were started.
    pub(super) requested: super::resize::Requested,
    /// Why newer resources are not given.
    pub(super) pending: Option<crate::admission::Rejection>,
    pub(super) told: Told,
    /// Calls that make something in the runtime.
    pub(super) busy: Busy,
    /// What the pod has in the runtime; `None` if that is to be listed.
    pub(super) ids: Mutex<Option<Ids>>,
    /// Containers whose end was counted.
    counted: Mutex<HashSet<String>>,
    first_seen: Timestamp,
}

/// Events that are not to be repeated at every look.
#[derive(Default)]
pub(super) struct Told {
    pub network: bool,
}

impl Worker {
    /// A worker for the pod of a mailbox.
    #[must_use]
    pub fn new(cx: Arc<Context>, mailbox: Arc<Mailbox>) -> Self {
        let max = cx
            .config
            .crash_loop_back_off
            .max_container_restart_period
            .map_or(Duration::from_secs(300), |d| d.0);
        Self {
            cx,
            mailbox,
            backoffs: Backoffs::new(Duration::from_secs(10), max),
            reasons: Reasons::new(),
            failures: 0,
            verdict: None,
            allocated: None,
            requested: super::resize::Requested::default(),
            pending: None,
            told: Told::default(),
            busy: Busy::default(),
            ids: Mutex::default(),
            counted: Mutex::default(),
            first_seen: Timestamp::now(),
        }
    }

    /// Lives until the pod is removed, or the kubelet ends (which leaves the pod running).
    pub async fn run(mut self) {
        let shutdown = self.cx.shutdown.clone();
        let life = async {
            self.running().await;
            self.terminating().await;
            self.terminated().await;
            self.removed().await;
        };
        let _ = shutdown.run_until_cancelled(life).await;
    }

    async fn running(&mut self) {
        if let Some(rejection) = self.mailbox.read().rejected {
            self.reject(&rejection);
            return;
        }
        let (mailbox, ending) = (self.mailbox.clone(), self.mailbox.ending.clone());
        loop {
            let next = match ending.run_until_cancelled(self.sync()).await {
                Some(next) => next,
                None => return,
            };
            match next {
                Next::Now => {}
                Next::End => return,
                Next::Woken => {
                    if ending.run_until_cancelled(mailbox.wake.notified()).await.is_none() {
                        return;
                    }
                }
                Next::At(time) => {
                    let left = Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
                    let sleep = tokio::time::timeout(left, mailbox.wake.notified());
                    if ending.run_until_cancelled(sleep).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    fn reject(&mut self, rejection: &crate::admission::Rejection) {
        let pod = self.mailbox.read().pod;
        self.cx.events.emit(&pod, events::Kind::Warning, &rejection.reason, &rejection.message, "");
        self.verdict = Some(Verdict {
            phase: "Failed",
            reason: rejection.reason.clone(),
            message: format!("Pod was rejected: {}", rejection.message),
        });
    }

    /// The pod as the runtime has it.
    pub(super) async fn read(&self, pod: &Pod) -> Result<PodRuntime, cri::Error> {
        let known = self.ids.lock().take();
        let mut ids = match known {
            Some(ids) => ids,
            None => read::list(&self.cx.runtime, pod.uid()).await?,
        };
        let read = read::states(&self.cx.runtime, &mut ids).await?;
        *self.ids.lock() = Some(ids);
        self.count_ended(pod, &read);
        Ok(read)
    }

    /// Counts containers that ended under this worker, each once.
    fn count_ended(&self, pod: &Pod, runtime: &PodRuntime) {
        let ended = runtime.containers.iter().filter(|container| container.state == State::Exited);
        let mut counted = self.counted.lock();
        counted.retain(|id| runtime.containers.iter().any(|container| container.id == *id));
        for container in ended.filter(|container| container.finished_at >= Some(self.first_seen)) {
            if counted.insert(container.id.clone()) {
                let role = pod.container(&container.name).map_or(super::Role::Regular, |(role, _)| role);
                crate::metrics::container_terminated(role, container.exit_code, &container.reason);
            }
        }
    }

    /// The status as of now.
    pub(super) fn status(&self, pod: &Pod, runtime: &PodRuntime, terminal: bool) -> PodStatus {
        let old = self.cx.statuses.get(pod.uid()).or_else(|| pod.status.clone()).unwrap_or_default();
        let host_ips = self.cx.host_ips();
        let health = |spec: &k8s_openapi::api::core::v1::Container, id: &str| self.cx.probes.health(spec, id);
        let input = Input {
            runtime,
            old: &old,
            reasons: &self.reasons,
            health: &health,
            host_ips: &host_ips,
            terminal,
            now: Timestamp::now(),
        };
        let mut status = generate(pod, &input);
        crate::status::conditions::set_resize_pending(
            &mut status,
            self.pending.as_ref(),
            pod.metadata.generation,
        );
        status
    }

    /// Reports a status.
    pub(super) fn report(&self, pod: &Pod, status: PodStatus) {
        let inbox = self.mailbox.read();
        let shown = if pod.is_static() { inbox.mirror.as_deref() } else { Some(pod) };
        self.cx.statuses.set(pod, shown, status);
    }

    /// Probes of what runs. A container that was reported ready before the kubelet started stays so until its
    /// first result.
    pub(super) fn observe_probes(&self, pod: &Arc<Pod>, runtime: &PodRuntime) {
        let reported = pod.status.as_ref();
        let before = |id: &str| {
            let all = reported?
                .container_statuses
                .iter()
                .flatten()
                .chain(reported?.init_container_statuses.iter().flatten());
            let status = all
                .into_iter()
                .find(|status| status.container_id.as_deref().is_some_and(|full| full.ends_with(id)))?;
            let started = status.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0;
            // one that began under this worker is new, whatever the object says
            (started < self.first_seen)
                .then_some(Health { started: status.started == Some(true), ready: status.ready })
        };
        let ip = if pod.host_network() {
            self.cx.host_ips().first().cloned().unwrap_or_default()
        } else {
            runtime.ips().first().cloned().unwrap_or_default()
        };
        self.cx.probes.observe(pod, runtime, &ip, &before);
    }

    /// When the pod's active deadline passes, if it has one and has begun.
    pub(super) fn deadline(&self, pod: &Pod, status: &PodStatus) -> Option<Timestamp> {
        let seconds = u64::try_from(pod.spec().active_deadline_seconds?).ok()?;
        Some(status.start_time.as_ref()?.0 + Duration::from_secs(seconds))
    }

    /// Stops everything, telling the state meanwhile.
    async fn terminating(&mut self) {
        if let Some(eviction) = self.mailbox.read().evicted {
            let reason = crate::eviction::REASON.to_owned();
            self.verdict = Some(Verdict { phase: "Failed", reason, message: eviction.message });
        }
        self.cx.probes.stop_restarts(self.mailbox.read().pod.uid());
        // what was begun for the pod to run is there now, and is stopped with the rest
        self.busy.idle().await;
        loop {
            let pod = self.mailbox.read().pod;
            let runtime = match self.read(&pod).await {
                Ok(runtime) => runtime,
                Err(error) => {
                    tracing::warn!(pod = pod.shown(), %error, "read pod from runtime");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            let over =
                runtime.running().next().is_none() && !runtime.sandboxes.iter().any(|sandbox| sandbox.ready);
            if over {
                return;
            }
            self.report_ending(&pod, &runtime);
            if let Err(error) = self.kill(&pod, &runtime).await {
                tracing::warn!(pod = pod.shown(), %error, "stop pod");
                let message = format!("error killing pod: {error}");
                self.cx.events.emit(&pod, events::Kind::Warning, "FailedKillPod", &message, "");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Stops the pod; begins anew with less time if the deletion became more urgent.
    async fn kill(&self, pod: &Arc<Pod>, runtime: &PodRuntime) -> Result<(), cri::Error> {
        let mut pod = pod.clone();
        loop {
            let grace = self.grace(&pod);
            let urgent = {
                let stop = kill::pod(&self.cx, &pod, runtime, Some(grace));
                tokio::pin!(stop);
                loop {
                    tokio::select! {
                        result = &mut stop => return result,
                        () = self.mailbox.wake.notified() => {
                            let newest = self.mailbox.read().pod;
                            if let Ok(now) = self.read(&newest).await {
                                self.report_ending(&newest, &now);
                            }
                            if self.grace(&newest) < grace {
                                break newest;
                            }
                        }
                    }
                }
            };
            pod = urgent;
        }
    }

    /// Seconds until the kill.
    fn grace(&self, pod: &Pod) -> i64 {
        let evicted = self.mailbox.read().evicted.map(|eviction| eviction.grace.max(1));
        let own = effective_grace(pod);
        evicted.map_or(own, |evicted| evicted.min(own))
    }

    /// While containers still run the phase does not become a final one.
    fn report_ending(&self, pod: &Arc<Pod>, runtime: &PodRuntime) {
        self.observe_probes(pod, runtime);
        let mut status = self.status(pod, runtime, false);
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
            && runtime.running().next().is_some()
        {
            let before = self.cx.statuses.get(pod.uid()).or_else(|| pod.status.clone()).unwrap_or_default();
            status.phase = before.phase;
        }
        self.report(pod, status);
    }

    /// The final status; then what the pod had on the node goes, and its object if it is being deleted.
    async fn terminated(&mut self) {
        let pod = self.mailbox.read().pod;
        let uid = pod.uid().to_owned();
        let runtime = loop {
            match self.read(&pod).await {
                Ok(runtime) => break runtime,
                Err(error) => {
                    tracing::warn!(pod = pod.shown(), %error, "read pod from runtime");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        self.report(&pod, self.final_status(&pod, &runtime));
        self.cx.probes.forget(&uid);
        while let Err(error) = self.cx.volumes.remove(&uid) {
            tracing::warn!(pod = pod.shown(), %error, "remove volumes");
            tokio::time::sleep(RETRY).await;
        }
        self.cx.objects.unregister(&uid);
        self.remove_group(&uid).await;
        loop {
            let inbox = self.mailbox.read();
            if inbox.gone {
                if let Some(mirror) = &inbox.mirror {
                    crate::sources::mirror::delete(&self.cx, mirror).await;
                }
                return;
            }
            let deleted = inbox.pod.metadata.deletion_timestamp.is_some();
            if deleted && !inbox.pod.is_static() {
                self.report(&inbox.pod, self.final_status(&inbox.pod, &runtime));
                self.cx.statuses.delete(&inbox.pod).await;
            }
            self.mailbox.wake.notified().await;
        }
    }

    async fn remove_group(&self, uid: &str) {
        // a process may still be on its way out
        for _ in 0..50 {
            match self.cx.cgroups.remove_pod(uid) {
                Ok(()) => return,
                Err(error) => tracing::debug!(uid, %error, "remove cgroup"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tracing::warn!(uid, "the pod's cgroup is still in use");
    }

    fn final_status(&self, pod: &Pod, runtime: &PodRuntime) -> PodStatus {
        // a pod that ended before the kubelet started and left nothing behind has its last word already
        let known = self.cx.statuses.get(pod.uid()).or_else(|| pod.status.clone());
        let ended = |status: &PodStatus| matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if let Some(known) = known.filter(|known| ended(known) && runtime.containers.is_empty()) {
            return known;
        }
        let mut status = self.status(pod, runtime, true);
        let Some(verdict) = &self.verdict else {
            if !matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) && !pod.is_static() {
                lost_containers(pod, &mut status);
            }
            return status;
        };
        let rejected = runtime.sandboxes.is_empty() && runtime.containers.is_empty();
        status.phase = Some(verdict.phase.to_owned());
        status.reason = Some(verdict.reason.clone());
        status.message = Some(verdict.message.clone());
        if rejected && self.mailbox.read().rejected.is_some() {
            status.container_statuses = None;
            status.init_container_statuses = None;
            status.conditions = None;
            return status;
        }
        for condition in status.conditions.iter_mut().flatten() {
            if condition.type_ == "Ready" || condition.type_ == "ContainersReady" {
                condition.status = "False".to_owned();
                condition.reason = Some("PodFailed".to_owned());
                condition.message = None;
            }
        }
        if verdict.reason == crate::eviction::REASON {
            crate::status::conditions::set_disruption(&mut status, &verdict.message, pod.metadata.generation);
        }
        status
    }

    /// The object is gone: so are containers, logs and folders. A static pod that waited takes its place.
    async fn removed(&mut self) {
        let pod = self.mailbox.read().pod;
        let uid = pod.uid().to_owned();
        loop {
            let result = match read::pod(&self.cx.runtime, &uid).await {
                Ok(runtime) => kill::remove(&self.cx, pod.namespace(), pod.name(), &runtime).await,
                Err(error) => Err(error),
            };
            let Err(error) = result else { break };
            tracing::warn!(pod = pod.shown(), %error, "remove pod from runtime");
            tokio::time::sleep(RETRY).await;
        }
        self.remove_group(&uid).await;
        let logs = self.cx.paths.pod_log(pod.namespace(), pod.name(), &uid);
        for folder in [self.cx.paths.pod(&uid), logs] {
            if let Err(error) = crate::volumes::remove_dir(&folder) {
                tracing::warn!(%error, folder = %folder.display(), "remove folder");
            }
        }
        self.cx.user_namespaces.release(&uid);
        self.cx.statuses.forget(&uid);
        if let Some(next) = self.cx.pods.finish(&uid) {
            crate::sources::take(&self.cx, next);
        }
    }
}

/// Seconds until the kill: what deletion gives, or the specification; at least one.
fn effective_grace(pod: &Pod) -> i64 {
    pod.metadata.deletion_grace_period_seconds.unwrap_or_else(|| pod.grace_period()).max(1)
}

/// A pod that ends without a container that ran to its end has failed: what ran is not known, what never ran
/// never will. What still waited for an init container never was to run.
fn lost_containers(pod: &Pod, status: &mut PodStatus) {
    status.phase = Some("Failed".to_owned());
    if has_initialized(pod, status) {
        status.container_statuses.iter_mut().flatten().for_each(lost);
    }
    let inits = status.init_container_statuses.as_deref_mut().unwrap_or_default();
    let begun = inits.iter().rposition(has_begun).map_or(1, |last| last + 1);
    inits.iter_mut().take(begun).for_each(lost);
}

fn lost(container: &mut ContainerStatus) {
    let state = container.state.get_or_insert_default();
    if state.terminated.is_some() || state.waiting.is_none() {
        return;
    }
    *state = ContainerState {
        terminated: Some(ContainerStateTerminated {
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some("The container could not be located when the pod was terminated".to_owned()),
            exit_code: 137,
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    };
    container.ready = false;
    container.started = Some(false);
}

/// Whether a container was started at some time.
fn has_begun(container: &ContainerStatus) -> bool {
    let waits = container.state.as_ref().is_none_or(|state| state.waiting.is_some());
    let before = container.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    !waits || before
}

/// Whether the regular containers of a pod were to run.
fn has_initialized(pod: &Pod, status: &PodStatus) -> bool {
    let Some(last) = pod.init_containers().last() else { return true };
    if status.container_statuses.iter().flatten().any(has_begun) {
        return true;
    }
    let mut inits = status.init_container_statuses.iter().flatten();
    let Some(init) = inits.find(|init| init.name == last.name) else { return false };
    if super::is_sidecar(last) {
        let running = init.state.as_ref().is_some_and(|state| state.running.is_some());
        return running && init.started == Some(true);
    }
    let ended = [&init.state, &init.last_state].into_iter().flatten();
    ended.filter_map(|state| state.terminated.as_ref()).any(|ended| ended.exit_code == 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The reasons of init and regular containers after the pod was lost.
    fn ends(init: serde_json::Value, regular: serde_json::Value) -> [String; 2] {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "initContainers": [{"name": "i"}], "containers": [{"name": "c"}]}}))
        .unwrap();
        let of = |name: &str, state| json!([{"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]);
        let mut status: PodStatus = serde_json::from_value(json!({
            "initContainerStatuses": of("i", init), "containerStatuses": of("c", regular)}))
        .unwrap();
        lost_containers(&pod, &mut status);
        assert_eq!(status.phase.as_deref(), Some("Failed"));
        let reason = |list: &Option<Vec<ContainerStatus>>| {
            let state = list.as_ref().unwrap()[0].state.clone().unwrap();
            state.terminated.map_or_else(|| "waits".to_owned(), |ended| ended.reason.unwrap_or_default())
        };
        [reason(&status.init_container_statuses), reason(&status.container_statuses)]
    }

    #[test]
    fn what_waited_for_an_init_container_has_not_ended() {
        let waiting = || json!({"waiting": {"reason": "PodInitializing"}});
        let ended = |code: i32| json!({"terminated": {"exitCode": code, "reason": "Ended"}});
        let unknown = "ContainerStatusUnknown";
        assert_eq!(ends(ended(1), waiting()), ["Ended", "waits"]);
        assert_eq!(ends(waiting(), waiting()), [unknown, "waits"]);
        assert_eq!(ends(ended(0), waiting()), ["Ended", unknown]);
    }
}
