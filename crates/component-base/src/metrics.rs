//! Counters, gauges and histograms with labels, written in Prometheus' text format 0.0.4 under exactly the names
//! that they were given. One registry a process. Changing a metric is an atomic operation; looking one up by its
//! labels takes a lock, so keep the handle on hot paths.

mod text;

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

use parking_lot::RwLock;

pub use text::{CONTENT_TYPE, render};

/// Upstream's usual buckets of seconds.
pub const DEFAULT_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// `count` bounds, each `factor` times the one before.
pub fn exponential_buckets(start: f64, factor: f64, count: usize) -> Vec<f64> {
    std::iter::successors(Some(start), |bound| Some(bound * factor)).take(count).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A number that only rises.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    pub fn inc(&self) {
        self.add(1);
    }

    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that rises and falls.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }

    pub fn add(&self, change: f64) {
        add_float(&self.0, change);
    }

    pub fn inc(&self) {
        self.add(1.0);
    }

    pub fn dec(&self) {
        self.add(-1.0);
    }

    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }
}

fn add_float(cell: &AtomicU64, change: f64) {
    let _ = cell.fetch_update(Relaxed, Relaxed, |bits| Some((f64::from_bits(bits) + change).to_bits()));
}

#[derive(Debug)]
struct Observations {
    bounds: Box<[f64]>,
    /// One more than the bounds: the last is above all of them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// How observed values are distributed.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Observations>);

impl Histogram {
    fn new(bounds: &[f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Observations { bounds: bounds.into(), counts, sum: AtomicU64::new(0) }))
    }

    pub fn observe(&self, value: f64) {
        let at = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[at].fetch_add(1, Relaxed);
        add_float(&self.0.sum, value);
    }

    /// How many values were observed.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|c| c.load(Relaxed)).sum()
    }
}

#[derive(Clone)]
enum Series {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

struct Family {
    kind: Kind,
    help: String,
    labels: Vec<String>,
    bounds: Vec<f64>,
    series: RwLock<HashMap<Labels, Series>>,
}

/// Label values as a key that is looked up by borrowed texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Labels(Vec<String>);

impl Labels {
    fn of(values: &[&str]) -> Self {
        Self(values.iter().map(|v| (*v).to_owned()).collect())
    }
}

/// Label values, owned or not.
trait LabelValues {
    fn count(&self) -> usize;
    fn value(&self, at: usize) -> &str;
}

impl LabelValues for Labels {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn value(&self, at: usize) -> &str {
        &self.0[at]
    }
}

impl LabelValues for &[&str] {
    fn count(&self) -> usize {
        self.len()
    }

    fn value(&self, at: usize) -> &str {
        self[at]
    }
}

impl Hash for dyn LabelValues + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (0..self.count()).for_each(|at| self.value(at).hash(state));
    }
}

impl PartialEq for dyn LabelValues + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.count() == other.count() && (0..self.count()).all(|at| self.value(at) == other.value(at))
    }
}

impl Eq for dyn LabelValues + '_ {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self as &dyn LabelValues).hash(state);
    }
}

impl<'a> Borrow<dyn LabelValues + 'a> for Labels {
    fn borrow(&self) -> &(dyn LabelValues + 'a) {
        self
    }
}

impl Family {
    fn with(&self, values: &[&str]) -> Series {
        if let Some(found) = self.series.read().get(&values as &dyn LabelValues) {
            return found.clone();
        }
        let make = || match self.kind {
            Kind::Counter => Series::Counter(Counter::default()),
            Kind::Gauge => Series::Gauge(Gauge::default()),
            Kind::Histogram => Series::Histogram(Histogram::new(&self.bounds)),
        };
        self.series.write().entry(Labels::of(values)).or_insert_with(make).clone()
    }
}

#[derive(Default)]
struct Registry {
    families: RwLock<BTreeMap<String, Arc<Family>>>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);

fn family(kind: Kind, name: &str, help: &str, labels: &[&str], bounds: &[f64]) -> Arc<Family> {
    if let Some(found) = REGISTRY.families.read().get(name) {
        return found.clone();
    }
    let make = || {
        Arc::new(Family {
            kind,
            help: help.into(),
            labels: labels.iter().map(|l| (*l).to_owned()).collect(),
            bounds: bounds.into(),
            series: RwLock::default(),
        })
    };
    REGISTRY.families.write().entry(name.into()).or_insert_with(make).clone()
}

fn split<'a>(labels: &[(&'a str, &'a str)]) -> (Vec<&'a str>, Vec<&'a str>) {
    labels.iter().copied().unzip()
}

/// The counter of this name and these labels, made if it is new. A metric of that name and another kind keeps
/// its kind, and this handle counts for nothing.
pub fn counter(name: &str, help: &str, labels: &[(&str, &str)]) -> Counter {
    let (names, values) = split(labels);
    CounterVec::new(name, help, &names).with(&values)
}

/// The gauge of this name and these labels; see [`counter`].
pub fn gauge(name: &str, help: &str, labels: &[(&str, &str)]) -> Gauge {
    let (names, values) = split(labels);
    GaugeVec::new(name, help, &names).with(&values)
}

/// The histogram of this name and these labels; see [`counter`]. `bounds` rise.
pub fn histogram(name: &str, help: &str, labels: &[(&str, &str)], bounds: &[f64]) -> Histogram {
    let (names, values) = split(labels);
    HistogramVec::new(name, help, &names, bounds).with(&values)
}

macro_rules! vector {
    ($vec:ident, $one:ident, $kind:expr, $what:literal, ($($bounds:ident: $type:ty)?), $given:expr, $other:expr) => {
        #[doc = concat!($what, " of one name, by label values.")]
        #[derive(Clone)]
        pub struct $vec(Arc<Family>);

        impl $vec {
            /// Registers the name, or finds it.
            pub fn new(name: &str, help: &str, labels: &[&str] $(, $bounds: $type)?) -> Self {
                Self(family($kind, name, help, labels, $given))
            }

            /// The one with these label values, in the order of the labels.
            pub fn with(&self, values: &[&str]) -> $one {
                match self.0.with(values) {
                    Series::$one(found) => found,
                    _ => $other,
                }
            }

            /// Forgets the one with these label values.
            pub fn remove(&self, values: &[&str]) {
                self.0.series.write().remove(&values as &dyn LabelValues);
            }

            /// Forgets all label values.
            pub fn clear(&self) {
                self.0.series.write().clear();
            }
        }
    };
}

vector!(CounterVec, Counter, Kind::Counter, "Counters", (), &[], Counter::default());
vector!(GaugeVec, Gauge, Kind::Gauge, "Gauges", (), &[], Gauge::default());
vector!(HistogramVec, Histogram, Kind::Histogram, "Histograms", (bounds: &[f64]), bounds, Histogram::new(&[]));
