//! The control plane of a local cluster as one process: API server, controllers and scheduler, which meet only at
//! the API, in memory. Beside them the host's routes to the pods, and the objects of `addons.yaml`.

use std::path::PathBuf;
use std::sync::Arc;

use apiserver::request::UserInfo;
use clap::Parser;
use client::{Api, Patch, Resource};
use cluster::layout::Layout;
use cluster::record::Record;
use kube_apiserver::InProcess;
use serde_json::Value;

use super::supervise::{Boxed, Components};
use super::{Outcome, daemon};

const ADDONS: &str = include_str!("../addons.yaml");

/// The cluster to be the control plane of; `keelson up` starts it.
#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    name: String,
}

pub fn run(arguments: Vec<String>) -> Outcome {
    let record = cluster::status::find(&Arguments::parse_from(arguments).name)?;
    daemon::run(0, async |shutdown| {
        let layout = record.layout();
        let options =
            kube_apiserver::options::Options::parse_from_args(flags(&record).into_iter().map(Into::into))?
                .options;
        let server = Arc::new(InProcess::start(options).await?);
        let mut components = Components::new(shutdown.clone());
        add_controllers(&mut components, &layout, &server);
        add_scheduler(&mut components, &layout, &server);
        let routes = identity(&server, "system:flannel", &["system:masters"]);
        components.add("flannel", move |stop| {
            let client = routes.clone();
            async move {
                let options = flannel::backend::Options { node: None, cni: None, masquerade: None };
                Ok(flannel::backend::run(options, client, stop).await?)
            }
        });
        if let Some((at, servers)) = cluster::network::resolver::relay(&layout) {
            components.add("coredns", move |stop| {
                let servers = servers.clone();
                async move { Ok(coredns::relay(at, servers, stop).await?) }
            });
        }
        let (admin, socket) =
            (identity(&server, "keelson", &["system:masters"]), layout.run().join("notify.sock"));
        let (stop, whole) = (shutdown.clone(), server.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => return,
                () = whole.ready() => drop(whole),
            }
            if let Err(error) = prepare(admin).await {
                tracing::error!(%error, "making the cluster's own objects");
                return;
            }
            cluster::notify::ready(&socket, "control-plane");
        });
        components.wait().await;
        if let Ok(server) = Arc::try_unwrap(server) {
            server.shutdown().await;
        }
        Ok(())
    })
}

/// A client in memory as this user.
fn identity(server: &InProcess, name: &str, groups: &[&str]) -> kube::Client {
    let groups = groups.iter().copied().chain(["system:authenticated"]).map(str::to_owned).collect();
    server.client(UserInfo { name: name.into(), groups, ..UserInfo::default() })
}

fn show(path: PathBuf) -> String {
    path.display().to_string()
}

/// The API server's command line, as kubeadm would write it.
fn flags(record: &Record) -> Vec<String> {
    let (layout, pki) = (record.layout(), record.layout().pki());
    let certificate = |name: &str| show(cluster::pki::certificate_file(&pki, name));
    let key = |name: &str| show(cluster::pki::key_file(&pki, name));
    let store = if record.etcd_servers.is_empty() {
        format!("--data-dir={}", layout.store().display())
    } else {
        format!("--etcd-servers={}", record.etcd_servers.join(","))
    };
    vec![
        "kube-apiserver".into(),
        store,
        format!("--advertise-address={}", layout.host_ip()),
        format!("--bind-address={}", layout.host_ip()),
        "--secure-port=6443".into(),
        "--allow-privileged=true".into(),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--enable-bootstrap-token-auth=true".into(),
        format!("--client-ca-file={}", certificate("ca")),
        format!("--tls-cert-file={}", certificate("apiserver")),
        format!("--tls-private-key-file={}", key("apiserver")),
        format!("--kubelet-client-certificate={}", certificate("apiserver-kubelet-client")),
        format!("--kubelet-client-key={}", key("apiserver-kubelet-client")),
        format!("--kubelet-certificate-authority={}", certificate("ca")),
        "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname".into(),
        format!("--proxy-client-cert-file={}", certificate("front-proxy-client")),
        format!("--proxy-client-key-file={}", key("front-proxy-client")),
        format!("--requestheader-client-ca-file={}", certificate("front-proxy-ca")),
        "--requestheader-allowed-names=front-proxy-client".into(),
        "--requestheader-username-headers=X-Remote-User".into(),
        "--requestheader-group-headers=X-Remote-Group".into(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        format!("--service-account-key-file={}", show(pki.join("sa.pub"))),
        format!("--service-account-signing-key-file={}", key("sa")),
        format!("--service-cluster-ip-range={}", layout.service_cidr()),
        // The host has no proxy of its own: webhooks and aggregated APIs are reached at their endpoints.
        "--enable-aggregator-routing=true".into(),
    ]
}

fn add_controllers(components: &mut Components, layout: &Layout, server: &Arc<InProcess>) {
    let pki = layout.pki();
    let flags: Vec<String> = [
        "kube-controller-manager".to_owned(),
        "--allocate-node-cidrs=true".into(),
        format!("--cluster-cidr={}", layout.pod_cidr()),
        format!("--service-cluster-ip-range={}", layout.service_cidr()),
        format!("--cluster-name={}", layout.name),
        format!("--root-ca-file={}", show(cluster::pki::certificate_file(&pki, "ca"))),
        format!("--service-account-private-key-file={}", show(cluster::pki::key_file(&pki, "sa"))),
        format!("--cluster-signing-cert-file={}", show(cluster::pki::certificate_file(&pki, "ca"))),
        format!("--cluster-signing-key-file={}", show(cluster::pki::key_file(&pki, "ca"))),
        "--use-service-account-credentials=true".into(),
        // Nobody else can lead: there is one of it, in the process of the only API server that it knows.
        "--leader-elect=false".into(),
        "--controllers=*".into(),
        // Its own address, as another cluster's controllers listen on theirs.
        format!("--bind-address={}", layout.host_ip()),
    ]
    .into();
    let client = identity(server, "system:kube-controller-manager", &[]);
    components.add("kube-controller-manager", move |stop| {
        let (flags, client) = (flags.clone(), client.clone());
        async move {
            let options = component_base::flags::parse(
                flags.into_iter().map(Into::into),
                kube_controller_manager::UNBUILT,
            )?
            .options;
            Ok(kube_controller_manager::run(options, client, stop).await?)
        }
    });
}

fn add_scheduler(components: &mut Components, layout: &Layout, server: &Arc<InProcess>) {
    let address = format!("--bind-address={}", layout.host_ip());
    let client = identity(server, "system:kube-scheduler", &[]);
    components.add("kube-scheduler", move |stop| {
        let (client, address) = (client.clone(), address.clone());
        async move {
            let flags = ["kube-scheduler", "--leader-elect=false", &address];
            let options = kube_scheduler::Options::parse(flags.into_iter().map(Into::into))?.options;
            Ok(kube_scheduler::run(options, client, stop).await?)
        }
    });
}

/// Applies the addons.
async fn prepare(client: kube::Client) -> Result<(), Boxed> {
    let api = Api::new(client, "keelson");
    let objects: Vec<Value> = serde_saphyr::from_str(ADDONS)?;
    let apply = Patch::Apply { manager: "keelson".into(), force: true };
    for object in objects {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let resource = resource(&text("/apiVersion"), &text("/kind"));
        api.patch::<Value>(
            &resource,
            &text("/metadata/namespace"),
            &text("/metadata/name"),
            "",
            &apply,
            &object,
        )
        .await?;
    }
    Ok(())
}

/// Of the kinds in the addons, whose plurals are regular.
fn resource(api_version: &str, kind: &str) -> Resource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Resource {
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        plural: format!("{}s", kind.to_lowercase()).into(),
        kind: kind.to_owned().into(),
        namespaced: !kind.starts_with("Cluster"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addons_are_objects_with_paths() {
        let objects: Vec<Value> = serde_saphyr::from_str(ADDONS).unwrap();
        assert!(objects.len() > 5);
        for object in &objects {
            let path = resource(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
            assert!(!path.path("", "", "").contains("//"), "{object}");
        }
    }
}
