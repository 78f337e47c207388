//! `KubeletConfiguration` (`kubelet.config.k8s.io/v1beta1`): strict reading, defaults, validation.
//!
//! Every field that upstream has is known here, so that a file of a Go kubelet is read. Fields whose feature
//! is not built are listed by [`KubeletConfiguration::unsupported`], so that the start can warn of them.

mod defaults;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use component_base::flags::GoDuration;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("read kubelet configuration {path}: {source}")]
    Read {
        /// Path of the file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no `KubeletConfiguration`.
    #[error("kubelet configuration {path}: {message}")]
    Parse {
        /// Path of the file.
        path: String,
        /// What is wrong, with the place.
        message: String,
    },
    /// A value is not allowed, or names a feature that is not built.
    #[error("invalid configuration: {0}")]
    Invalid(String),
}

/// How requests to the kubelet's server are authenticated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Authentication {
    /// Client certificates.
    pub x509: X509,
    /// Bearer tokens by TokenReview.
    pub webhook: WebhookAuthentication,
    /// Whether requests without credentials are `system:anonymous`.
    pub anonymous: Anonymous,
}

/// Client certificate authentication.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct X509 {
    /// File of the certificate authority; empty: no certificates are accepted.
    #[serde(rename = "clientCAFile", skip_serializing_if = "String::is_empty")]
    pub client_ca_file: String,
}

/// Token authentication.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WebhookAuthentication {
    /// Default true.
    pub enabled: Option<bool>,
    /// How long an answer is kept; default 2m.
    #[serde(rename = "cacheTTL")]
    pub cache_ttl: Option<GoDuration>,
}

/// Anonymous requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Anonymous {
    /// Default false.
    pub enabled: Option<bool>,
}

/// How requests to the kubelet's server are authorized.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Authorization {
    /// `Webhook` (the default) or `AlwaysAllow`.
    pub mode: String,
    /// Times of the webhook.
    pub webhook: WebhookAuthorization,
}

/// How long authorization answers are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WebhookAuthorization {
    /// Default 5m.
    #[serde(rename = "cacheAuthorizedTTL")]
    pub cache_authorized_ttl: Option<GoDuration>,
    /// Default 30s.
    #[serde(rename = "cacheUnauthorizedTTL")]
    pub cache_unauthorized_ttl: Option<GoDuration>,
}

/// Longest back-off of crashing containers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CrashLoopBackOff {
    /// Default 5m.
    pub max_container_restart_period: Option<GoDuration>,
}

/// Users of pods with `hostUsers: false`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct UserNamespaces {
    /// Default 65536, of which it is a multiple.
    pub ids_per_pod: Option<i64>,
}

macro_rules! configuration {
    ($( $(#[$attr:meta])* $name:ident: $kind:ty, )* ; later: $( $later:ident = $json:literal, )*) => {
        /// The kubelet's configuration, with defaults filled in by [`KubeletConfiguration::load`].
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
        pub struct KubeletConfiguration {
            pub api_version: String,
            pub kind: String,
            $( $(#[$attr])* pub $name: $kind, )*
            $( #[serde(rename = $json, skip_serializing_if = "Option::is_none")] pub $later: Option<Value>, )*
        }

        impl KubeletConfiguration {
            /// Fields that are set and read by nothing here, by upstream's names.
            #[must_use]
            pub fn unsupported(&self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $( if self.$later.is_some() { names.push($json); } )*
                names
            }
        }
    };
}

configuration! {
    enable_server: Option<bool>,
    static_pod_path: String,
    pod_logs_dir: String,
    sync_frequency: Option<GoDuration>,
    file_check_frequency: Option<GoDuration>,
    address: String,
    port: i32,
    tls_cert_file: String,
    tls_private_key_file: String,
    rotate_certificates: bool,
    #[serde(rename = "serverTLSBootstrap")]
    server_tls_bootstrap: bool,
    authentication: Authentication,
    authorization: Authorization,
    #[serde(rename = "registryPullQPS")]
    registry_pull_qps: Option<i32>,
    registry_burst: i32,
    #[serde(rename = "eventRecordQPS")]
    event_record_qps: Option<i32>,
    event_burst: i32,
    enable_debugging_handlers: Option<bool>,
    healthz_port: Option<i32>,
    healthz_bind_address: String,
    #[serde(rename = "oomScoreAdj")]
    oom_score_adj: Option<i32>,
    cluster_domain: String,
    #[serde(rename = "clusterDNS")]
    cluster_dns: Vec<String>,
    streaming_connection_idle_timeout: Option<GoDuration>,
    node_status_update_frequency: Option<GoDuration>,
    node_status_report_frequency: Option<GoDuration>,
    node_lease_duration_seconds: i32,
    #[serde(rename = "imageGCHighThresholdPercent")]
    image_gc_high_threshold_percent: Option<i32>,
    #[serde(rename = "imageGCLowThresholdPercent")]
    image_gc_low_threshold_percent: Option<i32>,
    cgroup_root: String,
    #[serde(rename = "cgroupsPerQOS")]
    cgroups_per_qos: Option<bool>,
    cgroup_driver: String,
    runtime_request_timeout: Option<GoDuration>,
    max_pods: i32,
    #[serde(rename = "podCIDR")]
    pod_cidr: String,
    pod_pids_limit: Option<i64>,
    #[serde(rename = "resolvConf")]
    resolver_config: Option<String>,
    #[serde(rename = "cpuCFSQuota")]
    cpu_cfs_quota: Option<bool>,
    #[serde(rename = "cpuCFSQuotaPeriod")]
    cpu_cfs_quota_period: Option<GoDuration>,
    node_status_max_images: Option<i32>,
    serialize_image_pulls: Option<bool>,
    max_parallel_image_pulls: Option<i32>,
    #[serde(rename = "imageMinimumGCAge")]
    image_minimum_gc_age: Option<GoDuration>,
    #[serde(rename = "imageMaximumGCAge")]
    image_maximum_gc_age: Option<GoDuration>,
    eviction_hard: Option<BTreeMap<String, String>>,
    eviction_soft: BTreeMap<String, String>,
    eviction_soft_grace_period: BTreeMap<String, GoDuration>,
    eviction_pressure_transition_period: Option<GoDuration>,
    eviction_max_pod_grace_period: i64,
    eviction_minimum_reclaim: BTreeMap<String, String>,
    merge_default_eviction_settings: Option<bool>,
    container_log_max_size: String,
    container_log_max_files: Option<i32>,
    container_log_max_workers: Option<i32>,
    container_log_monitor_interval: Option<GoDuration>,
    fail_swap_on: Option<bool>,
    system_reserved: BTreeMap<String, String>,
    kube_reserved: BTreeMap<String, String>,
    enforce_node_allocatable: Option<Vec<String>>,
    allowed_unsafe_sysctls: Vec<String>,
    volume_plugin_dir: String,
    #[serde(rename = "providerID")]
    provider_id: String,
    enable_controller_attach_detach: Option<bool>,
    enable_system_log_handler: Option<bool>,
    crash_loop_back_off: CrashLoopBackOff,
    user_namespaces: UserNamespaces,
    seccomp_default: Option<bool>,
    register_with_taints: Option<Vec<k8s_openapi::api::core::v1::Taint>>,
    register_node: Option<bool>,
    container_runtime_endpoint: String,
    image_service_endpoint: String,
    #[serde(rename = "failCgroupV1")]
    fail_cgroup_v1: Option<bool>,
    feature_gates: BTreeMap<String, bool>,
    ;
    later:
    http_check_frequency = "httpCheckFrequency",
    static_pod_url = "staticPodURL",
    static_pod_url_header = "staticPodURLHeader",
    read_only_port = "readOnlyPort",
    tls_cipher_suites = "tlsCipherSuites",
    tls_curve_preferences = "tlsCurvePreferences",
    tls_min_version = "tlsMinVersion",
    image_pull_credentials_verification_policy = "imagePullCredentialsVerificationPolicy",
    preloaded_images_verification_allowlist = "preloadedImagesVerificationAllowlist",
    enable_contention_profiling = "enableContentionProfiling",
    volume_stats_agg_period = "volumeStatsAggPeriod",
    kubelet_cgroups = "kubeletCgroups",
    system_cgroups = "systemCgroups",
    cpu_manager_policy = "cpuManagerPolicy",
    single_process_oom_kill = "singleProcessOOMKill",
    cpu_manager_policy_options = "cpuManagerPolicyOptions",
    cpu_manager_reconcile_period = "cpuManagerReconcilePeriod",
    memory_manager_policy = "memoryManagerPolicy",
    topology_manager_policy = "topologyManagerPolicy",
    topology_manager_scope = "topologyManagerScope",
    topology_manager_policy_options = "topologyManagerPolicyOptions",
    qos_reserved = "qosReserved",
    hairpin_mode = "hairpinMode",
    run_once = "runOnce",
    max_open_files = "maxOpenFiles",
    content_type = "contentType",
    kube_api_qps = "kubeAPIQPS",
    kube_api_burst = "kubeAPIBurst",
    pods_per_core = "podsPerCore",
    protect_kernel_defaults = "protectKernelDefaults",
    make_iptables_util_chains = "makeIPTablesUtilChains",
    iptables_masquerade_bit = "iptablesMasqueradeBit",
    iptables_drop_bit = "iptablesDropBit",
    memory_swap = "memorySwap",
    change_detection_strategy = "configMapAndSecretChangeDetectionStrategy",
    reserved_system_cpus = "reservedSystemCPUs",
    show_hidden_metrics_for_version = "showHiddenMetricsForVersion",
    system_reserved_cgroup = "systemReservedCgroup",
    kube_reserved_cgroup = "kubeReservedCgroup",
    default_pod_sysctls = "defaultPodSysctls",
    kernel_memcg_notification = "kernelMemcgNotification",
    logging = "logging",
    enable_system_log_query = "enableSystemLogQuery",
    shutdown_grace_period = "shutdownGracePeriod",
    shutdown_grace_period_critical_pods = "shutdownGracePeriodCriticalPods",
    shutdown_grace_period_by_pod_priority = "shutdownGracePeriodByPodPriority",
    reserved_memory = "reservedMemory",
    enable_profiling_handler = "enableProfilingHandler",
    enable_debug_flags_handler = "enableDebugFlagsHandler",
    memory_throttling_factor = "memoryThrottlingFactor",
    memory_reservation_policy = "memoryReservationPolicy",
    tracing = "tracing",
    local_storage_capacity_isolation = "localStorageCapacityIsolation",
}

impl KubeletConfiguration {
    /// Reads a file (YAML or JSON), refuses unknown fields, fills in defaults and validates.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn load(path: &str) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|message| ConfigError::Parse { path: path.to_owned(), message })
    }

    /// Reads a document, without defaults of other sources.
    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if config.api_version != "kubelet.config.k8s.io/v1beta1" || config.kind != "KubeletConfiguration" {
            return Err(format!(
                "no kind {:?} is registered for version {:?}",
                config.kind, config.api_version
            ));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

    #[test]
    fn reads_what_kubeadm_writes_and_fills_defaults() {
        let text = format!(
            "{HEAD}clusterDNS: [10.96.0.10]\ncgroupDriver: cgroupfs\nmaxPods: 20\nsyncFrequency: 0s\nstaticPodPath: /m\n\
             authentication:\n  x509:\n    clientCAFile: /ca.crt\nlogging:\n  verbosity: 2\n"
        );
        let config = KubeletConfiguration::parse(&text).unwrap().with_defaults();
        assert_eq!(config.cluster_dns, ["10.96.0.10"]);
        assert_eq!(config.max_pods, 20);
        assert_eq!(config.port, 10250);
        assert_eq!(config.authentication.x509.client_ca_file, "/ca.crt");
        assert_eq!(config.unsupported(), ["logging"]);
        config.validate().unwrap();
    }

    #[test]
    fn refuses_unknown_fields_and_kinds() {
        assert!(KubeletConfiguration::parse(&format!("{HEAD}maxPodz: 1\n")).is_err());
        assert!(KubeletConfiguration::parse("apiVersion: v1\nkind: Pod\n").is_err());
    }

    #[test]
    fn refuses_values_out_of_range() {
        for line in
            ["maxPods: -1", "cgroupDriver: systemd2", "healthzPort: 70000", "authorization: {mode: Maybe}"]
        {
            let config = KubeletConfiguration::parse(&format!("{HEAD}{line}\n")).unwrap().with_defaults();
            assert!(config.validate().is_err(), "{line}");
        }
    }
}
