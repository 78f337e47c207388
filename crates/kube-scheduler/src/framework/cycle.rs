//! One scheduling cycle: which node a pod goes to. Goes through the nodes from where the last cycle stopped until it
//! has found enough that fit, scores these, and takes one of the best at random: upstream's way, so that the choices
//! have the same distribution.

use std::collections::HashSet;

use compact_str::CompactString;

use super::classes::{Prepared, Verdict, go_list};
use super::{Context, FitError, MAX_SCORE, Normalize, PluginId, PluginSet, PreFilter, Profile, Rejection};
use crate::cache::{Cache, Slot};
use crate::pod::Pod;
use crate::resources::Symbols;
use crate::volumes::Volumes;

/// Fewer nodes than these are all looked at.
const FEWEST_NODES: usize = 100;
const LEAST_PERCENTAGE: usize = 5;

/// The node for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub node: CompactString,
    pub evaluated: usize,
    pub feasible: usize,
}

#[derive(Debug)]
pub enum Outcome {
    Node(Chosen),
    /// There are no nodes at all.
    NoNodes,
    Unfit(Box<FitError>),
}

/// How many feasible nodes are enough among `nodes`; `percentage` 0 adapts to their number.
pub fn enough(nodes: usize, percentage: usize) -> usize {
    if nodes < FEWEST_NODES {
        return nodes;
    }
    let percentage = match percentage {
        0 => 50_usize.saturating_sub(nodes / 125).max(LEAST_PERCENTAGE),
        given => given,
    };
    (nodes * percentage / 100).max(FEWEST_NODES)
}

enum Preparation {
    Ready(Prepared),
    Refused(PluginId, Rejection),
}

impl Profile {
    /// Finds a node. `start` is where the nodes are begun with, and is moved on.
    pub fn schedule(
        &mut self,
        cache: &mut Cache,
        volumes: &Volumes,
        pod: &Pod,
        start: &mut usize,
    ) -> Outcome {
        let nodes = cache.order().len();
        if nodes == 0 {
            return Outcome::NoNodes;
        }
        self.classes.begin(cache);
        let mut prepared = match self.classes.take(&pod.class) {
            Some(prepared) => prepared,
            None => match self.prepare_with(cache, volumes, pod) {
                Preparation::Ready(prepared) => prepared,
                Preparation::Refused(plugin, rejection) => {
                    return self.refused(cache, pod, nodes, plugin, &rejection);
                }
            },
        };
        prepared.begin(cache);
        let outcome = self.choose(cache, pod, &mut prepared, start);
        self.classes.put(&pod.class, prepared, nodes);
        outcome
    }

    fn prepare_with(&self, cache: &mut Cache, volumes: &Volumes, pod: &Pod) -> Preparation {
        let mut symbols = std::mem::take(&mut cache.symbols);
        let prepared = self.prepare(cache, &mut symbols, volumes, pod);
        cache.symbols = symbols;
        prepared
    }

    fn prepare(&self, cache: &Cache, symbols: &mut Symbols, volumes: &Volumes, pod: &Pod) -> Preparation {
        let context = &mut Context { cache, symbols, volumes };
        let (mut filters, mut only): (Vec<_>, Option<(HashSet<CompactString>, PluginSet)>) =
            (Vec::new(), None);
        for (id, plugin) in self.filters() {
            let filter = match plugin.pre_filter(context, pod) {
                PreFilter::Skip => continue,
                PreFilter::Reject(rejection) => return Preparation::Refused(id, rejection),
                PreFilter::Filter(filter) => filter,
                PreFilter::Only(names, filter) => {
                    let (known, by) = only.get_or_insert_with(|| (names.clone(), PluginSet::default()));
                    known.retain(|name| names.contains(name));
                    by.insert(id);
                    filter
                }
            };
            filters.push((id, filter));
        }
        let scores = self.scores().iter().enumerate();
        let scores = scores
            .filter_map(|(at, (id, _))| Some((at, self.plugin(*id).pre_score(context, pod)?)))
            .collect();
        Preparation::Ready(Prepared::new(filters, scores, only))
    }

    fn refused(
        &self,
        cache: &Cache,
        pod: &Pod,
        nodes: usize,
        plugin: PluginId,
        rejection: &Rejection,
    ) -> Outcome {
        let mut error =
            FitError { nodes, pre_filter: Some(rejection.reasons.join(", ")), ..FitError::default() };
        error.plugins.insert(plugin);
        self.unfit(cache, pod, error)
    }

    fn unfit(&self, cache: &Cache, pod: &Pod, mut error: FitError) -> Outcome {
        error.post_filter = self.post_filters().find_map(|p| p.post_filter(cache, pod, &error));
        Outcome::Unfit(Box::new(error))
    }

    fn choose(&self, cache: &Cache, pod: &Pod, prepared: &mut Prepared, start: &mut usize) -> Outcome {
        // A nominated node that fits is taken without looking at others.
        if !pod.nominated_node_name.is_empty()
            && let Some(slot) = cache.slot(&pod.nominated_node_name)
        {
            prepared.judge(cache, slot);
            if matches!(prepared.known(slot), Some(Verdict::Fits(_))) {
                return Outcome::Node(Chosen {
                    node: cache.node(slot).name.clone(),
                    evaluated: 1,
                    feasible: 1,
                });
            }
        }
        let candidates: Option<Vec<Slot>> = prepared
            .only
            .as_ref()
            .map(|(names, _)| names.iter().filter_map(|name| cache.slot(name)).collect());
        let slots = candidates.as_deref().unwrap_or(cache.order());
        let (feasible, looked_at) = self.find(cache, prepared, slots, *start);
        *start = (*start + looked_at) % cache.order().len();
        if feasible.is_empty() {
            let error = self.diagnose(cache, prepared, slots);
            return self.unfit(cache, pod, error);
        }
        let best = if let [one] = feasible[..] { one } else { self.best(prepared, &feasible) };
        Outcome::Node(Chosen {
            node: cache.node(best).name.clone(),
            evaluated: looked_at,
            feasible: feasible.len(),
        })
    }

    /// The nodes that fit, and how many were looked at for them.
    fn find(
        &self,
        cache: &Cache,
        prepared: &mut Prepared,
        slots: &[Slot],
        start: usize,
    ) -> (Vec<Slot>, usize) {
        let wanted = if self.scores().is_empty() { 1 } else { enough(slots.len(), self.percentage()) };
        let (mut feasible, mut looked_at) = (Vec::with_capacity(wanted), 0);
        if slots.is_empty() {
            return (feasible, 0);
        }
        let start = start % slots.len();
        for slot in slots[start..].iter().chain(&slots[..start]) {
            prepared.judge(cache, *slot);
            looked_at += 1;
            if matches!(prepared.known(*slot), Some(Verdict::Fits(_))) {
                feasible.push(*slot);
                if feasible.len() >= wanted {
                    break;
                }
            }
        }
        (feasible, looked_at)
    }

    fn diagnose(&self, cache: &Cache, prepared: &Prepared, slots: &[Slot]) -> FitError {
        let mut error = FitError { nodes: cache.order().len(), ..FitError::default() };
        for slot in slots {
            if let Some(Verdict::Rejected(plugin, rejection)) = prepared.known(*slot) {
                error.add(*slot, *plugin, rejection);
            }
        }
        if let Some((_, by)) = &prepared.only {
            let names = go_list(by.iter().map(|id| self.plugin(id).name()));
            error.absent = Some(format!("node(s) didn't satisfy plugin(s) {names}"));
            for id in by.iter() {
                error.plugins.insert(id);
            }
        }
        error
    }

    /// One of the best-scored at random.
    fn best(&self, prepared: &Prepared, feasible: &[Slot]) -> Slot {
        let totals = self.totals(prepared, feasible);
        let (mut best, mut most, mut ties) = (feasible[0], i64::MIN, 0_u32);
        for (slot, total) in feasible.iter().zip(totals) {
            if total > most {
                (best, most, ties) = (*slot, total, 1);
            } else if total == most {
                ties += 1;
                if rand::random_range(0..ties) == 0 {
                    best = *slot;
                }
            }
        }
        best
    }

    /// Weighted sums of the normalised scores.
    pub fn totals(&self, prepared: &Prepared, feasible: &[Slot]) -> Vec<i64> {
        let raw = |slot: &Slot, at: usize| match prepared.known(*slot) {
            Some(Verdict::Fits(scores)) => scores.get(at).copied().unwrap_or(0),
            _ => 0,
        };
        let mut totals = vec![0; feasible.len()];
        for (at, (plugin, score)) in prepared.scores.iter().enumerate() {
            let weight = self.scores()[*plugin].1;
            let how = score.normalize();
            let highest =
                if how == Normalize::No { 0 } else { feasible.iter().map(|s| raw(s, at)).max().unwrap_or(0) };
            for (total, slot) in totals.iter_mut().zip(feasible) {
                *total += weight * normalized(raw(slot, at), highest, how);
            }
        }
        totals
    }
}

fn normalized(raw: i64, highest: i64, how: Normalize) -> i64 {
    let share = |raw: i64| if highest == 0 { 0 } else { MAX_SCORE * raw / highest };
    match how {
        Normalize::No => raw,
        Normalize::Highest => share(raw),
        Normalize::Lowest => MAX_SCORE - share(raw),
    }
}

#[cfg(test)]
#[path = "cycle_tests.rs"]
mod tests;
