//! The scheduling framework: what a plugin can do, and at which of upstream's extension points.
//!
//! A plugin prepares a [`Filter`] and a [`Score`] for a pod once; these judge the nodes one by one. Their verdicts
//! hold for all pods of the same class until the node changes, so that equal pods share them. What looks at pods of
//! other nodes too is a [`ClusterFilter`] or a [`ClusterScore`]: it counts once, for all pods of the same class and
//! kin, and is then told of every pod that comes to a node or leaves one.
//!
//! Deliberately absent: plugins from outside the binary, and extenders.

mod attempt;
mod classes;
mod cycle;
pub mod diagnosis;
pub mod events;
pub mod profile;
pub mod registry;

use std::borrow::Cow;
use std::collections::HashSet;

use async_trait::async_trait;
use compact_str::CompactString;
use smallvec::SmallVec;

pub use attempt::Attempt;
pub use classes::Classes;
pub use cycle::{Chosen, Outcome};
pub use diagnosis::{FitError, Preemption};
pub use events::{Change, Kinds};
pub use profile::Profile;

use crate::cache::{Cache, Moved, NodeInfo, Slot};
use crate::listers::Listers;
use crate::pod::Pod;
use crate::resources::Symbols;

/// The highest score that a plugin gives a node, after normalisation.
pub const MAX_SCORE: i64 = 100;

/// A plugin by its place in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginId(pub u8);

/// A set of plugins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PluginSet(u64);

impl PluginSet {
    pub fn insert(&mut self, id: PluginId) {
        self.0 |= 1 << id.0;
    }

    pub fn contains(self, id: PluginId) -> bool {
        self.0 & (1 << id.0) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = PluginId> {
        (0..64).map(PluginId).filter(move |id| self.contains(*id))
    }
}

/// Why a plugin does not want a pod on a node, or at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Preempting pods would not help.
    pub unresolvable: bool,
    pub reasons: SmallVec<[Cow<'static, str>; 1]>,
}

impl Rejection {
    pub fn unschedulable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { unresolvable: false, reasons: SmallVec::from_iter([reason.into()]) }
    }

    pub fn unresolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { unresolvable: true, ..Self::unschedulable(reason) }
    }
}

/// What a plugin may read while it prepares.
pub struct Context<'a> {
    pub cache: &'a Cache,
    /// The cache's own, taken out so that new strings can be added.
    pub symbols: &'a mut Symbols,
    pub listers: &'a Listers,
}

/// Judges nodes for the pods of one class.
pub trait Filter: Send {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection>;

    /// The verdict depends on nothing but the node and the class, so that it can be kept.
    fn is_lasting(&self) -> bool {
        true
    }
}

/// How raw scores become 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalize {
    /// They are already.
    No,
    /// The highest of them becomes 100.
    Highest,
    /// The highest of them becomes 0, zero becomes 100.
    Lowest,
}

/// Scores nodes for the pods of one class. May depend on the node and on what the cache's epoch covers.
pub trait Score: Send {
    fn score(&self, cache: &Cache, node: &NodeInfo) -> i64;

    fn normalize(&self) -> Normalize {
        Normalize::No
    }
}

/// Judges nodes by what is on all of them, for the pods of one class and kin.
pub trait ClusterFilter: Send {
    fn filter(&self, slot: Slot) -> Result<(), Rejection>;

    /// A pod came to a node or left it. The nodes themselves are as they were when the filter was prepared.
    fn moved(&mut self, cache: &Cache, moved: &Moved);
}

/// Scores nodes by what is on all of them, for the pods of one class and kin.
pub trait ClusterScore: Send {
    /// See [`ClusterFilter::moved`].
    fn moved(&mut self, cache: &Cache, moved: &Moved);

    /// The score of each feasible node, 0 to 100; None: no opinion.
    fn scores(&mut self, cache: &Cache, feasible: &[Slot]) -> Option<Vec<i64>>;
}

/// What PreFilter leads to.
pub enum PreFilter {
    /// The plugin has nothing against any node.
    Skip,
    Filter(Box<dyn Filter>),
    /// Only these nodes come into question.
    Only(HashSet<CompactString>, Box<dyn Filter>),
    /// No node will do.
    Reject(Rejection),
}

/// What PostFilter leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostFilter {
    /// Nothing can be done; added to the message of why no node fits.
    Nothing(String),
    /// The same, and a nomination that the pod may have is void.
    Hopeless(String),
    /// Make room.
    Preempt(Preemption),
}

/// The extension points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    PreEnqueue,
    QueueSort,
    PreFilter,
    Filter,
    PostFilter,
    PreScore,
    Score,
    Reserve,
    Permit,
    PreBind,
    Bind,
    PostBind,
}

/// The part of a plugin that acts through the API.
#[async_trait]
pub trait Binder: Send + Sync {
    async fn pre_bind(&self, _pod: &Pod, _node: &str) -> Result<(), String> {
        Ok(())
    }

    /// None: left to the next binder.
    async fn bind(&self, _pod: &Pod, _node: &str) -> Option<Result<(), client::Error>> {
        None
    }

    async fn post_bind(&self, _pod: &Pod, _node: &str) {}
}

/// A plugin. What it does not implement, it does not take part in.
pub trait Plugin: Send + Sync {
    fn name(&self) -> &'static str;

    /// Where `multiPoint` enables it.
    fn points(&self) -> &'static [Point];

    /// What keeps a pod from being queued.
    fn pre_enqueue(&self, _pod: &Pod) -> Result<(), Rejection> {
        Ok(())
    }

    fn pre_filter(&self, _context: &mut Context<'_>, _pod: &Pod) -> PreFilter {
        PreFilter::Skip
    }

    /// None: no opinion.
    fn pre_score(&self, _context: &mut Context<'_>, _pod: &Pod) -> Option<Box<dyn Score>> {
        None
    }

    /// What [`Plugin::pre_filter`] is for filters that look at one node at a time; None: nothing against any.
    fn cluster_filter(&self, _context: &mut Context<'_>, _pod: &Pod) -> Option<Box<dyn ClusterFilter>> {
        None
    }

    /// What [`Plugin::pre_score`] is for scores that look at one node at a time.
    fn cluster_score(&self, _context: &mut Context<'_>, _pod: &Pod) -> Option<Box<dyn ClusterScore>> {
        None
    }

    /// After no node fitted: what the first plugin that has something to say makes of it.
    fn post_filter(&self, _attempt: &mut Attempt<'_>, _pod: &Pod, _error: &FitError) -> Option<PostFilter> {
        None
    }

    fn reserve(&self, _pod: &Pod, _node: &str) -> Result<(), Rejection> {
        Ok(())
    }

    fn unreserve(&self, _pod: &Pod, _node: &str) {}

    fn permit(&self, _pod: &Pod, _node: &str) -> Result<(), Rejection> {
        Ok(())
    }

    /// Changes after which a pod that this plugin rejected may fit.
    fn events(&self) -> Kinds {
        Kinds::NONE
    }

    /// The queueing hint (KEP-4247): whether this change can make the pod fit, as far as this plugin is concerned.
    fn is_schedulable_after(&self, _context: &mut Context<'_>, _pod: &Pod, _change: &Change<'_>) -> bool {
        true
    }

    fn binder(&self) -> Option<&dyn Binder> {
        None
    }
}
