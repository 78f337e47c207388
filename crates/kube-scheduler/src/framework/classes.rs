//! Verdicts on nodes that pods of one class share. A verdict holds while the node's generation and the cache's epoch
//! are what they were; the classes used longest ago are dropped.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use compact_str::CompactString;
use smallvec::SmallVec;

use super::{Filter, PluginId, PluginSet, Rejection, Score};
use crate::cache::{Cache, NodeInfo, Slot};
use crate::pod::Class;

/// How many verdicts are kept over all classes, about 100 bytes each.
const MOST_VERDICTS: usize = 200_000;
/// A few classes are kept however many nodes there are.
const FEWEST_CLASSES: usize = 4;

/// Raw scores, in the order of the profile's scoring plugins.
pub type Scores = SmallVec<[i64; 5]>;

/// What was found out about a node.
#[derive(Clone, Debug)]
pub enum Verdict {
    Fits(Scores),
    Rejected(PluginId, Rejection),
}

#[derive(Clone, Debug)]
struct Known {
    generation: u64,
    verdict: Verdict,
}

/// What the plugins prepared for a class.
pub struct Prepared {
    pub filters: Vec<(PluginId, Box<dyn Filter>)>,
    /// The scoring plugin's place in the profile, beside its score.
    pub scores: Vec<(usize, Box<dyn Score>)>,
    /// The only nodes in question, and who says so.
    pub only: Option<(HashSet<CompactString>, PluginSet)>,
    known: HashMap<Slot, Known>,
    dense: Vec<Option<Known>>,
    epoch: u64,
    used: u64,
    lasting: bool,
}

impl Prepared {
    pub fn new(
        filters: Vec<(PluginId, Box<dyn Filter>)>,
        scores: Vec<(usize, Box<dyn Score>)>,
        only: Option<(HashSet<CompactString>, PluginSet)>,
    ) -> Self {
        let lasting = filters.iter().all(|(_, f)| f.is_lasting());
        Self { filters, scores, only, known: HashMap::new(), dense: Vec::new(), epoch: 0, used: 0, lasting }
    }

    /// Drops what is out of date as a whole. Call before [`Prepared::judge`].
    pub fn begin(&mut self, cache: &Cache) {
        if self.epoch != cache.epoch() {
            self.epoch = cache.epoch();
            self.dense.clear();
            self.known.clear();
        }
        if self.only.is_none() {
            self.dense.resize(cache.nodes().len(), None);
        }
    }

    /// Finds the verdict on a node out, if the known one is none or out of date.
    pub fn judge(&mut self, cache: &Cache, slot: Slot) {
        let node = cache.node(slot);
        if self.get(slot).is_some_and(|known| known.generation == node.generation) {
            return;
        }
        let known =
            Known { generation: node.generation, verdict: judge(&self.filters, &self.scores, cache, node) };
        match self.dense.get_mut(slot as usize) {
            Some(place) => *place = Some(known),
            None => drop(self.known.insert(slot, known)),
        }
    }

    fn get(&self, slot: Slot) -> Option<&Known> {
        match self.dense.get(slot as usize) {
            Some(place) => place.as_ref(),
            None => self.known.get(&slot),
        }
    }

    /// What [`Prepared::judge`] found; None if it was not asked.
    pub fn known(&self, slot: Slot) -> Option<&Verdict> {
        self.get(slot).map(|k| &k.verdict)
    }
}

/// Filters stop at the first that rejects.
fn judge(
    filters: &[(PluginId, Box<dyn Filter>)],
    scores: &[(usize, Box<dyn Score>)],
    cache: &Cache,
    node: &NodeInfo,
) -> Verdict {
    for (plugin, filter) in filters {
        if let Err(rejection) = filter.filter(node) {
            return Verdict::Rejected(*plugin, rejection);
        }
    }
    Verdict::Fits(scores.iter().map(|(_, s)| s.score(cache, node)).collect())
}

/// What is prepared, by class.
#[derive(Default)]
pub struct Classes {
    prepared: HashMap<Class, Prepared>,
    clock: u64,
    hostile: bool,
}

impl Classes {
    /// Takes what is prepared for a class out; [`Classes::put`] it back after use.
    pub fn take(&mut self, class: &Class) -> Option<Prepared> {
        self.prepared.remove(class)
    }

    /// Forgets everything when the first pod with anti-affinity comes or the last one goes: with them around, who fits
    /// where depends on more than the node.
    pub fn begin(&mut self, cache: &Cache) {
        let hostile = cache.hostile_pods() > 0;
        if self.hostile != hostile {
            self.hostile = hostile;
            self.prepared.clear();
        }
    }

    /// Keeps what was prepared, if it may be kept.
    pub fn put(&mut self, class: &Class, mut prepared: Prepared, nodes: usize) {
        if !prepared.lasting || prepared.only.is_some() {
            return;
        }
        self.clock += 1;
        prepared.used = self.clock;
        self.prepared.insert(class.clone(), prepared);
        let most = (MOST_VERDICTS / nodes.max(1)).max(FEWEST_CLASSES);
        while self.prepared.len() > most {
            let oldest = self.prepared.iter().min_by_key(|(_, p)| p.used).map(|(class, _)| class.clone());
            let Some(oldest) = oldest else { return };
            self.prepared.remove(&oldest);
        }
    }

    pub fn len(&self) -> usize {
        self.prepared.len()
    }

    pub fn is_empty(&self) -> bool {
        self.prepared.is_empty()
    }
}

/// `[NodeAffinity NodeName]`, as upstream prints a list.
pub fn go_list<'a>(names: impl Iterator<Item = &'a str>) -> Cow<'static, str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    format!("[{}]", names.join(" ")).into()
}
