//! One node of a local cluster, in its namespaces: kubelet, proxy, pod network and DNS as one process.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Parser;
use client::{Api, Informer, InformerOptions, ObjectMeta, Patch, Resource, view};
use cluster::layout::Layout;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::supervise::{Boxed, Components};
use super::{Outcome, daemon};

/// The node to be; `keelson up` starts it.
#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    name: String,
    #[arg(long)]
    node: String,
}

/// What the node's components need to know of it.
#[derive(Clone)]
struct Here {
    layout: Layout,
    node: String,
    ip: std::net::Ipv4Addr,
    /// Cluster DNS answers at the node's own address, and its endpoint is known.
    dns: watch::Sender<bool>,
    /// Counts the proxy's changes of the rules.
    rules: watch::Sender<u64>,
}

pub fn run(arguments: Vec<String>) -> Outcome {
    let Arguments { name, node } = Arguments::parse_from(arguments);
    let record = cluster::status::find(&name)?;
    let layout = record.layout();
    let number = record.nodes.get(&node).ok_or_else(|| format!("cluster {name} has no node {node}"))?.number;
    let (dns, rules) = (watch::Sender::new(false), watch::Sender::new(0));
    let here = Here { ip: layout.node_ip(number), layout, node, dns, rules };
    daemon::run(0, async |shutdown| {
        prepare(&here)?;
        let mut components = Components::new(shutdown.clone());
        let kubelet = here.clone();
        components.add("kubelet", move |stop| run_kubelet(kubelet.clone(), stop));
        let proxy = here.clone();
        components.add("kube-proxy", move |stop| run_proxy(proxy.clone(), stop));
        let network = here.clone();
        components.add("flannel", move |stop| run_network(network.clone(), stop));
        let dns = here.clone();
        components.add("coredns", move |stop| run_dns(dns.clone(), stop));
        let ready = here.clone();
        tokio::spawn(async move {
            match wait_ready(&ready, shutdown).await {
                Ok(()) => cluster::notify::ready(&ready.layout.run().join("notify.sock"), &ready.node),
                Err(error) => tracing::warn!(%error, "waiting for the node to be ready"),
            }
        });
        components.wait().await;
        Ok(())
    })
}

/// The plugin's link and the kubelet's configuration.
fn prepare(here: &Here) -> Result<(), Boxed> {
    let home = here.layout.node(&here.node);
    for folder in ["bin", "manifests", "kubelet", "log/pods"] {
        std::fs::create_dir_all(home.join(folder))?;
    }
    for plugin in ["keelson-cni", "loopback"] {
        let link = home.join("bin").join(plugin);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(cluster::process::own_program()?, &link)?;
    }
    let resolv_conf = cluster::network::resolver::file(&here.layout, &here.node)?;
    cluster::record::write_whole(
        &home.join("kubelet.yaml"),
        kubelet_configuration(here, &resolv_conf).as_bytes(),
        0o644,
    )?;
    Ok(())
}

/// What a node of a local cluster runs with. The disk is its user's own, and mostly full of other things: as in kind,
/// no image is collected and no pod refused for it.
fn kubelet_configuration(here: &Here, resolv_conf: &Path) -> String {
    let (layout, home, pki) = (&here.layout, here.layout.node(&here.node), here.layout.pki());
    let cgroup_v1 = !cluster::machine::cgroup_mounts(&["cgroup"]).is_empty();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true},
                           "x509": {"clientCAFile": cluster::pki::certificate_file(&pki, "ca")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": cluster::pki::certificate_file(&pki, &format!("{}-serving", here.node)),
        "tlsPrivateKeyFile": cluster::pki::key_file(&pki, &format!("{}-serving", here.node)),
        "clusterDNS": [layout.dns_ip()], "clusterDomain": "cluster.local", "resolvConf": resolv_conf,
        "containerRuntimeEndpoint": format!("unix://{}", layout.containerd_socket(&here.node).display()),
        "cgroupDriver": "cgroupfs", "cgroupRoot": layout.node_cgroup(&here.node), "failCgroupV1": !cgroup_v1,
        "failSwapOn": false, "maxPods": 110, "oomScoreAdj": 0, "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
                         "imagefs.available": "0%", "imagefs.inodesFree": "0%"},
        "staticPodPath": home.join("manifests"), "podLogsDir": home.join("log/pods"),
        "healthzBindAddress": "127.0.0.1", "healthzPort": 10248,
    })
    .to_string()
}

async fn client(kubeconfig: &Path) -> Result<kube::Client, Boxed> {
    let config = component_base::kubeconfig::config_from_file(kubeconfig).await?;
    Ok(component_base::kubeconfig::client(config)?)
}

fn components_config(here: &Here, user: &str) -> PathBuf {
    here.layout.state().join(format!("{user}.conf"))
}

async fn run_kubelet(here: Here, stop: CancellationToken) -> Result<(), Boxed> {
    let home = here.layout.node(&here.node);
    let show = |path: PathBuf| path.display().to_string();
    let options = kubelet::Options {
        config: show(home.join("kubelet.yaml")),
        kubeconfig: show(home.join("kubelet.conf")),
        hostname_override: here.node.clone(),
        node_ip: here.ip.to_string(),
        root_dir: show(home.join("kubelet")),
        cert_dir: show(home.join("kubelet/pki")),
        ..kubelet::Options::default()
    };
    let client = client(&home.join("kubelet.conf")).await?;
    Ok(kubelet::run(options, Some(client), stop).await?)
}

async fn run_proxy(here: Here, stop: CancellationToken) -> Result<(), Boxed> {
    let settings = kube_proxy::config::Settings {
        node: here.node.clone(),
        node_ip: Some(here.ip),
        cluster_cidr: here.layout.pod_cidr().parse().ok(),
        masquerade_all: false,
        healthz: Some(SocketAddr::from(([0, 0, 0, 0], 10256))),
        metrics: Some(SocketAddr::from(([127, 0, 0, 1], 10249))),
        kubeconfig: String::new(),
    };
    let client = client(&components_config(&here, "kube-proxy")).await?;
    Ok(kube_proxy::run_telling(settings, client, here.rules, stop).await?)
}

async fn run_network(here: Here, stop: CancellationToken) -> Result<(), Boxed> {
    let home = here.layout.node(&here.node);
    let cni = flannel::backend::CniFile {
        folder: home.join("cni/net.d"),
        plugin: "keelson-cni".into(),
        data_dir: home.join("cni/addresses"),
        mtu: 1500,
    };
    let options = flannel::backend::Options {
        node: Some(here.node.clone()),
        cni: Some(cni),
        masquerade: here.layout.pod_cidr().parse().ok(),
    };
    Ok(flannel::backend::run(options, client(&components_config(&here, "flannel")).await?, stop).await?)
}

const ENDPOINT_SLICES: Resource =
    Resource::of("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true);

/// Each node answers its own pods: the Service `kube-dns` keeps traffic on the node, and this node's slice of it
/// leads here.
async fn run_dns(here: Here, stop: CancellationToken) -> Result<(), Boxed> {
    let client = client(&components_config(&here, "coredns")).await?;
    let options = coredns::Options {
        listen: vec![SocketAddr::new(IpAddr::V4(here.ip), 53)],
        domain: "cluster.local".into(),
        resolv_conf: Some(cluster::network::resolver::file(&here.layout, &here.node)?),
        not_upstream: vec![here.layout.dns_ip().into(), here.ip.into()],
    };
    let ready = coredns::start(options, client.clone(), stop).await?;
    let name = format!("kube-dns-{}", here.node);
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "kube-system", "labels": {
            "kubernetes.io/service-name": "kube-dns", "endpointslice.kubernetes.io/managed-by": "keelson"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [here.ip], "nodeName": here.node, "conditions": {"ready": true, "serving": true, "terminating": false}}],
        "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}],
    });
    let apply = Patch::Apply { manager: "keelson".into(), force: true };
    let api = Api::new(client, "keelson-coredns");
    api.patch::<serde_json::Value>(&ENDPOINT_SLICES, "kube-system", &name, "", &apply, &slice).await?;
    here.dns.send_replace(true);
    Ok(ready.wait().await?)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Node {
    metadata: ObjectMeta,
    status: NodeStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    conditions: Vec<Condition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

view!(Node);

const NODES: Resource = Resource::of("", "v1", "nodes", "Node", false);

/// The Node says Ready, and a name of the cluster is answered at the cluster's DNS address, through the proxy's
/// rules.
async fn wait_ready(here: &Here, stop: CancellationToken) -> Result<(), Boxed> {
    let client = client(&here.layout.node(&here.node).join("kubelet.conf")).await?;
    let options = InformerOptions {
        field_selector: format!("metadata.name={}", here.node),
        ..InformerOptions::default()
    };
    let nodes: Informer<Node> = Informer::new(Api::new(client, "keelson"), NODES, options);
    let mut events = nodes.subscribe();
    let watching = stop.child_token();
    let _end = watching.clone().drop_guard();
    nodes.start(watching);
    let is_ready =
        |node: &Node| node.status.conditions.iter().any(|c| c.kind == "Ready" && c.status == "True");
    while let Some(event) = events.recv().await {
        if is_ready(event.object()) {
            break;
        }
    }
    let (mut dns, mut rules) = (here.dns.subscribe(), here.rules.subscribe());
    dns.wait_for(|answers| *answers).await?;
    // The proxy's next change may be the one that leads there; a datagram that was lost is sent again.
    while !dns_answers(here.layout.dns_ip().into()).await {
        tokio::select! {
            changed = rules.changed() => changed?,
            () = tokio::time::sleep(SEND_AGAIN) => {}
        }
    }
    Ok(())
}

/// How long a resolver waits before it asks again (RFC 1536, section 1).
const SEND_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Asks for `kubernetes.default.svc.cluster.local`.
async fn dns_answers(server: IpAddr) -> bool {
    let ask = async {
        let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await.ok()?;
        socket.connect((server, 53)).await.ok()?;
        let mut query = b"\x4b\x4b\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
        for label in ["kubernetes", "default", "svc", "cluster", "local"] {
            query.push(label.len() as u8);
            query.extend_from_slice(label.as_bytes());
        }
        query.extend_from_slice(&[0, 0, 1, 0, 1]);
        socket.send(&query).await.ok()?;
        let mut answer = [0u8; 512];
        let length = socket.recv(&mut answer).await.ok()?;
        // No error, and at least one record.
        (length > 12 && answer[3] & 15 == 0 && answer[7] > 0).then_some(())
    };
    tokio::time::timeout(std::time::Duration::from_millis(300), ask).await.ok().flatten().is_some()
}
