//! What is left on the node of pods that nobody wants any more: containers, folders, control groups, mirrors.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::Informer;
use cri::v1;
use k8s_openapi::api::core::v1::Pod;

use crate::context::Context;
use crate::pod::{PodExt, kill};
use crate::runtime::{labels, read};
use crate::sources::api::PodView;
use crate::sources::mirror;
use crate::volumes::remove_dir;

/// Time between two rounds; workers clean up after their own pods, this is for what has none.
const PERIOD: Duration = Duration::from_secs(60);
/// The folder of manifests is read at start; give it time before what is missing counts as gone.
const SETTLE: Duration = Duration::from_secs(2);

/// Cleans up until the kubelet ends, beginning once it is known which pods there are.
pub async fn run(cx: Arc<Context>, pods: Option<Informer<PodView>>, manifests: bool) {
    let shutdown = cx.shutdown.clone();
    let work = async {
        if let Some(pods) = &pods {
            pods.wait_synced().await;
        }
        if manifests {
            tokio::time::sleep(SETTLE).await;
        }
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            round(&cx).await;
        }
    };
    let _ = shutdown.run_until_cancelled(work).await;
}

async fn round(cx: &Arc<Context>) {
    match runtime_pods(cx).await {
        Ok(found) => {
            for pod in found.into_iter().filter(|pod| !cx.pods.contains(pod.uid())) {
                if let Err(error) = end(cx, Arc::new(pod)).await {
                    tracing::warn!(%error, "remove a pod that is not wanted any more");
                }
            }
        }
        Err(error) => tracing::warn!(%error, "list pods of the runtime"),
    }
    folders(cx);
    for group in cx.cgroups.pods().into_iter().filter(|uid| !cx.pods.contains(uid)) {
        if let Err(error) = cx.cgroups.remove_pod(&group) {
            tracing::debug!(%error, uid = group, "remove control group");
        }
    }
    for orphan in cx.pods.orphaned_mirrors() {
        mirror::delete(cx, &orphan).await;
    }
}

/// The pods that have sandboxes, as far as their labels tell.
async fn runtime_pods(cx: &Context) -> Result<Vec<Pod>, cri::Error> {
    let sandboxes = cx.runtime.list_pod_sandbox(v1::PodSandboxFilter::default()).await?;
    let mut seen = BTreeSet::new();
    let mut pods = Vec::new();
    for sandbox in sandboxes {
        let get = |name: &str| sandbox.labels.get(name).cloned();
        let Some(uid) = get(labels::POD_UID).filter(|uid| seen.insert(uid.clone())) else { continue };
        let mut pod = Pod::default();
        pod.metadata.uid = Some(uid);
        pod.metadata.name = get(labels::POD_NAME);
        pod.metadata.namespace = get(labels::POD_NAMESPACE);
        pods.push(pod);
    }
    Ok(pods)
}

async fn end(cx: &Context, pod: Arc<Pod>) -> Result<(), cri::Error> {
    let runtime = read::pod(&cx.runtime, pod.uid()).await?;
    tracing::info!(pod = pod.shown(), "ending a pod that is not wanted any more");
    let grace = runtime.containers.iter().filter_map(|container| container.grace_period).max();
    kill::pod(cx, &pod, &runtime, grace).await?;
    kill::remove(cx, pod.namespace(), pod.name(), &read::pod(&cx.runtime, pod.uid()).await?).await
}

/// Folders of pods and logs of pods that are neither known nor in the runtime.
fn folders(cx: &Context) {
    let names = |path: &std::path::Path| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    for uid in names(&cx.paths.pods()).into_iter().filter(|uid| !cx.pods.contains(uid)) {
        let result = cx.volumes.remove(&uid).and_then(|()| remove_dir(&cx.paths.pod(&uid)));
        if let Err(error) = result {
            tracing::warn!(%error, uid, "remove folder of a pod");
            continue;
        }
        cx.user_namespaces.release(&uid);
    }
    for name in names(&cx.paths.pod_logs) {
        let Some(uid) = name.rsplit('_').next().filter(|_| name.split('_').count() == 3) else { continue };
        if !cx.pods.contains(uid)
            && let Err(error) = remove_dir(&cx.paths.pod_logs.join(&name))
        {
            tracing::warn!(%error, name, "remove logs of a pod");
        }
    }
    for link in names(&cx.paths.container_logs).into_iter().map(|name| cx.paths.container_logs.join(name)) {
        if link.is_symlink() && !link.exists() {
            let _ = std::fs::remove_file(link);
        }
    }
}
