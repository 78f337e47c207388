//! What is worked out for pods of one class, and of one class and kin, once. A verdict on a node holds while the node's
//! generation and the cache's epoch are what they were; what is counted over all nodes follows the cache's journal.
//! What was used longest ago is dropped.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use compact_str::CompactString;
use smallvec::SmallVec;

use super::{ClusterFilter, ClusterScore, Filter, PluginId, PluginSet, Rejection, Score};
use crate::cache::{Cache, Moved, NodeInfo, Slot};
use crate::pod::{Class, Kin, Pod};

/// How many verdicts are kept over all classes, about 50 bytes each.
const MOST_VERDICTS: usize = 200_000;
/// A few classes are kept however many nodes there are.
const FEWEST_CLASSES: usize = 4;
/// How many kins are kept for each class.
const KINS_A_CLASS: usize = 4;

/// A plugin's part in a profile: its place among the filters, or among the scores.
pub struct At<T: ?Sized> {
    pub place: usize,
    pub plugin: PluginId,
    pub part: Box<T>,
}

/// What the plugins prepared for a class, and what was found out about nodes. That lies in arrays of its own, so that
/// going through the nodes reads little memory.
pub struct Local {
    pub filters: Vec<At<dyn Filter>>,
    pub scores: Vec<At<dyn Score>>,
    /// The only nodes in question, and who says so.
    pub only: Option<(HashSet<CompactString>, PluginSet)>,
    /// Where the nodes lie in the arrays, if only some are in question; else by slot.
    sparse: HashMap<Slot, usize>,
    /// Twice the generation of the node that was judged, and one more if it fits; 0: not judged.
    stamps: Vec<u64>,
    /// As many raw scores a node as there are scoring plugins.
    raw: Vec<i64>,
    /// The place of the filter that rejected a node, and why.
    rejected: HashMap<Slot, (usize, Rejection)>,
    epoch: u64,
    lasting: bool,
}

impl Local {
    pub fn new(
        filters: Vec<At<dyn Filter>>,
        scores: Vec<At<dyn Score>>,
        only: Option<(HashSet<CompactString>, PluginSet)>,
    ) -> Self {
        Self {
            lasting: filters.iter().all(|f| f.part.is_lasting()),
            filters,
            scores,
            only,
            sparse: HashMap::new(),
            stamps: Vec::new(),
            raw: Vec::new(),
            rejected: HashMap::new(),
            epoch: 0,
        }
    }

    /// Drops what is out of date as a whole.
    fn begin(&mut self, cache: &Cache) {
        if self.epoch != cache.epoch() {
            self.epoch = cache.epoch();
            self.stamps.clear();
            self.rejected.clear();
        }
        if self.only.is_none() {
            self.stamps.resize(cache.nodes().len(), 0);
            self.raw.resize(cache.nodes().len() * self.scores.len(), 0);
        }
    }

    fn place(&mut self, slot: Slot) -> usize {
        if self.only.is_none() {
            return slot as usize;
        }
        let next = self.sparse.len();
        let place = *self.sparse.entry(slot).or_insert(next);
        if place >= self.stamps.len() {
            self.stamps.resize(place + 1, 0);
            self.raw.resize((place + 1) * self.scores.len(), 0);
        }
        place
    }

    /// Whether a node fits; found out anew if what is known is out of date.
    fn fits(&mut self, cache: &Cache, slot: Slot) -> bool {
        let (place, generation) = (self.place(slot), cache.generation(slot));
        if self.stamps[place] >> 1 != generation {
            let fits = self.find_out(cache, slot, place);
            self.stamps[place] = generation << 1 | u64::from(fits);
        }
        self.stamps[place] & 1 == 1
    }

    /// Filters stop at the first that rejects.
    fn find_out(&mut self, cache: &Cache, slot: Slot, place: usize) -> bool {
        let node = cache.node(slot);
        for filter in &self.filters {
            if let Err(rejection) = filter.part.filter(node) {
                self.rejected.insert(slot, (filter.place, rejection));
                return false;
            }
        }
        let first = place * self.scores.len();
        for (score, raw) in self.scores.iter().zip(&mut self.raw[first..]) {
            *raw = score.part.score(cache, node);
        }
        true
    }

    /// Why a node that was found not to fit does not.
    fn why_not(&self, slot: Slot) -> Option<&(usize, Rejection)> {
        self.rejected.get(&slot)
    }

    /// A raw score of a node that was found to fit.
    pub fn raw(&self, slot: Slot, at: usize) -> i64 {
        let place = match &self.only {
            None => Some(slot as usize),
            Some(_) => self.sparse.get(&slot).copied(),
        };
        place.and_then(|place| self.raw.get(place * self.scores.len() + at)).copied().unwrap_or(0)
    }
}

/// What was counted over all nodes for a class and kin.
#[derive(Default)]
pub struct Wide {
    pub filters: Vec<At<dyn ClusterFilter>>,
    pub scores: Vec<At<dyn ClusterScore>>,
    layout: u64,
    seen: u64,
}

impl Wide {
    pub fn new(
        filters: Vec<At<dyn ClusterFilter>>,
        scores: Vec<At<dyn ClusterScore>>,
        cache: &Cache,
    ) -> Self {
        Self { filters, scores, layout: cache.layout(), seen: cache.journal().end() }
    }

    /// Follows the cache; false: it is too far ahead.
    fn catch_up(&mut self, cache: &Cache) -> bool {
        let Some(changes) = cache.journal().since(self.seen).filter(|_| self.layout == cache.layout()) else {
            return false;
        };
        if !self.filters.is_empty() || !self.scores.is_empty() {
            changes.for_each(|moved| self.moved(cache, moved));
        }
        self.seen = cache.journal().end();
        true
    }

    pub(super) fn moved(&mut self, cache: &Cache, moved: &Moved) {
        self.filters.iter_mut().for_each(|f| f.part.moved(cache, moved));
        self.scores.iter_mut().for_each(|s| s.part.moved(cache, moved));
    }
}

/// All that is worked out for a pod.
pub struct Prepared {
    pub local: Local,
    pub wide: Wide,
    /// The plugins of the filters, by their place.
    pub plugins: Vec<PluginId>,
}

impl Prepared {
    /// Whether the pod fits a node as it is. Why not, [`Prepared::judge`] says.
    pub fn fits(&mut self, cache: &Cache, slot: Slot, pod: &Pod) -> bool {
        if !cache.nominations.is_empty() {
            return self.judge(cache, slot, pod).is_ok();
        }
        self.local.fits(cache, slot) && self.wide.filters.iter().all(|f| f.part.filter(slot).is_ok())
    }

    /// Whether the pod fits a node as it is.
    pub fn judge(&mut self, cache: &Cache, slot: Slot, pod: &Pod) -> Result<(), (PluginId, Rejection)> {
        let node = cache.node(slot);
        if cache.nominations.before(pod, &node.name).next().is_some() {
            self.judge_with_nominated(cache, slot, node, pod)?;
        }
        let local = if self.local.fits(cache, slot) { None } else { self.local.why_not(slot) };
        judge_wide(&self.wide.filters, slot, local.map_or(usize::MAX, |(place, _)| *place))?;
        match local {
            Some((place, why)) => Err((self.plugins[*place], why.clone())),
            None => Ok(()),
        }
    }

    /// The same of a node in place of the one in `slot`; nothing is kept.
    fn judge_other(&self, slot: Slot, node: &NodeInfo) -> Result<(), (PluginId, Rejection)> {
        let local = self.local.filters.iter().find_map(|f| Some((f, f.part.filter(node).err()?)));
        judge_wide(&self.wide.filters, slot, local.as_ref().map_or(usize::MAX, |(f, _)| f.place))?;
        match local {
            Some((filter, why)) => Err((filter.plugin, why)),
            None => Ok(()),
        }
    }

    /// With the pods that are nominated for the node and go first, and then, as these may be what the pod wants to
    /// be near, without them.
    pub fn judge_with_nominated(
        &mut self,
        cache: &Cache,
        slot: Slot,
        node: &NodeInfo,
        pod: &Pod,
    ) -> Result<(), (PluginId, Rejection)> {
        let nominated: SmallVec<[_; 2]> = cache.nominations.before(pod, &node.name).cloned().collect();
        if !nominated.is_empty() {
            let mut full = node.clone();
            for other in &nominated {
                full.add_pod(other.clone());
                self.wide.moved(cache, &Moved { slot, pod: other.clone(), by: 1 });
            }
            let found = self.judge_other(slot, &full);
            for other in nominated {
                self.wide.moved(cache, &Moved { slot, pod: other, by: -1 });
            }
            found?;
        }
        self.judge_other(slot, node)
    }
}

/// The filters over all nodes, as far as they come before the place that rejected already.
fn judge_wide(
    filters: &[At<dyn ClusterFilter>],
    slot: Slot,
    rejected: usize,
) -> Result<(), (PluginId, Rejection)> {
    let mut asked = filters.iter().take_while(|f| f.place < rejected);
    asked.try_for_each(|f| f.part.filter(slot).map_err(|why| (f.plugin, why)))
}

/// Values by key, of which those used longest ago can be dropped.
struct Aged<K, V> {
    values: HashMap<K, (u64, V)>,
    clock: u64,
}

impl<K, V> Default for Aged<K, V> {
    fn default() -> Self {
        Self { values: HashMap::new(), clock: 0 }
    }
}

impl<K: Hash + Eq + Clone, V> Aged<K, V> {
    fn take(&mut self, key: &K) -> Option<V> {
        self.values.remove(key).map(|(_, value)| value)
    }

    fn put(&mut self, key: K, value: V, most: usize) {
        self.clock += 1;
        self.values.insert(key, (self.clock, value));
        if self.values.len() <= most {
            return;
        }
        let oldest = self.values.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            self.values.remove(&oldest);
        }
    }
}

/// What is prepared, by class and by class and kin.
#[derive(Default)]
pub struct Classes {
    local: Aged<Class, Local>,
    wide: Aged<(Class, Kin), Wide>,
}

impl Classes {
    /// What is prepared for a class, up to date; [`Classes::put`] it back after use.
    pub fn take_local(&mut self, pod: &Pod, cache: &Cache) -> Option<Local> {
        let mut local = self.local.take(&pod.class)?;
        local.begin(cache);
        Some(local)
    }

    /// What was counted for a class and kin, up to date; [`Classes::put`] it back after use.
    pub fn take_wide(&mut self, pod: &Pod, cache: &Cache) -> Option<Wide> {
        let mut wide = self.wide.take(&(pod.class.clone(), pod.kin.clone()))?;
        wide.catch_up(cache).then_some(wide)
    }

    /// Keeps what may be kept.
    pub fn put(&mut self, pod: &Pod, prepared: Prepared, nodes: usize) {
        let most = (MOST_VERDICTS / nodes.max(1)).max(FEWEST_CLASSES);
        if !pod.spec().claims.is_empty() {
            // Claims and volumes change without any pod or node.
            return;
        }
        if prepared.local.lasting && prepared.local.only.is_none() {
            self.local.put(pod.class.clone(), prepared.local, most);
        }
        self.wide.put((pod.class.clone(), pod.kin.clone()), prepared.wide, most * KINS_A_CLASS);
    }

    /// Forgets what was counted, for the pods of a namespace or all: what it was counted by is different.
    pub fn forget_wide(&mut self, namespace: Option<&str>) {
        self.wide.values.retain(|(_, kin), _| namespace.is_some_and(|n| kin.namespace != n));
    }

    pub fn len(&self) -> usize {
        self.local.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.local.values.is_empty()
    }
}

impl Local {
    /// As [`Classes::take_local`] gives it.
    pub(super) fn begun(mut self, cache: &Cache) -> Self {
        self.begin(cache);
        self
    }
}

/// `[NodeAffinity NodeName]`, as upstream prints a list.
pub fn go_list<'a>(names: impl Iterator<Item = &'a str>) -> Cow<'static, str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    format!("[{}]", names.join(" ")).into()
}
