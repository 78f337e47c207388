//! Amounts of resources as integers: CPU in thousandths, everything else in whole units, other than the three
//! common ones by the number of their name.
//!
//! Deliberately absent: devices of dynamic resource allocation.

use std::collections::HashMap;

use apimachinery::quantity::Quantity;
use client::StringMap;
use compact_str::CompactString;
use smallvec::SmallVec;

use crate::views::{Container, PodSpec, PodStatus, PodView};

/// What scoring assumes that a container uses which does not say: thousandths of a CPU, bytes.
pub const DEFAULT_MILLI_CPU: i64 = 100;
pub const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// A number in place of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(pub u32);

/// Strings by number. They are never forgotten: the sets of label keys, values, images and resource names in a
/// cluster are small.
#[derive(Debug, Default)]
pub struct Symbols {
    by_text: HashMap<CompactString, Symbol>,
    texts: Vec<CompactString>,
}

impl Symbols {
    pub fn intern(&mut self, text: &str) -> Symbol {
        if let Some(found) = self.by_text.get(text) {
            return *found;
        }
        let symbol = Symbol(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        self.texts.push(text.into());
        self.by_text.insert(text.into(), symbol);
        symbol
    }

    /// The number, if the string has one.
    pub fn find(&self, text: &str) -> Option<Symbol> {
        self.by_text.get(text).copied()
    }

    pub fn text(&self, symbol: Symbol) -> &str {
        self.texts.get(symbol.0 as usize).map_or("", |t| t.as_str())
    }
}

/// Amounts of resources. `scalars` is sorted by name and holds no pods, CPU, memory or ephemeral storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// How many pods (of a node's allocatable only).
    pub pods: i64,
    pub scalars: SmallVec<[(Symbol, i64); 0]>,
}

impl Resources {
    /// From quantities by name; what cannot be read counts as nothing.
    pub fn parse(list: &StringMap, symbols: &mut Symbols) -> Self {
        let mut made = Self::default();
        for (name, text) in list.iter() {
            let Ok(quantity) = text.parse::<Quantity>() else { continue };
            match name {
                "cpu" => made.milli_cpu = quantity.milli_value(),
                "memory" => made.memory = quantity.value(),
                "ephemeral-storage" => made.ephemeral_storage = quantity.value(),
                "pods" => made.pods = quantity.value(),
                _ => made.set_scalar(symbols.intern(name), quantity.value()),
            }
        }
        made
    }

    pub fn scalar(&self, name: Symbol) -> i64 {
        self.scalars.binary_search_by_key(&name, |(n, _)| *n).map_or(0, |at| self.scalars[at].1)
    }

    fn set_scalar(&mut self, name: Symbol, amount: i64) {
        match self.scalars.binary_search_by_key(&name, |(n, _)| *n) {
            Ok(at) => self.scalars[at].1 = amount,
            Err(at) => self.scalars.insert(at, (name, amount)),
        }
    }

    fn combine(&mut self, other: &Self, op: fn(i64, i64) -> i64) {
        self.milli_cpu = op(self.milli_cpu, other.milli_cpu);
        self.memory = op(self.memory, other.memory);
        self.ephemeral_storage = op(self.ephemeral_storage, other.ephemeral_storage);
        for (name, amount) in &other.scalars {
            let sum = op(self.scalar(*name), *amount);
            self.set_scalar(*name, sum);
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    /// The larger of each.
    pub fn raise_to(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    /// No CPU, memory or storage, and no other resource named (pods do not count).
    pub fn is_empty(&self) -> bool {
        self.milli_cpu == 0 && self.memory == 0 && self.ephemeral_storage == 0 && self.scalars.is_empty()
    }
}

/// What a pod takes from its node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodRequests {
    pub requests: Resources,
    /// CPU (thousandths) and memory (bytes) with the defaults for containers that ask for none; scoring uses them.
    pub nonzero_milli_cpu: i64,
    pub nonzero_memory: i64,
}

/// Which of the amounts of a running container counts.
#[derive(Clone, Copy)]
enum Source {
    Spec,
    Allocated,
    Actuated,
}

/// Requests of a pod as upstream counts them: containers, init containers with sidecars (KEP-753), pod-level
/// requests (KEP-2837), overhead, and during an in-place resize (KEP-1287) the largest of what is asked for,
/// allocated and in effect.
pub fn pod_requests(pod: &PodView, symbols: &mut Symbols) -> PodRequests {
    let mut requests = largest(pod, symbols, false);
    let mut nonzero = largest(pod, symbols, true);
    for sum in [&mut requests, &mut nonzero] {
        finish(sum, &pod.spec, symbols);
    }
    PodRequests { requests, nonzero_milli_cpu: nonzero.milli_cpu, nonzero_memory: nonzero.memory }
}

fn finish(sum: &mut Resources, spec: &PodSpec, symbols: &mut Symbols) {
    if let Some(pod_level) = &spec.resources {
        for (name, text) in pod_level.requests.iter() {
            let Ok(quantity) = text.parse::<Quantity>() else { continue };
            match name {
                "cpu" => sum.milli_cpu = quantity.milli_value(),
                "memory" => sum.memory = quantity.value(),
                name if name.starts_with("hugepages-") => {
                    sum.set_scalar(symbols.intern(name), quantity.value())
                }
                _ => {}
            }
        }
    }
    sum.add(&Resources::parse(&spec.overhead, symbols));
}

fn largest(pod: &PodView, symbols: &mut Symbols, defaults: bool) -> Resources {
    let infeasible = pod.status.condition("PodResizePending").is_some_and(|c| c.reason == "Infeasible");
    if pod.status.container_statuses.is_empty() && pod.status.init_container_statuses.is_empty() {
        return aggregate(pod, symbols, Source::Spec, defaults, false);
    }
    let mut most = aggregate(pod, symbols, Source::Actuated, defaults, infeasible);
    most.raise_to(&aggregate(pod, symbols, Source::Allocated, defaults, infeasible));
    if !infeasible {
        most.raise_to(&aggregate(pod, symbols, Source::Spec, defaults, false));
    }
    most
}

fn aggregate(
    pod: &PodView,
    symbols: &mut Symbols,
    source: Source,
    defaults: bool,
    infeasible: bool,
) -> Resources {
    let mut of = |container: &Container| {
        let mut found = Resources::parse(amounts(container, &pod.status, source, infeasible), symbols);
        if defaults {
            let named = |name| container.resources.requests.contains_key(name);
            if !named("cpu") {
                found.milli_cpu = DEFAULT_MILLI_CPU;
            }
            if !named("memory") {
                found.memory = DEFAULT_MEMORY;
            }
        }
        found.pods = 0;
        found
    };
    let mut sum = Resources::default();
    for container in &pod.spec.containers {
        sum.add(&of(container));
    }
    // Init containers run one after the other, beside the sidecars that were started before them.
    let (mut sidecars, mut peak) = (Resources::default(), Resources::default());
    for container in &pod.spec.init_containers {
        let mut own = of(container);
        if container.restart_policy == "Always" {
            sum.add(&own);
            sidecars.add(&own);
            own = sidecars.clone();
        } else {
            own.add(&sidecars);
        }
        peak.raise_to(&own);
    }
    sum.raise_to(&peak);
    sum
}

fn amounts<'a>(
    container: &'a Container,
    status: &'a PodStatus,
    source: Source,
    infeasible: bool,
) -> &'a StringMap {
    static NOTHING: std::sync::LazyLock<StringMap> = std::sync::LazyLock::new(StringMap::default);
    let asked = &container.resources.requests;
    let all = status.container_statuses.iter().chain(&status.init_container_statuses);
    let found = all.into_iter().find(|s| s.name == container.name);
    let allocated = found.map(|s| &s.allocated_resources).filter(|r| !r.is_empty());
    let actual = found.and_then(|s| s.resources.as_ref()).map(|r| &r.requests).filter(|r| !r.is_empty());
    let otherwise = if infeasible { &*NOTHING } else { asked };
    match source {
        Source::Spec => asked,
        Source::Allocated => allocated.unwrap_or(otherwise),
        Source::Actuated => actual.or(allocated).unwrap_or(otherwise),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(pod: serde_json::Value) -> (i64, i64, i64, i64) {
        let view: PodView = serde_json::from_value(pod).unwrap();
        let found = pod_requests(&view, &mut Symbols::default());
        (found.requests.milli_cpu, found.requests.memory, found.nonzero_milli_cpu, found.nonzero_memory)
    }

    fn container(cpu: &str) -> serde_json::Value {
        serde_json::json!({"name": cpu, "resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn containers_sidecars_overhead_and_pod_level() {
        let mut sidecar = container("300m");
        sidecar["restartPolicy"] = "Always".into();
        for (spec, expected) in [
            (serde_json::json!({"containers": [{}]}), (0, 0, 100, DEFAULT_MEMORY)),
            (
                serde_json::json!({"containers": [container("1"), container("500m")]}),
                (1500, 0, 1500, 2 * DEFAULT_MEMORY),
            ),
            (
                serde_json::json!({"containers": [container("1")], "initContainers": [container("2")]}),
                (2000, 0, 2000, DEFAULT_MEMORY),
            ),
            (
                serde_json::json!({"containers": [container("1")], "initContainers": [sidecar, container("2")]}),
                (2300, 0, 2300, 2 * DEFAULT_MEMORY),
            ),
            (
                serde_json::json!({"containers": [container("1")], "overhead": {"cpu": "100m", "memory": "1Ki"}}),
                (1100, 1024, 1100, DEFAULT_MEMORY + 1024),
            ),
            (
                serde_json::json!({"containers": [container("1")], "resources": {"requests": {"cpu": "3"}}}),
                (3000, 0, 3000, DEFAULT_MEMORY),
            ),
        ] {
            assert_eq!(requests(serde_json::json!({"spec": spec})), expected, "{spec}");
        }
    }

    #[test]
    fn a_resize_counts_the_largest() {
        let pod = |condition: serde_json::Value| {
            serde_json::json!({"spec": {"containers": [container("1")]}, "status": {
                "conditions": [condition],
                "containerStatuses": [{"name": "1", "allocatedResources": {"cpu": "500m"}, "resources": {"requests": {"cpu": "700m"}}}]}})
        };
        assert_eq!(requests(pod(serde_json::json!({}))).0, 1000);
        assert_eq!(
            requests(pod(serde_json::json!({"type": "PodResizePending", "reason": "Infeasible"}))).0,
            700
        );
    }
}
