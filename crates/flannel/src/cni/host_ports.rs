//! Host ports of pods, as rules of the plugin's own table.

use std::net::Ipv4Addr;

use super::config::PortMapping;
use crate::Error;

/// Leads each port of the node to the pod.
pub async fn set(container: &str, address: Ipv4Addr, mappings: &[PortMapping]) -> Result<(), Error> {
    Err(Error::Failed(format!("{} host ports of {container} ({address}): not built yet", mappings.len())))
}

/// Removes a pod's rules; one that has none is fine.
pub async fn clear(_container: &str) -> Result<(), Error> {
    Ok(())
}
