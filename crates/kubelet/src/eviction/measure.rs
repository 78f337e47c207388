//! What there is on the node, and what pods use of it: memory and processes from control groups, disk from the file
//! systems, the runtime's figures and the pods' own folders.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cri::v1;
use k8s_openapi::api::core::v1::Pod;

use super::plan::{Observation, Observations};
use super::thresholds::{Signal, Threshold};
use crate::context::Context;
use crate::node::machine;
use crate::pod::PodExt;
use crate::runtime::labels;

/// Bytes and inodes of something on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that are allocated.
    pub bytes: u64,
    /// Files and folders.
    pub inodes: u64,
}

impl Disk {
    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.inodes += other.inodes;
    }
}

/// What a container has on disk: its writable layer and its logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerDisk {
    /// The writable layer.
    pub root: Disk,
    /// The logs.
    pub logs: Disk,
}

/// What a pod has on disk.
#[derive(Clone, Debug, Default)]
pub struct PodDisk {
    /// By container.
    pub containers: HashMap<String, ContainerDisk>,
    /// emptyDir volumes on disk, by name.
    pub volumes: HashMap<String, Disk>,
}

impl PodDisk {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Disk {
        let mut sum = Disk::default();
        for container in self.containers.values() {
            sum.add(container.root);
            sum.add(container.logs);
        }
        self.volumes.values().for_each(|volume| sum.add(*volume));
        sum
    }
}

/// Everything below a folder, each file counted once. What goes away meanwhile does not count.
#[must_use]
pub fn below(folder: &Path) -> Disk {
    let mut sum = Disk::default();
    let mut linked = std::collections::HashSet::new();
    let Ok(top) = std::fs::symlink_metadata(folder) else { return sum };
    let mut open = vec![folder.to_path_buf()];
    sum.add(Disk { bytes: top.blocks() * 512, inodes: 1 });
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            // another file system is somebody else's
            if metadata.dev() != top.dev()
                || (metadata.nlink() > 1 && !metadata.is_dir() && !linked.insert(metadata.ino()))
            {
                continue;
            }
            sum.add(Disk { bytes: metadata.blocks() * 512, inodes: 1 });
            if metadata.is_dir() {
                open.push(entry.path());
            }
        }
    }
    sum
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What there is now of what thresholds ask for. What cannot be measured is left out.
pub async fn observe(cx: &Context, thresholds: &[Threshold], memory: i64) -> Observations {
    let mut all = Observations::new();
    let wanted = |signals: &[Signal]| thresholds.iter().any(|threshold| signals.contains(&threshold.signal));
    let mut put = |signal, available: u64, capacity: u64| {
        all.insert(signal, Observation { available: signed(available), capacity: signed(capacity) });
    };
    if wanted(&[Signal::Memory])
        && let Ok(usage) = cx.cgroups.node_usage()
    {
        let total = u64::try_from(memory).unwrap_or(0);
        put(Signal::Memory, total.saturating_sub(usage.working_set), total);
    }
    if wanted(&[Signal::NodeDisk, Signal::NodeInodes])
        && let Some((size, free, inodes, free_inodes)) = machine::file_system(&cx.paths.root)
    {
        put(Signal::NodeDisk, free, size);
        put(Signal::NodeInodes, free_inodes, inodes);
    }
    if wanted(&[Signal::ImageDisk, Signal::ImageInodes])
        && let Some((size, free, inodes, free_inodes)) =
            image_folder(cx).await.and_then(|place| machine::file_system(Path::new(&place)))
    {
        put(Signal::ImageDisk, free, size);
        put(Signal::ImageInodes, free_inodes, inodes);
    }
    if wanted(&[Signal::Processes])
        && let Some((running, most)) = machine::processes()
    {
        put(Signal::Processes, most.saturating_sub(running), most);
    }
    // a file system without a number of inodes has no limit of them
    all.retain(|_, observation| observation.capacity > 0);
    all
}

/// What images have on disk, as the runtime counts it.
pub async fn image_usage(cx: &Context) -> Disk {
    let Ok(answer) = cx.runtime.image_fs_info(v1::ImageFsInfoRequest {}).await else {
        return Disk::default();
    };
    let usage = answer.image_filesystems.into_iter().next().unwrap_or_default();
    let number = |value: Option<v1::UInt64Value>| value.map_or(0, |value| value.value);
    Disk { bytes: number(usage.used_bytes), inodes: number(usage.inodes_used) }
}

/// The folder that images are in.
pub async fn image_folder(cx: &Context) -> Option<String> {
    let answer = cx.runtime.image_fs_info(v1::ImageFsInfoRequest {}).await.ok()?;
    Some(answer.image_filesystems.into_iter().next()?.fs_id?.mountpoint)
}

/// What pods have on disk, by UID. Walks through their folders: only for when it matters.
pub async fn disks(cx: &Context, pods: &[std::sync::Arc<Pod>]) -> HashMap<String, PodDisk> {
    let stats = cx.runtime.list_container_stats(v1::ListContainerStatsRequest { filter: None }).await;
    let mut found: HashMap<String, PodDisk> = HashMap::new();
    for stat in stats.map(|answer| answer.stats).unwrap_or_default() {
        let Some(attributes) = stat.attributes else { continue };
        let label = |name: &str| attributes.labels.get(name).cloned().unwrap_or_default();
        let layer = stat.writable_layer.unwrap_or_default();
        let root = Disk {
            bytes: layer.used_bytes.map_or(0, |value| value.value),
            inodes: layer.inodes_used.map_or(0, |value| value.value),
        };
        let pod = found.entry(label(labels::POD_UID)).or_default();
        pod.containers.entry(label(labels::CONTAINER_NAME)).or_default().root.add(root);
    }
    let walks: Vec<_> = pods.iter().map(|pod| walk(cx, pod)).collect();
    for (uid, volumes, logs) in walks {
        let pod = found.entry(uid).or_default();
        pod.volumes = volumes;
        for (name, disk) in logs {
            pod.containers.entry(name).or_default().logs = disk;
        }
    }
    found
}

type Walked = (String, HashMap<String, Disk>, HashMap<String, Disk>);

fn walk(cx: &Context, pod: &Pod) -> Walked {
    let on_disk = pod.spec().volumes.iter().flatten().filter(|volume| {
        volume.empty_dir.as_ref().is_some_and(|dir| dir.medium.as_deref().unwrap_or_default().is_empty())
    });
    let volumes = on_disk
        .map(|volume| {
            let folder = cx.paths.volume(pod.uid(), "kubernetes.io/empty-dir", &volume.name);
            (volume.name.clone(), below(&folder))
        })
        .collect();
    let logs = cx.paths.pod_log(pod.namespace(), pod.name(), pod.uid());
    let containers = pod.containers().iter().chain(pod.init_containers());
    let logs = containers.map(|c| (c.name.clone(), below(&logs.join(&c.name)))).collect();
    (pod.uid().to_owned(), volumes, logs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_file_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        std::fs::write(folder.path().join("d/f"), vec![1; 10_000]).unwrap();
        std::fs::hard_link(folder.path().join("d/f"), folder.path().join("g")).unwrap();
        let disk = below(folder.path());
        assert_eq!(disk.inodes, 3);
        assert!(disk.bytes >= 10_000 && disk.bytes < 40_000, "{disk:?}");
        assert_eq!(below(&folder.path().join("none")), Disk::default());
    }
}
