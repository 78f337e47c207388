//! Leader election by a Lease (coordination.k8s.io/v1): one of several instances holds it and renews it; another
//! takes it once it was not renewed for its duration, counted on the observer's own clock.

#[cfg(test)]
mod tests;

use std::time::Duration;

use component_base::flags::GoDuration;
use component_base::metrics;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::error::{Error, Result};
use crate::meta::MicroTime;
use crate::resource::LEASES;

/// Upstream's `--leader-elect*` flags.
#[derive(Clone, Debug, clap::Args)]
pub struct LeaderElectionOptions {
    /// Run only while holding the lease.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub leader_elect: bool,
    #[arg(long, default_value = "15s")]
    pub leader_elect_lease_duration: GoDuration,
    #[arg(long, default_value = "10s")]
    pub leader_elect_renew_deadline: GoDuration,
    #[arg(long, default_value = "2s")]
    pub leader_elect_retry_period: GoDuration,
    /// Only leases can be a lock.
    #[arg(long, default_value = "leases")]
    pub leader_elect_resource_lock: String,
    #[arg(long, default_value = "")]
    pub leader_elect_resource_name: String,
    #[arg(long, default_value = "kube-system")]
    pub leader_elect_resource_namespace: String,
}

/// Which lease, by whom, and its times.
#[derive(Clone, Debug)]
pub struct LeaderElection {
    pub namespace: String,
    pub name: String,
    pub identity: String,
    pub lease_duration: Duration,
    pub renew_deadline: Duration,
    pub retry_period: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LeaseSpec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<i64>,
    acquire_time: Option<MicroTime>,
    renew_time: Option<MicroTime>,
    lease_transitions: Option<i64>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
struct Lease {
    metadata: Value,
    #[serde(default)]
    spec: LeaseSpec,
}

impl LeaderElection {
    /// From the flags; `name` is the component's, taken where the flag gives none. The identity is
    /// `hostname_uuid`.
    pub fn from_options(options: &LeaderElectionOptions, name: &str) -> Self {
        let lock = &options.leader_elect_resource_name;
        Self {
            namespace: options.leader_elect_resource_namespace.clone(),
            name: if lock.is_empty() { name.into() } else { lock.clone() },
            identity: format!("{}_{}", component_base::hostname(), uuid::Uuid::new_v4()),
            lease_duration: options.leader_elect_lease_duration.0,
            renew_deadline: options.leader_elect_renew_deadline.0,
            retry_period: options.leader_elect_retry_period.0,
        }
    }

    /// Waits for the lease, then runs `lead` with a token that is cancelled when the lease is lost or `shutdown`
    /// comes. Returns when `lead` has; a lease that is still held is released. False: the lease was lost.
    pub async fn run<F, R>(&self, api: &Api, shutdown: CancellationToken, lead: F) -> bool
    where
        F: FnOnce(CancellationToken) -> R,
        R: Future<Output = ()>,
    {
        let gauge = metrics::gauge(
            "leader_election_master_status",
            "1 while this process leads",
            &[("name", &self.name)],
        );
        let mut elector = Elector { election: self, api, observed: None };
        tokio::select! {
            () = shutdown.cancelled() => return true,
            () = elector.acquire() => {}
        }
        gauge.set(1.0);
        tracing::info!(lease = %self.name, identity = %self.identity, "became leader");
        let leading = shutdown.child_token();
        let work = lead(leading.clone());
        tokio::pin!(work);
        let kept = tokio::select! {
            () = &mut work => true,
            () = elector.renew() => false,
        };
        if !kept {
            tracing::error!(lease = %self.name, "leader election lost");
            leading.cancel();
            work.await;
        }
        gauge.set(0.0);
        if kept {
            elector.release().await;
        }
        kept
    }
}

struct Elector<'a> {
    election: &'a LeaderElection,
    api: &'a Api,
    /// The last lease seen, and when it was seen to change.
    observed: Option<(Lease, Instant)>,
}

impl Elector<'_> {
    async fn acquire(&mut self) {
        loop {
            match self.try_acquire_or_renew().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(e) => tracing::warn!(lease = %self.election.name, "taking the lease: {e}"),
            }
            // Jittered as upstream: between one and 2.2 periods.
            tokio::time::sleep(self.election.retry_period.mul_f64(rand::random_range(1.0..2.2))).await;
        }
    }

    /// Renews until it fails for the whole deadline.
    async fn renew(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.election.retry_period).await;
            let left = self.election.renew_deadline.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.try_acquire_or_renew()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => {}
                Ok(Err(e)) => tracing::warn!(lease = %self.election.name, "renewing the lease: {e}"),
                Err(_) => return,
            }
            if renewed.elapsed() >= self.election.renew_deadline {
                return;
            }
        }
    }

    async fn try_acquire_or_renew(&mut self) -> Result<bool> {
        let election = self.election;
        // While it is ours, update what was seen last, without a read.
        if let Some((lease, _)) = &self.observed
            && lease.spec.holder_identity.as_deref() == Some(&election.identity)
        {
            match self.put(self.next(Some(lease))).await {
                Ok(()) => return Ok(true),
                Err(e) => tracing::debug!("reading the lease again: {e}"),
            }
        }
        let lease: Lease = match self.api.get(&LEASES, &election.namespace, &election.name).await {
            Ok(lease) => lease,
            Err(e) if e.is_not_found() => return self.create().await.map(|()| true),
            Err(e) => return Err(e),
        };
        if self.observed.as_ref().is_none_or(|(known, _)| known.spec != lease.spec) {
            self.observed = Some((lease.clone(), Instant::now()));
        }
        let holder = lease.spec.holder_identity.as_deref().unwrap_or_default();
        let seen = self.observed.as_ref().map_or_else(Instant::now, |(_, at)| *at);
        let duration = lease.spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
        let duration = duration.map_or(election.lease_duration, Duration::from_secs);
        if !holder.is_empty() && holder != election.identity && seen.elapsed() < duration {
            return Ok(false);
        }
        self.put(self.next(Some(&lease))).await.map(|()| true)
    }

    /// The lease as it is to be written.
    fn next(&self, present: Option<&Lease>) -> Lease {
        let election = self.election;
        let now = MicroTime::now();
        let mut lease = present.cloned().unwrap_or_else(|| Lease {
            metadata: json!({"name": election.name, "namespace": election.namespace}),
            spec: LeaseSpec::default(),
        });
        let spec = &mut lease.spec;
        if spec.holder_identity.as_deref() != Some(&election.identity) {
            spec.acquire_time = Some(now);
            spec.lease_transitions =
                Some(if present.is_some() { spec.lease_transitions.unwrap_or(0) + 1 } else { 0 });
            spec.holder_identity = Some(election.identity.clone());
        }
        spec.renew_time = Some(now);
        spec.lease_duration_seconds = i64::try_from(election.lease_duration.as_secs()).ok();
        lease
    }

    async fn create(&mut self) -> Result<()> {
        let lease = self.next(None);
        let created = self.api.create(&LEASES, &self.election.namespace, &body(&lease)?).await?;
        self.observed = Some((created, Instant::now()));
        Ok(())
    }

    async fn put(&mut self, lease: Lease) -> Result<()> {
        let election = self.election;
        let written =
            self.api.update(&LEASES, &election.namespace, &election.name, "", &body(&lease)?).await?;
        self.observed = Some((written, Instant::now()));
        Ok(())
    }

    /// Lets the next one take the lease at once.
    async fn release(&mut self) {
        let Some((lease, _)) = &self.observed else { return };
        if lease.spec.holder_identity.as_deref() != Some(&self.election.identity) {
            return;
        }
        let mut lease = lease.clone();
        let now = MicroTime::now();
        lease.spec.holder_identity = Some(String::new());
        lease.spec.lease_duration_seconds = Some(1);
        (lease.spec.renew_time, lease.spec.acquire_time) = (Some(now), Some(now));
        let put = tokio::time::timeout(self.election.renew_deadline, self.put(lease)).await;
        if !matches!(put, Ok(Ok(()))) {
            tracing::debug!(lease = %self.election.name, "the lease could not be released");
        }
    }
}

fn body(lease: &Lease) -> Result<Value> {
    let spec =
        serde_json::to_value(&lease.spec).map_err(|source| Error::Json { what: "a lease".into(), source })?;
    Ok(
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": lease.metadata, "spec": spec}),
    )
}
