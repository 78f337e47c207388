//! One look at a pod that is to run: what the worker does between two waits.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::plan::{self, Actions, Start};
use super::start::{self, Sandbox, StartError};
use super::worker::{Next, Verdict, Worker};
use super::{PodExt, Role, kill, resize};
use crate::events;
use crate::runtime::status::{PodRuntime, State};
use crate::user_namespaces;
use crate::volumes::{Mounted, Needs};

/// Longest pause between two tries of what fails.
const MAX_RETRY: Duration = Duration::from_secs(10);
/// Pause before a mirror pod that the API server did not take is made again.
const MIRROR_RETRY: Duration = Duration::from_secs(1);

impl Worker {
    /// One look. Whatever it changes makes it look again.
    pub(super) async fn sync(&mut self) -> Next {
        // what woke it until now is seen by this look
        let _ = self.mailbox.wake.notified().now_or_never();
        let pod = self.allocate(self.mailbox.read().pod);
        self.cx.objects.register(&pod);
        let mut runtime = match self.read(&pod).await {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::warn!(pod = pod.shown(), %error, "read pod from runtime");
                return self.failed();
            }
        };
        if self.resize(&pod, &runtime).await {
            runtime = match self.read(&pod).await {
                Ok(runtime) => runtime,
                Err(_) => return self.failed(),
            };
        }
        self.reasons.retain(|name, _| {
            runtime.container(name).is_none_or(|container| container.state != State::Running)
        });
        self.observe_probes(&pod, &runtime);
        let status = self.status(&pod, &runtime, false);
        let deadline = self.deadline(&pod, &status);
        if deadline.is_some_and(|deadline| deadline <= Timestamp::now()) {
            let message = "Pod was active on the node longer than the specified deadline";
            self.cx.events.emit(&pod, events::Kind::Normal, "DeadlineExceeded", message, "");
            self.verdict = Some(Verdict {
                phase: "Failed",
                reason: "DeadlineExceeded".to_owned(),
                message: message.to_owned(),
            });
            return Next::End;
        }
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return Next::End;
        }
        self.report(&pod, status);
        // boxed: a sync is the deepest call of the kubelet, and what is joined lives on the stack while it is made
        let mirrored = self.mirror(&pod);
        let (mirrored, next) = tokio::join!(mirrored, Box::pin(self.advance(&pod, &runtime)));
        let next = if mirrored { next } else { next.sooner(Next::after(MIRROR_RETRY)) };
        deadline.map_or(next, |deadline| next.sooner(Next::At(deadline)))
    }

    /// A static pod's mirror, which never holds up the pod itself. False: to be tried again.
    fn mirror(&self, pod: &Arc<Pod>) -> futures::future::BoxFuture<'static, bool> {
        if !pod.is_static() {
            return Box::pin(std::future::ready(true));
        }
        let (cx, pod, mirror) = (self.cx.clone(), pod.clone(), self.mailbox.read().mirror);
        Box::pin(async move { crate::sources::mirror::ensure(&cx, &pod, mirror.as_deref()).await })
    }

    /// The pod with the resources that the node gives it: the newest ones if they fit, else those it had.
    fn allocate(&mut self, pod: Arc<Pod>) -> Arc<Pod> {
        let before = self.allocated.clone().filter(|before| !resize::same_resources(before, &pod));
        let Some(before) = before else {
            if self.pending.take().is_some() {
                self.cx.pods.allocate(pod.uid(), None);
            }
            self.allocated = Some(pod.clone());
            return pod;
        };
        let others = self.cx.pods.others(pod.uid());
        let others: Vec<&Pod> = others.iter().map(AsRef::as_ref).collect();
        let node = self.cx.node.read().clone();
        self.pending = crate::admission::resize_refusal(&pod, &others, &node);
        if self.pending.is_none() {
            self.cx.pods.allocate(pod.uid(), None);
            self.allocated = Some(pod.clone());
            return pod;
        }
        let given = Arc::new(resize::with_resources_of(&pod, &before));
        self.cx.pods.allocate(pod.uid(), Some(given.clone()));
        given
    }

    /// Brings running containers to the pod's resources. True if anything was changed.
    async fn resize(&mut self, pod: &Arc<Pod>, runtime: &PodRuntime) -> bool {
        self.requested.note(pod, runtime);
        let changes = resize::changes(pod, runtime, &self.requested, &self.cx.settings);
        if changes.is_empty() {
            return false;
        }
        // growing needs the pod's group first; shrinking is refused by the kernel until the containers shrank
        let grown = self.cx.cgroups.ensure_pod(pod).is_ok();
        for change in changes {
            let Some(container) = runtime.containers.iter().find(|container| container.id == change.id)
            else {
                continue;
            };
            let result = if change.restart {
                let message = format!("Container {} resize requires restart", change.name);
                kill::container(&self.cx, pod, container, None, &message, None).await
            } else {
                let request = cri::v1::UpdateContainerResourcesRequest {
                    container_id: change.id,
                    linux: Some(change.resources),
                    ..Default::default()
                };
                self.cx.runtime.update_container_resources(request).await.map(drop)
            };
            if let Err(error) = result {
                tracing::warn!(pod = pod.shown(), container = change.name, %error, "resize container");
            }
        }
        if !grown && let Err(error) = self.cx.cgroups.ensure_pod(pod) {
            tracing::warn!(pod = pod.shown(), %error, "resize the pod's control group");
        }
        true
    }

    /// The pause after something failed; grows with each failure in a row.
    pub(super) fn failed(&mut self) -> Next {
        let delay = Duration::from_millis(500 << self.failures.min(5)).min(MAX_RETRY);
        self.failures += 1;
        Next::after(delay)
    }

    /// Prepares what the pod needs, then carries out the plan.
    async fn advance(&mut self, pod: &Arc<Pod>, runtime: &PodRuntime) -> Next {
        let network = self.cx.network.borrow().clone();
        if let Some(reason) = network.filter(|_| !pod.host_network()) {
            if !std::mem::replace(&mut self.told.network, true) {
                let message = format!("network is not ready: {reason}");
                self.cx.events.emit(pod, events::Kind::Warning, "NetworkNotReady", &message, "");
            }
            return Next::Woken;
        }
        let mounted = match self.prepare(pod, runtime).await {
            Ok(mounted) => mounted,
            Err(next) => return next,
        };
        let renew = mounted.renew.map_or(Next::Woken, Next::At);
        let probes = self.cx.probes.clone();
        let actions = plan::plan(pod, runtime, &|id| probes.verdict(id));
        if actions.is_empty() {
            self.failures = 0;
            return renew;
        }
        tracing::debug!(pod = pod.shown(), ?actions, "sync");
        self.perform(pod, runtime, &actions, &mounted).await.sooner(renew)
    }

    /// Folders, control group and volumes.
    async fn prepare(&mut self, pod: &Arc<Pod>, runtime: &PodRuntime) -> Result<Mounted, Next> {
        let folder = self.cx.paths.pod(pod.uid());
        let group = std::fs::create_dir_all(&folder).and_then(|()| self.cx.cgroups.ensure_pod(pod));
        if let Err(error) = group {
            let message = format!("unable to ensure pod container exists: {error}");
            self.cx.events.emit(pod, events::Kind::Warning, "FailedCreatePodContainer", &message, "");
            return Err(self.failed());
        }
        let ips = if pod.host_network() { self.cx.host_ips() } else { runtime.ips().to_vec() };
        let (facts, node_uid) = (self.cx.facts(&ips), self.cx.node.read().uid.clone());
        let needs = Needs { facts: &facts, node_name: &self.cx.node_name, node_uid: &node_uid };
        match self.cx.volumes.mount(pod, &needs).await {
            Ok(mut mounted) => {
                if !mounted.stale.is_empty() {
                    let retry = Timestamp::now() + MAX_RETRY;
                    mounted.renew = Some(mounted.renew.map_or(retry, |renew| renew.min(retry)));
                }
                for error in &mounted.stale {
                    self.cx.events.emit(pod, events::Kind::Warning, "FailedMount", &error.to_string(), "");
                }
                Ok(mounted)
            }
            Err(error) => {
                self.cx.events.emit(pod, events::Kind::Warning, "FailedMount", &error.to_string(), "");
                Err(self.failed())
            }
        }
    }

    async fn perform(
        &mut self,
        pod: &Arc<Pod>,
        runtime: &PodRuntime,
        actions: &Actions,
        mounted: &Mounted,
    ) -> Next {
        if actions.kill_pod {
            let busy =
                runtime.running().next().is_some() || runtime.sandboxes.iter().any(|sandbox| sandbox.ready);
            if actions.create_sandbox && !runtime.sandboxes.is_empty() {
                let message = "Pod sandbox changed, it will be killed and re-created.";
                self.cx.events.emit(pod, events::Kind::Normal, "SandboxChanged", message, "");
            }
            if let Err(error) = kill::pod(&self.cx, pod, runtime, None).await {
                tracing::warn!(pod = pod.shown(), %error, "stop pod");
                return self.failed();
            }
            if !actions.create_sandbox {
                return if busy { Next::Now } else { Next::Woken };
            }
        }
        let mut changed = !actions.kill.is_empty();
        if !self.kill_containers(pod, runtime, actions).await {
            return self.failed();
        }
        let sandbox = if actions.create_sandbox {
            changed = true;
            self.create_sandbox(pod, actions.attempt).await
        } else {
            self.current_sandbox(pod, runtime, actions)
        };
        if actions.create_sandbox {
            crate::metrics::pod_started(sandbox.is_err());
        }
        let own_users = actions.create_sandbox && user_namespaces::wanted(pod);
        let (id, config, ips) = match sandbox {
            Ok(sandbox) => sandbox,
            Err(next) => {
                if own_users {
                    crate::metrics::user_namespaced_pod_started(true);
                }
                return next;
            }
        };
        let busy = self.busy.clone();
        let sandbox = Sandbox { busy: &busy, id: &id, config: &config, ips: &ips, mounted };
        let (started, next) = self.start_all(pod, runtime, &actions.start, &sandbox).await;
        if own_users {
            crate::metrics::user_namespaced_pod_started(!self.reasons.is_empty());
        }
        if changed || started { Next::Now } else { next }
    }

    async fn kill_containers(&self, pod: &Arc<Pod>, runtime: &PodRuntime, actions: &Actions) -> bool {
        let mut kills = Vec::new();
        for kill in &actions.kill {
            if let Some(container) = runtime.containers.iter().find(|container| container.id == kill.id) {
                kills.push(kill::container(&self.cx, pod, container, Some(kill.reason), &kill.message, None));
            }
        }
        let results = join_all(kills).await;
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            tracing::warn!(pod = pod.shown(), %error, "stop container");
        }
        results.iter().all(Result::is_ok)
    }

    async fn create_sandbox(
        &mut self,
        pod: &Pod,
        attempt: u32,
    ) -> Result<(String, cri::v1::PodSandboxConfig, Vec<String>), Next> {
        // given up half way or failed, it may be there all the same: then the runtime is to be listed
        let known = self.ids.lock().take();
        let made = match start::sandbox(&self.cx, pod, attempt, &self.busy).await {
            Ok((id, config)) => {
                let request = cri::v1::PodSandboxStatusRequest { pod_sandbox_id: id.clone(), verbose: false };
                let status = self.cx.runtime.pod_sandbox_status(request).await;
                status.map(|answer| (id, config, answer.status)).map_err(|error| error.to_string())
            }
            Err(message) => Err(message),
        };
        match made {
            Ok((id, config, status)) => {
                *self.ids.lock() = known.map(|ids| ids.with_sandbox(&id));
                let ips = status.as_ref().map(crate::runtime::status::sandbox).map(|sandbox| sandbox.ips);
                let ips = if pod.host_network() { self.cx.host_ips() } else { ips.unwrap_or_default() };
                Ok((id, config, ips))
            }
            Err(message) => {
                let message = format!("Failed to create pod sandbox: {message}");
                self.cx.events.emit(pod, events::Kind::Warning, "FailedCreatePodSandBox", &message, "");
                Err(self.failed())
            }
        }
    }

    fn current_sandbox(
        &mut self,
        pod: &Pod,
        runtime: &PodRuntime,
        actions: &Actions,
    ) -> Result<(String, cri::v1::PodSandboxConfig, Vec<String>), Next> {
        let Some(sandbox) = runtime.ready_sandbox() else { return Err(self.failed()) };
        let config = start::sandbox_config(&self.cx, pod, actions.attempt).map_err(|message| {
            tracing::warn!(pod = pod.shown(), message, "sandbox configuration");
            self.failed()
        })?;
        let ips = if pod.host_network() { self.cx.host_ips() } else { sandbox.ips.clone() };
        Ok((sandbox.id.clone(), config, ips))
    }

    /// Starts containers in order. Gives whether one was started, and when to look again for the others.
    async fn start_all(
        &mut self,
        pod: &Arc<Pod>,
        runtime: &PodRuntime,
        starts: &[Start],
        sandbox: &Sandbox<'_>,
    ) -> (bool, Next) {
        let (mut started, mut next) = (false, Next::Woken);
        for begin in starts {
            let Some(spec) = start::spec_of(pod, *begin) else { continue };
            let result = match self.backing_off(pod, &spec, runtime) {
                Some(wait) => Err(wait),
                None => match self.start_one(pod, *begin, runtime, sandbox).await {
                    Ok(()) => {
                        self.prune(pod, &spec.name, runtime).await;
                        Ok(())
                    }
                    Err(error) => Err(self.start_failed(&spec.name, error)),
                },
            };
            match result {
                Ok(()) => {
                    self.reasons.remove(&spec.name);
                    started = true;
                }
                Err(wait) => {
                    next = next.sooner(wait);
                    if begin.role == Role::Init {
                        break;
                    }
                }
            }
        }
        if next != Next::Woken {
            // the reasons are news, even if nothing was started
            if let Ok(now) = self.read(pod).await {
                self.report(pod, self.status(pod, &now, false));
            }
        } else if started {
            self.failures = 0;
        }
        (started, next)
    }

    async fn start_one(
        &self,
        pod: &Arc<Pod>,
        begin: Start,
        runtime: &PodRuntime,
        sandbox: &Sandbox<'_>,
    ) -> Result<(), StartError> {
        let known = self.ids.lock().take();
        let id = start::container(&self.cx, pod, begin, runtime, sandbox).await?;
        *self.ids.lock() = known.map(|ids| ids.with_container(&id, sandbox.id));
        Ok(())
    }

    fn start_failed(&mut self, name: &str, error: StartError) -> Next {
        let next = match error.retry {
            Some(delay) => Next::after(delay),
            None => self.failed(),
        };
        self.reasons.insert(name.to_owned(), (error.reason, error.message));
        next
    }

    /// When a crashing container may be started again; `None`: now.
    fn backing_off(
        &mut self,
        pod: &Pod,
        spec: &k8s_openapi::api::core::v1::Container,
        runtime: &PodRuntime,
    ) -> Option<Next> {
        let last = runtime.container(&spec.name).filter(|container| container.state == State::Exited)?;
        let ended = last.finished_at?;
        let (delay, until) = self.backoffs.restart(spec, ended, Timestamp::now()).err()?;
        let shown = component_base::flags::GoDuration(delay);
        let message =
            format!("back-off {shown} restarting failed container={} pod={}", spec.name, pod.shown());
        let path = events::container_path(pod, &spec.name);
        let event = format!("Back-off restarting failed container {} in pod {}", spec.name, pod.shown());
        self.cx.events.emit(pod, events::Kind::Warning, "BackOff", &event, &path);
        self.reasons.insert(spec.name.clone(), ("CrashLoopBackOff".to_owned(), message));
        Some(Next::At(until))
    }

    /// Of a container's dead predecessors so many are kept, for their logs, and at least the newest for its state.
    async fn prune(&self, pod: &Pod, name: &str, runtime: &PodRuntime) {
        let dead: Vec<_> = runtime
            .containers
            .iter()
            .filter(|container| container.name == name && container.state == State::Exited)
            .collect();
        let Ok(keep) = usize::try_from(self.cx.dead_containers.each) else { return };
        for container in dead.into_iter().skip(keep.max(1)) {
            if let Err(error) = kill::remove_container(&self.cx, pod.namespace(), pod.name(), container).await
            {
                tracing::warn!(pod = pod.shown(), %error, "remove dead container");
            }
        }
    }
}
