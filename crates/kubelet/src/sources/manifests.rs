//! Static pods: manifests in a folder, watched by inotify.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Toleration};
use nix::sys::inotify::AddWatchFlags;
use sha2::{Digest, Sha256};

use crate::context::Context;
use crate::pod::PodExt;
use crate::pod::view::{HASH_ANNOTATION, SEEN_ANNOTATION, SOURCE_ANNOTATION};
use crate::watch_file::FileWatch;

/// Pause before a folder that is not there, or cannot be watched, is tried again.
const RETRY: Duration = Duration::from_secs(20);
/// Files may be written in several steps: wait for the end of a burst.
const SETTLE: Duration = Duration::from_millis(20);

/// Follows the folder (or single file) until the kubelet ends.
pub async fn run(cx: Arc<Context>, path: PathBuf) {
    let shutdown = cx.shutdown.clone();
    let _ = shutdown.run_until_cancelled(follow(cx, path)).await;
}

async fn follow(cx: Arc<Context>, path: PathBuf) {
    let mut known: HashMap<String, Arc<Pod>> = HashMap::new();
    loop {
        let watch = watch(&path);
        apply(&cx, &mut known, &path);
        match watch {
            Ok(watch) => {
                while changed(&watch).await {
                    apply(&cx, &mut known, &path);
                }
            }
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "watch manifests");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn watch(path: &Path) -> std::io::Result<FileWatch> {
    let flags = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_DELETE_SELF;
    FileWatch::new(path, flags)
}

/// Waits for a burst of changes to end. False if the watch is over.
async fn changed(watch: &FileWatch) -> bool {
    if !watch.changed().await {
        return false;
    }
    while let Ok(there) = tokio::time::timeout(SETTLE, watch.changed()).await {
        if !there {
            return false;
        }
    }
    true
}

/// Reads the folder and hands out what differs.
fn apply(cx: &Arc<Context>, known: &mut HashMap<String, Arc<Pod>>, path: &Path) {
    let mut found = HashMap::new();
    for file in files(path) {
        match read(&file, &cx.node_name) {
            Ok(pod) => {
                found.insert(pod.uid().to_owned(), Arc::new(pod));
            }
            Err(error) => tracing::error!(file = %file.display(), error, "manifest of a static pod"),
        }
    }
    for uid in known.keys().filter(|uid| !found.contains_key(*uid)) {
        cx.pods.remove(uid);
    }
    for (uid, pod) in &found {
        if !known.contains_key(uid) {
            super::take(cx, pod.clone());
        }
    }
    *known = found;
}

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_path_buf()];
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let hidden =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let mut files: Vec<_> = entries.filter(|path| path.is_file() && !hidden(path)).collect();
    files.sort();
    files
}

fn read(file: &Path, node: &str) -> Result<Pod, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let mut pod: Pod = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
    if pod.name().is_empty() || pod.containers().is_empty() {
        return Err("a manifest needs metadata.name and spec.containers".to_owned());
    }
    complete(&mut pod, node, &file.display().to_string());
    Ok(pod)
}

/// What the API server would have set, and what makes the pod a static one of this node.
fn complete(pod: &mut Pod, node: &str, place: &str) {
    let mut hash = Sha256::new();
    hash.update(node);
    hash.update(place);
    hash.update(serde_json::to_vec(&*pod).unwrap_or_default());
    let hash: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let meta = &mut pod.metadata;
    meta.name = Some(format!("{}-{}", meta.name.clone().unwrap_or_default(), node.to_lowercase()));
    meta.namespace.get_or_insert_with(|| "default".to_owned());
    let given = meta.uid.clone().filter(|uid| !uid.is_empty());
    meta.uid = Some(given.unwrap_or_else(|| hash.clone()));
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(SOURCE_ANNOTATION.to_owned(), "file".to_owned());
    annotations.insert(HASH_ANNOTATION.to_owned(), hash);
    annotations.insert(SEEN_ANNOTATION.to_owned(), jiff::Timestamp::now().to_string());
    let spec = pod.spec.get_or_insert_default();
    spec.node_name = Some(node.to_owned());
    let tolerates = Toleration {
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        ..Toleration::default()
    };
    spec.tolerations.get_or_insert_default().push(tolerates);
    spec.restart_policy.get_or_insert_with(|| "Always".to_owned());
    spec.dns_policy.get_or_insert_with(|| "ClusterFirst".to_owned());
    spec.termination_grace_period_seconds.get_or_insert(30);
    let inits = spec.init_containers.iter_mut().flatten();
    for container in inits.chain(&mut spec.containers) {
        container.termination_message_path.get_or_insert_with(|| "/dev/termination-log".to_owned());
        container.termination_message_policy.get_or_insert_with(|| "File".to_owned());
        let image = container.image.clone().unwrap_or_default();
        let newest =
            image.ends_with(":latest") || !image.rsplit('/').next().unwrap_or_default().contains([':', '@']);
        let policy = if newest { "Always" } else { "IfNotPresent" };
        container.image_pull_policy.get_or_insert_with(|| policy.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_manifests() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, "kind: Pod\napiVersion: v1\nmetadata: {name: web}\nspec:\n  containers: [{name: c, image: a:1}]\n").unwrap();
        std::fs::write(dir.path().join(".hidden"), "x").unwrap();
        assert_eq!(files(dir.path()), std::slice::from_ref(&file));
        let pod = read(&file, "Node1").unwrap();
        assert_eq!((pod.name(), pod.namespace()), ("web-node1", "default"));
        assert!(pod.is_static());
        assert_eq!(pod.uid().len(), 32);
        let again = read(&file, "Node1").unwrap();
        assert_eq!(again.uid(), pod.uid());
        assert_ne!(read(&file, "other").unwrap().uid(), pod.uid());
        assert_eq!(pod.containers()[0].image_pull_policy.as_deref(), Some("IfNotPresent"));
    }
}
