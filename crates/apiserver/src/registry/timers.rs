//! How long the store takes, by operation and resource, under upstream's names.

use std::time::Instant;

use apimachinery::GroupResource;
use component_base::metrics::{Gauge, GaugeVec, Histogram, HistogramVec};

const BUCKETS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];

/// Of one resource.
pub struct Timers {
    pub get: Histogram,
    pub list: Histogram,
    pub create: Histogram,
    pub update: Histogram,
    pub delete: Histogram,
    /// Objects that are stored, as the watch cache last counted them.
    pub objects: Gauge,
}

impl Timers {
    pub fn new(resource: &GroupResource) -> Self {
        let vec = HistogramVec::new(
            "etcd_request_duration_seconds",
            "Seconds that the store took for an operation on a resource.",
            &["operation", "group", "resource"],
            &BUCKETS,
        );
        let of = |operation: &str| vec.with(&[operation, &resource.group, &resource.resource]);
        let objects = GaugeVec::new(
            "apiserver_resource_objects",
            "Stored objects by resource.",
            &["group", "resource"],
        );
        Self {
            get: of("get"),
            list: of("list"),
            create: of("create"),
            update: of("update"),
            delete: of("delete"),
            objects: objects.with(&[&resource.group, &resource.resource]),
        }
    }
}

/// Waits for the store and takes the time.
pub async fn timed<T>(timer: &Histogram, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let out = work.await;
    timer.observe(started.elapsed().as_secs_f64());
    out
}
