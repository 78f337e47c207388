//! NodeResourcesFit and NodeResourcesBalancedAllocation: what is left on a node.

mod fit;
mod score;

pub use fit::{NodeResourcesFit, Strategy};
pub use score::NodeResourcesBalancedAllocation;

use compact_str::CompactString;

use crate::cache::NodeInfo;
use crate::resources::{PodRequests, Symbol, Symbols};

/// A resource that counts in a score.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighted {
    pub name: CompactString,
    pub weight: i64,
}

impl Weighted {
    /// CPU and memory alike: the default.
    pub fn defaults() -> Vec<Self> {
        ["cpu", "memory"].map(|name| Self { name: name.into(), weight: 1 }).into()
    }
}

/// A resource of a node and of a pod.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Resource {
    Cpu,
    Memory,
    EphemeralStorage,
    Scalar(Symbol),
}

impl Resource {
    fn new(name: &str, symbols: &mut Symbols) -> Self {
        match name {
            "cpu" => Self::Cpu,
            "memory" => Self::Memory,
            "ephemeral-storage" => Self::EphemeralStorage,
            other => Self::Scalar(symbols.intern(other)),
        }
    }

    fn allocatable(self, node: &NodeInfo) -> i64 {
        let all = &node.allocatable;
        match self {
            Self::Cpu => all.milli_cpu,
            Self::Memory => all.memory,
            Self::EphemeralStorage => all.ephemeral_storage,
            Self::Scalar(name) => all.scalar(name),
        }
    }

    /// What the node's pods take; `defaults` counts containers that ask for nothing by a default.
    fn taken(self, node: &NodeInfo, defaults: bool) -> i64 {
        match self {
            Self::Cpu if defaults => node.nonzero_milli_cpu,
            Self::Memory if defaults => node.nonzero_memory,
            Self::Cpu => node.requested.milli_cpu,
            Self::Memory => node.requested.memory,
            Self::EphemeralStorage => node.requested.ephemeral_storage,
            Self::Scalar(name) => node.requested.scalar(name),
        }
    }

    fn asked(self, pod: &PodRequests, defaults: bool) -> i64 {
        match self {
            Self::Cpu if defaults => pod.nonzero_milli_cpu,
            Self::Memory if defaults => pod.nonzero_memory,
            Self::Cpu => pod.requests.milli_cpu,
            Self::Memory => pod.requests.memory,
            Self::EphemeralStorage => pod.requests.ephemeral_storage,
            Self::Scalar(name) => pod.requests.scalar(name),
        }
    }

    /// Counts only for pods that ask for it.
    fn is_optional(self) -> bool {
        matches!(self, Self::Scalar(_))
    }
}
