//! The plugin's configuration, as the backend writes it and the runtime hands it over.

use std::net::IpAddr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    pub cni_version: String,
    #[serde(default)]
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// The node's range of pod addresses.
    pub subnet: Ipv4Net,
    #[serde(default = "default_mtu")]
    pub mtu: u32,
    /// Where the addresses that are taken are remembered.
    pub data_dir: String,
    /// What this plugin can do with the runtime's own wishes.
    #[serde(default)]
    pub capabilities: Capabilities,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_config: Option<RuntimeConfig>,
    #[serde(default, rename = "cni.dev/valid-attachments", skip_serializing_if = "Vec::is_empty")]
    pub valid_attachments: Vec<Attachment>,
}

fn default_mtu() -> u32 {
    1500
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    #[serde(default)]
    pub port_mappings: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeConfig {
    #[serde(default)]
    pub port_mappings: Vec<PortMapping>,
}

/// containerd writes the names of its Go fields, which Go's readers take for the specification's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    #[serde(alias = "HostPort")]
    pub host_port: u16,
    #[serde(alias = "ContainerPort")]
    pub container_port: u16,
    #[serde(alias = "Protocol")]
    pub protocol: String,
    #[serde(default, rename = "hostIP", alias = "HostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
}

impl PortMapping {
    /// The address that the port is limited to; None for all.
    pub fn address(&self) -> Option<IpAddr> {
        self.host_ip.as_deref()?.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    #[serde(rename = "containerID")]
    pub container_id: String,
    pub ifname: String,
}

impl Config {
    pub fn port_mappings(&self) -> &[PortMapping] {
        self.runtime_config.as_ref().map_or(&[], |r| r.port_mappings.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_read_in_either_spelling() {
        let ours: PortMapping =
            serde_json::from_str(r#"{"hostPort":1,"containerPort":2,"protocol":"tcp","hostIP":"0.0.0.0"}"#)
                .unwrap();
        let theirs: PortMapping =
            serde_json::from_str(r#"{"HostPort":1,"ContainerPort":2,"Protocol":"tcp","HostIP":"0.0.0.0"}"#)
                .unwrap();
        assert_eq!(ours, theirs);
        assert_eq!(ours.address(), None);
    }
}
