//! The shell around [`core`]: informers feed it, tasks carry its decisions out.

pub mod core;
mod informers;
mod metrics;
mod preempt;
mod report;

use std::sync::Arc;
use std::time::Duration;

use client::events::SeriesRecorder;
use client::{Api, Event};
use compact_str::CompactString;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::core::{Core, Decision, Failure, Nomination};
use crate::config::ProfileSettings;
use crate::framework::profile::Binding;
use crate::framework::{Change, Preemption, Profile};
use crate::listers::Listers;
use crate::pod::Pod;
use crate::queue::{Queued, Times};
use crate::views::{NodeView, PodView};
use informers::Informers;
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
    /// What pods are counted by changed, in a namespace or everywhere.
    Counted(Option<CompactString>),
    Bound(Box<Bound>),
    /// The victims for a pod are told to go (true), or could not be.
    Preempted(Arc<Pod>, bool),
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
    let mut informers = Informers::start(&api, &sender, &shutdown);
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        () = informers.wait_synced() => {}
    }
    synced();
    let reporter = Reporter { api: api.clone(), pods: informers.pods };
    Scheduler::new(&api, built, times, informers.listers, reporter, sender).run(receiver, shutdown).await;
    Ok(())
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
        listers: Listers,
        reporter: Reporter,
        sender: mpsc::UnboundedSender<Message>,
    ) -> Self {
        let host = component_base::hostname();
        let recorder = |p: &Profile| SeriesRecorder::new(api.clone(), &p.name, &format!("{}-{host}", p.name));
        let parts = profiles.iter().map(|p| (recorder(p), p.binding())).collect();
        Self {
            core: Core::new(profiles, times, listers),
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
            Message::Counted(namespace) => self.core.forget_counts(namespace.as_deref()),
            Message::Bound(bound) => self.bound(&bound, now),
            Message::Preempted(pod, done) => self.core.preempted(&pod, done, now),
        }
    }

    /// False if there is no pod to try.
    fn cycle(&mut self) -> bool {
        let began = Instant::now();
        let Some(decision) = self.core.cycle(began) else { return false };
        self.metrics.algorithm_seconds.observe(began.elapsed().as_secs_f64());
        match decision {
            Decision::Bind { queued, pod } => self.bind(queued, pod, began),
            Decision::Fail { queued, failure, message, nomination } => {
                self.fail(&queued, failure, &message, &nomination, began);
            }
            Decision::Preempt { queued, message, preemption, demoted } => {
                let nomination = Nomination::Set(preemption.node.clone());
                self.fail(&queued, Failure::Unschedulable, &message, &nomination, began);
                self.preempt(&queued, preemption);
                demoted.iter().for_each(|p| self.reporter.demoted(p));
            }
            Decision::Skip { queued } => self.reporter.skipped(&self.profiles[queued.profile].0, &queued.pod),
            Decision::Nothing => {}
        }
        true
    }

    fn bind(&self, queued: Queued, pod: Arc<Pod>, began: Instant) {
        let (binding, sender) = (self.profiles[queued.profile].1.clone(), self.sender.clone());
        tokio::spawn(async move {
            let result = binding.run(&pod, &pod.node_name).await;
            let _ = sender.send(Message::Bound(Box::new(Bound { queued, pod, result, began })));
        });
    }

    fn preempt(&self, queued: &Queued, preemption: Preemption) {
        self.metrics.preemption(preemption.victims.len());
        let (api, recorder) = (self.reporter.api.clone(), self.profiles[queued.profile].0.clone());
        let (pod, sender) = (queued.pod.clone(), self.sender.clone());
        tokio::spawn(async move {
            let done = preempt::execute(&api, &recorder, &pod, &preemption).await;
            if let Err(error) = &done {
                tracing::warn!(pod = %pod.key, node = %preemption.node, %error, "pods could not be preempted");
            }
            let _ = sender.send(Message::Preempted(pod, done.is_ok()));
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
                self.fail(queued, Failure::Error, why, &Nomination::Keep, *began);
            }
        }
    }

    fn fail(
        &self,
        queued: &Queued,
        failure: Failure,
        message: &str,
        nomination: &Nomination,
        began: Instant,
    ) {
        tracing::debug!(pod = %queued.pod.key, "not scheduled: {message}");
        let result = if failure == Failure::Error { "error" } else { "unschedulable" };
        self.metrics.attempt(result, &self.core.profile(queued.profile).name, began.elapsed());
        self.reporter.failed(&self.profiles[queued.profile].0, &queued.pod, failure, message, nomination);
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
