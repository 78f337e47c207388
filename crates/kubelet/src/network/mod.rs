//! What a pod sees of names: its host name, its hosts file, its resolver configuration.

pub mod dns;
pub mod hosts;

use k8s_openapi::api::core::v1::Pod;

use crate::pod::PodExt;

/// Host name and domain of a pod, and the host name as the container sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostName {
    /// First label, at most 63 bytes.
    pub short: String,
    /// Domain, if the pod has a subdomain.
    pub domain: String,
    /// What `hostname` prints.
    pub shown: String,
}

/// Names a pod.
///
/// # Errors
/// If the pod wants its full name as host name and that is longer than the kernel allows.
pub fn host_name(pod: &Pod, cluster_domain: &str) -> Result<HostName, String> {
    let spec = pod.spec();
    if let Some(name) = spec.hostname_override.as_deref().filter(|name| !name.is_empty()) {
        return Ok(HostName { short: name.to_owned(), domain: String::new(), shown: name.to_owned() });
    }
    let name = spec.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(pod.name());
    let mut short = name.to_owned();
    short.truncate(63);
    let short = short.trim_end_matches(['-', '.']).to_owned();
    let subdomain = spec.subdomain.as_deref().filter(|subdomain| !subdomain.is_empty());
    let domain =
        subdomain.map(|sub| format!("{sub}.{}.svc.{cluster_domain}", pod.namespace())).unwrap_or_default();
    if spec.set_hostname_as_fqdn != Some(true) || domain.is_empty() {
        return Ok(HostName { shown: short.clone(), short, domain });
    }
    let shown = format!("{short}.{domain}");
    if shown.len() > 64 {
        return Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {shown} is too long (64 characters is the max, {} characters requested)",
            shown.len()
        ));
    }
    Ok(HostName { short, domain, shown })
}
