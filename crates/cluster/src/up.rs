//! `keelson up`: from nothing, or from whatever an earlier `up` left, to a cluster whose nodes are Ready.
//! Each step makes what is missing, so that `up` after a kill, or after `up`, is the same command.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::layout::{self, Layout, node_name};
use crate::notify::Notifications;
use crate::preflight::{self, Runtime};
use crate::process::{self, Process, spawn};
use crate::record::{Node, Record};
use crate::{Error, containerd, image, kubeconfig, machine, namespaces, network, pause_image, pki, strays};

/// The flags of `keelson up`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Nodes on this machine
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub nodes: u8,
    /// Tells clusters of one machine apart
    #[arg(long, default_value = "keelson")]
    pub name: String,
    /// The containerd to run on each node (default: the one in PATH); its shim, ctr and runc are looked for beside it
    #[arg(long, value_name = "PATH")]
    pub containerd: Option<PathBuf>,
    /// Asked first for every image, whatever registry its name says
    #[arg(long, value_name = "URL")]
    pub registry_mirror: Option<String>,
    /// A real etcd to keep the cluster's state in, instead of the store inside
    #[arg(long, value_name = "URL,...", value_delimiter = ',')]
    pub etcd_servers: Vec<String>,
    /// Leave the user's kubeconfig alone
    #[arg(long)]
    pub no_kubeconfig: bool,
}

/// Tells the person at the terminal how far it is.
pub trait Progress {
    fn step(&mut self, elapsed: Duration, what: &str);
}

/// Brings the cluster up and waits until every node is Ready; its record.
pub async fn up(options: Options, progress: &mut dyn Progress) -> Result<Record, Error> {
    let begin = Instant::now();
    layout::check_name(&options.name)?;
    let (mut record, fresh) = plan(&options)?;
    let layout = record.layout();
    let runtime = preflight::runtime(Some(&record.containerd))?;
    let result =
        bring_up(&mut record, &layout, &runtime, &options, |what| progress.step(begin.elapsed(), what)).await;
    if result.is_err() && fresh {
        // A first start that failed leaves nothing but its logs' last words, which the error quotes.
        let kept = keep_logs(&layout);
        crate::down::remove(record).await?;
        return result.map(|()| unreachable!("it failed")).map_err(|e: Error| match kept {
            Some(path) => Error::Failed(format!("{e}\nlogs are kept in {}", path.display())),
            None => e,
        });
    }
    result.map(|()| record)
}

/// The logs of a start that failed, moved where `down` does not take them.
fn keep_logs(layout: &Layout) -> Option<PathBuf> {
    let kept = std::env::temp_dir().join(format!("keelson-{}-logs", layout.name));
    let _ = std::fs::remove_dir_all(&kept);
    std::fs::create_dir_all(&kept).ok()?;
    for entry in std::fs::read_dir(layout.logs()).ok()?.flatten() {
        let _ = std::fs::copy(entry.path(), kept.join(entry.file_name()));
    }
    Some(kept)
}

/// The record of the cluster that these options ask for, and whether it is a new one.
fn plan(options: &Options) -> Result<(Record, bool), Error> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::Preflight(
            "nodes are made of namespaces and mounts, which needs root; run it with sudo".into(),
        ));
    }
    if let Some(mut record) = Record::load(&options.name)? {
        agrees(&record, options)?;
        for number in 1..=options.nodes {
            record.nodes.entry(node_name(number)).or_insert_with(|| Node { number, ..Node::default() });
        }
        return Ok((record, false));
    }
    let runtime = preflight::runtime(options.containerd.as_deref())?;
    let index = Record::free_index(&Record::all()?).ok_or_else(|| {
        Error::Preflight("there are 100 clusters on this machine; take one down first".into())
    })?;
    preflight::machine(&Layout::new(&options.name, index))?;
    let mut record = Record::new(&options.name, index, runtime.containerd);
    record.etcd_servers = options.etcd_servers.clone();
    record.registry_mirror = options.registry_mirror.clone();
    record.nodes =
        (1..=options.nodes).map(|n| (node_name(n), Node { number: n, ..Node::default() })).collect();
    Ok((record, true))
}

/// A running cluster is not turned into another one by a second `up`.
fn agrees(record: &Record, options: &Options) -> Result<(), Error> {
    let name = &record.name;
    let refuse = |what: &str| {
        Err(Error::Preflight(format!("cluster {name} is up {what}; `keelson down --name {name}` first")))
    };
    if usize::from(options.nodes) < record.nodes.len() && options.nodes != 1 {
        return refuse(&format!(
            "with {} nodes, and --nodes {} would remove some",
            record.nodes.len(),
            options.nodes
        ));
    }
    if !options.etcd_servers.is_empty() && options.etcd_servers != record.etcd_servers {
        return refuse("with another --etcd-servers");
    }
    if options.containerd.as_ref().is_some_and(|c| *c != record.containerd) {
        return refuse(&format!("with --containerd {}", record.containerd.display()));
    }
    Ok(())
}

async fn bring_up(
    record: &mut Record,
    layout: &Layout,
    runtime: &Runtime,
    options: &Options,
    mut step: impl FnMut(&str),
) -> Result<(), Error> {
    clear(record, layout).await?;
    prepare(record, layout)?;
    network::ensure_bridge(layout).await?;
    for obstacle in network::outside::open(layout)? {
        step(&format!("pods will not reach the outside: {obstacle}"));
    }
    let notifications = Notifications::bind(&layout.run().join("notify.sock"))?;
    start_control_plane(record, layout, &notifications)?;
    let mut starting = Vec::new();
    for name in record.nodes.keys().cloned().collect::<Vec<_>>() {
        starting.extend(start_node(record, layout, runtime, &name).await?);
    }
    step("certificates, and the nodes' namespaces");
    let control_plane = record.control_plane.clone().into_iter().collect::<Vec<_>>();
    notifications.wait(&["control-plane".into()], &control_plane, &layout.logs()).await?;
    step("the API server answers");
    import_pause(record, layout, runtime, &starting).await?;
    start_agents(record, layout, &notifications)?;
    let agents: Vec<Process> = record.nodes.values().filter_map(|n| n.agent.clone()).collect();
    let names: Vec<String> = record.nodes.keys().cloned().collect();
    notifications.wait(&names, &agents, &layout.logs()).await?;
    step(&format!(
        "{} Ready, cluster DNS answers",
        if names.len() == 1 { "the node is".into() } else { format!("{} nodes are", names.len()) }
    ));
    if !options.no_kubeconfig {
        let file = kubeconfig::users_file();
        let before = kubeconfig::merge_into(&file, &kubeconfig::build(layout, "admin")?)?;
        record.previous_context = before.or(record.previous_context.take());
        record.kubeconfig = Some(file);
        record.save()?;
    }
    Ok(())
}

/// Takes away what an `up` that was killed, or a machine that was started again, left half done.
async fn clear(record: &Record, layout: &Layout) -> Result<(), Error> {
    let mut known = record.processes();
    // the pods of a node that is up go on
    let up = record.nodes.iter().filter(|(_, node)| node.init.as_ref().is_some_and(Process::is_alive));
    known.extend(up.flat_map(|(name, _)| strays::shims(layout, name)));
    if let Some(process) = strays::end(layout, &known).await.first() {
        return Err(Error::Failed(format!("process {} of an earlier start does not end", process.pid)));
    }
    if known.iter().any(Process::is_alive) {
        return Ok(());
    }
    // Links may be there without their addresses, or still go away with a node that has just ended.
    network::remove(layout, record.nodes.values().map(|n| n.number)).await
}

/// Folders, certificates, kubeconfigs, cgroups and the machine's settings.
fn prepare(record: &mut Record, layout: &Layout) -> Result<(), Error> {
    for folder in [layout.state(), layout.run(), layout.logs(), layout.store()] {
        machine::folder(&folder)?;
    }
    crate::record::write_whole(&layout.index_copy(), layout.index.to_string().as_bytes(), 0o644)?;
    record.save()?;
    let nodes: Vec<(String, Ipv4Addr)> =
        record.nodes.iter().map(|(name, node)| (name.clone(), layout.node_ip(node.number))).collect();
    pki::ensure(layout, &nodes)?;
    kubeconfig::write(layout, "admin", &layout.admin_kubeconfig())?;
    for user in ["controller-manager", "scheduler", "kube-proxy", "flannel", "coredns"] {
        kubeconfig::write(layout, user, &layout.state().join(format!("{user}.conf")))?;
    }
    for (name, _) in &nodes {
        let home = layout.node(name);
        machine::folder(&home)?;
        kubeconfig::write(layout, &format!("{name}-client"), &home.join("kubelet.conf"))?;
        machine::make_cgroup(&layout.node_cgroup(name))?;
    }
    machine::raise_limits(&mut record.sysctls);
    pause_image::write_program(&layout.state().join("pause"))?;
    record.save()
}

fn start_control_plane(
    record: &mut Record,
    layout: &Layout,
    notifications: &Notifications,
) -> Result<(), Error> {
    if record.control_plane.as_ref().is_some_and(Process::is_alive) {
        notifications.already("control-plane");
        return Ok(());
    }
    let arguments = ["control-plane".to_owned(), format!("--name={}", layout.name)];
    let program = process::own_program()?;
    record.control_plane = Some(spawn(&program, &arguments, &layout.logs().join("control-plane.log"), None)?);
    record.save()
}

/// The node's namespaces, link and containerd; the latter if it had to be started.
async fn start_node(
    record: &mut Record,
    layout: &Layout,
    runtime: &Runtime,
    name: &str,
) -> Result<Option<(String, containerd::Starting)>, Error> {
    let Some(mut node) = record.nodes.get(name).cloned() else { return Ok(None) };
    let init = match node.init.clone().filter(Process::is_alive) {
        Some(init) => init,
        None => {
            node = Node { number: node.number, ..Node::default() };
            // The link of the namespace before goes with it, but not at once.
            flannel::links::remove(&flannel::links::connect()?, &layout.host_link(node.number)).await?;
            let log = layout.logs().join(format!("{name}-init.log"));
            namespaces::make(name, &layout.state().join("pause"), &log)?
        }
    };
    node.init = Some(init.clone());
    record.nodes.insert(name.to_owned(), node.clone());
    record.save()?;
    network::ensure_node(layout, node.number, &init).await?;
    if let Some(running) = node.containerd.as_ref().filter(|c| c.is_alive()) {
        if containerd::answers(layout, name) {
            return Ok(None);
        }
        running.stop(Duration::from_secs(5)).await;
    }
    let starting = containerd::start(record, runtime, name, &init)?;
    node.containerd = Some(starting.process.clone());
    record.nodes.insert(name.to_owned(), node);
    record.save()?;
    Ok(Some((name.to_owned(), starting)))
}

async fn import_pause(
    record: &Record,
    layout: &Layout,
    runtime: &Runtime,
    starting: &[(String, containerd::Starting)],
) -> Result<(), Error> {
    let archive = pause_image::archive();
    let jobs = record.nodes.keys().map(|name| {
        let archive = &archive;
        async move {
            if let Some((_, starting)) = starting.iter().find(|(n, _)| n == name) {
                starting.wait(layout).await?;
            }
            let stamp = layout.node(name).join("pause-imported");
            if !stamp.exists() {
                image::import(layout, runtime, name, pause_image::REFERENCE, archive).await?;
                crate::record::write_whole(&stamp, b"", 0o644)?;
            }
            Ok::<(), Error>(())
        }
    });
    futures::future::try_join_all(jobs).await.map(drop)
}

/// kubelet, proxy, network and DNS of each node, as one process in the node's namespaces.
fn start_agents(record: &mut Record, layout: &Layout, notifications: &Notifications) -> Result<(), Error> {
    for name in record.nodes.keys().cloned().collect::<Vec<_>>() {
        let Some(node) = record.nodes.get_mut(&name) else { continue };
        if node.agent.as_ref().is_some_and(Process::is_alive) {
            notifications.already(&name);
            continue;
        }
        let arguments = ["node".to_owned(), format!("--name={}", layout.name), format!("--node={name}")];
        let log = layout.logs().join(format!("{name}.log"));
        let program: &Path = &process::own_program()?;
        node.agent = Some(spawn(program, &arguments, &log, node.init.as_ref())?);
        record.save()?;
    }
    Ok(())
}
