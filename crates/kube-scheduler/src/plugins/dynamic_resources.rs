//! DynamicResources, as far as it must not be ignored: a pod with resource claims is refused, by name, until it is
//! built.

use crate::framework::{Attempt, Context, FitError, Plugin, Point, PostFilter, PreFilter, Rejection};
use crate::pod::Pod;

pub const REFUSAL: &str = "resourceClaims (DynamicResources) are not built in this scheduler yet";

pub struct DynamicResources;

impl Plugin for DynamicResources {
    fn name(&self) -> &'static str {
        "DynamicResources"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter, Point::PostFilter]
    }

    fn pre_filter(&self, _: &mut Context<'_>, pod: &Pod) -> PreFilter {
        if pod.spec().has_resource_claims {
            PreFilter::Reject(Rejection::unresolvable(REFUSAL))
        } else {
            PreFilter::Skip
        }
    }

    /// Upstream's plugin misses what its PreFilter would have left when another's PreFilter refused the pod before
    /// it, says so, and with that ends the extension point.
    fn post_filter(&self, _: &mut Attempt<'_>, _: &Pod, error: &FitError) -> Option<PostFilter> {
        error.pre_filter.is_some().then(|| PostFilter::Nothing("not found".into()))
    }
}
