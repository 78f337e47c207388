//! What every controller is given when it starts.

use std::sync::Arc;
use std::time::Duration;

use client::events::Recorder;
use client::{Api, Event, Informer, View, WorkQueue};
use tokio_util::sync::CancellationToken;

use crate::identity;
use crate::informers::Informers;
use crate::options::Options;

/// Shared by all controllers of a process. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub options: Arc<Options>,
    pub informers: Arc<Informers>,
    pub shutdown: CancellationToken,
    /// Acts as the manager itself.
    pub manager: Api,
    /// The transport without credentials, for service accounts' tokens.
    pub bare: Option<kube::Client>,
}

impl Context {
    /// The client of a controller, by the name of its service account.
    pub async fn api(&self, account: &str) -> Api {
        match &self.bare {
            Some(bare) => identity::service_account(&self.manager, bare, account, &self.shutdown).await,
            None => self.manager.with_user_agent(&format!("kube-controller-manager/{account}")),
        }
    }

    /// The recorder of a controller; `component` is the source in its Events.
    pub fn recorder(&self, api: &Api, component: &str) -> Recorder {
        Recorder::new(api.clone(), component, "")
    }

    /// Runs `work` on the keys of a queue until shutdown, then waits for what is being worked on.
    pub async fn work<K, F, R, E>(&self, queue: &WorkQueue<K>, workers: usize, name: &'static str, work: F)
    where
        K: Clone + Eq + std::hash::Hash + Send + Sync + std::fmt::Debug + 'static,
        F: Fn(K) -> R + Clone + Send + 'static,
        R: Future<Output = Result<Option<Duration>, E>> + Send + 'static,
        E: std::fmt::Display + Send,
    {
        let workers = queue.run(workers, name, work);
        self.shutdown.cancelled().await;
        queue.shut_down();
        workers.join_all().await;
    }
}

/// Hands every change of an informer to `react`, with the old state where there is one.
pub fn on_change<V: View>(
    informer: &Informer<V>,
    react: impl Fn(Option<&Arc<V>>, &Arc<V>, bool) + Send + Sync + 'static,
) {
    informer.add_handler(move |event| match event {
        Event::Added(new) => react(None, new, false),
        Event::Modified { old, new } => react(Some(old), new, false),
        Event::Deleted(last) => react(None, last, true),
    });
}
