//! Starting sandboxes and containers.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::time::Duration;

use cri::v1;
use k8s_openapi::api::core::v1::{Container as Spec, Pod};

use super::busy::Busy;
use super::plan::Start;
use super::view::as_container;
use super::{PodExt, Role};
use crate::context::Context;
use crate::environment::{self, EnvError};
use crate::events;
use crate::objects::{self, Data, Kind};
use crate::probes::check::{self, Action, Outcome};
use crate::runtime::configs::{self, Prepared};
use crate::runtime::images::Image;
use crate::runtime::security;
use crate::runtime::status::PodRuntime;
use crate::user_namespaces;
use crate::volumes::Mounted;

/// Longest file of environment variables.
const ENV_FILE_LIMIT: u64 = 1 << 20;

/// Why a container is not started: the words of its waiting state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// Reason in the status.
    pub reason: String,
    /// Message in the status.
    pub message: String,
    /// When to try again, if the time is known.
    pub retry: Option<Duration>,
}

impl StartError {
    fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into(), retry: None }
    }
}

/// The specification that a start is about.
#[must_use]
pub fn spec_of(pod: &Pod, start: Start) -> Option<Spec> {
    match start.role {
        Role::Init => pod.init_containers().get(start.index).cloned(),
        Role::Regular => pod.containers().get(start.index).cloned(),
        Role::Ephemeral => pod.ephemeral_containers().get(start.index).map(as_container),
    }
}

/// The configuration of the pod's sandbox; also sent with each container and pull.
///
/// # Errors
/// If the host name or the resolver configuration cannot be made.
pub fn sandbox_config(cx: &Context, pod: &Pod, attempt: u32) -> Result<v1::PodSandboxConfig, String> {
    let name = crate::network::host_name(pod, &cx.dns.domain)?;
    let (dns, notes) = crate::network::dns::of_pod(pod, &cx.dns).map_err(|error| error.to_string())?;
    for note in notes {
        let reason = if note.starts_with("pod:") { "MissingClusterDNS" } else { "DNSConfigForming" };
        cx.events.emit(pod, events::Kind::Warning, reason, &note, "");
    }
    let logs = cx.paths.pod_log(pod.namespace(), pod.name(), pod.uid());
    let group = cx.cgroups.of_pod(pod);
    let mut config = configs::sandbox(pod, attempt, &name.shown, dns, &logs, &group, &cx.settings);
    let users = cx.user_namespaces.of(pod).map_err(|error| error.to_string())?;
    let context = config.linux.as_mut().and_then(|linux| linux.security_context.as_mut());
    if let Some(options) = context.and_then(|context| context.namespace_options.as_mut()) {
        options.userns_options = users;
    }
    Ok(config)
}

/// Makes and starts a sandbox; its id.
///
/// # Errors
/// The message for the event `FailedCreatePodSandBox`.
pub async fn sandbox(
    cx: &Context,
    pod: &Pod,
    attempt: u32,
    busy: &Busy,
) -> Result<(String, v1::PodSandboxConfig), String> {
    let handler = cx.runtime_handler(pod).await?;
    if user_namespaces::wanted(pod) {
        supports_users(cx, &handler).await?;
    }
    let config = sandbox_config(cx, pod, attempt)?;
    fs::create_dir_all(&config.log_directory).map_err(|error| error.to_string())?;
    let (runtime, sent) = (cx.runtime.clone(), config.clone());
    let made = busy.run(async move { runtime.run_pod_sandbox(sent, &handler).await }).await;
    let id = made.map_err(|error| error.to_string())?;
    Ok((id, config))
}

/// Whether the runtime can give a pod users of its own.
async fn supports_users(cx: &Context, name: &str) -> Result<(), String> {
    let status = cx.runtime.status(v1::StatusRequest { verbose: false }).await;
    let status = status.map_err(|error| format!("can't set `spec.hostUsers: false`: {error}"))?;
    let handler = status.runtime_handlers.iter().find(|handler| handler.name == name);
    if handler.and_then(|handler| handler.features.as_ref()).is_some_and(|features| features.user_namespaces)
    {
        return Ok(());
    }
    Err(match name {
        "" => "can't set `spec.hostUsers: false`, runtime does not support user namespaces".to_owned(),
        name => format!(
            "can't set `spec.hostUsers: false`, RuntimeClass handler {name:?} does not support user namespaces"
        ),
    })
}

/// Gives a container the users of its pod, and its mounts their ids.
fn share_users(config: &mut v1::ContainerConfig, sandbox: &v1::PodSandboxConfig) {
    let context = sandbox.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    let options = context.and_then(|context| context.namespace_options.as_ref());
    let Some(users) = options.and_then(|options| options.userns_options.clone()) else { return };
    for mount in &mut config.mounts {
        mount.uid_mappings.clone_from(&users.uids);
        mount.gid_mappings.clone_from(&users.gids);
    }
    let own = config.linux.as_mut().and_then(|linux| linux.security_context.as_mut());
    if let Some(options) = own.and_then(|context| context.namespace_options.as_mut()) {
        options.userns_options = Some(users);
    }
}

/// Everything that is known when containers of a pod are started.
pub struct Sandbox<'a> {
    /// The pod's calls to the runtime.
    pub busy: &'a Busy,
    /// Its id.
    pub id: &'a str,
    /// Its configuration.
    pub config: &'a v1::PodSandboxConfig,
    /// Addresses of the pod.
    pub ips: &'a [String],
    /// The pod's volumes.
    pub mounted: &'a Mounted,
}

/// Pulls the image, makes the container, starts it and runs its post-start hook; its id.
///
/// # Errors
/// [`StartError`]
pub async fn container(
    cx: &Context,
    pod: &Arc<Pod>,
    start: Start,
    runtime: &PodRuntime,
    sandbox: &Sandbox<'_>,
) -> Result<String, StartError> {
    let Some(spec) = spec_of(pod, start) else {
        return Err(StartError::new("CreateContainerError", "the specification has no such container"));
    };
    let secrets = pull_secrets(cx, pod).await;
    let image = cx.images.ensure(pod, &spec, &secrets, sandbox.config).await.map_err(|error| StartError {
        reason: error.reason.to_owned(),
        message: error.message,
        retry: error.retry,
    })?;
    let path = events::container_path(pod, &spec.name);
    let failed = |error: StartError| {
        cx.events.emit(pod, events::Kind::Warning, "Failed", &format!("Error: {}", error.message), &path);
        error
    };
    let volumes = image_volumes(cx, pod, &spec, &secrets, sandbox).await?;
    let images = Pulled { own: &image, volumes: &volumes };
    let config =
        container_config(cx, pod, &spec, start.role, runtime, sandbox, &images).await.map_err(failed)?;
    let restarts = config.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
    fs::create_dir_all(std::path::Path::new(&sandbox.config.log_directory).join(&spec.name))
        .map_err(|error| failed(StartError::new("CreateContainerError", error.to_string())))?;
    let (client, sandbox_id, of) = (cx.runtime.clone(), sandbox.id.to_owned(), sandbox.config.clone());
    let created =
        sandbox.busy.run(async move { client.create_container(&sandbox_id, config, of).await }).await;
    let id = created.map_err(|error| failed(StartError::new("CreateContainerError", error.message())))?;
    cx.events.emit(pod, events::Kind::Normal, "Created", "Container created", &path);
    let (client, own) = (cx.runtime.clone(), id.clone());
    if let Err(error) = sandbox.busy.run(async move { client.start_container(&own).await }).await {
        return Err(failed(StartError::new("RunContainerError", error.message())));
    }
    cx.events.emit(pod, events::Kind::Normal, "Started", "Container started", &path);
    crate::metrics::container_started(start.role);
    link_log(cx, pod, &spec.name, &id, restarts, sandbox);
    post_start(cx, pod, &spec, &id, sandbox, &path).await?;
    Ok(id)
}

/// The images of a container: its own, and by volume the ids of those that it mounts.
struct Pulled<'a> {
    own: &'a Image,
    volumes: &'a HashMap<String, String>,
}

/// Makes sure of the images that a container mounts.
async fn image_volumes(
    cx: &Context,
    pod: &Pod,
    spec: &Spec,
    secrets: &[Arc<Data>],
    sandbox: &Sandbox<'_>,
) -> Result<HashMap<String, String>, StartError> {
    let mut ids = HashMap::new();
    for mount in spec.volume_mounts.iter().flatten() {
        let Some((reference, policy)) = sandbox.mounted.images.get(&mount.name) else { continue };
        if ids.contains_key(&mount.name) {
            continue;
        }
        let wanted = Spec {
            name: spec.name.clone(),
            image: Some(reference.clone()),
            image_pull_policy: policy.clone(),
            ..Spec::default()
        };
        let image = cx.images.ensure(pod, &wanted, secrets, sandbox.config).await.map_err(|error| {
            StartError { reason: error.reason.to_owned(), message: error.message, retry: error.retry }
        })?;
        ids.insert(mount.name.clone(), image.id);
    }
    Ok(ids)
}

async fn pull_secrets(cx: &Context, pod: &Pod) -> Vec<Arc<Data>> {
    let mut secrets = Vec::new();
    for reference in pod.spec().image_pull_secrets.iter().flatten() {
        match cx.objects.get(Kind::Secret, pod.namespace(), &reference.name).await {
            Ok(secret) => secrets.push(secret),
            Err(_) => {
                let message = format!(
                    "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                    reference.name
                );
                cx.events.emit(pod, events::Kind::Warning, "FailedToRetrieveImagePullSecret", &message, "");
            }
        }
    }
    secrets
}

async fn container_config(
    cx: &Context,
    pod: &Arc<Pod>,
    spec: &Spec,
    role: Role,
    runtime: &PodRuntime,
    sandbox: &Sandbox<'_>,
    images: &Pulled<'_>,
) -> Result<v1::ContainerConfig, StartError> {
    let image = images.own;
    let wrong = |message: String| StartError::new("CreateContainerConfigError", message);
    security::verify_non_root(pod, spec, &image.user).map_err(wrong)?;
    let mut data = HashMap::new();
    let names: Vec<_> = objects::of_environment(spec).collect();
    for (kind, name) in names {
        let found = match cx.objects.get(kind, pod.namespace(), &name).await {
            Ok(found) => Some(found),
            Err(objects::ObjectError::NotFound { .. }) => None,
            Err(error) => return Err(wrong(error.to_string())),
        };
        data.insert((kind, name), found);
    }
    let services = cx.service_variables(pod).await.map_err(wrong)?;
    let lookup = |kind: Kind, name: &str| data.get(&(kind, name.to_owned())).cloned().flatten();
    let facts = cx.facts(sandbox.ips);
    let files = |volume: &str, path: &str| {
        let folder = sandbox.mounted.paths.get(volume);
        let folder = folder.ok_or_else(|| EnvError::Volume(volume.to_owned()))?;
        crate::volumes::mounts::read_below(folder, path, ENV_FILE_LIMIT).map_err(|error| {
            tracing::warn!(pod = pod.shown(), volume, path, %error, "file of environment variables");
            EnvError::File
        })
    };
    let from = environment::Sources { facts: &facts, objects: &lookup, files: &files };
    let variables = environment::environment(pod, spec, &services, from).map_err(|e| wrong(e.to_string()))?;
    let hosts = write_hosts(cx, pod, sandbox.ips).map_err(|error| wrong(error.to_string()))?;
    let mounts = cx
        .volumes
        .container_mounts(pod, spec, &variables, sandbox.mounted, images.volumes, &hosts)
        .map_err(|error| wrong(error.to_string()))?;
    let target = pod
        .ephemeral_containers()
        .iter()
        .find(|ephemeral| ephemeral.name == spec.name)
        .and_then(|ephemeral| ephemeral.target_container_name.as_deref())
        .and_then(|name| runtime.active(name))
        .map(|container| container.id.as_str());
    let prepared = Prepared {
        restarts: restarts(spec, runtime, sandbox),
        image_ref: &image.id,
        image_user: &image.user,
        environment: &variables,
        mounts,
        target,
    };
    let mut config = configs::container(pod, spec, role, prepared, &cx.settings);
    share_users(&mut config, sandbox.config);
    Ok(config)
}

/// How often the container was started: one more than the last one, or than the last log if none is left.
fn restarts(spec: &Spec, runtime: &PodRuntime, sandbox: &Sandbox<'_>) -> u32 {
    if let Some(last) = runtime.container(&spec.name) {
        return last.restart_count + 1;
    }
    let folder = std::path::Path::new(&sandbox.config.log_directory).join(&spec.name);
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let numbers =
        names.filter_map(|entry| entry.file_name().to_str()?.split('.').next()?.parse::<u32>().ok());
    numbers.max().map_or(0, |last| last + 1)
}

fn write_hosts(cx: &Context, pod: &Pod, ips: &[String]) -> std::io::Result<std::path::PathBuf> {
    let aliases = pod.spec().host_aliases.as_deref().unwrap_or_default();
    let text = if pod.host_network() {
        crate::network::hosts::of_host(&fs::read_to_string("/etc/hosts").unwrap_or_default(), aliases)
    } else {
        let name = crate::network::host_name(pod, &cx.dns.domain).unwrap_or_default();
        crate::network::hosts::of_pod(ips, &name, aliases)
    };
    let path = cx.paths.hosts(pod.uid());
    if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    }
    Ok(path)
}

/// The link by which log collectors find the container's log.
fn link_log(cx: &Context, pod: &Pod, container: &str, id: &str, restarts: u32, sandbox: &Sandbox<'_>) {
    let log =
        std::path::Path::new(&sandbox.config.log_directory).join(container).join(format!("{restarts}.log"));
    let link = cx.paths.log_link(pod.namespace(), pod.name(), container, id);
    let _ = fs::create_dir_all(&cx.paths.container_logs);
    if let Err(error) = symlink(&log, &link) {
        tracing::debug!(%error, link = %link.display(), "link log");
    }
}

async fn post_start(
    cx: &Context,
    pod: &Arc<Pod>,
    spec: &Spec,
    id: &str,
    sandbox: &Sandbox<'_>,
    path: &str,
) -> Result<(), StartError> {
    let Some(hook) = spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref()) else {
        return Ok(());
    };
    let ip = sandbox.ips.first().cloned().unwrap_or_else(|| cx.pod_ip(pod));
    let outcome =
        check::run(&cx.runtime, spec, id, &ip, &Action::of_hook(hook), Duration::from_secs(3600)).await;
    let (Outcome::Failure(text) | Outcome::Error(text)) = outcome else { return Ok(()) };
    tracing::info!(pod = pod.shown(), container = spec.name, text, "post-start hook");
    cx.events.emit(pod, events::Kind::Warning, "FailedPostStartHook", "PostStartHook failed", path);
    let grace = Duration::from_secs(u64::try_from(pod.grace_period()).unwrap_or(0));
    cx.events.emit(pod, events::Kind::Normal, "Killing", "FailedPostStartHook", path);
    if let Err(error) = cx.runtime.stop_container(id, grace).await {
        tracing::warn!(%error, "stop container after its post-start hook failed");
    }
    Err(StartError::new("PostStartHookError", text))
}
