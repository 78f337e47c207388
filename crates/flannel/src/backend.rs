//! Host-gw: a route to each other node's pod range through that node's address. A pure plan turns the nodes into the
//! routes there should be; the shell below follows a watch of nodes and makes the difference so.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use client::{Api, Informer, InformerOptions, ObjectMeta, Resource, view};
use compact_str::CompactString;
use ipnet::Ipv4Net;
use rtnetlink::Handle;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{During, Error, links};

pub const NODES: Resource = Resource::of("", "v1", "nodes", "Node", false);

/// What the backend reads of a Node.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    pub metadata: ObjectMeta,
    pub spec: NodeSpec,
    pub status: NodeStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    #[serde(rename = "podCIDR")]
    pub pod_cidr: CompactString,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    pub addresses: Vec<Address>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Address {
    #[serde(rename = "type")]
    pub kind: CompactString,
    pub address: CompactString,
}

view!(Node);

impl Node {
    fn range(&self) -> Option<Ipv4Net> {
        self.spec.pod_cidr.parse().ok()
    }

    fn internal_ip(&self) -> Option<Ipv4Addr> {
        let mut internal = self.status.addresses.iter().filter(|a| a.kind == "InternalIP");
        internal.find_map(|a| a.address.parse().ok())
    }
}

/// Where the CNI configuration goes and what it says.
#[derive(Clone, Debug)]
pub struct CniFile {
    /// The runtime's folder of network configurations.
    pub folder: PathBuf,
    /// The plugin's name in the runtime's folder of programs.
    pub plugin: String,
    /// Where addresses that are taken are remembered.
    pub data_dir: PathBuf,
    /// Bytes; that of the link between nodes.
    pub mtu: u32,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// The node this runs on; None on a machine that only routes to the nodes, such as the control plane's.
    pub node: Option<String>,
    pub cni: Option<CniFile>,
    /// `--ip-masq` with the range of all pods: what they send out of it leaves with the node's address.
    pub masquerade: Option<Ipv4Net>,
}

/// The routes there should be: pod range to node address, of every node but this one.
pub fn plan<'a>(nodes: impl Iterator<Item = &'a Node>, own: Option<&str>) -> BTreeMap<Ipv4Net, Ipv4Addr> {
    let others = nodes.filter(|n| Some(n.metadata.name.as_str()) != own);
    others.filter_map(|n| Some((n.range()?, n.internal_ip()?))).collect()
}

/// Runs until shutdown.
pub async fn run(options: Options, client: kube::Client, shutdown: CancellationToken) -> Result<(), Error> {
    let nodes: Informer<Node> =
        Informer::new(Api::new(client, "keelson-flannel"), NODES, InformerOptions::default());
    let mut changes = nodes.subscribe();
    nodes.start(shutdown.clone());
    let handle = links::connect()?;
    let mut have = BTreeMap::new();
    let mut written = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            change = changes.recv() => if change.is_none() { return Ok(()) },
        }
        // Changes that came together are one.
        while changes.try_recv().is_ok() {}
        if !nodes.has_synced() {
            nodes.wait_synced().await;
        }
        let all = nodes.store().list();
        let want = plan(all.iter().map(AsRef::as_ref), options.node.as_deref());
        change_routes(&handle, &mut have, want).await;
        let own = options.node.as_deref().and_then(|name| nodes.store().get("", name));
        if let (Some(file), Some(range)) = (&options.cni, own.and_then(|n| n.range()))
            && written != Some(range)
        {
            if let Some(pods) = options.masquerade {
                crate::masquerade::set(range, pods)?;
            }
            write_configuration(file, range)?;
            tracing::info!(%range, "this node's pods have a network");
            written = Some(range);
        }
    }
}

/// A route that cannot be set is told and tried again at the next change: one bad node must not stop the others.
async fn change_routes(
    handle: &Handle,
    have: &mut BTreeMap<Ipv4Net, Ipv4Addr>,
    want: BTreeMap<Ipv4Net, Ipv4Addr>,
) {
    for (range, _) in have.iter().filter(|(range, _)| !want.contains_key(range)) {
        if let Err(error) = links::remove_route(handle, *range).await {
            tracing::warn!(%error, "removing a route");
        }
    }
    let mut now = BTreeMap::new();
    for (range, gateway) in want {
        if have.get(&range) == Some(&gateway) {
            now.insert(range, gateway);
            continue;
        }
        match links::add_route(handle, range, gateway).await {
            Ok(()) => drop(now.insert(range, gateway)),
            Err(error) => tracing::warn!(%error, "adding a route"),
        }
    }
    *have = now;
}

/// The runtime reads the folder when it changes; the file appears whole.
fn write_configuration(file: &CniFile, range: Ipv4Net) -> Result<(), Error> {
    let list = json!({"cniVersion": "1.0.0", "name": "cbr0", "plugins": [{
        "type": file.plugin, "subnet": range, "mtu": file.mtu, "dataDir": file.data_dir,
        "capabilities": {"portMappings": true},
    }]});
    let path = file.folder.join("10-flannel.conflist");
    let part = file.folder.join(".10-flannel.part");
    std::fs::create_dir_all(&file.folder).during(format!("making {}", file.folder.display()))?;
    std::fs::write(&part, list.to_string()).during(format!("writing {}", part.display()))?;
    std::fs::rename(&part, &path).during(format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, cidr: &str, ip: &str) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"podCIDR": cidr},
            "status": {"addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": ip}]}}))
        .unwrap()
    }

    #[test]
    fn routes_lead_to_every_other_node_that_is_known_whole() {
        let nodes = [
            node("a", "10.244.0.0/24", "10.90.0.11"),
            node("b", "10.244.1.0/24", "10.90.0.12"),
            node("c", "", "10.90.0.13"),
            node("d", "10.244.3.0/24", "not-yet"),
        ];
        let routes =
            |own| plan(nodes.iter(), own).into_iter().map(|(r, g)| format!("{r} {g}")).collect::<Vec<_>>();
        assert_eq!(routes(Some("a")), ["10.244.1.0/24 10.90.0.12"]);
        assert_eq!(routes(None), ["10.244.0.0/24 10.90.0.11", "10.244.1.0/24 10.90.0.12"]);
    }
}
