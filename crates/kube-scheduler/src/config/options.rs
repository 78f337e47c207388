//! Upstream's flags of the scheduler.

use std::path::PathBuf;

use client::leader::LeaderElectionOptions;
use component_base::FeatureGates;
use component_base::flags::{
    ClientOptions, FlagError, GoDuration, LoggingOptions, Parsed, UnbuiltFlag, parse,
};
use component_base::serving::{AuthenticationOptions, AuthorizationOptions, SecureServingOptions};

/// The port of the HTTPS server.
pub const DEFAULT_PORT: u16 = 10259;

/// Chooses nodes for pods
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "kube-scheduler", disable_version_flag = true)]
pub struct Options {
    /// A file with a KubeSchedulerConfiguration.
    #[arg(long)]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub client: ClientOptions,
    #[command(flatten)]
    pub logging: LoggingOptions,
    #[command(flatten)]
    pub serving: SecureServingOptions,
    #[command(flatten)]
    pub authentication: AuthenticationOptions,
    #[command(flatten)]
    pub authorization: AuthorizationOptions,
    #[command(flatten)]
    pub leader_election: LeaderElectionOptions,
    #[arg(long, default_value = "")]
    pub feature_gates: FeatureGates,
    /// A pod that was rejected is tried again after so long, whatever happened.
    #[arg(long, default_value = "5m")]
    pub pod_max_in_unschedulable_pods_duration: GoDuration,
}

/// Upstream's flags that are not built.
pub const UNBUILT: &[UnbuiltFlag] = &[
    UnbuiltFlag::refuse("write-config-to"),
    UnbuiltFlag::warn_bool("profiling"),
    UnbuiltFlag::warn_bool("contention-profiling"),
    UnbuiltFlag::warn("emulated-version"),
    UnbuiltFlag::warn_bool("emulation-forward-compatible"),
    UnbuiltFlag::warn("min-compatibility-version"),
    UnbuiltFlag::warn("show-hidden-metrics-for-version"),
    UnbuiltFlag::warn("disabled-metrics"),
    UnbuiltFlag::warn("allow-metric-labels"),
    UnbuiltFlag::warn("allow-metric-labels-manifest"),
    UnbuiltFlag::warn("log-json-info-buffer-size"),
    UnbuiltFlag::warn_bool("log-json-split-stream"),
    UnbuiltFlag::warn("log-text-info-buffer-size"),
    UnbuiltFlag::warn_bool("log-text-split-stream"),
    UnbuiltFlag::warn("tls-sni-cert-key"),
    UnbuiltFlag::warn("tls-curve-preferences"),
    UnbuiltFlag::warn_bool("disable-http2-serving"),
];

impl Options {
    /// From a command line that begins with the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Parsed<Self>, FlagError> {
        parse(arguments, UNBUILT)
    }
}
