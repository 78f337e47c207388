//! The command line: upstream's flags of kube-apiserver. What is not built is named in [`unbuilt::FLAGS`].
//!
//! Keelson's own: `--data-dir`, the folder of the embedded store, instead of `--etcd-servers`
//! (`--etcd-servers=embedded:///folder` says the same).

mod unbuilt;

use std::ffi::OsString;
use std::net::IpAddr;

use clap::{ArgAction, Args, Parser};
use component_base::flags::{FlagError, LoggingOptions, Pairs, Parsed};
use component_base::{FeatureGates, GoDuration};

/// All of kube-apiserver's command line.
#[derive(Clone, Debug, Parser)]
#[command(name = "kube-apiserver", version = component_base::KUBERNETES_VERSION, about = "The API server of Kubernetes")]
pub struct Options {
    #[command(flatten)]
    pub serving: Serving,
    #[command(flatten)]
    pub store: Store,
    #[command(flatten)]
    pub authentication: Authentication,
    #[command(flatten)]
    pub authorization: Authorization,
    #[command(flatten)]
    pub audit: Audit,
    #[command(flatten)]
    pub features: Features,
    #[command(flatten)]
    pub services: Services,
    #[command(flatten)]
    pub kubelet: Kubelet,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub logging: LoggingOptions,
}

impl Options {
    /// `args` begins with the program's name. Flags that upstream has and that are not built come back by name.
    pub fn parse_from_args(args: impl IntoIterator<Item = OsString>) -> Result<Parsed<Self>, FlagError> {
        component_base::flags::parse(args, unbuilt::FLAGS)
    }

    /// The defaults of every flag.
    pub fn defaults() -> Self {
        Self::parse_from(["kube-apiserver"])
    }
}

#[derive(Clone, Debug, Args)]
pub struct Serving {
    #[arg(long, default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    #[arg(long, default_value_t = 6443)]
    pub secure_port: u16,
    /// What clients in the cluster reach this server at; without it the address of the default route.
    #[arg(long)]
    pub advertise_address: Option<IpAddr>,
    /// Where a certificate is made and kept if none is given.
    #[arg(long, default_value = "/var/run/kubernetes")]
    pub cert_dir: String,
    #[arg(long, default_value = "")]
    pub tls_cert_file: String,
    #[arg(long, default_value = "")]
    pub tls_private_key_file: String,
    /// VersionTLS12 or VersionTLS13.
    #[arg(long, default_value = "VersionTLS12")]
    pub tls_min_version: String,
    #[arg(long, default_value = "")]
    pub external_hostname: String,
    #[arg(long, default_value = "0s")]
    pub shutdown_delay_duration: GoDuration,
}

#[derive(Clone, Debug, Args)]
pub struct Store {
    /// Members of an etcd cluster, or `embedded:///folder`.
    #[arg(long, value_delimiter = ',')]
    pub etcd_servers: Vec<String>,
    /// The folder of the embedded store (Keelson's own flag).
    #[arg(long, default_value = "")]
    pub data_dir: String,
    #[arg(long, default_value = "/registry")]
    pub etcd_prefix: String,
    #[arg(long, default_value = "")]
    pub etcd_cafile: String,
    #[arg(long, default_value = "")]
    pub etcd_certfile: String,
    #[arg(long, default_value = "")]
    pub etcd_keyfile: String,
    /// 0: no compaction by this server.
    #[arg(long, default_value = "5m0s")]
    pub etcd_compaction_interval: GoDuration,
    #[arg(long, default_value = "2s")]
    pub etcd_healthcheck_timeout: GoDuration,
    #[arg(long, default_value = "1h0m0s")]
    pub event_ttl: GoDuration,
    #[arg(long, default_value = "application/vnd.kubernetes.protobuf")]
    pub storage_media_type: String,
}

#[derive(Clone, Debug, Args)]
pub struct Authentication {
    #[arg(long, default_value = "")]
    pub client_ca_file: String,
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub anonymous_auth: bool,
    #[arg(long, default_value = "")]
    pub token_auth_file: String,
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub enable_bootstrap_token_auth: bool,
    #[arg(long, value_delimiter = ',')]
    pub api_audiences: Vec<String>,
    #[arg(long, default_value = "")]
    pub requestheader_client_ca_file: String,
    #[arg(long, value_delimiter = ',')]
    pub requestheader_allowed_names: Vec<String>,
    #[arg(long, value_delimiter = ',')]
    pub requestheader_username_headers: Vec<String>,
    #[arg(long, value_delimiter = ',')]
    pub requestheader_uid_headers: Vec<String>,
    #[arg(long, value_delimiter = ',')]
    pub requestheader_group_headers: Vec<String>,
    #[arg(long, value_delimiter = ',')]
    pub requestheader_extra_headers_prefix: Vec<String>,
    /// The first one signs, all are accepted.
    #[arg(long, action = ArgAction::Append)]
    pub service_account_issuer: Vec<String>,
    #[arg(long, action = ArgAction::Append)]
    pub service_account_key_file: Vec<String>,
    #[arg(long, default_value = "")]
    pub service_account_signing_key_file: String,
    #[arg(long, default_value = "")]
    pub service_account_jwks_uri: String,
    #[arg(long, default_value = "0s")]
    pub service_account_max_token_expiration: GoDuration,
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub service_account_extend_token_expiration: bool,
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub service_account_lookup: bool,
}

#[derive(Clone, Debug, Args)]
pub struct Authorization {
    #[arg(long, value_delimiter = ',')]
    pub authorization_mode: Vec<String>,
    #[arg(long, value_delimiter = ',')]
    pub enable_admission_plugins: Vec<String>,
    #[arg(long, value_delimiter = ',')]
    pub disable_admission_plugins: Vec<String>,
    #[arg(long, default_value_t = 300)]
    pub default_not_ready_toleration_seconds: i64,
    #[arg(long, default_value_t = 300)]
    pub default_unreachable_toleration_seconds: i64,
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub allow_privileged: bool,
}

#[derive(Clone, Debug, Args)]
pub struct Audit {
    /// Without it nothing is written of requests.
    #[arg(long, default_value = "")]
    pub audit_policy_file: String,
    /// `-` is the standard output.
    #[arg(long, default_value = "")]
    pub audit_log_path: String,
    /// `json`.
    #[arg(long, default_value = "json")]
    pub audit_log_format: String,
    /// `batch`, `blocking` or `blocking-strict`.
    #[arg(long, default_value = "blocking")]
    pub audit_log_mode: String,
    #[arg(long, default_value = "audit.k8s.io/v1")]
    pub audit_log_version: String,
    /// Megabytes; 0: no limit.
    #[arg(long, default_value_t = 100)]
    pub audit_log_maxsize: u32,
    /// Old logs; 0: no limit.
    #[arg(long, default_value_t = 0)]
    pub audit_log_maxbackup: u32,
    /// Days; 0: no limit.
    #[arg(long, default_value_t = 0)]
    pub audit_log_maxage: u32,
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub audit_log_compress: bool,
}

#[derive(Clone, Debug, Args)]
pub struct Features {
    #[arg(long, default_value = "")]
    pub runtime_config: Pairs,
    #[arg(long, default_value = "")]
    pub feature_gates: FeatureGates,
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub profiling: bool,
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub enable_aggregator_routing: bool,
    #[arg(long, default_value = "")]
    pub proxy_client_cert_file: String,
    #[arg(long, default_value = "")]
    pub proxy_client_key_file: String,
}

#[derive(Clone, Debug, Args)]
pub struct Services {
    /// One network, or one of each family by a comma.
    #[arg(long, default_value = "10.0.0.0/24")]
    pub service_cluster_ip_range: String,
    #[arg(long, default_value = "30000-32767")]
    pub service_node_port_range: String,
    #[arg(long, default_value_t = 0)]
    pub kubernetes_service_node_port: u16,
    /// `lease` or `none`.
    #[arg(long, default_value = "lease")]
    pub endpoint_reconciler_type: String,
}

#[derive(Clone, Debug, Args)]
pub struct Kubelet {
    #[arg(long, default_value = "")]
    pub kubelet_client_certificate: String,
    #[arg(long, default_value = "")]
    pub kubelet_client_key: String,
    #[arg(long, default_value = "")]
    pub kubelet_certificate_authority: String,
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP"
    )]
    pub kubelet_preferred_address_types: Vec<String>,
    #[arg(long, default_value = "5s")]
    pub kubelet_timeout: GoDuration,
}

#[derive(Clone, Debug, Args)]
pub struct Limits {
    #[arg(long, default_value = "1m0s")]
    pub request_timeout: GoDuration,
    /// Seconds.
    #[arg(long, default_value_t = 1800)]
    pub min_request_timeout: u64,
    #[arg(long, default_value_t = 400)]
    pub max_requests_inflight: usize,
    #[arg(long, default_value_t = 200)]
    pub max_mutating_requests_inflight: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Parsed<Options>, FlagError> {
        Options::parse_from_args(
            std::iter::once("kube-apiserver").chain(args.iter().copied()).map(OsString::from),
        )
    }

    #[test]
    fn the_flags_of_a_usual_start() {
        let parsed = parse(&[
            "--service-account-key-file=sa.key",
            "--service-account-signing-key-file=sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--bind-address=127.0.0.1",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged",
            "--enable-bootstrap-token-auth",
            "--etcd-compaction-interval=20s",
            "--runtime-config=api/all=true",
            "--feature-gates=AllAlpha=true,AllBeta=true",
            "--audit-log-batch-max-size=3",
        ])
        .unwrap();
        let o = parsed.options;
        assert_eq!(o.authorization.authorization_mode, ["Node", "RBAC"]);
        assert!(o.authorization.allow_privileged && o.authentication.enable_bootstrap_token_auth);
        assert_eq!(o.features.runtime_config.0, [("api/all".to_owned(), "true".to_owned())]);
        assert_eq!(parsed.ignored, ["audit-log-batch-max-size"]);
    }

    #[test]
    fn unknown_and_unsafe_flags_are_errors() {
        assert!(matches!(parse(&["--no-such-flag"]), Err(FlagError::Parse(_))));
        assert!(matches!(parse(&["--encryption-provider-config=f"]), Err(FlagError::NotBuilt(_))));
        assert!(matches!(parse(&["--audit-webhook-config-file=f"]), Err(FlagError::NotBuilt(_))));
    }
}
