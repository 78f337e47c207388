//! ImageLocality: nodes that have the pod's images score by their size, weighed with how widely they are spread.

use crate::cache::{Cache, NodeInfo};
use crate::framework::{Context, MAX_SCORE, Plugin, Point, Score};
use crate::pod::Pod;
use crate::resources::Symbol;

const MIB: i64 = 1024 * 1024;
/// Below this sum of bytes the score is 0.
const FEWEST: i64 = 23 * MIB;
/// Above this a container the score is 100.
const MOST_A_CONTAINER: i64 = 1000 * MIB;

pub struct ImageLocality;

struct Images(Vec<Symbol>);

impl Score for Images {
    fn score(&self, cache: &Cache, node: &NodeInfo) -> i64 {
        let all = cache.order().len() as f64;
        let share = |image: &Symbol| {
            let size = node.image(*image)?;
            let spread = f64::from(cache.nodes_with_image(*image)) / all;
            Some((size as f64 * spread) as i64)
        };
        let sum: i64 = self.0.iter().filter_map(share).sum();
        let most = MOST_A_CONTAINER * i64::try_from(self.0.len()).unwrap_or(1);
        MAX_SCORE * (sum.clamp(FEWEST, most) - FEWEST) / (most - FEWEST)
    }
}

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::Score]
    }

    fn pre_score(&self, _: &mut Context<'_>, pod: &Pod) -> Option<Box<dyn Score>> {
        let images = &pod.spec().images;
        (!images.is_empty()).then(|| Box::new(Images(images.clone())) as Box<dyn Score>)
    }
}
