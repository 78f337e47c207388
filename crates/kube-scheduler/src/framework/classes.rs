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

/// How many verdicts are kept over all classes, about 100 bytes each.
const MOST_VERDICTS: usize = 200_000;
/// A few classes are kept however many nodes there are.
const FEWEST_CLASSES: usize = 4;
/// How many kins are kept for each class.
const KINS_A_CLASS: usize = 4;

/// Raw scores, in the order of the profile's scoring plugins.
pub type Scores = SmallVec<[i64; 5]>;

/// What was found out about a node.
#[derive(Clone, Debug)]
pub enum Verdict {
    Fits(Scores),
    /// By the filter in this place.
    Rejected(usize, Rejection),
}

#[derive(Clone, Debug)]
struct Known {
    generation: u64,
    verdict: Verdict,
}

/// A plugin's part in a profile: its place among the filters, or among the scores.
pub struct At<T: ?Sized> {
    pub place: usize,
    pub plugin: PluginId,
    pub part: Box<T>,
}

/// What the plugins prepared for a class.
pub struct Local {
    pub filters: Vec<At<dyn Filter>>,
    pub scores: Vec<At<dyn Score>>,
    /// The only nodes in question, and who says so.
    pub only: Option<(HashSet<CompactString>, PluginSet)>,
    known: HashMap<Slot, Known>,
    dense: Vec<Option<Known>>,
    epoch: u64,
    lasting: bool,
}

impl Local {
    pub fn new(
        filters: Vec<At<dyn Filter>>,
        scores: Vec<At<dyn Score>>,
        only: Option<(HashSet<CompactString>, PluginSet)>,
    ) -> Self {
        let lasting = filters.iter().all(|f| f.part.is_lasting());
        Self { filters, scores, only, known: HashMap::new(), dense: Vec::new(), epoch: 0, lasting }
    }

    /// Drops what is out of date as a whole.
    fn begin(&mut self, cache: &Cache) {
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
    fn judge(&mut self, cache: &Cache, slot: Slot) -> &Verdict {
        let node = cache.node(slot);
        let (filters, scores) = (&self.filters, &self.scores);
        let find = || Known { generation: node.generation, verdict: judge(filters, scores, cache, node) };
        let known = match self.dense.get_mut(slot as usize) {
            Some(place) => place.get_or_insert_with(find),
            None => self.known.entry(slot).or_insert_with(find),
        };
        if known.generation != node.generation {
            *known = Known { generation: node.generation, verdict: judge(filters, scores, cache, node) };
        }
        &known.verdict
    }

    /// The raw scores of a node that was found to fit.
    pub fn raw(&self, slot: Slot, at: usize) -> i64 {
        let known = match self.dense.get(slot as usize) {
            Some(place) => place.as_ref(),
            None => self.known.get(&slot),
        };
        match known.map(|k| &k.verdict) {
            Some(Verdict::Fits(scores)) => scores.get(at).copied().unwrap_or(0),
            _ => 0,
        }
    }
}

/// Filters stop at the first that rejects.
fn judge(filters: &[At<dyn Filter>], scores: &[At<dyn Score>], cache: &Cache, node: &NodeInfo) -> Verdict {
    for filter in filters {
        if let Err(rejection) = filter.part.filter(node) {
            return Verdict::Rejected(filter.place, rejection);
        }
    }
    Verdict::Fits(scores.iter().map(|s| s.part.score(cache, node)).collect())
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
    /// Whether the pod fits a node as it is.
    pub fn judge(&mut self, cache: &Cache, slot: Slot, pod: &Pod) -> Result<(), (PluginId, Rejection)> {
        let node = cache.node(slot);
        if cache.nominations.before(pod, &node.name).next().is_some() {
            self.judge_with_nominated(cache, slot, node, pod)?;
        }
        let (rejected, why) = match self.local.judge(cache, slot) {
            Verdict::Fits(_) => (usize::MAX, None),
            Verdict::Rejected(place, why) => (*place, Some(why)),
        };
        judge_wide(&self.wide.filters, slot, rejected)?;
        match why {
            Some(why) => Err((self.plugins[rejected], why.clone())),
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
