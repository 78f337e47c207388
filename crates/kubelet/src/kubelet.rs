//! Puts one kubelet together and runs it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::{Api, Informer, InformerOptions, Resource};
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::cgroups::{self, Cgroups};
use crate::config::{ConfigError, KubeletConfiguration};
use crate::context::{Context, NodeFacts, ServiceView};
use crate::events::Events;
use crate::metrics;
use crate::network::dns::ClusterDns;
use crate::node::Reporter;
use crate::node::describe;
use crate::node::machine::{Machine, default_address};
use crate::objects::Objects;
use crate::options::Options;
use crate::orphans;
use crate::paths::Paths;
use crate::pod_certificates::PodCertificates;
use crate::pods::Pods;
use crate::probes::Probes;
use crate::runtime::configs::NodeSettings;
use crate::runtime::images::Images;
use crate::runtime::pleg::Pleg;
use crate::server::Endpoints;
use crate::sources;
use crate::status::manager::Statuses;
use crate::trust_bundles::TrustBundles;
use crate::user_namespaces::UserNamespaces;
use crate::volumes::Volumes;
use crate::{certificates, containers_gc, eviction, images_gc, log_rotation};

const SERVICES: Resource = Resource::of("", "v1", "services", "Service", true);
/// The kubelet is unhealthy if the runtime was not heard of for this long.
const SILENCE: Duration = Duration::from_secs(180);

/// Why a kubelet does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The runtime's address is wrong.
    #[error(transparent)]
    Runtime(#[from] cri::Error),
    /// There are no credentials for the API server.
    #[error(transparent)]
    Credentials(#[from] certificates::CertificateError),
    /// A folder or control group could not be made.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server could not be started.
    #[error("kubelet server: {0}")]
    Serve(String),
}

fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::System { what, source }
}

/// Runs a kubelet until `shutdown`. `client` is the API server where the caller has one already (in one process);
/// otherwise `--kubeconfig` names it, and without either only static pods run. Pods are left running at the end.
///
/// # Errors
/// [`Error`] if it cannot start.
pub async fn run(
    options: Options,
    client: Option<kube::Client>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    component_base::kubeconfig::install_crypto();
    let config = options.configuration()?;
    for field in config.unsupported() {
        tracing::warn!(field, "the configuration sets a field whose feature is not built yet");
    }
    let client = match client {
        Some(client) => Some(client),
        None if options.kubeconfig.is_empty() => None,
        None => {
            let sources = certificates::Sources {
                kubeconfig: Path::new(&options.kubeconfig),
                bootstrap: Path::new(&options.bootstrap_kubeconfig),
                folder: Path::new(&options.cert_dir),
                rotate: config.rotate_certificates,
            };
            Some(certificates::client(sources, &node_name(&options), &shutdown).await?)
        }
    };
    let labels = options.labels()?;
    let machine = Machine::read(Path::new(&options.root_dir));
    let (cx, informers) = assemble(&options, config, client.clone(), &machine, shutdown.clone())?;
    prepare(&cx, &machine)?;
    start(&options, &cx, informers, client, machine, labels).await?;
    shutdown.cancelled().await;
    Ok(())
}

struct Informers {
    pods: Option<Informer<sources::api::PodView>>,
}

fn node_name(options: &Options) -> String {
    let name = if options.hostname_override.is_empty() {
        component_base::hostname()
    } else {
        options.hostname_override.clone()
    };
    name.trim().to_lowercase()
}

fn node_ips(options: &Options) -> Vec<String> {
    let given = options
        .node_ip
        .split(',')
        .map(str::trim)
        .filter(|ip| !ip.is_empty() && *ip != "0.0.0.0" && *ip != "::");
    let given: Vec<String> = given.map(str::to_owned).collect();
    if given.is_empty() { vec![default_address().to_string()] } else { given }
}

fn assemble(
    options: &Options,
    config: KubeletConfiguration,
    client: Option<kube::Client>,
    machine: &Machine,
    shutdown: CancellationToken,
) -> Result<(Arc<Context>, Informers), Error> {
    let node_name = node_name(options);
    let paths = Paths::new(&options.root_dir, &config.pod_logs_dir);
    let timeout = config.runtime_request_timeout.map_or(Duration::from_secs(120), |timeout| timeout.0);
    let runtime = cri::Runtime::new(&config.container_runtime_endpoint, timeout)?
        .observed(metrics::runtime_operations());
    let api = client.map(|client| Api::new(client, "kubelet"));
    let events = Events::new(api.as_ref(), &node_name);
    let pods = Pods::default();
    let woken = pods.clone();
    let wake: Arc<dyn Fn(&str) + Send + Sync> = Arc::new(move |uid: &str| woken.wake(uid));
    let objects = Arc::new(Objects::new(api.clone(), wake.clone()));
    let (_, allocatable) = describe::resources(machine, &config);
    let facts = NodeFacts {
        uid: String::new(),
        ips: node_ips(options),
        labels: [("kubernetes.io/hostname".to_owned(), node_name.clone())].into(),
        taints: Vec::new(),
        allocatable: allocatable.into_iter().map(|(name, amount)| (name, amount.0)).collect(),
    };
    let parallel = match (config.serialize_image_pulls, config.max_parallel_image_pulls) {
        (Some(true), _) => Some(1),
        (_, limit) => limit.and_then(|limit| usize::try_from(limit).ok()),
    };
    let informers = Informers { pods: api.as_ref().map(|api| sources::api::informer(api, &node_name)) };
    let services = api
        .as_ref()
        .map(|api| Informer::<ServiceView>::new(api.clone(), SERVICES, InformerOptions::default()));
    let settings = settings(&config, machine, &options.root_dir);
    let ids_per_pod = config.user_namespaces.ids_per_pod;
    let user_namespaces =
        UserNamespaces::new(&paths, ids_per_pod).map_err(|error| ConfigError::Invalid(error.to_string()))?;
    let thresholds = eviction::thresholds::parse(&config).map_err(ConfigError::Invalid)?;
    let cx = Context {
        machine_started: crate::node::machine::started(),
        node_news: Notify::new(),
        pressure: eviction::Pressure::new(thresholds),
        image_gc: images_gc::ImageGc::default(),
        dead_containers: containers_gc::Policy {
            least_age: options.minimum_container_ttl_duration.map_or(Duration::ZERO, |age| age.0),
            each: options.maximum_dead_containers_per_container.unwrap_or(1),
            all: options.maximum_dead_containers.unwrap_or(-1),
        },
        images: Images::new(runtime.clone(), events.clone(), parallel),
        volumes: Volumes::new(
            paths.clone(),
            api.clone(),
            objects.clone(),
            TrustBundles::new(api.clone(), wake.clone()),
            PodCertificates::new(api.clone(), events.clone(), wake.clone()),
        ),
        user_namespaces,
        probes: Probes::new(runtime.clone(), events.clone(), wake),
        statuses: Statuses::new(api.clone()),
        cgroups: groups(&config),
        dns: ClusterDns {
            servers: config.cluster_dns.clone(),
            domain: config.cluster_domain.clone(),
            resolver_file: config.resolver_config.clone().unwrap_or_default(),
        },
        node: RwLock::new(facts),
        network: watch::Sender::new(Some("the runtime was not asked yet".to_owned())),
        node_name,
        config,
        paths,
        runtime,
        api,
        events,
        objects,
        settings,
        services,
        pods,
        shutdown,
    };
    Ok((Arc::new(cx), informers))
}

fn settings(config: &KubeletConfiguration, machine: &Machine, root: &str) -> NodeSettings {
    let period = config.cpu_cfs_quota_period.map_or(100_000, |period| period.0.as_micros());
    NodeSettings {
        memory_capacity: machine.memory,
        enforce_quota: config.cpu_cfs_quota != Some(false),
        quota_period: i64::try_from(period).unwrap_or(100_000),
        seccomp_default: config.seccomp_default == Some(true),
        root: root.to_owned(),
    }
}

fn groups(config: &KubeletConfiguration) -> Cgroups {
    let period = config.cpu_cfs_quota_period.map_or(100_000, |period| period.0.as_micros());
    let settings = cgroups::Settings {
        root: config.cgroup_root.clone(),
        per_qos: config.cgroups_per_qos != Some(false),
        quota_period: i64::try_from(period).unwrap_or(100_000),
        pids: config.pod_pids_limit.unwrap_or(-1),
    };
    Cgroups::new(cgroups::detect(Path::new("/sys/fs/cgroup")), settings)
}

/// Folders and control groups that must be there before the first pod.
fn prepare(cx: &Context, machine: &Machine) -> Result<(), Error> {
    if cx.cgroups.version() == 1 && cx.config.fail_cgroup_v1 == Some(true) {
        let message = "kubelet is configured to not run on a host using cgroup v1 (failCgroupV1)";
        return Err(ConfigError::Invalid(message.to_owned()).into());
    }
    if machine.swap > 0 && cx.config.fail_swap_on == Some(true) {
        let message = "running with swap on is not supported, please disable swap or set failSwapOn to false";
        return Err(ConfigError::Invalid(message.to_owned()).into());
    }
    for folder in [&cx.paths.pods(), &cx.paths.pod_logs, &cx.paths.container_logs] {
        std::fs::create_dir_all(folder).map_err(system(format!("make {}", folder.display())))?;
    }
    let (cpu, memory) = {
        let node = cx.node.read();
        let get = |name: &str| node.allocatable.get(name).cloned().unwrap_or_default();
        (crate::quantity::milli(&get("cpu")).unwrap_or(0), machine_limit(cx, machine))
    };
    cx.cgroups.ensure_classes(cpu, memory).map_err(system("make the control groups of pods"))
}

/// All pods together may use what is not reserved; the eviction threshold is above that.
fn machine_limit(cx: &Context, machine: &Machine) -> i64 {
    let reserved = [&cx.config.kube_reserved, &cx.config.system_reserved];
    let reserved =
        reserved.iter().filter_map(|list| crate::quantity::value(list.get("memory")?)).sum::<i64>();
    machine.memory - reserved
}

async fn start(
    options: &Options,
    cx: &Arc<Context>,
    informers: Informers,
    client: Option<kube::Client>,
    machine: Machine,
    labels: Vec<(String, String)>,
) -> Result<(), Error> {
    if let Some(services) = &cx.services {
        drop(services.start(cx.shutdown.clone()));
    }
    let woken = cx.pods.clone();
    let pleg = Arc::new(Pleg::new(cx.runtime.clone(), Arc::new(move |uid: &str| woken.wake(uid))));
    let (heard, shutdown) = (pleg.clone(), cx.shutdown.clone());
    tokio::spawn(async move { pleg.run(shutdown).await });
    tokio::spawn(eviction::run(cx.clone(), machine.memory));
    tokio::spawn(images_gc::run(cx.clone()));
    tokio::spawn(containers_gc::run(cx.clone(), cx.dead_containers));
    tokio::spawn(log_rotation::run(cx.clone()));
    tokio::spawn(Reporter::new(cx.clone(), machine, labels).run());
    let manifests = Some(cx.config.static_pod_path.clone()).filter(|path| !path.is_empty());
    if let Some(path) = &manifests {
        tokio::spawn(sources::manifests::run(cx.clone(), PathBuf::from(path)));
    }
    if let Some(pods) = &informers.pods {
        sources::api::start(cx, pods, cx.shutdown.clone());
    }
    tokio::spawn(orphans::run(cx.clone(), informers.pods, manifests.is_some()));
    let started = std::time::Instant::now();
    let healthy = move || match heard.last_seen().unwrap_or(started).elapsed() {
        silence if silence > SILENCE => {
            Err(format!("the container runtime was last heard of {}s ago", silence.as_secs()))
        }
        _ => Ok(()),
    };
    if cx.config.enable_server != Some(false) {
        Arc::new(Endpoints::new(cx.clone(), client, Arc::new(healthy))?).serve(&options.cert_dir).await?;
    }
    tracing::info!(node = cx.node_name, "kubelet started");
    Ok(())
}
