//! Scores of how much of a node is taken: little, much, by a shape, or evenly over its resources.

use super::{Resource, Weighted};
use crate::cache::{Cache, NodeInfo};
use crate::framework::{Context, MAX_SCORE, Plugin, Point, Score};
use crate::pod::Pod;
use crate::resources::PodRequests;

/// How shares become a score.
pub(super) enum Scorer {
    Least,
    Most,
    Shape(Vec<(i64, i64)>),
    Balanced,
}

/// What a node would have taken with the pod, of each resource that counts.
pub(super) struct Allocation {
    /// Resource, weight, what the pod asks for.
    resources: Vec<(Resource, i64, i64)>,
    defaults: bool,
    scorer: Scorer,
}

impl Allocation {
    /// `defaults`: containers that ask for nothing count by a default.
    pub(super) fn new(
        resources: Vec<(Resource, i64)>,
        pod: &PodRequests,
        defaults: bool,
        scorer: Scorer,
    ) -> Self {
        let resources =
            resources.into_iter().map(|(r, weight)| (r, weight, r.asked(pod, defaults))).collect();
        Self { resources, defaults, scorer }
    }

    /// Weight, what was taken before, what would be with the pod, and what there is; without what does not count.
    fn shares<'a>(&'a self, node: &'a NodeInfo) -> impl Iterator<Item = (i64, i64, i64, i64)> + 'a {
        self.resources.iter().filter_map(move |(resource, weight, asked)| {
            let all = resource.allocatable(node);
            if all == 0 || (*asked == 0 && resource.is_optional()) {
                return None;
            }
            let before = resource.taken(node, self.defaults);
            Some((*weight, before, before + asked, all))
        })
    }
}

impl Score for Allocation {
    fn score(&self, _: &Cache, node: &NodeInfo) -> i64 {
        let of = |taken: i64, all: i64| match &self.scorer {
            Scorer::Least if taken > all => Some(0),
            Scorer::Least => Some((all - taken) * MAX_SCORE / all),
            Scorer::Most => Some(taken.min(all) * MAX_SCORE / all),
            Scorer::Shape(shape) => Some(on_shape(shape, taken, all)).filter(|score| *score > 0),
            Scorer::Balanced => None,
        };
        if let Scorer::Balanced = self.scorer {
            let with = balance(self.shares(node).map(|(_, _, with, all)| (with, all)));
            let without = balance(self.shares(node).map(|(_, before, _, all)| (before, all)));
            return MAX_SCORE / 2 + (MAX_SCORE / 2 + with - without) / 2;
        }
        let scored =
            self.shares(node).filter_map(|(weight, _, taken, all)| Some((of(taken, all)? * weight, weight)));
        let (sum, weights) =
            scored.fold((0, 0), |(sum, weights), (score, weight)| (sum + score, weights + weight));
        match &self.scorer {
            _ if weights == 0 => 0,
            Scorer::Shape(_) => (sum as f64 / weights as f64).round() as i64,
            _ => sum / weights,
        }
    }
}

/// The score at a utilisation, straight between the shape's points.
fn on_shape(shape: &[(i64, i64)], taken: i64, all: i64) -> i64 {
    let utilisation = if taken > all { 100 } else { taken * 100 / all };
    let at = shape.partition_point(|(point, _)| *point < utilisation);
    match (at.checked_sub(1).map(|before| shape[before]), shape.get(at)) {
        (_, None) => shape.last().map_or(0, |(_, score)| *score),
        (None, Some((_, score))) => *score,
        (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (utilisation - x0) / (x1 - x0),
    }
}

/// 100 where all shares are alike, less by their standard deviation.
fn balance(shares: impl Iterator<Item = (i64, i64)>) -> i64 {
    let fractions: smallvec::SmallVec<[f64; 4]> =
        shares.map(|(taken, all)| (taken as f64 / all as f64).min(1.0)).collect();
    let deviation = match fractions[..] {
        [] | [_] => 0.0,
        [a, b] => ((a - b) / 2.0).abs(),
        ref more => {
            let mean = more.iter().sum::<f64>() / more.len() as f64;
            (more.iter().map(|f| (f - mean) * (f - mean)).sum::<f64>() / more.len() as f64).sqrt()
        }
    };
    ((1.0 - deviation) * MAX_SCORE as f64) as i64
}

/// NodeResourcesBalancedAllocation: whether the pod makes the node's resources more evenly used.
pub struct NodeResourcesBalancedAllocation {
    pub resources: Vec<Weighted>,
}

impl Default for NodeResourcesBalancedAllocation {
    fn default() -> Self {
        Self { resources: Weighted::defaults() }
    }
}

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreScore, Point::Score]
    }

    fn pre_score(&self, context: &mut Context<'_>, pod: &Pod) -> Option<Box<dyn Score>> {
        let resources: Vec<_> =
            self.resources.iter().map(|r| (Resource::new(&r.name, context.symbols), 1)).collect();
        let asks = resources.iter().any(|(resource, _)| resource.asked(pod.requests(), false) != 0);
        asks.then(|| {
            Box::new(Allocation::new(resources, pod.requests(), false, Scorer::Balanced)) as Box<dyn Score>
        })
    }
}
