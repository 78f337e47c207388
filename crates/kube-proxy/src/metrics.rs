//! What the proxy tells of itself, under upstream's names.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use component_base::metrics::{
    Counter, CounterVec, Gauge, Histogram, counter, exponential_buckets, gauge, histogram,
};

const FAMILY: (&str, &str) = ("ip_family", "IPv4");

/// Handles of all metrics.
#[derive(Clone)]
pub struct Metrics {
    syncs: Histogram,
    full: Histogram,
    partial: Histogram,
    last: Gauge,
    last_queued: Gauge,
    failures: Counter,
    programming: Histogram,
    services: Changes,
    endpoints: Changes,
    no_local_internal: Gauge,
    no_local_external: Gauge,
    conntrack: Histogram,
    conntrack_deleted: Counter,
    pub healthz: CounterVec,
    pub livez: CounterVec,
}

#[derive(Clone)]
struct Changes {
    pending: Gauge,
    total: Counter,
}

impl Changes {
    fn of(kind: &str, lower: &str) -> Self {
        let name = |rest: &str| format!("kubeproxy_sync_proxy_rules_{lower}_changes_{rest}");
        Self {
            pending: gauge(&name("pending"), &format!("[ALPHA] Pending proxy rules {kind} changes"), &[]),
            total: counter(&name("total"), &format!("[ALPHA] Cumulative proxy rules {kind} changes"), &[]),
        }
    }

    fn count(&self) {
        self.pending.inc();
        self.total.inc();
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

fn seconds(name: &str, help: &str, bounds: &[f64]) -> Histogram {
    histogram(name, &format!("[ALPHA] {help}"), &[FAMILY], bounds)
}

/// A quarter and half a second, then each second of the first minute, and ever coarser up to five.
fn programming_bounds() -> Vec<f64> {
    let steps = |first: f64, width: f64, count: u32| (0..count).map(move |n| first + width * f64::from(n));
    steps(0.25, 0.25, 2)
        .chain(steps(1.0, 1.0, 59))
        .chain(steps(60.0, 5.0, 12))
        .chain(steps(120.0, 30.0, 7))
        .collect()
}

impl Default for Metrics {
    fn default() -> Self {
        let bounds = exponential_buckets(0.001, 2.0, 15);
        let prefix = "kubeproxy_sync_proxy_rules_";
        let stamp = |name: &str, help: &str| gauge(&format!("{prefix}{name}"), help, &[FAMILY]);
        let no_local = |policy: &str| {
            let help = "[ALPHA] Number of services with a Local traffic policy and no endpoints";
            let labels = [FAMILY, ("traffic_policy", policy)];
            gauge(&format!("{prefix}no_local_endpoints_total"), help, &labels)
        };
        let asked = |what: &str| {
            let help = format!("[ALPHA] Cumulative proxy {what} HTTP status");
            CounterVec::new(&format!("kubeproxy_proxy_{what}_total"), &help, &["code"])
        };
        let sync = |which: &str, help: &str| {
            seconds(&format!("kubeproxy_sync_{which}proxy_rules_duration_seconds"), help, &bounds)
        };
        Self {
            syncs: sync("", "SyncProxyRules latency in seconds"),
            full: sync("full_", "SyncProxyRules latency in seconds for full resyncs"),
            partial: sync("partial_", "SyncProxyRules latency in seconds for partial resyncs"),
            last: stamp(
                "last_timestamp_seconds",
                "[ALPHA] The last time proxy rules were successfully synced",
            ),
            last_queued: stamp(
                "last_queued_timestamp_seconds",
                "[ALPHA] The last time a sync of proxy rules was queued",
            ),
            failures: counter(
                &format!("{prefix}nftables_sync_failures_total"),
                "[ALPHA] Cumulative proxy nftables sync failures",
                &[FAMILY],
            ),
            programming: seconds(
                "kubeproxy_network_programming_duration_seconds",
                "In Cluster Network Programming Latency in seconds",
                &programming_bounds(),
            ),
            services: Changes::of("Service", "service"),
            endpoints: Changes::of("Endpoint", "endpoint"),
            no_local_internal: no_local("internal"),
            no_local_external: no_local("external"),
            conntrack: seconds(
                "kubeproxy_conntrack_reconciler_sync_duration_seconds",
                "ReconcileConntrackFlowsLatency latency in seconds",
                &bounds,
            ),
            conntrack_deleted: counter(
                "kubeproxy_conntrack_reconciler_deleted_entries_total",
                "[ALPHA] Cumulative conntrack flows deleted by conntrack reconciler",
                &[FAMILY],
            ),
            healthz: asked("healthz"),
            livez: asked("livez"),
        }
    }
}

impl Metrics {
    pub fn service_changed(&self) {
        self.services.count();
        self.last_queued.set(now());
    }

    pub fn endpoints_changed(&self) {
        self.endpoints.count();
        self.last_queued.set(now());
    }

    /// Rules are in place that took since `begin`; Services with a policy Local and endpoints on other nodes only,
    /// at internal and external addresses.
    pub fn synced(&self, full: bool, begin: Instant, no_local: [u32; 2]) {
        let took = begin.elapsed().as_secs_f64();
        self.syncs.observe(took);
        if full { &self.full } else { &self.partial }.observe(took);
        self.last.set(now());
        self.services.pending.set(0.0);
        self.endpoints.pending.set(0.0);
        self.no_local_internal.set(f64::from(no_local[0]));
        self.no_local_external.set(f64::from(no_local[1]));
    }

    pub fn failed(&self) {
        self.failures.inc();
    }

    /// Seconds since 1970 at which something happened that is in the rules now.
    pub fn programmed(&self, trigger: f64) {
        self.programming.observe((now() - trigger).max(0.0));
    }

    pub fn connections_forgotten(&self, begin: Instant, count: usize) {
        self.conntrack.observe(begin.elapsed().as_secs_f64());
        self.conntrack_deleted.add(count as u64);
    }
}
