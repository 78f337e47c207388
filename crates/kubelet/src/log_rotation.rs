//! Rotation of container logs: `0.log` becomes `0.log.DATE`, older ones are compressed, the oldest removed; then the
//! runtime opens a new file. Names and numbers as upstream's, so that log collectors find what they look for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ContainerStatus;

use crate::context::Context;
use crate::pod::PodExt;
use crate::quantity;

/// Ending of what is being compressed.
const TEMPORARY: &str = ".tmp";
/// Ending of what was compressed.
const COMPRESSED: &str = ".gz";

/// A running container's log.
struct Log {
    container: String,
    path: PathBuf,
}

/// Looks at the logs of running containers every `containerLogMonitorInterval` until the kubelet ends. A negative size
/// switches rotation off.
pub async fn run(cx: Arc<Context>) {
    let Some(limit) = quantity::value(&cx.config.container_log_max_size).and_then(|n| u64::try_from(n).ok())
    else {
        tracing::info!("container logs are not rotated");
        return;
    };
    let keep = cx.config.container_log_max_files.and_then(|n| usize::try_from(n).ok()).unwrap_or(5).max(2);
    let workers =
        cx.config.container_log_max_workers.and_then(|n| usize::try_from(n).ok()).unwrap_or(1).max(1);
    let period = cx.config.container_log_monitor_interval.map_or(Duration::from_secs(10), |d| d.0);
    let work = async {
        let mut tick = tokio::time::interval(period);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let large = logs(&cx)
                .into_iter()
                .filter(|log| fs::metadata(&log.path).is_ok_and(|metadata| metadata.len() >= limit));
            futures::stream::iter(large).for_each_concurrent(workers, |log| rotate(&cx, log, keep)).await;
        }
    };
    let _ = cx.shutdown.run_until_cancelled(work).await;
}

/// The logs of what runs, as the statuses have it: no call to the runtime for those that are small.
fn logs(cx: &Context) -> Vec<Log> {
    let mut found = Vec::new();
    for pod in cx.pods.list() {
        let Some(status) = cx.statuses.get(pod.uid()) else { continue };
        let folder = cx.paths.pod_log(pod.namespace(), pod.name(), pod.uid());
        let lists =
            [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
        for status in lists.iter().flatten().flatten() {
            if let Some(container) = running_id(status) {
                let path = folder.join(&status.name).join(format!("{}.log", status.restart_count));
                found.push(Log { container, path });
            }
        }
    }
    found
}

fn running_id(status: &ContainerStatus) -> Option<String> {
    status.state.as_ref()?.running.as_ref()?;
    Some(status.container_id.as_deref()?.split_once("://")?.1.to_owned())
}

async fn rotate(cx: &Context, log: Log, keep: usize) {
    let (path, now) = (log.path.clone(), Timestamp::now());
    let moved = tokio::task::spawn_blocking(move || {
        prepare(&path, keep)?;
        set_aside(&path, now)
    });
    let rotated = match moved.await {
        Ok(Ok(rotated)) => rotated,
        Ok(Err(error)) => {
            tracing::warn!(%error, log = %log.path.display(), "rotate log");
            return;
        }
        Err(_) => return,
    };
    if let Err(error) = cx.runtime.reopen_container_log(&log.container).await {
        tracing::warn!(%error, log = %log.path.display(), "reopen log");
        // the runtime still writes into the old file: it gets its name back
        if let Err(error) = fs::rename(&rotated, &log.path) {
            tracing::error!(%error, log = %log.path.display(), "give the log its name back");
        }
    }
}

/// Rotated logs of `path`, the oldest first, and left-overs of a compression that was cut short.
fn rotated(path: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let (mut logs, mut rest) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(&prefix) {
            continue;
        }
        let list = if name.ends_with(TEMPORARY) { &mut rest } else { &mut logs };
        list.push(entry.path());
    }
    logs.sort();
    // both forms of one log: the plain one was not removed yet
    let doubled: Vec<PathBuf> = logs.iter().filter_map(|log| plain(log)).collect();
    let (twice, logs) = logs.into_iter().partition(|log| doubled.contains(log));
    rest.extend::<Vec<PathBuf>>(twice);
    Ok((logs, rest))
}

/// The name of a compressed log before it was.
fn plain(log: &Path) -> Option<PathBuf> {
    log.to_str()?.strip_suffix(COMPRESSED).map(PathBuf::from)
}

/// Removes and compresses older logs, so that there is room for one more of `keep`.
fn prepare(path: &Path, keep: usize) -> io::Result<()> {
    let (mut logs, rest) = rotated(path)?;
    for file in rest {
        fs::remove_file(file)?;
    }
    // the one that is written and the one that is set aside next count, too
    let excess = logs.len().saturating_sub(keep - 2);
    for old in logs.drain(..excess) {
        fs::remove_file(old)?;
    }
    for log in logs.iter().filter(|log| plain(log).is_none()) {
        compress(log)?;
    }
    Ok(())
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn compress(log: &Path) -> io::Result<()> {
    let temporary = with_ending(log, TEMPORARY);
    let mut encoder = GzEncoder::new(fs::File::create(&temporary)?, Compression::default());
    io::copy(&mut fs::File::open(log)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::set_permissions(&temporary, fs::metadata(log)?.permissions())?;
    fs::rename(&temporary, with_ending(log, COMPRESSED))?;
    fs::remove_file(log)
}

/// Gives the log its dated name.
fn set_aside(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let rotated = with_ending(path, &format!(".{}", now.strftime("%Y%m%d-%H%M%S")));
    fs::rename(path, &rotated)?;
    Ok(rotated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn keeps_so_many_and_compresses_all_but_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        for second in 0..5 {
            fs::write(&path, format!("line {second}\n")).unwrap();
            prepare(&path, 4).unwrap();
            set_aside(&path, Timestamp::from_second(second).unwrap()).unwrap();
        }
        fs::write(&path, "now\n").unwrap();
        assert_eq!(
            names(folder.path()),
            ["0.log", "0.log.19700101-000002.gz", "0.log.19700101-000003.gz", "0.log.19700101-000004"]
        );
        let packed = fs::File::open(folder.path().join("0.log.19700101-000003.gz")).unwrap();
        let text = io::read_to_string(flate2::read::GzDecoder::new(packed)).unwrap();
        assert_eq!(text, "line 3\n");
    }

    #[test]
    fn clears_up_after_a_compression_that_was_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        for name in ["0.log", "0.log.1", "0.log.1.tmp", "0.log.2", "0.log.2.gz", "1.log.1"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        prepare(&path, 5).unwrap();
        assert_eq!(names(folder.path()), ["0.log", "0.log.1.gz", "0.log.2.gz", "1.log.1"]);
    }
}
