//! DefaultPreemption: where a pod can go if less important pods make room for it.
//!
//! Deliberately absent: preemption for groups of pods.

mod plan;

use crate::cache::Slot;
use crate::framework::{Attempt, FitError, Kinds, Plugin, Point, PostFilter, Preemption};
use crate::pod::Pod;

pub use plan::{Candidate, pick};

const NEVER: &str = "not eligible due to preemptionPolicy=Never.";
const TERMINATING: &str = "not eligible due to a terminating pod on the nominated node.";

/// The plugin with its arguments: how many candidates are looked for, as a share of the nodes and at least.
pub struct DefaultPreemption {
    /// Per cent, 0 to 100.
    pub candidates_percentage: usize,
    pub candidates_absolute: usize,
}

impl Default for DefaultPreemption {
    fn default() -> Self {
        Self { candidates_percentage: 10, candidates_absolute: 100 }
    }
}

impl DefaultPreemption {
    fn wanted(&self, nodes: usize) -> usize {
        (nodes * self.candidates_percentage / 100).max(self.candidates_absolute).min(nodes)
    }
}

/// Why a pod may not preempt others.
fn refusal(attempt: &Attempt<'_>, pod: &Pod, error: &FitError) -> Option<&'static str> {
    if pod.never_preempts {
        return Some(NEVER);
    }
    let slot = attempt.cache.slot(&pod.nominated_node_name)?;
    let hopeless = error.rejected.iter().find(|(s, _)| *s == slot).is_none_or(|(_, why)| why.unresolvable);
    let mut others = attempt.cache.node(slot).pods.iter();
    let waits = !hopeless && others.any(|p| p.priority < pod.priority && p.is_preempted);
    waits.then_some(TERMINATING)
}

/// `0/2 nodes are available: ...`, of the nodes that were tried; the others are beyond help.
fn summary(nodes: usize, reasons: impl Iterator<Item = String>) -> String {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    let mut tried = 0;
    for reason in reasons {
        tried += 1;
        for line in reason.split('\n') {
            *counts.entry(line.to_owned()).or_default() += 1;
        }
    }
    if tried < nodes {
        *counts.entry("Preemption is not helpful for scheduling".into()).or_default() += nodes - tried;
    }
    let mut lines: Vec<String> =
        counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    lines.sort_unstable();
    format!("0/{nodes} nodes are available: {}.", lines.join(", "))
}

impl Plugin for DefaultPreemption {
    fn name(&self) -> &'static str {
        "DefaultPreemption"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PostFilter]
    }

    fn post_filter(&self, attempt: &mut Attempt<'_>, pod: &Pod, error: &FitError) -> Option<PostFilter> {
        if let Some(why) = refusal(attempt, pod, error) {
            return Some(PostFilter::Nothing(format!("preemption: {why}")));
        }
        let hopeful = error.rejected.iter().filter(|(_, why)| !why.unresolvable);
        let slots: Vec<Slot> = hopeful.map(|(slot, _)| *slot).collect();
        let start = if slots.is_empty() { 0 } else { rand::random_range(0..slots.len()) };
        let found = plan::candidates(attempt, pod, &slots, start, self.wanted(slots.len()));
        match pick(found.candidates) {
            Some(best) => Some(PostFilter::Preempt(Preemption {
                node: attempt.cache.node(best.slot).name.clone(),
                victims: best.victims,
            })),
            None => {
                let reasons = found.failed.into_iter().map(|why| why.reasons.join("\n"));
                Some(PostFilter::Hopeless(format!("preemption: {}", summary(error.nodes, reasons))))
            }
        }
    }

    fn events(&self) -> Kinds {
        Kinds::ASSIGNED_POD_DELETE
    }
}

#[cfg(test)]
mod tests;
