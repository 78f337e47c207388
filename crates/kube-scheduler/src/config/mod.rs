//! Flags and KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1) as one set of settings. As upstream: with a
//! file, flags that are settings of the file have no effect.

mod arguments;
mod file;
mod options;
mod profiles;

pub use file::KubeSchedulerConfiguration;
pub use options::{DEFAULT_PORT, Options, UNBUILT};
pub use profiles::ProfileSettings;

use std::time::Duration;

use client::leader::LeaderElectionOptions;
use component_base::config::ConfigError;
use component_base::serving::{AuthenticationOptions, AuthorizationOptions, SecureServingOptions};

use crate::queue::Times;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] ConfigError),
    /// The field's path, and why its value cannot be.
    #[error("{field}: {why}")]
    Setting { field: String, why: String },
}

impl Error {
    fn setting(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Setting { field: field.into(), why: why.into() }
    }
}

/// What the scheduler works by.
#[derive(Clone, Debug)]
pub struct Settings {
    pub profiles: Vec<ProfileSettings>,
    pub times: Times,
    pub leader_election: LeaderElectionOptions,
    pub serving: SecureServingOptions,
    pub authentication: AuthenticationOptions,
    pub authorization: AuthorizationOptions,
    /// Empty: the pod's own, or `--master`.
    pub kubeconfig: String,
}

impl Settings {
    pub fn from_options(options: &Options) -> Result<Self, Error> {
        let mut settings = Self {
            profiles: Vec::new(),
            times: Times {
                max_unschedulable: options.pod_max_in_unschedulable_pods_duration.0,
                ..Times::default()
            },
            leader_election: options.leader_election.clone(),
            serving: options.serving.clone(),
            authentication: options.authentication.clone(),
            authorization: options.authorization.clone(),
            kubeconfig: options.client.kubeconfig.clone(),
        };
        let file = match &options.config {
            Some(path) => {
                let file: KubeSchedulerConfiguration = component_base::config::load(
                    path,
                    &["kubescheduler.config.k8s.io/v1"],
                    "KubeSchedulerConfiguration",
                )?;
                file.leader_election.apply(&mut settings.leader_election);
                settings.kubeconfig.clone_from(&file.client_connection.kubeconfig);
                file
            }
            None => KubeSchedulerConfiguration::default(),
        };
        settings.apply(&file)?;
        Ok(settings)
    }

    fn apply(&mut self, file: &KubeSchedulerConfiguration) -> Result<(), Error> {
        if file.extenders.as_ref().is_some_and(|e| !e.is_empty()) {
            return Err(Error::setting("extenders", "extenders are not built yet"));
        }
        if file.parallelism.is_some_and(|n| n <= 0) {
            return Err(Error::setting("parallelism", "should be an integer value greater than zero"));
        }
        let seconds = |field: &str, value: Option<i64>, default: Duration| match value.map(u64::try_from) {
            None => Ok(default),
            Some(Ok(n)) if n > 0 => Ok(Duration::from_secs(n)),
            Some(_) => Err(Error::setting(field, "must be greater than 0")),
        };
        self.times.initial_backoff = seconds(
            "podInitialBackoffSeconds",
            file.pod_initial_backoff_seconds,
            self.times.initial_backoff,
        )?;
        self.times.max_backoff =
            seconds("podMaxBackoffSeconds", file.pod_max_backoff_seconds, self.times.max_backoff)?;
        if self.times.max_backoff < self.times.initial_backoff {
            return Err(Error::setting(
                "podMaxBackoffSeconds",
                "must be greater than or equal to PodInitialBackoffSeconds",
            ));
        }
        self.profiles = profiles::settings(file)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
