//! kube-scheduler: chooses a node for each pod that has none, and binds it there.
//!
//! [`queue`] holds the pods that wait, [`cache`] the nodes and what is on them, [`framework`] the cycle that plugins
//! take part in, [`plugins`] these. [`scheduler::core`] joins them without any I/O; [`scheduler`] is the shell with
//! informers and requests. One task owns everything that a decision reads, so there are no locks and no snapshots;
//! equal pods share the verdicts on the nodes.
//!
//! Deliberately absent: plugins and extenders from outside the binary. Not built yet: see [`plugins`].

pub mod cache;
pub mod config;
pub mod framework;
pub mod listers;
pub mod plugins;
pub mod pod;
pub mod queue;
pub mod resources;
pub mod scheduler;
#[cfg(test)]
mod testing;
pub mod views;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use client::Api;
use client::leader::LeaderElection;
use component_base::health::Health;
use component_base::kubeconfig::{self, ClientError};
use component_base::serving::authn::AuthenticationError;
use component_base::serving::{Authentication, Authorization, ServingError, serve_component};
use tokio_util::sync::CancellationToken;

pub use config::{DEFAULT_PORT, Options, Settings, UNBUILT};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Serving(#[from] ServingError),
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    #[error("the leader's lease was lost")]
    LeaseLost,
}

/// Runs as the flags say until `shutdown`, or until the lease is lost. `client` speaks in the scheduler's name.
pub async fn run(options: Options, client: kube::Client, shutdown: CancellationToken) -> Result<(), Error> {
    run_settings(Settings::from_options(&options)?, client, shutdown).await
}

/// [`run`], where the caller had to read the settings for the client's kubeconfig.
pub async fn run_settings(
    settings: Settings,
    client: kube::Client,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let health = Health::new();
    let (leads, synced) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let ready = (leads.clone(), synced.clone());
    health.add_ready("informer-sync", move || {
        let waits = ready.0.load(Ordering::Relaxed) && !ready.1.load(Ordering::Relaxed);
        if waits { Err("the cache is not filled yet".into()) } else { Ok(()) }
    });
    let access = access(&settings, &client).await?;
    let server = serve_component(&settings.serving, DEFAULT_PORT, health, access, shutdown.clone()).await?;
    let api = Api::new(client, "kube-scheduler");
    let failed = Arc::new(parking_lot::Mutex::new(None));
    let lead = {
        let (api, failed, profiles, times) =
            (api.clone(), failed.clone(), settings.profiles.clone(), settings.times);
        move |leading: CancellationToken| async move {
            leads.store(true, Ordering::Relaxed);
            let done =
                scheduler::run(api, &profiles, times, leading, move || synced.store(true, Ordering::Relaxed))
                    .await;
            *failed.lock() = done.err();
        }
    };
    let kept = if settings.leader_election.leader_elect {
        LeaderElection::from_options(&settings.leader_election, "kube-scheduler")
            .run(&api, shutdown, lead)
            .await
    } else {
        lead(shutdown).await;
        true
    };
    server.abort();
    if let Some(error) = failed.lock().take() {
        return Err(error.into());
    }
    if kept { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Who may read metrics: decided by the API server, over the kubeconfigs that the flags give, else our own client.
async fn access(
    settings: &Settings,
    client: &kube::Client,
) -> Result<(Authentication, Authorization), Error> {
    let review = async |path: &str| {
        if path.is_empty() {
            return Ok::<_, ClientError>(Some(client.clone()));
        }
        kubeconfig::client(kubeconfig::config_from_file(path.as_ref()).await?).map(Some)
    };
    let authn = review(&settings.authentication.authentication_kubeconfig).await?;
    let authz = review(&settings.authorization.authorization_kubeconfig).await?;
    Ok((
        Authentication::from_options(&settings.authentication, authn).await?,
        Authorization::from_options(&settings.authorization, authz),
    ))
}
