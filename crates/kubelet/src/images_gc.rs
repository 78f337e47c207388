//! Removal of images that nobody uses, when the file system of images fills up (`imageGC*ThresholdPercent`) or they
//! have not been used for long (`imageMaximumGCAge`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cri::v1;
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::context::Context;
use crate::events::Kind;

const PERIOD: Duration = Duration::from_secs(300);

/// What is known of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was first seen.
    pub detected: Timestamp,
    /// When a container was last seen to use it; the beginning of time if never.
    pub used: Timestamp,
    /// Bytes.
    pub size: u64,
    /// Whether it is in use now, or the runtime needs it itself.
    pub kept: bool,
}

/// Images by the runtime's id.
pub type Records = HashMap<String, Record>;

/// The collector.
#[derive(Default)]
pub struct ImageGc {
    records: Mutex<Records>,
}

/// Takes over what there is now. Pure.
pub fn observe(records: &mut Records, images: &[v1::Image], used: &HashSet<String>, now: Timestamp) {
    records.retain(|id, _| images.iter().any(|image| image.id == *id));
    for image in images {
        let names = image.repo_tags.iter().chain(&image.repo_digests).chain([&image.id]);
        let in_use = names.into_iter().any(|name| used.contains(name));
        let record = records.entry(image.id.clone()).or_insert_with(|| Record {
            detected: now,
            used: Timestamp::UNIX_EPOCH,
            size: 0,
            kept: false,
        });
        if in_use {
            record.used = now;
        }
        record.size = image.size;
        record.kept = in_use || image.pinned;
    }
}

/// Which images go to free `wanted` bytes, those first that were used longest ago. Younger ones than `least` stay. Pure.
#[must_use]
pub fn to_free(records: &Records, wanted: u64, least: Duration, now: Timestamp) -> Vec<String> {
    let old = |at: Timestamp, age: Duration| {
        Duration::try_from(now.duration_since(at)).is_ok_and(|past| past >= age)
    };
    let mut free: Vec<_> = records.iter().filter(|(_, record)| !record.kept).collect();
    free.sort_by_key(|(id, record)| (record.used, record.detected, id.as_str()));
    let mut sum = 0;
    let mut chosen = Vec::new();
    for (id, record) in free {
        if sum >= wanted {
            break;
        }
        // an image that is being used for the first time right now is not
        if record.used >= now || !old(record.detected, least) {
            continue;
        }
        sum += record.size;
        chosen.push(id.clone());
    }
    chosen
}

/// Which images were not used for `limit`. Pure.
#[must_use]
pub fn too_old(records: &Records, limit: Duration, now: Timestamp) -> Vec<String> {
    let unused = |record: &Record| {
        let since = record.used.max(record.detected);
        Duration::try_from(now.duration_since(since)).is_ok_and(|past| past > limit)
    };
    let mut ids: Vec<_> =
        records.iter().filter(|(_, r)| !r.kept && unused(r)).map(|(id, _)| id.clone()).collect();
    ids.sort();
    ids
}

/// Bytes to free so that no more than `low` per cent are used, if more than `high` are. Pure.
#[must_use]
pub fn wanted(capacity: u64, available: u64, high: i32, low: i32) -> Option<u64> {
    let available = available.min(capacity);
    let used = 100 - i32::try_from(available * 100 / capacity.max(1)).unwrap_or(100);
    let allowed = u64::try_from(100 - low).unwrap_or(0);
    (used >= high).then(|| (capacity * allowed / 100).saturating_sub(available))
}

/// Works until the kubelet ends. A high threshold of 100 leaves the disk alone.
pub async fn run(cx: Arc<Context>) {
    let work = async {
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            if let Err(error) = round(&cx).await {
                tracing::warn!(error, "image garbage collection");
                cx.events.emit_node(Kind::Warning, "ImageGCFailed", &error);
            }
        }
    };
    let _ = cx.shutdown.run_until_cancelled(work).await;
}

async fn round(cx: &Context) -> Result<(), String> {
    let config = &cx.config;
    let high = config.image_gc_high_threshold_percent.unwrap_or(85);
    let limit = config.image_maximum_gc_age.map(|age| age.0).filter(|age| !age.is_zero());
    if high >= 100 && limit.is_none() {
        return Ok(());
    }
    let now = refresh(cx).await?;
    if let Some(limit) = limit {
        let ids = too_old(&cx.image_gc.records.lock(), limit, now);
        remove(cx, ids).await;
    }
    if high >= 100 {
        return Ok(());
    }
    let (capacity, available) = file_system(cx).await?;
    if capacity == 0 {
        cx.events.emit_node(Kind::Warning, "InvalidDiskCapacity", "invalid capacity 0 on image filesystem");
        return Err("invalid capacity 0 on image filesystem".to_owned());
    }
    let low = config.image_gc_low_threshold_percent.unwrap_or(80);
    let Some(wanted) = wanted(capacity, available, high, low) else { return Ok(()) };
    tracing::info!(wanted, capacity, available, "the images' file system is over the threshold");
    let freed = free(cx, wanted, now).await;
    if freed < wanted {
        let message = format!(
            "Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but only found {freed} bytes eligible to free."
        );
        cx.events.emit_node(Kind::Warning, "FreeDiskSpaceFailed", &message);
        return Err(message);
    }
    Ok(())
}

/// Removes every image that nobody uses: what eviction tries before it ends pods.
pub async fn free_all(cx: &Context) {
    match refresh(cx).await {
        Ok(now) => {
            let ids = to_free(&cx.image_gc.records.lock(), u64::MAX, Duration::ZERO, now);
            remove(cx, ids).await;
        }
        Err(error) => tracing::warn!(error, "image garbage collection"),
    }
}

async fn refresh(cx: &Context) -> Result<Timestamp, String> {
    let images = cx.runtime.list_images(None);
    let containers = cx.runtime.list_containers(v1::ContainerFilter::default());
    let (images, containers) = tokio::try_join!(images, containers).map_err(|error| error.to_string())?;
    let mut used = HashSet::new();
    for container in containers {
        used.insert(container.image_ref);
        used.insert(container.image_id);
        used.extend(container.image.map(|image| image.image));
    }
    let now = Timestamp::now();
    observe(&mut cx.image_gc.records.lock(), &images, &used, now);
    Ok(now)
}

/// Size and available bytes of the file system of images.
async fn file_system(cx: &Context) -> Result<(u64, u64), String> {
    let answer =
        cx.runtime.image_fs_info(v1::ImageFsInfoRequest {}).await.map_err(|error| error.to_string())?;
    let place = answer.image_filesystems.into_iter().next().and_then(|usage| usage.fs_id);
    let place = place.map(|place| place.mountpoint).ok_or("the runtime names no image file system")?;
    crate::node::machine::file_system(std::path::Path::new(&place))
        .map(|(size, free, ..)| (size, free))
        .ok_or_else(|| format!("no file system at {place}"))
}

async fn free(cx: &Context, wanted: u64, now: Timestamp) -> u64 {
    let least = cx.config.image_minimum_gc_age.map_or(Duration::ZERO, |age| age.0);
    let ids = to_free(&cx.image_gc.records.lock(), wanted, least, now);
    remove(cx, ids).await
}

/// Removes images; the bytes that this frees.
async fn remove(cx: &Context, ids: Vec<String>) -> u64 {
    let mut freed = 0;
    for id in ids {
        let image = v1::ImageSpec { image: id.clone(), ..v1::ImageSpec::default() };
        match cx.runtime.remove_image(image).await {
            Ok(()) => {
                let record = cx.image_gc.records.lock().remove(&id);
                freed += record.map_or(0, |record| record.size);
                tracing::info!(id, "removed an image that nobody uses");
            }
            Err(error) => tracing::warn!(%error, id, "remove image"),
        }
    }
    freed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn image(id: &str, size: u64) -> v1::Image {
        v1::Image { id: id.to_owned(), size, repo_tags: vec![format!("{id}:1")], ..v1::Image::default() }
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let mut records = Records::new();
        let images =
            [image("a", 10), image("b", 10), image("c", 10), v1::Image { pinned: true, ..image("p", 10) }];
        observe(&mut records, &images, &["b:1".to_owned()].into(), at(0));
        observe(&mut records, &images, &["c".to_owned()].into(), at(100));
        let go = |wanted, least, now| to_free(&records, wanted, Duration::from_secs(least), at(now));
        assert_eq!(go(5, 0, 200), ["a"]);
        assert_eq!(go(u64::MAX, 0, 200), ["a", "b"]);
        assert!(go(5, 300, 200).is_empty(), "all are younger");
        assert_eq!(too_old(&records, Duration::from_secs(60), at(61)), ["a", "b"]);
        observe(&mut records, &images[..1], &HashSet::new(), at(300));
        assert_eq!(records.len(), 1);
    }

    #[test]
    fn frees_down_to_the_low_threshold() {
        assert_eq!(wanted(100, 20, 85, 80), None);
        assert_eq!(wanted(100, 15, 85, 80), Some(5));
        assert_eq!(wanted(100, 0, 85, 80), Some(20));
    }
}
