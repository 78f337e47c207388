//! `/etc/hosts` of pods.

use k8s_openapi::api::core::v1::HostAlias;

use super::HostName;

const MANAGED: &str = "# Kubernetes-managed hosts file.\n";
const MANAGED_HOST: &str = "# Kubernetes-managed hosts file (host network).\n";

/// The file of a pod with its own network.
#[must_use]
pub fn of_pod(ips: &[String], name: &HostName, aliases: &[HostAlias]) -> String {
    let mut out = String::from(MANAGED);
    out.push_str(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    for ip in ips {
        if name.domain.is_empty() {
            out.push_str(&format!("{ip}\t{}\n", name.short));
        } else {
            out.push_str(&format!("{ip}\t{}.{}\t{}\n", name.short, name.domain, name.short));
        }
    }
    out + &entries(aliases)
}

/// The file of a pod in the node's network: the node's own with the aliases.
#[must_use]
pub fn of_host(node_hosts: &str, aliases: &[HostAlias]) -> String {
    format!("{MANAGED_HOST}{node_hosts}{}", entries(aliases))
}

fn entries(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let mut out = String::from("\n# Entries added by HostAliases.\n");
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        out.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_pod_and_aliases() {
        let name = HostName { short: "p".into(), domain: "s.ns.svc.cluster.local".into(), shown: "p".into() };
        let alias = HostAlias { ip: "1.2.3.4".into(), hostnames: Some(vec!["a".into(), "b".into()]) };
        let got = of_pod(&["10.0.0.2".to_owned()], &name, &[alias]);
        assert!(got.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(got.contains("10.0.0.2\tp.s.ns.svc.cluster.local\tp\n"));
        assert!(got.ends_with("\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"));
    }
}
