//! The server's metrics, under upstream's names.

use std::sync::LazyLock;

use component_base::metrics::{CounterVec, GaugeVec, HistogramVec};

use crate::request::RequestInfo;

/// Buckets of upstream's request durations.
const DURATION: [f64; 25] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0, 90.0, 120.0,
];

pub struct Metrics {
    pub requests: CounterVec,
    pub duration: HistogramVec,
    pub in_flight: GaugeVec,
    pub long_running: GaugeVec,
    pub watch_events: CounterVec,
    pub terminations: CounterVec,
}

pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    const BY: [&str; 7] = ["verb", "group", "version", "resource", "subresource", "scope", "component"];
    Metrics {
        requests: CounterVec::new(
            "apiserver_request_total",
            "Requests by verb, group, version, resource, scope, component and HTTP code.",
            &["verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", "code"],
        ),
        duration: HistogramVec::new(
            "apiserver_request_duration_seconds",
            "Seconds from the request to the end of its answer's head.",
            &["verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component"],
            &DURATION,
        ),
        in_flight: GaugeVec::new(
            "apiserver_current_inflight_requests",
            "Requests being served.",
            &["request_kind"],
        ),
        long_running: GaugeVec::new(
            "apiserver_longrunning_requests",
            "Watches and streams being served.",
            &BY,
        ),
        watch_events: CounterVec::new(
            "apiserver_watch_events_total",
            "Events sent to watchers.",
            &["group", "version", "resource"],
        ),
        terminations: CounterVec::new(
            "apiserver_request_terminations_total",
            "Requests that the server ended in self-defence.",
            &["verb", "group", "version", "resource", "subresource", "scope", "component", "code"],
        ),
    }
});

/// `resource`, `namespace` or `cluster`, or "" for what is no resource.
pub fn scope(info: &RequestInfo) -> &'static str {
    match (info.is_resource, info.name.is_empty(), info.namespace.is_empty()) {
        (false, ..) => "",
        (true, false, _) => "resource",
        (true, true, false) => "namespace",
        (true, true, true) => "cluster",
    }
}

/// Upstream's verb of metrics.
pub fn verb<'a>(info: &RequestInfo, method: &'a http::Method) -> &'a str {
    match info.verb.as_str() {
        "watch" => "WATCH",
        "list" => "LIST",
        "deletecollection" => "DELETECOLLECTION",
        "patch" if info.is_resource => "PATCH",
        _ => method.as_str(),
    }
}

/// Counts an answered request.
pub fn answered(
    info: &RequestInfo,
    method: &http::Method,
    dry_run: bool,
    code: http::StatusCode,
    seconds: f64,
) {
    let verb = verb(info, method);
    let dry = if dry_run { "All" } else { "" };
    let (group, version, resource, sub) = (&*info.group, &*info.version, &*info.resource, &*info.subresource);
    let labels = [verb, dry, group, version, resource, sub, scope(info), "apiserver"];
    METRICS.duration.with(&labels).observe(seconds);
    let labels = [verb, dry, group, version, resource, sub, scope(info), "apiserver", code.as_str()];
    METRICS.requests.with(&labels).inc();
}
