//! One scheduling cycle: which node a pod goes to. Goes through the nodes from where the last cycle stopped until it
//! has found enough that fit, scores these, and takes one of the best at random: upstream's way, so that the choices
//! have the same distribution.

use std::collections::HashSet;

use compact_str::CompactString;

use super::classes::{At, Local, Prepared, Wide, go_list};
use super::{
    Attempt, Context, FitError, MAX_SCORE, Normalize, PluginId, PluginSet, PostFilter, PreFilter, Profile,
    Rejection,
};
use crate::cache::{Cache, Slot};
use crate::listers::Listers;
use crate::pod::Pod;

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

/// The nodes that fit.
struct Found {
    feasible: Vec<Slot>,
    looked_at: usize,
}

impl Profile {
    /// Finds a node. `start` is where the nodes are begun with, and is moved on.
    pub fn schedule(
        &mut self,
        cache: &mut Cache,
        listers: &Listers,
        pod: &Pod,
        start: &mut usize,
    ) -> Outcome {
        let nodes = cache.order().len();
        if nodes == 0 {
            return Outcome::NoNodes;
        }
        let (local, wide) = (self.classes.take_local(pod, cache), self.classes.take_wide(pod, cache));
        let mut symbols = std::mem::take(&mut cache.symbols);
        let context = &mut Context { cache, symbols: &mut symbols, listers };
        let local = local.map_or_else(|| self.prepare(context, pod), Ok);
        let wide = wide.unwrap_or_else(|| self.count(context, pod));
        cache.symbols = symbols;
        match local {
            Ok(local) => {
                let plugins = self.filters().map(|(id, _)| id).collect();
                let mut prepared = Prepared { local, wide, plugins };
                let outcome = self.choose(cache, listers, pod, &mut prepared, start);
                self.classes.put(pod, prepared, nodes);
                outcome
            }
            Err((plugin, rejection)) => {
                let mut error =
                    FitError { nodes, pre_filter: Some(rejection.reasons.join(", ")), ..FitError::default() };
                error.plugins.insert(plugin);
                self.unfit(&mut Attempt::new(cache, listers, None), pod, error)
            }
        }
    }

    /// What looks at one node at a time.
    fn prepare(&self, context: &mut Context<'_>, pod: &Pod) -> Result<Local, (PluginId, Rejection)> {
        let (mut filters, mut only): (Vec<_>, Option<(HashSet<CompactString>, PluginSet)>) =
            (Vec::new(), None);
        for (place, (plugin, of)) in self.filters().enumerate() {
            let part = match of.pre_filter(context, pod) {
                PreFilter::Skip => continue,
                PreFilter::Reject(rejection) => return Err((plugin, rejection)),
                PreFilter::Filter(filter) => filter,
                PreFilter::Only(names, filter) => {
                    let (known, by) = only.get_or_insert_with(|| (names.clone(), PluginSet::default()));
                    known.retain(|name| names.contains(name));
                    by.insert(plugin);
                    filter
                }
            };
            filters.push(At { place, plugin, part });
        }
        let scores = self.scores().iter().enumerate();
        let scores = scores.filter_map(|(place, (plugin, _))| {
            Some(At { place, plugin: *plugin, part: self.plugin(*plugin).pre_score(context, pod)? })
        });
        Ok(Local::new(filters, scores.collect(), only).begun(context.cache))
    }

    /// What looks at the pods of all nodes.
    fn count(&self, context: &mut Context<'_>, pod: &Pod) -> Wide {
        let filters = self.filters().enumerate().filter_map(|(place, (plugin, of))| {
            Some(At { place, plugin, part: of.cluster_filter(context, pod)? })
        });
        let filters = filters.collect();
        let scores = self.scores().iter().enumerate().filter_map(|(place, (plugin, _))| {
            Some(At { place, plugin: *plugin, part: self.plugin(*plugin).cluster_score(context, pod)? })
        });
        let scores = scores.collect();
        Wide::new(filters, scores, context.cache)
    }

    fn unfit(&self, attempt: &mut Attempt<'_>, pod: &Pod, mut error: FitError) -> Outcome {
        match self.post_filters().find_map(|p| p.post_filter(attempt, pod, &error)) {
            None => {}
            Some(PostFilter::Nothing(message)) => error.post_filter = Some(message),
            Some(PostFilter::Hopeless(message)) => {
                (error.post_filter, error.void_nomination) = (Some(message), true);
            }
            Some(PostFilter::Preempt(preemption)) => error.preemption = Some(preemption),
        }
        Outcome::Unfit(Box::new(error))
    }

    fn choose(
        &self,
        cache: &Cache,
        listers: &Listers,
        pod: &Pod,
        prepared: &mut Prepared,
        start: &mut usize,
    ) -> Outcome {
        // A nominated node that fits is taken without looking at others.
        if let Some(slot) = cache.slot(&pod.nominated_node_name)
            && prepared.judge(cache, slot, pod).is_ok()
        {
            return Outcome::Node(Chosen { node: cache.node(slot).name.clone(), evaluated: 1, feasible: 1 });
        }
        let candidates: Option<Vec<Slot>> = prepared
            .local
            .only
            .as_ref()
            .map(|(names, _)| names.iter().filter_map(|name| cache.slot(name)).collect());
        let slots = candidates.as_deref().unwrap_or(cache.order());
        let found = self.find(cache, pod, prepared, slots, *start);
        *start = (*start + found.looked_at) % cache.order().len();
        if found.feasible.is_empty() {
            let error = self.diagnose(cache, prepared, slots, pod);
            return self.unfit(&mut Attempt::new(cache, listers, Some(prepared)), pod, error);
        }
        let best = match found.feasible[..] {
            [one] => one,
            _ => self.best(cache, prepared, &found.feasible),
        };
        Outcome::Node(Chosen {
            node: cache.node(best).name.clone(),
            evaluated: found.looked_at,
            feasible: found.feasible.len(),
        })
    }

    fn find(&self, cache: &Cache, pod: &Pod, prepared: &mut Prepared, slots: &[Slot], start: usize) -> Found {
        let wanted = if self.scores().is_empty() { 1 } else { enough(slots.len(), self.percentage()) };
        let mut found = Found { feasible: Vec::with_capacity(wanted), looked_at: 0 };
        if slots.is_empty() {
            return found;
        }
        let start = start % slots.len();
        for slot in slots[start..].iter().chain(&slots[..start]) {
            found.looked_at += 1;
            if prepared.fits(cache, *slot, pod) {
                found.feasible.push(*slot);
                if found.feasible.len() >= wanted {
                    break;
                }
            }
        }
        found
    }

    /// Why no node fits.
    fn diagnose(&self, cache: &Cache, prepared: &mut Prepared, slots: &[Slot], pod: &Pod) -> FitError {
        let mut error = FitError { nodes: cache.order().len(), ..FitError::default() };
        for slot in slots {
            if let Err((plugin, rejection)) = prepared.judge(cache, *slot, pod) {
                error.add(*slot, plugin, rejection);
            }
        }
        if let Some((_, by)) = &prepared.local.only {
            let names = go_list(by.iter().map(|id| self.plugin(id).name()));
            error.absent = Some(format!("node(s) didn't satisfy plugin(s) {names}"));
            for id in by.iter() {
                error.plugins.insert(id);
            }
        }
        error
    }

    /// One of the best-scored at random.
    fn best(&self, cache: &Cache, prepared: &mut Prepared, feasible: &[Slot]) -> Slot {
        let totals = self.totals(cache, prepared, feasible);
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
    pub fn totals(&self, cache: &Cache, prepared: &mut Prepared, feasible: &[Slot]) -> Vec<i64> {
        let mut totals = vec![0; feasible.len()];
        for (at, score) in prepared.local.scores.iter().enumerate() {
            let weight = self.scores()[score.place].1;
            let how = score.part.normalize();
            let raw = |slot: &Slot| prepared.local.raw(*slot, at);
            let highest = if how == Normalize::No { 0 } else { feasible.iter().map(raw).max().unwrap_or(0) };
            for (total, slot) in totals.iter_mut().zip(feasible) {
                *total += weight * normalized(raw(slot), highest, how);
            }
        }
        for score in &mut prepared.wide.scores {
            let weight = self.scores()[score.place].1;
            let given = score.part.scores(cache, feasible).into_iter().flatten();
            totals.iter_mut().zip(given).for_each(|(total, score)| *total += weight * score);
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
