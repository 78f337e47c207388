//! Flags and KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1) as one set of settings. As upstream: with a
//! file, flags that are settings of the file have no effect.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use component_base::flags::{ClientOptions, FlagError, LoggingOptions, Parsed, Unbuilt, UnbuiltFlag, parse};
use ipnet::Ipv4Net;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::Error;

/// Flags of upstream that have no effect here.
const UNBUILT: &[UnbuiltFlag] = &[
    UnbuiltFlag { name: "cleanup", boolean: true, then: Unbuilt::Refuse },
    UnbuiltFlag { name: "write-config-to", boolean: false, then: Unbuilt::Refuse },
    UnbuiltFlag { name: "iptables-sync-period", boolean: false, then: Unbuilt::Warn },
    UnbuiltFlag { name: "iptables-min-sync-period", boolean: false, then: Unbuilt::Warn },
    UnbuiltFlag { name: "config-sync-period", boolean: false, then: Unbuilt::Warn },
    UnbuiltFlag { name: "conntrack-max-per-core", boolean: false, then: Unbuilt::Warn },
    UnbuiltFlag { name: "conntrack-min", boolean: false, then: Unbuilt::Warn },
    UnbuiltFlag { name: "conntrack-tcp-timeout-established", boolean: false, then: Unbuilt::Warn },
    UnbuiltFlag { name: "conntrack-tcp-timeout-close-wait", boolean: false, then: Unbuilt::Warn },
    UnbuiltFlag { name: "nodeport-addresses", boolean: false, then: Unbuilt::Warn },
    UnbuiltFlag { name: "oom-score-adj", boolean: false, then: Unbuilt::Warn },
    UnbuiltFlag { name: "profiling", boolean: true, then: Unbuilt::Warn },
    UnbuiltFlag { name: "feature-gates", boolean: false, then: Unbuilt::Warn },
];

/// Services as nftables rules on a node
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "kube-proxy")]
pub struct Options {
    /// A file with a KubeProxyConfiguration.
    #[arg(long)]
    pub config: Option<PathBuf>,
    #[arg(long, default_value = "nftables")]
    pub proxy_mode: String,
    /// The pods' addresses.
    #[arg(long, default_value = "")]
    pub cluster_cidr: String,
    /// The node's name, if it is not the host's.
    #[arg(long, default_value = "")]
    pub hostname_override: String,
    #[arg(long, default_value = "0.0.0.0:10256")]
    pub healthz_bind_address: String,
    #[arg(long, default_value = "127.0.0.1:10249")]
    pub metrics_bind_address: String,
    #[arg(long, default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub masquerade_all: bool,
    #[command(flatten)]
    pub client: ClientOptions,
    #[command(flatten)]
    pub logging: LoggingOptions,
}

impl Options {
    /// From a command line that begins with the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed<Self>, FlagError> {
        parse(arguments, UNBUILT)
    }
}

/// The configuration kind; fields of other modes and platforms are read and not used.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KubeProxyConfiguration {
    bind_address: String,
    bind_address_hard_fail: Option<bool>,
    client_connection: ClientConnection,
    #[serde(rename = "clusterCIDR")]
    cluster_cidr: String,
    config_sync_period: Option<IgnoredAny>,
    conntrack: Option<IgnoredAny>,
    detect_local: Option<IgnoredAny>,
    detect_local_mode: String,
    enable_profiling: Option<IgnoredAny>,
    feature_gates: Option<IgnoredAny>,
    healthz_bind_address: Option<String>,
    hostname_override: String,
    iptables: Option<IgnoredAny>,
    ipvs: Option<IgnoredAny>,
    logging: Option<IgnoredAny>,
    metrics_bind_address: Option<String>,
    mode: String,
    nftables: Nftables,
    node_port_addresses: Option<Vec<String>>,
    oom_score_adj: Option<IgnoredAny>,
    port_range: Option<IgnoredAny>,
    show_hidden_metrics_for_version: Option<IgnoredAny>,
    winkernel: Option<IgnoredAny>,
    windows_run_as_service: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ClientConnection {
    kubeconfig: String,
    accept_content_types: Option<IgnoredAny>,
    content_type: Option<IgnoredAny>,
    qps: Option<IgnoredAny>,
    burst: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Nftables {
    masquerade_all: bool,
    masquerade_bit: Option<i32>,
    sync_period: Option<IgnoredAny>,
    min_sync_period: Option<IgnoredAny>,
}

/// What the proxy works by.
#[derive(Clone, Debug)]
pub struct Settings {
    pub node: String,
    /// Where node ports are open; None: as the Node object says.
    pub node_ip: Option<Ipv4Addr>,
    pub cluster_cidr: Option<Ipv4Net>,
    pub masquerade_all: bool,
    pub healthz: Option<SocketAddr>,
    pub metrics: Option<SocketAddr>,
    /// Empty: the pod's own or `--master`.
    pub kubeconfig: String,
}

impl Settings {
    pub fn from_options(options: &Options) -> Result<Self, Error> {
        let file = match &options.config {
            Some(path) => component_base::config::load(
                path,
                &["kubeproxy.config.k8s.io/v1alpha1"],
                "KubeProxyConfiguration",
            )?,
            None => KubeProxyConfiguration {
                mode: options.proxy_mode.clone(),
                cluster_cidr: options.cluster_cidr.clone(),
                hostname_override: options.hostname_override.clone(),
                healthz_bind_address: Some(options.healthz_bind_address.clone()),
                metrics_bind_address: Some(options.metrics_bind_address.clone()),
                bind_address: options.bind_address.to_string(),
                nftables: Nftables { masquerade_all: options.masquerade_all, ..Nftables::default() },
                ..KubeProxyConfiguration::default()
            },
        };
        Self::from_file(file, options)
    }

    fn from_file(file: KubeProxyConfiguration, options: &Options) -> Result<Self, Error> {
        let bad = |field, why: &str| Err(Error::Setting { field, why: why.into() });
        if !matches!(file.mode.as_str(), "nftables" | "") {
            return bad("mode", &format!("{:?} is not built; nftables is the one mode", file.mode));
        }
        if !matches!(file.detect_local_mode.as_str(), "ClusterCIDR" | "") {
            return bad(
                "detectLocalMode",
                &format!("{:?} is not built; ClusterCIDR is", file.detect_local_mode),
            );
        }
        if file.nftables.masquerade_bit.is_some_and(|bit| bit != 14) {
            return bad("nftables.masqueradeBit", "only 14, the default, is built");
        }
        let cluster_cidr = match file.cluster_cidr.split(',').find(|c| !c.contains(':')).unwrap_or_default() {
            "" => None,
            text => Some(text.parse().map_err(|_| Error::Setting {
                field: "clusterCIDR",
                why: format!("{text:?} is no range of addresses"),
            })?),
        };
        let node = match (&options.hostname_override, &file.hostname_override) {
            (flag, _) if !flag.is_empty() => flag.clone(),
            (_, name) if !name.is_empty() => name.clone(),
            _ => component_base::hostname(),
        };
        let node_ip = file.bind_address.parse().ok().filter(|ip: &Ipv4Addr| !ip.is_unspecified());
        let kubeconfig = if file.client_connection.kubeconfig.is_empty() {
            options.client.kubeconfig.clone()
        } else {
            file.client_connection.kubeconfig
        };
        Ok(Self {
            node,
            node_ip,
            cluster_cidr,
            masquerade_all: file.nftables.masquerade_all,
            healthz: address(
                "healthzBindAddress",
                file.healthz_bind_address.as_deref().unwrap_or("0.0.0.0:10256"),
                10256,
            )?,
            metrics: address(
                "metricsBindAddress",
                file.metrics_bind_address.as_deref().unwrap_or("127.0.0.1:10249"),
                10249,
            )?,
            kubeconfig,
        })
    }
}

/// With or without a port; empty or port 0 turns the server off.
fn address(field: &'static str, text: &str, port: u16) -> Result<Option<SocketAddr>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse().ok()?, port)));
    let found: SocketAddr =
        parsed.ok_or_else(|| Error::Setting { field, why: format!("{text:?} is no address with a port") })?;
    Ok((found.port() != 0).then_some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(arguments: &[&str]) -> Result<Settings, Error> {
        let all = std::iter::once("kube-proxy").chain(arguments.iter().copied()).map(OsString::from);
        Settings::from_options(&Options::parse(all).unwrap().options)
    }

    #[test]
    fn flags_and_defaults() {
        let found = settings(&[
            "--cluster-cidr=10.244.0.0/16",
            "--hostname-override=n1",
            "--healthz-bind-address=0.0.0.0:0",
        ])
        .unwrap();
        assert_eq!(found.node, "n1");
        assert_eq!(found.cluster_cidr.unwrap().to_string(), "10.244.0.0/16");
        assert!(found.healthz.is_none());
        assert_eq!(found.metrics.unwrap().to_string(), "127.0.0.1:10249");
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        let error = settings(&["--proxy-mode=ipvs"]).unwrap_err().to_string();
        assert!(error.contains("ipvs"), "{error}");
        let error = settings(&["--cluster-cidr=nonsense"]).unwrap_err().to_string();
        assert!(error.starts_with("clusterCIDR: \"nonsense\""), "{error}");
    }
}
