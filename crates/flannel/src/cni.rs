//! The CNI plugin (CNI specification 1.1.0; also 0.4.0 and 1.0.0 in answers): joins a pod to its node by a pair of
//! links, point to point, so that a pod that reaches itself through a Service needs no hairpin. Host ports are the
//! plugin's too, as rules of its own table.
//!
//! The runtime starts it once for each pod and command; everything it must remember is in files.

pub mod config;
pub mod host_ports;
pub mod ipam;

use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{Error, links};
use config::Config;

/// What the runtime says in the environment.
#[derive(Clone, Debug)]
pub struct Request {
    pub command: String,
    pub container: String,
    /// A path of a network namespace; empty on a delete after it is gone.
    pub namespace: String,
    pub interface: String,
}

/// The specification's error object.
#[derive(Debug)]
pub struct Refusal {
    code: u32,
    message: String,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        // 11: try again later; ours begin at 100.
        Self { code: 100, message: error.to_string() }
    }
}

/// Which of the two plugins the runtime started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    /// The pod's link to its node.
    Network,
    /// `loopback`, which containerd 1.6 starts for each pod beside the network's own. Ours raises `lo` anyway.
    Loopback,
}

/// The plugin's `main`: reads the environment and standard input, answers on standard output; false on an error.
pub fn main(plugin: Plugin) -> bool {
    let mut input = Vec::new();
    let read = std::io::stdin().read_to_end(&mut input);
    let result = match read {
        Ok(_) if plugin == Plugin::Loopback => loopback(&input),
        Ok(_) => answer(&input),
        Err(e) => Err(Refusal { code: 5, message: e.to_string() }),
    };
    let (text, good) = match result {
        Ok(text) => (text, true),
        Err(e) => (json!({"cniVersion": "1.0.0", "code": e.code, "msg": e.message}).to_string(), false),
    };
    // Nobody is left to tell if this fails.
    let _ = std::io::stdout().write_all(text.as_bytes());
    good
}

fn loopback(input: &[u8]) -> Result<String, Refusal> {
    let command = std::env::var("CNI_COMMAND").unwrap_or_default();
    if command == "VERSION" {
        return answer(input);
    }
    if command != "ADD" {
        return Ok(String::new());
    }
    let config: serde_json::Value = serde_json::from_slice(input).unwrap_or_default();
    let sandbox = std::env::var("CNI_NETNS").unwrap_or_default();
    Ok(json!({
        "cniVersion": config["cniVersion"].as_str().unwrap_or("1.0.0"),
        "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": sandbox}],
        "ips": [{"address": "127.0.0.1/8", "interface": 0}],
        "dns": {},
    })
    .to_string())
}

fn answer(input: &[u8]) -> Result<String, Refusal> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let request = Request {
        command: variable("CNI_COMMAND"),
        container: variable("CNI_CONTAINERID"),
        namespace: variable("CNI_NETNS"),
        interface: variable("CNI_IFNAME"),
    };
    if request.command == "VERSION" {
        let supported = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
        return Ok(json!({"cniVersion": "1.1.0", "supportedVersions": supported}).to_string());
    }
    let config: Config = serde_json::from_slice(input)
        .map_err(|e| Refusal { code: 6, message: format!("the network configuration: {e}") })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Refusal { code: 5, message: e.to_string() })?;
    runtime.block_on(run(&request, &config))
}

async fn run(request: &Request, config: &Config) -> Result<String, Refusal> {
    let needs = |value: &str, name: &str| {
        if value.is_empty() {
            Err(Refusal { code: 4, message: format!("{name} is not set") })
        } else {
            Ok(())
        }
    };
    match request.command.as_str() {
        "ADD" => {
            needs(&request.container, "CNI_CONTAINERID")?;
            needs(&request.namespace, "CNI_NETNS")?;
            needs(&request.interface, "CNI_IFNAME")?;
            Ok(add(request, config).await?)
        }
        "DEL" => {
            needs(&request.container, "CNI_CONTAINERID")?;
            delete(request, config).await?;
            Ok(String::new())
        }
        "CHECK" => Ok(check(request, config).map(|()| String::new())?),
        "GC" => {
            collect(config).await?;
            Ok(String::new())
        }
        "STATUS" => Ok(String::new()),
        other => {
            Err(Refusal { code: 4, message: format!("CNI_COMMAND {other:?} is not one of this plugin") })
        }
    }
}

/// Of the node's end of a pod's link; at most 15 bytes.
fn host_link(container: &str, interface: &str) -> String {
    let digest = Sha256::digest(format!("{container}/{interface}"));
    format!("veth{}", digest.iter().take(4).map(|b| format!("{b:02x}")).collect::<String>())
}

fn holder(request: &Request) -> String {
    format!("{} {}", request.container, request.interface)
}

async fn add(request: &Request, config: &Config) -> Result<String, Error> {
    let range = ipam::Range::open(Path::new(&config.data_dir), config.subnet)?;
    let address = range.take(&holder(request))?;
    let result = join(request, config, address, range.gateway()).await;
    if result.is_err() {
        // The runtime calls DEL after a failed ADD too, but need not.
        range.give_back(&holder(request))?;
    }
    let mac = result?;
    if !config.port_mappings().is_empty() {
        let link = host_link(&request.container, &request.interface);
        host_ports::set(
            Path::new(&config.data_dir),
            &request.container,
            &link,
            address,
            config.port_mappings(),
        )?;
    }
    Ok(success(request, config, address, range.gateway(), &mac))
}

/// Makes the links and routes; the hardware address of the pod's end.
async fn join(
    request: &Request,
    config: &Config,
    address: Ipv4Addr,
    gateway: Ipv4Addr,
) -> Result<String, Error> {
    let namespace = open(&request.namespace)?;
    let here = links::connect()?;
    let (host, peer) = (
        host_link(&request.container, &request.interface),
        format!("p{}", &host_link(&request.container, &request.interface)[4..]),
    );
    links::remove(&here, &host).await?;
    links::add_pair(&here, &host, &peer, config.mtu).await?;
    links::move_into(&here, &peer, &namespace).await?;
    let interface = request.interface.clone();
    let mac = links::inside(namespace, move |there| async move {
        links::up(&there, "lo").await?;
        links::rename(&there, &peer, &interface).await?;
        let index = links::index(&there, &interface).await?;
        links::add_address(&there, index, address, 32).await?;
        links::up(&there, &interface).await?;
        links::add_neighbour_route(&there, index, gateway).await?;
        links::add_route(&there, ipnet::Ipv4Net::default(), gateway).await?;
        links::hardware_address(&there, &interface).await
    })
    .await?;
    let index = links::index(&here, &host).await?;
    links::add_address(&here, index, gateway, 32).await?;
    links::up(&here, &host).await?;
    links::add_neighbour_route(&here, index, address).await?;
    Ok(mac)
}

fn open(path: &str) -> Result<File, Error> {
    File::open(path)
        .map_err(|source| Error::Io { what: format!("opening the network namespace {path}"), source })
}

fn success(request: &Request, config: &Config, address: Ipv4Addr, gateway: Ipv4Addr, mac: &str) -> String {
    let host = host_link(&request.container, &request.interface);
    let mut ip = json!({"address": format!("{address}/32"), "gateway": gateway, "interface": 1});
    if config.cni_version.starts_with("0.") {
        ip["version"] = json!("4");
    }
    json!({
        "cniVersion": config.cni_version,
        "interfaces": [{"name": host}, {"name": request.interface, "mac": mac, "sandbox": request.namespace}],
        "ips": [ip],
        "routes": [{"dst": "0.0.0.0/0", "gw": gateway}],
        "dns": {},
    })
    .to_string()
}

/// May be called twice, and after the namespace is gone.
async fn delete(request: &Request, config: &Config) -> Result<(), Error> {
    host_ports::clear(Path::new(&config.data_dir), &request.container)?;
    let here = links::connect()?;
    links::remove(&here, &host_link(&request.container, &request.interface)).await?;
    ipam::Range::open(Path::new(&config.data_dir), config.subnet)?.give_back(&holder(request))
}

fn check(request: &Request, config: &Config) -> Result<(), Error> {
    let range = ipam::Range::open(Path::new(&config.data_dir), config.subnet)?;
    match range.held_by(&holder(request))? {
        Some(_) => Ok(()),
        None => Err(Error::Failed(format!("{} has no address", request.container))),
    }
}

/// Gives back what nobody on the runtime's list holds.
async fn collect(config: &Config) -> Result<(), Error> {
    let range = ipam::Range::open(Path::new(&config.data_dir), config.subnet)?;
    let valid: Vec<String> =
        config.valid_attachments.iter().map(|a| format!("{} {}", a.container_id, a.ifname)).collect();
    for lost in range.holders()?.into_iter().filter(|h| !valid.contains(h)) {
        if let Some((container, _)) = lost.split_once(' ') {
            host_ports::clear(Path::new(&config.data_dir), container)?;
        }
        range.give_back(&lost)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_names_fit_and_differ() {
        let (a, b) = (host_link("a", "eth0"), host_link("b", "eth0"));
        assert_ne!(a, b);
        assert_eq!(a.len(), 12);
    }
}
