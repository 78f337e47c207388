//! What expressions cost, by upstream's rules (`k8s.io/apiserver/pkg/cel/library/cost.go` and cel-go's): measured at
//! evaluation ([`of_call`]), and judged ahead from bounds of sizes ([`estimate`]).

mod actual;
mod call;
mod estimate;
mod range;
mod rule;

pub(crate) use actual::of_call;
pub(crate) use estimate::estimate;
pub(crate) use rule::Rule;

/// Making a list, a map, a struct.
pub(crate) const LIST: u64 = 10;
pub(crate) const MAP: u64 = 30;
pub(crate) const STRUCT: u64 = 40;
