//! The shell around [`core`]: informers feed it, tasks carry its decisions out.

pub mod core;
mod metrics;
mod report;

use std::sync::Arc;
use std::time::Duration;

use client::events::SeriesRecorder;
use client::resource::{
    NAMESPACES, NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES,
};
use client::{Api, Event, Informer, InformerOptions, Resource, View};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::core::{Core, Decision, Failure};
use crate::config::ProfileSettings;
use crate::framework::profile::Binding;
use crate::framework::{Change, Profile};
use crate::pod::Pod;
use crate::queue::{Queued, Times};
use crate::views::{NamespaceView, NodeView, PodView};
use crate::volumes::Volumes;
use metrics::Metrics;
use report::Reporter;

/// How often pods that have waited for too long are looked for.
const FLUSH: Duration = Duration::from_secs(30);
/// After so many cycles other tasks of the thread get their turn.
const CYCLES_A_TURN: usize = 16;

/// What the scheduler's task hears.
enum Message {
    Node(Event<NodeView>),
    Pod(Event<PodView>),
    /// A claim, volume or storage class changed.
    Volume(&'static str),
    Bound(Box<Bound>),
}

/// A binding's end.
struct Bound {
    queued: Queued,
    pod: Arc<Pod>,
    result: Result<(), String>,
    began: Instant,
}

/// Runs until `shutdown`; `synced` is told when the cache is filled.
pub async fn run(
    api: Api,
    profiles: &[ProfileSettings],
    times: Times,
    shutdown: CancellationToken,
    synced: impl FnOnce(),
) -> Result<(), crate::config::Error> {
    let built = profiles.iter().map(|p| p.build(Some(&api))).collect::<Result<Vec<_>, _>>()?;
    let (sender, receiver) = mpsc::unbounded_channel();
    let active = InformerOptions {
        field_selector: "status.phase!=Succeeded,status.phase!=Failed".into(),
        ..InformerOptions::default()
    };
    let pods: Informer<PodView> = Informer::new(api.clone(), PODS, active);
    let nodes: Informer<NodeView> = Informer::new(api.clone(), NODES, InformerOptions::default());
    forward(&nodes, &sender, Message::Node);
    forward(&pods, &sender, Message::Pod);
    let claims = volume_informer(&api, PERSISTENT_VOLUME_CLAIMS, "PersistentVolumeClaimChange", &sender);
    let volumes = volume_informer(&api, PERSISTENT_VOLUMES, "PersistentVolumeChange", &sender);
    let classes = volume_informer(&api, STORAGE_CLASSES, "StorageClassChange", &sender);
    let namespaces: Informer<NamespaceView> = Informer::new(
        api.clone(),
        NAMESPACES,
        InformerOptions { metadata_only: true, ..InformerOptions::default() },
    );
    let known = Volumes {
        namespaces: namespaces.store(),
        claims: claims.store(),
        volumes: volumes.store(),
        classes: classes.store(),
    };
    for start in [nodes.start(shutdown.clone()), pods.start(shutdown.clone())] {
        drop(start);
    }
    (
        claims.start(shutdown.clone()),
        volumes.start(shutdown.clone()),
        classes.start(shutdown.clone()),
        namespaces.start(shutdown.clone()),
    );
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        _ = async { tokio::join!(nodes.wait_synced(), pods.wait_synced(), claims.wait_synced(), volumes.wait_synced(), classes.wait_synced(), namespaces.wait_synced()) } => {}
    }
    synced();
    let reporter = Reporter { api: api.clone(), pods: pods.store() };
    Scheduler::new(&api, built, times, known, reporter, sender).run(receiver, shutdown).await;
    Ok(())
}

fn forward<V: View>(
    informer: &Informer<V>,
    sender: &mpsc::UnboundedSender<Message>,
    message: fn(Event<V>) -> Message,
) {
    let sender = sender.clone();
    // The receiver is gone only at the end.
    informer.add_handler(move |event| drop(sender.send(message(event.clone()))));
}

fn volume_informer<V: View>(
    api: &Api,
    resource: Resource,
    label: &'static str,
    sender: &mpsc::UnboundedSender<Message>,
) -> Informer<V> {
    let informer: Informer<V> = Informer::new(api.clone(), resource, InformerOptions::default());
    let sender = sender.clone();
    informer.add_handler(move |_| drop(sender.send(Message::Volume(label))));
    informer
}

struct Scheduler {
    core: Core,
    /// A recorder and what binds, a profile.
    profiles: Vec<(SeriesRecorder, Binding)>,
    metrics: Metrics,
    reporter: Reporter,
    sender: mpsc::UnboundedSender<Message>,
}

impl Scheduler {
    fn new(
        api: &Api,
        profiles: Vec<Profile>,
        times: Times,
        volumes: Volumes,
        reporter: Reporter,
        sender: mpsc::UnboundedSender<Message>,
    ) -> Self {
        let host = component_base::hostname();
        let recorder = |p: &Profile| SeriesRecorder::new(api.clone(), &p.name, &format!("{}-{host}", p.name));
        let parts = profiles.iter().map(|p| (recorder(p), p.binding())).collect();
        Self {
            core: Core::new(profiles, times, volumes),
            profiles: parts,
            metrics: Metrics::new(),
            reporter,
            sender,
        }
    }

    async fn run(mut self, mut receiver: mpsc::UnboundedReceiver<Message>, shutdown: CancellationToken) {
        let mut flush = tokio::time::interval(FLUSH);
        loop {
            // Everything that is known comes before the next choice.
            while let Ok(message) = receiver.try_recv() {
                self.hear(message);
            }
            let busy = (0..CYCLES_A_TURN).all(|_| receiver.is_empty() && self.cycle());
            self.metrics.sizes(&self.core);
            if busy {
                if shutdown.is_cancelled() {
                    return;
                }
                tokio::task::yield_now().await;
                continue;
            }
            let backoff = self.core.queue.next_backoff();
            tokio::select! {
                () = shutdown.cancelled() => return,
                message = receiver.recv() => match message {
                    Some(message) => self.hear(message),
                    None => return,
                },
                _ = flush.tick() => self.core.queue.flush_unschedulable(Instant::now()),
                () = sleep_until(backoff) => {}
            }
        }
    }

    fn hear(&mut self, message: Message) {
        let now = Instant::now();
        match message {
            Message::Node(event) => self.core.node_event(&event, now),
            Message::Pod(event) => self.core.pod_event(&event, now),
            Message::Volume(label) => self.core.change(&Change::volume(label), now),
            Message::Bound(bound) => self.bound(&bound, now),
        }
    }

    /// False if there is no pod to try.
    fn cycle(&mut self) -> bool {
        let began = Instant::now();
        let Some(decision) = self.core.cycle(began) else { return false };
        self.metrics.algorithm_seconds.observe(began.elapsed().as_secs_f64());
        match decision {
            Decision::Bind { queued, pod } => self.bind(queued, pod, began),
            Decision::Fail { queued, failure, message } => self.fail(&queued, failure, &message, began),
            Decision::Skip { queued } => self.reporter.skipped(&self.profiles[queued.profile].0, &queued.pod),
            Decision::Nothing => {}
        }
        true
    }

    fn bind(&self, queued: Queued, pod: Arc<Pod>, began: Instant) {
        let (binding, sender) = (self.profiles[queued.profile].1.clone(), self.sender.clone());
        tokio::spawn(async move {
            let result = match binding.run(&pod, &pod.node_name).await {
                Ok(true) => Ok(()),
                Ok(false) => Err("no Bind plugin bound the pod".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            let _ = sender.send(Message::Bound(Box::new(Bound { queued, pod, result, began })));
        });
    }

    fn bound(&mut self, bound: &Bound, now: Instant) {
        let Bound { queued, pod, result, began } = bound;
        match result {
            Ok(()) => {
                self.core.bound(pod);
                tracing::debug!(pod = %pod.key, node = %pod.node_name, attempts = queued.attempts, "bound");
                self.metrics.attempt("scheduled", &self.core.profile(queued.profile).name, now - *began);
                self.metrics.scheduled(queued.attempts, now - queued.first_attempt.unwrap_or(*began));
                self.reporter.scheduled(&self.profiles[queued.profile].0, pod);
            }
            Err(why) => {
                self.core.not_bound(queued.profile, pod, now);
                let message = format!("running Bind plugin \"DefaultBinder\": {why}");
                self.fail(queued, Failure::Error, &message, *began);
            }
        }
    }

    fn fail(&self, queued: &Queued, failure: Failure, message: &str, began: Instant) {
        tracing::debug!(pod = %queued.pod.key, "not scheduled: {message}");
        let result = if failure == Failure::Error { "error" } else { "unschedulable" };
        self.metrics.attempt(result, &self.core.profile(queued.profile).name, began.elapsed());
        self.reporter.failed(&self.profiles[queued.profile].0, &queued.pod, failure, message);
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
