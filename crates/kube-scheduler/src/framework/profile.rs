//! A profile: the plugins at each extension point, under a `schedulerName`.

use std::collections::HashMap;
use std::sync::Arc;

use compact_str::CompactString;

use super::{Binder, Change, Classes, Context, Plugin, PluginId, Point, Rejection};
use crate::pod::Pod;

/// The plugins of a profile, where each takes part.
pub struct Profile {
    pub name: CompactString,
    plugins: Vec<Arc<dyn Plugin>>,
    /// In their order, by extension point.
    at: HashMap<Point, Vec<PluginId>>,
    scores: Vec<(PluginId, i64)>,
    /// PreFilter and Filter both, in the order of Filter.
    filters: Vec<PluginId>,
    percentage: usize,
    pub(super) classes: Classes,
}

/// A plugin in a profile, with the points where it is on and its weight.
pub struct Enabled {
    pub plugin: Arc<dyn Plugin>,
    pub points: Vec<Point>,
    pub weight: i64,
}

impl Profile {
    /// `percentage` is percentageOfNodesToScore, 0 to adapt.
    pub fn new(name: &str, enabled: Vec<Enabled>, percentage: usize) -> Self {
        let mut made = Self {
            name: name.into(),
            plugins: Vec::new(),
            at: HashMap::new(),
            scores: Vec::new(),
            filters: Vec::new(),
            percentage,
            classes: Classes::default(),
        };
        for (at, Enabled { plugin, points, weight }) in enabled.into_iter().enumerate() {
            let id = PluginId(u8::try_from(at).unwrap_or(u8::MAX));
            for point in &points {
                made.at.entry(*point).or_default().push(id);
            }
            if points.contains(&Point::Filter) || points.contains(&Point::PreFilter) {
                made.filters.push(id);
            }
            if points.contains(&Point::Score) {
                made.scores.push((id, weight));
            }
            made.plugins.push(plugin);
        }
        made
    }

    pub fn plugin(&self, id: PluginId) -> &dyn Plugin {
        &*self.plugins[usize::from(id.0)]
    }

    pub fn plugins(&self) -> impl Iterator<Item = (PluginId, &dyn Plugin)> {
        (0..).map(PluginId).zip(self.plugins.iter().map(|p| &**p))
    }

    fn at(&self, point: Point) -> impl Iterator<Item = (PluginId, &dyn Plugin)> {
        self.at.get(&point).into_iter().flatten().map(|id| (*id, self.plugin(*id)))
    }

    pub fn filters(&self) -> impl Iterator<Item = (PluginId, &dyn Plugin)> {
        self.filters.iter().map(|id| (*id, self.plugin(*id)))
    }

    pub fn post_filters(&self) -> impl Iterator<Item = &dyn Plugin> {
        self.at(Point::PostFilter).map(|(_, p)| p)
    }

    pub fn scores(&self) -> &[(PluginId, i64)] {
        &self.scores
    }

    /// Counts over all nodes anew: what pods are counted by is different.
    pub fn forget_counts(&mut self, namespace: Option<&str>) {
        self.classes.forget_wide(namespace);
    }

    pub fn percentage(&self) -> usize {
        self.percentage
    }

    /// Who keeps a pod out of the queue, and why.
    pub fn pre_enqueue(&self, pod: &Pod) -> Result<(), (PluginId, Rejection)> {
        self.at(Point::PreEnqueue).try_for_each(|(id, p)| p.pre_enqueue(pod).map_err(|why| (id, why)))
    }

    /// Reserve and Permit; what was reserved is given back on a rejection.
    pub fn reserve(&self, pod: &Pod, node: &str) -> Result<(), (PluginId, Rejection)> {
        let reserved =
            self.at(Point::Reserve).try_for_each(|(id, p)| p.reserve(pod, node).map_err(|why| (id, why)));
        let permitted = reserved.and_then(|()| {
            self.at(Point::Permit).try_for_each(|(id, p)| p.permit(pod, node).map_err(|why| (id, why)))
        });
        permitted.inspect_err(|_| self.unreserve(pod, node))
    }

    pub fn unreserve(&self, pod: &Pod, node: &str) {
        let reserved: Vec<_> = self.at(Point::Reserve).collect();
        reserved.iter().rev().for_each(|(_, p)| p.unreserve(pod, node));
    }

    /// Whether a change may let a pod fit, as far as a plugin that rejected it is concerned.
    pub fn hint(&self, id: PluginId, context: &mut Context<'_>, pod: &Pod, change: &Change<'_>) -> bool {
        let plugin = self.plugin(id);
        plugin.events().intersects(change.kinds) && plugin.is_schedulable_after(context, pod, change)
    }

    /// What the tasks that bind need of the profile.
    pub fn binding(&self) -> Binding {
        let of = |point| {
            self.at
                .get(&point)
                .into_iter()
                .flatten()
                .map(|id| self.plugins[usize::from(id.0)].clone())
                .collect()
        };
        Binding { pre_bind: of(Point::PreBind), bind: of(Point::Bind), post_bind: of(Point::PostBind) }
    }
}

/// PreBind, Bind and PostBind, to be run beside the cycles.
#[derive(Clone)]
pub struct Binding {
    pre_bind: Vec<Arc<dyn Plugin>>,
    bind: Vec<Arc<dyn Plugin>>,
    post_bind: Vec<Arc<dyn Plugin>>,
}

impl Binding {
    /// Binds a pod; the error says which plugin did not.
    pub async fn run(&self, pod: &Pod, node: &str) -> Result<(), String> {
        for plugin in &self.pre_bind {
            let Some(binder) = plugin.binder() else { continue };
            let failed = |why| format!("running PreBind plugin {:?}: {why}", plugin.name());
            binder.pre_bind(pod, node).await.map_err(failed)?;
        }
        for plugin in &self.bind {
            let Some(binder) = plugin.binder() else { continue };
            if let Some(done) = binder.bind(pod, node).await {
                done.map_err(|why| format!("running Bind plugin {:?}: {why}", plugin.name()))?;
                for binder in binders(&self.post_bind) {
                    binder.post_bind(pod, node).await;
                }
                return Ok(());
            }
        }
        Err("no Bind plugin bound the pod".into())
    }
}

fn binders(plugins: &[Arc<dyn Plugin>]) -> impl Iterator<Item = &dyn Binder> {
    plugins.iter().filter_map(|p| p.binder())
}
