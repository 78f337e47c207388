//! Volumes of pods: prepared on the node before containers start, kept up while they run, taken down after.
//!
//! Built: emptyDir, hostPath, configMap, secret, downwardAPI, projected, image. A volume of any other kind is an error
//! that names it; storage systems come with CSI.

pub mod atomic;
mod container;
pub mod content;
pub mod host_path;
pub mod mounts;
pub mod ownership;
mod projected;
mod tokens;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::Api;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};

use crate::environment::Facts;
use crate::objects::{Kind, Objects};
use crate::paths::Paths;
use crate::pod::PodExt;
use crate::pod_certificates::PodCertificates;
use crate::quantity;
use crate::runtime::resources;
use crate::trust_bundles::TrustBundles;
use content::{ContentError, Sources};

/// Why a volume is not there.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VolumeError {
    /// Its content could not be made.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {reason}")]
    SetUp {
        /// Name of the volume.
        volume: String,
        /// Why.
        reason: String,
    },
    /// A container's mount of it is wrong.
    #[error("{0}")]
    Mount(String),
}

/// The prepared volumes of a pod.
#[derive(Clone, Debug, Default)]
pub struct Mounted {
    /// Where each volume lies on the node.
    pub paths: HashMap<String, PathBuf>,
    /// Image volumes: the reference and the pull policy. The runtime mounts them.
    pub images: HashMap<String, (String, Option<String>)>,
    /// When a token or a certificate is to be renewed.
    pub renew: Option<Timestamp>,
    /// Volumes that keep their old files, as new ones could not be made.
    pub stale: Vec<VolumeError>,
}

/// Prepares and removes volumes.
pub struct Volumes {
    paths: Paths,
    api: Option<Api>,
    objects: Arc<Objects>,
    tokens: tokens::Tokens,
    trust: TrustBundles,
    /// Certificates of pods.
    pub certificates: PodCertificates,
}

/// What volumes must know of the pod's surroundings.
pub struct Needs<'a> {
    /// What the downward API tells.
    pub facts: &'a Facts,
    /// Name of the node.
    pub node_name: &'a str,
    /// UID of the node's object.
    pub node_uid: &'a str,
}

const CONFIG_MAP: &str = "kubernetes.io/configmap";
const SECRET: &str = "kubernetes.io/secret";
const DOWNWARD: &str = "kubernetes.io/downward-api";
const PROJECTED: &str = "kubernetes.io/projected";

/// The plugin of a volume whose files the kubelet makes.
fn files_plugin(volume: &Volume) -> Option<&'static str> {
    let plugins = [
        (volume.config_map.is_some(), CONFIG_MAP),
        (volume.secret.is_some(), SECRET),
        (volume.downward_api.is_some(), DOWNWARD),
        (volume.projected.is_some(), PROJECTED),
    ];
    plugins.iter().find(|(is, _)| *is).map(|(_, name)| *name)
}

enum Source<'a> {
    Path(PathBuf),
    Empty(&'a EmptyDirVolumeSource),
    /// Files of the kubelet's making: the plugin's name, the files, whether they stay in memory.
    Files(&'static str, atomic::Payload, bool),
}

impl Volumes {
    /// Volumes below `paths`, with objects from `objects`.
    #[must_use]
    pub fn new(
        paths: Paths,
        api: Option<Api>,
        objects: Arc<Objects>,
        trust: TrustBundles,
        certificates: PodCertificates,
    ) -> Self {
        Self { paths, api, objects, tokens: tokens::Tokens::default(), trust, certificates }
    }

    /// Prepares every volume of a pod, or brings its files up to date. Idempotent.
    ///
    /// # Errors
    /// The first volume that is not there, in the words of the event `FailedMount`. One whose files only could not be
    /// renewed is there.
    pub async fn mount(&self, pod: &Pod, needs: &Needs<'_>) -> Result<Mounted, VolumeError> {
        let (mut mounted, mut first) = (Mounted::default(), None);
        for volume in pod.volumes() {
            if let Some(source) = &volume.image {
                let image = (source.reference.clone().unwrap_or_default(), source.pull_policy.clone());
                mounted.images.insert(volume.name.clone(), image);
                continue;
            }
            let result = self.mount_one(pod, volume, needs, &mut mounted.renew).await;
            let wrong = |reason| VolumeError::SetUp { volume: volume.name.clone(), reason };
            let path = match (result, self.made_before(pod, volume)) {
                (Ok(path), _) => path,
                (Err(reason), Some(path)) => {
                    mounted.stale.push(wrong(reason));
                    path
                }
                // the others may take their time too
                (Err(reason), None) => {
                    first.get_or_insert_with(|| wrong(reason));
                    continue;
                }
            };
            mounted.paths.insert(volume.name.clone(), path);
        }
        first.map_or(Ok(mounted), Err)
    }

    /// Where a volume's files lie, if they were made at some time.
    fn made_before(&self, pod: &Pod, volume: &Volume) -> Option<PathBuf> {
        let path = self.paths.volume(pod.uid(), files_plugin(volume)?, &volume.name);
        path.join(atomic::DATA).exists().then_some(path)
    }

    async fn mount_one(
        &self,
        pod: &Pod,
        volume: &Volume,
        needs: &Needs<'_>,
        renew: &mut Option<Timestamp>,
    ) -> Result<PathBuf, String> {
        match self.source(pod, volume, needs, renew).await? {
            Source::Path(path) => Ok(path),
            Source::Empty(source) => {
                let path = self.paths.volume(pod.uid(), "kubernetes.io/empty-dir", &volume.name);
                empty_dir(&path, pod, source, needs.facts).map_err(|error| error.to_string())?;
                Ok(path)
            }
            Source::Files(plugin, payload, memory) => {
                let path = self.paths.volume(pod.uid(), plugin, &volume.name);
                files(&path, pod, &payload, memory).map_err(|error| error.to_string())?;
                Ok(path)
            }
        }
    }

    async fn source<'a>(
        &self,
        pod: &Pod,
        volume: &'a Volume,
        needs: &Needs<'_>,
        renew: &mut Option<Timestamp>,
    ) -> Result<Source<'a>, String> {
        let text = |error: ContentError| error.to_string();
        if let Some(source) = &volume.host_path {
            let kind = source.type_.as_deref().unwrap_or_default();
            host_path::check(Path::new(&source.path), kind)?;
            return Ok(Source::Path(PathBuf::from(&source.path)));
        }
        if let Some(source) = &volume.empty_dir {
            return Ok(Source::Empty(source));
        }
        if let Some(source) = &volume.config_map {
            let sources = self.fetch(pod, vec![(Kind::ConfigMap, source.name.clone())]).await?;
            let payload = content::config_map(source, &sources).map_err(text)?;
            return Ok(Source::Files(CONFIG_MAP, payload, false));
        }
        if let Some(source) = &volume.secret {
            let name = source.secret_name.clone().unwrap_or_default();
            let sources = self.fetch(pod, vec![(Kind::Secret, name)]).await?;
            let payload = content::secret(source, &sources).map_err(text)?;
            return Ok(Source::Files(SECRET, payload, true));
        }
        if let Some(source) = &volume.downward_api {
            let mode = content::default_mode(source.default_mode);
            let payload = content::downward(pod, source.items.as_ref(), mode, needs.facts).map_err(text)?;
            return Ok(Source::Files(DOWNWARD, payload, true));
        }
        if let Some(source) = &volume.projected {
            let sources = self.gather(pod, &volume.name, source, needs, renew).await?;
            let payload = content::projected(pod, source, &sources, needs.facts).map_err(text)?;
            return Ok(Source::Files(PROJECTED, payload, true));
        }
        Err(format!("volumes of kind {} are not supported by this kubelet", kind_of(volume)))
    }

    async fn token(&self, pod: &Pod, audience: &str, seconds: i64) -> Result<(String, Timestamp), String> {
        let api = self.api.as_ref().ok_or("service account tokens need an API server")?;
        self.tokens
            .get(api, pod, audience, seconds)
            .await
            .map_err(|error| format!("failed to fetch token: {error}"))
    }

    async fn fetch(&self, pod: &Pod, names: Vec<(Kind, String)>) -> Result<Sources, String> {
        let mut sources = Sources::default();
        for (kind, name) in names {
            let object = match self.objects.get(kind, pod.namespace(), &name).await {
                Ok(data) => Some(data),
                Err(crate::objects::ObjectError::NotFound { .. }) => None,
                Err(error) => return Err(error.to_string()),
            };
            sources.objects.insert((kind, name), object);
        }
        Ok(sources)
    }

    /// Unmounts and removes what a pod had on the node. Idempotent.
    ///
    /// # Errors
    /// What the system said.
    pub fn remove(&self, uid: &str) -> io::Result<()> {
        self.tokens.forget(uid);
        self.trust.forget(uid);
        self.certificates.forget(uid);
        let folder = self.paths.pod(uid);
        mounts::unmount_below(&folder)?;
        for below in ["volume-subpaths", "volumes"] {
            remove_dir(&folder.join(below))?;
        }
        Ok(())
    }
}

/// Removes a folder with its content; one that is not there is fine.
pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The name of the field that is set in a volume of a kind that is not built.
fn kind_of(volume: &Volume) -> String {
    let object = serde_json::to_value(volume).unwrap_or_default();
    let fields = object.as_object().into_iter().flatten();
    fields.map(|(name, _)| name.clone()).find(|name| name != "name").unwrap_or_else(|| "unknown".to_owned())
}

fn empty_dir(path: &Path, pod: &Pod, source: &EmptyDirVolumeSource, facts: &Facts) -> io::Result<()> {
    let memory = source.medium.as_deref() == Some("Memory");
    if path.exists() && (!memory || mounts::is_mount(path)) {
        return Ok(());
    }
    if source.medium.as_deref().is_some_and(|medium| !medium.is_empty() && medium != "Memory") {
        return Err(io::Error::other(format!("medium {:?} is not supported by this kubelet", source.medium)));
    }
    fs::create_dir_all(path)?;
    if memory {
        mounts::tmpfs(path, tmpfs_size(pod, source, facts))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    match ownership::group(pod) {
        Some(group) => ownership::give(path, group, false),
        None => Ok(()),
    }
}

/// A memory volume holds at most its limit, the pod's, or the node's memory.
fn tmpfs_size(pod: &Pod, source: &EmptyDirVolumeSource, facts: &Facts) -> Option<u64> {
    let own = source.size_limit.as_ref().and_then(|limit| quantity::value(&limit.0)).filter(|size| *size > 0);
    let node = facts.allocatable.get("memory").and_then(|text| quantity::value(text));
    let limits = [own, resources::of_pod(pod).memory_limit.filter(|limit| *limit > 0), node];
    limits.into_iter().flatten().min().and_then(|size| u64::try_from(size).ok())
}

fn files(path: &Path, pod: &Pod, payload: &atomic::Payload, memory: bool) -> io::Result<()> {
    if !path.exists() || (memory && !mounts::is_mount(path)) {
        fs::create_dir_all(path)?;
        if memory {
            mounts::tmpfs(path, None)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    }
    let group = ownership::group(pod);
    let changed = atomic::write(path, payload, |new| match group {
        Some(group) => ownership::give(new, group, true),
        None => Ok(()),
    })?;
    if changed {
        tracing::debug!(pod = pod.shown(), path = %path.display(), "volume written");
    }
    Ok(())
}
