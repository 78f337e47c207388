//! Resolver configuration of pods by their DNS policy.

use cri::v1::DnsConfig;
use k8s_openapi::api::core::v1::Pod;

use crate::pod::PodExt;

/// Most search domains and most bytes of them; name servers beyond three are left out.
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_BYTES: usize = 2048;
const MAX_SERVERS: usize = 3;

/// What the cluster gives.
#[derive(Clone, Debug, Default)]
pub struct ClusterDns {
    /// Addresses of the cluster's DNS.
    pub servers: Vec<String>,
    /// Domain of the cluster.
    pub domain: String,
    /// The node's resolver file; empty: none.
    pub resolver_file: String,
}

/// Reads a resolver file.
#[must_use]
pub fn parse(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                config.servers.extend(words.next().map(|server| {
                    if server.contains('%') { server.to_owned() } else { server.to_lowercase() }
                }))
            }
            Some("search") => {
                config.searches = words
                    .map(|domain| {
                        if domain == "." {
                            domain.to_owned()
                        } else {
                            domain.trim_end_matches('.').to_owned()
                        }
                    })
                    .collect();
            }
            Some("options") => config.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    config
}

/// The configuration of a pod, and what had to be left out (for an event).
///
/// # Errors
/// If the node's resolver file is set and cannot be read.
pub fn of_pod(pod: &Pod, cluster: &ClusterDns) -> Result<(DnsConfig, Vec<String>), std::io::Error> {
    let node = match cluster.resolver_file.as_str() {
        "" => DnsConfig::default(),
        path => parse(&std::fs::read_to_string(path)?),
    };
    Ok(merge(pod, cluster, node))
}

fn merge(pod: &Pod, cluster: &ClusterDns, node: DnsConfig) -> (DnsConfig, Vec<String>) {
    let policy = pod.spec().dns_policy.as_deref().unwrap_or("ClusterFirst");
    let first = policy == "ClusterFirstWithHostNet" || (policy == "ClusterFirst" && !pod.host_network());
    let mut notes = Vec::new();
    let mut config = match policy {
        "None" => DnsConfig::default(),
        _ if first && !cluster.servers.is_empty() => cluster_first(pod, cluster, node),
        _ => {
            if first {
                notes.push(format!(
                    "pod: {:?}. kubelet does not have ClusterDNS IP configured and cannot create Pod using {policy:?} policy. Falling back to \"Default\" policy.",
                    pod.shown()
                ));
            }
            host_default(node, &cluster.resolver_file)
        }
    };
    if let Some(own) = pod.spec().dns_config.as_ref() {
        append(&mut config.servers, own.nameservers.as_deref().unwrap_or_default());
        append(&mut config.searches, own.searches.as_deref().unwrap_or_default());
        for option in own.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            config.options.retain(|old| old.split(':').next() != Some(&name));
            config.options.push(match &option.value {
                Some(value) if !value.is_empty() => format!("{name}:{value}"),
                _ => name,
            });
        }
    }
    limit(&mut config, &mut notes);
    (config, notes)
}

fn host_default(mut node: DnsConfig, file: &str) -> DnsConfig {
    if file.is_empty() {
        node.servers = vec!["127.0.0.1".to_owned()];
        node.searches = vec![".".to_owned()];
    }
    node
}

fn cluster_first(pod: &Pod, cluster: &ClusterDns, node: DnsConfig) -> DnsConfig {
    let mut searches = Vec::new();
    if !cluster.domain.is_empty() {
        let domain = &cluster.domain;
        searches = vec![format!("{}.svc.{domain}", pod.namespace()), format!("svc.{domain}"), domain.clone()];
    }
    append(&mut searches, &node.searches);
    DnsConfig { servers: cluster.servers.clone(), searches, options: vec!["ndots:5".to_owned()] }
}

fn append(list: &mut Vec<String>, more: &[String]) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

fn limit(config: &mut DnsConfig, notes: &mut Vec<String>) {
    if config.servers.len() > MAX_SERVERS {
        config.servers.truncate(MAX_SERVERS);
        notes.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
            config.servers.join(" ")
        ));
    }
    let before = config.searches.len();
    config.searches.truncate(MAX_SEARCHES);
    while config.searches.iter().map(|domain| domain.len() + 1).sum::<usize>() > MAX_SEARCH_BYTES + 1 {
        config.searches.pop();
    }
    if config.searches.len() < before {
        notes.push(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
            config.searches.join(" ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(spec: serde_json::Value) -> DnsConfig {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec}))
                .unwrap();
        let cluster = ClusterDns {
            servers: vec!["10.96.0.10".into()],
            domain: "cluster.local".into(),
            resolver_file: "x".into(),
        };
        merge(&pod, &cluster, parse("# c\nnameserver 8.8.8.8\nsearch corp. x\noptions ndots:2 rotate\n")).0
    }

    #[test]
    fn policies() {
        let got = run(json!({"containers": []}));
        assert_eq!(got.servers, ["10.96.0.10"]);
        assert_eq!(got.searches, ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp", "x"]);
        assert_eq!(got.options, ["ndots:5"]);
        let host = run(json!({"containers": [], "hostNetwork": true}));
        assert_eq!((host.servers, host.options.len()), (vec!["8.8.8.8".to_owned()], 2));
        let with =
            run(json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}));
        assert_eq!(with.servers, ["10.96.0.10"]);
    }

    #[test]
    fn own_configuration_wins() {
        let got = run(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {
            "nameservers": ["1.1.1.1"], "searches": ["a"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}));
        assert_eq!((got.servers, got.searches), (vec!["1.1.1.1".to_owned()], vec!["a".to_owned()]));
        assert_eq!(got.options, ["ndots:2", "edns0"]);
    }
}
