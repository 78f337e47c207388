//! The command line: upstream's flags. A flag wins over the same field of the configuration file.

use clap::Parser;
use component_base::flags::{self, FlagError, Parsed, UnbuiltFlag};

use crate::config::{ConfigError, KubeletConfiguration};

/// Flags of upstream that have no effect yet; those that would weaken security if ignored are refused.
const UNBUILT: &[UnbuiltFlag] = &[
    UnbuiltFlag::warn("cloud-provider"),
    UnbuiltFlag::warn("cloud-config"),
    UnbuiltFlag::warn("housekeeping-interval"),
    UnbuiltFlag::warn("kube-api-qps"),
    UnbuiltFlag::warn("kube-api-burst"),
    UnbuiltFlag::warn("runonce"),
    UnbuiltFlag::warn_bool("logtostderr"),
    UnbuiltFlag::warn("logging-format"),
    UnbuiltFlag::warn("vmodule"),
    UnbuiltFlag::refuse("tls-min-version"),
    UnbuiltFlag::refuse("tls-cipher-suites"),
    UnbuiltFlag::refuse("image-credential-provider-config"),
    UnbuiltFlag::refuse("register-with-taints"),
];

/// Flags of the kubelet.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "kubelet", about = "The node agent: runs the pods of one node")]
pub struct Options {
    /// File with a KubeletConfiguration.
    #[arg(long, default_value = "")]
    pub config: String,
    /// File with the address and credentials of the API server; without it the kubelet runs static pods only.
    #[arg(long, default_value = "")]
    pub kubeconfig: String,
    /// File with the address of the API server and a token, by which the kubelet asks for its client certificate and
    /// writes --kubeconfig if that is not there.
    #[arg(long, default_value = "")]
    pub bootstrap_kubeconfig: String,
    /// Name of the node instead of the host's name.
    #[arg(long, default_value = "")]
    pub hostname_override: String,
    /// Address of the node (one, or one a family, separated by commas).
    #[arg(long, default_value = "")]
    pub node_ip: String,
    /// Labels for the node when it registers: key=value,...
    #[arg(long, default_value = "")]
    pub node_labels: String,
    /// Folder of the kubelet's state.
    #[arg(long, default_value = "/var/lib/kubelet")]
    pub root_dir: String,
    /// Folder for the serving certificate if none is given.
    #[arg(long, default_value = "/var/lib/kubelet/pki")]
    pub cert_dir: String,
    /// Socket of the container runtime.
    #[arg(long)]
    pub container_runtime_endpoint: Option<String>,
    /// Socket of the image service, if it is another one.
    #[arg(long)]
    pub image_service_endpoint: Option<String>,
    /// Folder of static pods' manifests.
    #[arg(long)]
    pub pod_manifest_path: Option<String>,
    /// Address to serve on.
    #[arg(long)]
    pub address: Option<String>,
    /// Port to serve on.
    #[arg(long)]
    pub port: Option<i32>,
    /// Port of the local health check.
    #[arg(long)]
    pub healthz_port: Option<i32>,
    /// Address of the local health check.
    #[arg(long)]
    pub healthz_bind_address: Option<String>,
    /// Serving certificate.
    #[arg(long)]
    pub tls_cert_file: Option<String>,
    /// Key of the serving certificate.
    #[arg(long)]
    pub tls_private_key_file: Option<String>,
    /// Certificate authority of clients.
    #[arg(long)]
    pub client_ca_file: Option<String>,
    /// Whether requests without credentials are allowed to authenticate as anonymous.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub anonymous_auth: Option<bool>,
    /// Webhook or AlwaysAllow.
    #[arg(long)]
    pub authorization_mode: Option<String>,
    /// Addresses of the cluster's DNS.
    #[arg(long, value_delimiter = ',')]
    pub cluster_dns: Option<Vec<String>>,
    /// Domain of the cluster.
    #[arg(long)]
    pub cluster_domain: Option<String>,
    /// Parent of all pods' cgroups.
    #[arg(long)]
    pub cgroup_root: Option<String>,
    /// cgroupfs or systemd.
    #[arg(long)]
    pub cgroup_driver: Option<String>,
    /// Largest number of pods.
    #[arg(long)]
    pub max_pods: Option<i32>,
    /// Resolver configuration of pods with the Default DNS policy.
    #[arg(long)]
    pub resolv_conf: Option<String>,
    /// Whether the node registers itself.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub register_node: Option<bool>,
    /// Refuse to start on a host with swap.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub fail_swap_on: Option<bool>,
    /// Accepted: the runtime's own configuration names the sandbox image.
    #[arg(long)]
    pub pod_infra_container_image: Option<String>,
    /// Percentage of the images' file system above which images that nobody uses are removed.
    #[arg(long)]
    pub image_gc_high_threshold: Option<i32>,
    /// Percentage down to which they are removed.
    #[arg(long)]
    pub image_gc_low_threshold: Option<i32>,
    /// Size at which a container's log is rotated.
    #[arg(long)]
    pub container_log_max_size: Option<String>,
    /// Number of log files of a container.
    #[arg(long)]
    pub container_log_max_files: Option<i32>,
    /// Dead containers that are kept on the node; below zero there is no limit.
    #[arg(long, allow_hyphen_values = true)]
    pub maximum_dead_containers: Option<i32>,
    /// Dead containers that are kept of each container of a pod (1 if not given).
    #[arg(long, allow_hyphen_values = true)]
    pub maximum_dead_containers_per_container: Option<i32>,
    /// Age that a dead container must have to be removed.
    #[arg(long)]
    pub minimum_container_ttl_duration: Option<flags::GoDuration>,
    /// Renew the client certificate before it ends.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub rotate_certificates: Option<bool>,
    /// Ask for the serving certificate, too, and renew it.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub rotate_server_certificates: Option<bool>,
    /// Verbosity of the log.
    #[arg(short = 'v', long = "v")]
    pub verbosity: Option<u8>,
}

macro_rules! overlay {
    ($options:ident => $config:ident: $($flag:ident -> $($field:ident).+),* $(,)?) => {
        $( if let Some(value) = $options.$flag.clone() { $config.$($field).+ = value; } )*
    };
    (option $options:ident => $config:ident: $($flag:ident -> $($field:ident).+),* $(,)?) => {
        $( if let Some(value) = $options.$flag.clone() { $config.$($field).+ = Some(value); } )*
    };
}

impl Options {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// If a flag is unknown, wrong, or names a feature that is not built and cannot be ignored.
    pub fn parse_flags(
        args: impl IntoIterator<Item = std::ffi::OsString>,
    ) -> Result<Parsed<Self>, FlagError> {
        flags::parse(args, UNBUILT)
    }

    /// The configuration: the file, overlaid by flags, with defaults.
    ///
    /// # Errors
    /// [`ConfigError`] if the file cannot be read or a value is refused.
    pub fn configuration(&self) -> Result<KubeletConfiguration, ConfigError> {
        let mut config = match self.config.as_str() {
            "" => KubeletConfiguration::default(),
            path => KubeletConfiguration::load(path)?,
        };
        overlay!(self => config:
            container_runtime_endpoint -> container_runtime_endpoint,
            image_service_endpoint -> image_service_endpoint,
            pod_manifest_path -> static_pod_path,
            address -> address, port -> port,
            healthz_bind_address -> healthz_bind_address,
            tls_cert_file -> tls_cert_file, tls_private_key_file -> tls_private_key_file,
            client_ca_file -> authentication.x509.client_ca_file,
            authorization_mode -> authorization.mode,
            cluster_dns -> cluster_dns, cluster_domain -> cluster_domain,
            rotate_certificates -> rotate_certificates, rotate_server_certificates -> server_tls_bootstrap,
            container_log_max_size -> container_log_max_size,
            cgroup_root -> cgroup_root, cgroup_driver -> cgroup_driver, max_pods -> max_pods,
        );
        overlay!(option self => config:
            image_gc_high_threshold -> image_gc_high_threshold_percent,
            image_gc_low_threshold -> image_gc_low_threshold_percent,
            container_log_max_files -> container_log_max_files,
            healthz_port -> healthz_port, anonymous_auth -> authentication.anonymous.enabled,
            resolv_conf -> resolver_config, register_node -> register_node, fail_swap_on -> fail_swap_on,
        );
        let config = config.with_defaults();
        config.validate()?;
        Ok(config)
    }

    /// The labels of `--node-labels`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] if a part is not `key=value`.
    pub fn labels(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let parts = self.node_labels.split(',').filter(|part| !part.is_empty());
        parts
            .map(|part| match part.split_once('=') {
                Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
                _ => Err(ConfigError::Invalid(format!("invalid node label {part:?}: want key=value"))),
            })
            .collect()
    }
}
