//! Upstream's flags of the controller manager, as far as they have a meaning here, and those that do not yet.

use client::leader::LeaderElectionOptions;
use component_base::FeatureGates;
use component_base::flags::{ClientOptions, GoDuration, LoggingOptions, UnbuiltFlag};
use component_base::serving::{AuthenticationOptions, AuthorizationOptions, SecureServingOptions};

/// The port of the HTTPS server.
pub const DEFAULT_PORT: u16 = 10257;

/// `kube-controller-manager`'s command line.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "kube-controller-manager", disable_version_flag = true)]
pub struct Options {
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
    #[command(flatten)]
    pub concurrency: Concurrency,
    #[command(flatten)]
    pub certificates: Certificates,
    #[command(flatten)]
    pub nodes: Nodes,
    #[command(flatten)]
    pub autoscaling: Autoscaling,

    #[arg(long, default_value = "")]
    pub feature_gates: FeatureGates,
    /// `*`, `foo`, `-foo`: all that are on by default, foo, not foo.
    #[arg(long, value_delimiter = ',', default_value = "*", allow_hyphen_values = true)]
    pub controllers: Vec<String>,
    /// Each controller acts as its own service account.
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub use_service_account_credentials: bool,
    /// Authorities that kube-root-ca.crt publishes in every namespace.
    #[arg(long, default_value = "")]
    pub root_ca_file: String,
    #[arg(long, default_value = "")]
    pub service_account_private_key_file: String,
    #[arg(long, default_value = "kubernetes")]
    pub cluster_name: String,
    #[arg(long, default_value_t = 12500)]
    pub terminated_pod_gc_threshold: i32,
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub enable_garbage_collector: bool,
    #[arg(long, default_value_t = 100)]
    pub max_endpoints_per_slice: usize,
    #[arg(long, default_value_t = 1000)]
    pub mirroring_max_endpoints_per_subset: usize,
    #[arg(long, default_value = "5m")]
    pub namespace_sync_period: GoDuration,
    #[arg(long, default_value = "5m")]
    pub resource_quota_sync_period: GoDuration,
    #[arg(long, default_value = "12h")]
    pub min_resync_period: GoDuration,
    #[arg(long, default_value = "0s")]
    pub controller_start_interval: GoDuration,
}

/// How many keys of a kind are worked on at a time.
#[derive(Clone, Debug, clap::Args)]
pub struct Concurrency {
    #[arg(long, default_value_t = 5)]
    pub concurrent_deployment_syncs: usize,
    #[arg(long, default_value_t = 5)]
    pub concurrent_replicaset_syncs: usize,
    #[arg(long, default_value_t = 5)]
    pub concurrent_rc_syncs: usize,
    #[arg(long, default_value_t = 2)]
    pub concurrent_daemonset_syncs: usize,
    #[arg(long, default_value_t = 5)]
    pub concurrent_endpoint_syncs: usize,
    #[arg(long, default_value_t = 5)]
    pub concurrent_service_endpoint_syncs: usize,
    #[arg(long, default_value_t = 5)]
    pub mirroring_concurrent_service_endpoint_syncs: usize,
    #[arg(long, default_value_t = 10)]
    pub concurrent_namespace_syncs: usize,
    #[arg(long, default_value_t = 20)]
    pub concurrent_gc_syncs: usize,
    #[arg(long, default_value_t = 5)]
    pub concurrent_serviceaccount_token_syncs: usize,
    #[arg(long, default_value_t = 5)]
    pub concurrent_job_syncs: usize,
    #[arg(long, default_value_t = 5)]
    pub concurrent_cron_job_syncs: usize,
    #[arg(long, default_value_t = 5)]
    pub concurrent_horizontal_pod_autoscaler_syncs: usize,
    #[arg(long, default_value_t = 5)]
    pub concurrent_statefulset_syncs: usize,
    #[arg(long, default_value_t = 5)]
    pub concurrent_resource_quota_syncs: usize,
    #[arg(long, default_value_t = 5)]
    pub concurrent_ttl_after_finished_syncs: usize,
}

/// Signing of certificates.
#[derive(Clone, Debug, clap::Args)]
pub struct Certificates {
    #[arg(long, default_value = "")]
    pub cluster_signing_cert_file: String,
    #[arg(long, default_value = "")]
    pub cluster_signing_key_file: String,
    #[arg(long, default_value = "8760h")]
    pub cluster_signing_duration: GoDuration,
}

/// Nodes: their address ranges and their end.
#[derive(Clone, Debug, clap::Args)]
pub struct Nodes {
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub allocate_node_cidrs: bool,
    #[arg(long, default_value = "")]
    pub cluster_cidr: String,
    #[arg(long, default_value = "")]
    pub service_cluster_ip_range: String,
    /// 0: 24 for IPv4.
    #[arg(long, default_value_t = 0)]
    pub node_cidr_mask_size: u8,
    #[arg(long, default_value_t = 0)]
    pub node_cidr_mask_size_ipv4: u8,
    #[arg(long, default_value_t = 0)]
    pub node_cidr_mask_size_ipv6: u8,
    #[arg(long, default_value = "RangeAllocator")]
    pub cidr_allocator_type: String,
    /// A node is Unknown when it has not been heard of for so long.
    #[arg(long, default_value = "50s")]
    pub node_monitor_grace_period: GoDuration,
    #[arg(long, default_value = "5s")]
    pub node_monitor_period: GoDuration,
    #[arg(long, default_value = "1m")]
    pub node_startup_grace_period: GoDuration,
    /// Nodes a second whose pods may be evicted.
    #[arg(long, default_value_t = 0.1)]
    pub node_eviction_rate: f32,
    #[arg(long, default_value_t = 0.01)]
    pub secondary_node_eviction_rate: f32,
    #[arg(long, default_value_t = 0.55)]
    pub unhealthy_zone_threshold: f32,
    #[arg(long, default_value_t = 50)]
    pub large_cluster_size_threshold: i32,
}

/// How the horizontal pod autoscaler looks at metrics.
#[derive(Clone, Debug, clap::Args)]
pub struct Autoscaling {
    #[arg(long, default_value = "15s")]
    pub horizontal_pod_autoscaler_sync_period: GoDuration,
    /// How long recommendations hold back a scaling down.
    #[arg(long, default_value = "5m")]
    pub horizontal_pod_autoscaler_downscale_stabilization: GoDuration,
    /// By which share use may differ from its target.
    #[arg(long, default_value_t = 0.1)]
    pub horizontal_pod_autoscaler_tolerance: f64,
    /// After its start a pod's processor time counts only while it is ready.
    #[arg(long, default_value = "5m")]
    pub horizontal_pod_autoscaler_cpu_initialization_period: GoDuration,
    /// A pod that has been unready only within this after its start never was ready.
    #[arg(long, default_value = "30s")]
    pub horizontal_pod_autoscaler_initial_readiness_delay: GoDuration,
}

/// Upstream's flags that are not built.
pub const UNBUILT: &[UnbuiltFlag] = &[
    UnbuiltFlag::refuse("cloud-config"),
    UnbuiltFlag::warn("flex-volume-plugin-dir"),
    UnbuiltFlag::warn("volume-host-cidr-denylist"),
    UnbuiltFlag::warn_bool("volume-host-allow-local-loopback"),
    UnbuiltFlag::warn_bool("allocate-node-cidrs-legacy"),
    UnbuiltFlag::warn_bool("attach-detach-reconcile-sync-disable"),
    UnbuiltFlag::warn_bool("disable-attach-detach-reconcile-sync"),
    UnbuiltFlag::warn_bool("disable-force-detach-on-timeout"),
    UnbuiltFlag::warn("attach-detach-reconcile-sync-period"),
    UnbuiltFlag::warn("concurrent-ephemeralvolume-syncs"),
    UnbuiltFlag::warn("concurrent-resource-claim-syncs"),
    UnbuiltFlag::warn("concurrent-service-syncs"),
    UnbuiltFlag::warn("concurrent-validating-admission-policy-status-syncs"),
    UnbuiltFlag::warn_bool("configure-cloud-routes"),
    UnbuiltFlag::warn_bool("contention-profiling"),
    UnbuiltFlag::warn_bool("profiling"),
    UnbuiltFlag::warn("emulated-version"),
    UnbuiltFlag::warn_bool("emulation-forward-compatible"),
    UnbuiltFlag::warn_bool("enable-dynamic-provisioning"),
    UnbuiltFlag::warn_bool("enable-hostpath-provisioner"),
    UnbuiltFlag::warn_bool("enable-leader-migration"),
    UnbuiltFlag::warn("leader-migration-config"),
    UnbuiltFlag::warn("endpoint-updates-batch-period"),
    UnbuiltFlag::warn("endpointslice-updates-batch-period"),
    UnbuiltFlag::warn("mirroring-endpointslice-updates-batch-period"),
    UnbuiltFlag::warn("external-cloud-volume-plugin"),
    UnbuiltFlag::warn("cloud-provider"),
    UnbuiltFlag::warn("legacy-service-account-token-clean-up-period"),
    UnbuiltFlag::warn("log-json-info-buffer-size"),
    UnbuiltFlag::warn_bool("log-json-split-stream"),
    UnbuiltFlag::warn("pv-recycler-increment-timeout-nfs"),
    UnbuiltFlag::warn("pv-recycler-minimum-timeout-hostpath"),
    UnbuiltFlag::warn("pv-recycler-minimum-timeout-nfs"),
    UnbuiltFlag::warn("pv-recycler-pod-template-filepath-hostpath"),
    UnbuiltFlag::warn("pv-recycler-pod-template-filepath-nfs"),
    UnbuiltFlag::warn("pv-recycler-timeout-increment-hostpath"),
    UnbuiltFlag::warn("pvclaimbinder-sync-period"),
    UnbuiltFlag::warn("route-reconciliation-period"),
    UnbuiltFlag::warn("show-hidden-metrics-for-version"),
    UnbuiltFlag::warn("disabled-metrics"),
    UnbuiltFlag::warn("allow-metric-labels"),
    UnbuiltFlag::warn("allow-metric-labels-manifest"),
    UnbuiltFlag::warn("tls-sni-cert-key"),
    UnbuiltFlag::refuse("cluster-signing-kubelet-client-cert-file"),
    UnbuiltFlag::refuse("cluster-signing-kubelet-client-key-file"),
    UnbuiltFlag::refuse("cluster-signing-kubelet-serving-cert-file"),
    UnbuiltFlag::refuse("cluster-signing-kubelet-serving-key-file"),
    UnbuiltFlag::refuse("cluster-signing-kube-apiserver-client-cert-file"),
    UnbuiltFlag::refuse("cluster-signing-kube-apiserver-client-key-file"),
    UnbuiltFlag::refuse("cluster-signing-legacy-unknown-cert-file"),
    UnbuiltFlag::refuse("cluster-signing-legacy-unknown-key-file"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_command_line() {
        let args = "kcm --kubeconfig=a.conf --authentication-kubeconfig=a.conf --authorization-kubeconfig=a.conf \
            --bind-address=127.0.0.1 --leader-elect=true --allocate-node-cidrs=true --cluster-cidr=10.244.0.0/16 \
            --service-cluster-ip-range=10.96.0.0/12 --cluster-name=testbed --client-ca-file=ca --root-ca-file=ca \
            --requestheader-client-ca-file=f --cluster-signing-cert-file=c --cluster-signing-key-file=k \
            --service-account-private-key-file=s --flex-volume-plugin-dir=x --use-service-account-credentials=true \
            --controllers=*,bootstrapsigner,-tokencleaner";
        let parsed = component_base::flags::parse::<Options>(
            args.split(' ').filter(|a| !a.is_empty()).map(Into::into),
            UNBUILT,
        )
        .unwrap();
        assert_eq!(parsed.ignored, ["flex-volume-plugin-dir"]);
        assert_eq!(parsed.options.controllers, ["*", "bootstrapsigner", "-tokencleaner"]);
        assert!(parsed.options.use_service_account_credentials && parsed.options.nodes.allocate_node_cidrs);
    }
}
