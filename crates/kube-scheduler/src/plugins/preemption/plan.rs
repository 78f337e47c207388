//! Whom a pod would have to preempt on which node, and which node is best.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::cache::{NodeInfo, Slot};
use crate::framework::{Attempt, Rejection};
use crate::pod::Pod;
use crate::views::BudgetView;

const NO_VICTIMS: &str = "No preemption victims found for incoming pod";
/// Makes any priority positive, so that more victims never sum up to less.
const PRIORITY_OFFSET: i64 = 1 << 31;

/// A node on which a pod fits once its victims are gone.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub slot: Slot,
    /// The most important first; never empty.
    pub victims: Vec<Arc<Pod>>,
    /// How many of them have a budget that does not allow it.
    pub violations: usize,
}

/// What trying nodes led to.
#[derive(Default)]
pub(super) struct Found {
    pub candidates: Vec<Candidate>,
    pub failed: Vec<Rejection>,
}

/// Tries nodes from `start` on until there are as many candidates as wanted, one of which respects all budgets.
pub(super) fn candidates(
    attempt: &mut Attempt<'_>,
    pod: &Pod,
    slots: &[Slot],
    start: usize,
    wanted: usize,
) -> Found {
    let budgets = attempt.listers.budgets.list();
    let (mut found, mut respectful) = (Found::default(), 0);
    for slot in slots[start..].iter().chain(&slots[..start]) {
        match candidate(attempt, pod, *slot, &budgets) {
            Ok(candidate) => {
                respectful += usize::from(candidate.violations == 0);
                found.candidates.push(candidate);
                if respectful > 0 && found.candidates.len() >= wanted {
                    break;
                }
            }
            Err(why) => found.failed.push(why),
        }
    }
    found
}

/// Takes all less important pods from a copy of the node and gives back as many as the pod leaves room for: first
/// those whose budgets are spent, then the others, the most important first.
fn candidate(
    attempt: &mut Attempt<'_>,
    pod: &Pod,
    slot: Slot,
    budgets: &[Arc<BudgetView>],
) -> Result<Candidate, Rejection> {
    let mut lesser: Vec<Arc<Pod>> =
        attempt.cache.node(slot).pods.iter().filter(|p| p.priority < pod.priority).cloned().collect();
    if lesser.is_empty() {
        return Err(Rejection::unresolvable(NO_VICTIMS));
    }
    lesser.sort_by_cached_key(|p| importance(p));
    let mut node = attempt.cache.node(slot).clone();
    lesser.iter().for_each(|p| attempt.shift(slot, &mut node, p, -1));
    let fits = attempt.judge(slot, &node, pod);
    let found = fits.map(|()| {
        let (violating, others) = violating(&lesser, budgets);
        let mut victims = Vec::new();
        reprieve(attempt, pod, slot, &mut node, violating, &mut victims);
        let violations = victims.len();
        reprieve(attempt, pod, slot, &mut node, others, &mut victims);
        victims.sort_by_cached_key(|p| importance(p));
        Candidate { slot, victims, violations }
    });
    // Those who were given back are counted again; the others are not yet.
    let gone = found.as_ref().map_or(&lesser, |c| &c.victims);
    gone.iter().for_each(|p| attempt.shift_elsewhere(slot, p, 1));
    found
}

/// Gives back who fits beside the pod; the others become victims.
fn reprieve(
    attempt: &mut Attempt<'_>,
    pod: &Pod,
    slot: Slot,
    node: &mut NodeInfo,
    lesser: Vec<Arc<Pod>>,
    victims: &mut Vec<Arc<Pod>>,
) {
    for other in lesser {
        attempt.shift(slot, node, &other, 1);
        if attempt.judge(slot, node, pod).is_err() {
            attempt.shift(slot, node, &other, -1);
            victims.push(other);
        }
    }
}

/// Who comes first is more important: by priority, then who runs longer. Who does not run yet began now.
fn importance(pod: &Pod) -> (Reverse<i32>, i64) {
    (Reverse(pod.priority), pod.started.map_or(i64::MAX, client::Time::seconds))
}

/// The pods whose budgets are spent, and the others. A budget is spent on the first pods of the list first.
fn violating(pods: &[Arc<Pod>], budgets: &[Arc<BudgetView>]) -> (Vec<Arc<Pod>>, Vec<Arc<Pod>>) {
    let mut left: Vec<i64> = budgets.iter().map(|b| b.status.disruptions_allowed.into()).collect();
    let mut spends = |pod: &Pod| {
        let mut spent = false;
        for (budget, left) in budgets.iter().zip(&mut left).filter(|(b, _)| covers(b, pod)) {
            if budget.status.disrupted_pods.contains_key(pod.key.name()) {
                // Its disruption was granted already.
                continue;
            }
            *left -= 1;
            spent |= *left < 0;
        }
        spent
    };
    pods.iter().cloned().partition(|pod| spends(pod))
}

fn covers(budget: &BudgetView, pod: &Pod) -> bool {
    let selector = budget.spec.selector.as_ref().filter(|s| !s.is_empty());
    !pod.labels().is_empty()
        && budget.metadata.namespace == pod.key.namespace()
        && selector.is_some_and(|s| s.matches(pod.labels()))
}

/// The best candidate: fewest broken budgets, then the least important most important victim, then the smallest sum
/// of priorities, then the fewest victims, then the victims that began last; the first of equals.
pub fn pick(candidates: Vec<Candidate>) -> Option<Candidate> {
    let key = |c: &Candidate| {
        let highest = c.victims.first().map_or(i32::MIN, |p| p.priority);
        let sum: i64 = c.victims.iter().map(|p| i64::from(p.priority) + PRIORITY_OFFSET).sum();
        let top = c.victims.iter().filter(|p| p.priority == highest);
        let earliest = top.map(|p| p.started.map_or(i64::MAX, client::Time::seconds)).min();
        (c.violations, highest, sum, c.victims.len(), Reverse(earliest))
    };
    candidates.into_iter().min_by_key(key)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
