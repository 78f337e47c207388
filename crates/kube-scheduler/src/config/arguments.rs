//! Arguments of the plugins that take some: `pluginConfig[].args`, read strictly.

use std::time::Duration;

use compact_str::CompactString;
use serde::Deserialize;

use super::Error;
use crate::framework::registry::Arguments;
use crate::plugins::inter_pod_affinity::InterPodAffinity;
use crate::plugins::node_affinity::NodeAffinity;
use crate::plugins::node_resources::{NodeResourcesBalancedAllocation, NodeResourcesFit, Strategy, Weighted};
use crate::plugins::preemption::DefaultPreemption;
use crate::plugins::topology_spread::PodTopologySpread;
use crate::views::TopologySpreadConstraint;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct FitArgs {
    ignored_resources: Vec<CompactString>,
    ignored_resource_groups: Vec<CompactString>,
    scoring_strategy: ScoringStrategy,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ScoringStrategy {
    #[serde(rename = "type")]
    kind: Option<String>,
    resources: Vec<ResourceSpec>,
    requested_to_capacity_ratio: Option<Ratio>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ratio {
    shape: Vec<ShapePoint>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ShapePoint {
    utilization: i64,
    /// 0 to 10.
    score: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceSpec {
    name: CompactString,
    #[serde(default)]
    weight: i64,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BalancedArgs {
    resources: Vec<ResourceSpec>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct AffinityArgs {
    added_affinity: crate::views::NodeAffinity,
}

fn weighted(specs: Vec<ResourceSpec>) -> Vec<Weighted> {
    if specs.is_empty() {
        return Weighted::defaults();
    }
    specs
        .into_iter()
        .map(|s| Weighted { name: s.name, weight: if s.weight == 0 { 1 } else { s.weight } })
        .collect()
}

/// The plugins' arguments out of `pluginConfig`.
pub(super) fn arguments(
    given: &[(String, serde_json::Map<String, serde_json::Value>)],
) -> Result<Arguments, Error> {
    let mut made = Arguments::default();
    for (name, map) in given {
        let mut map = map.clone();
        let kind = map.remove("kind");
        map.remove("apiVersion");
        let field = format!("pluginConfig[{name}].args");
        if kind.as_ref().and_then(|k| k.as_str()).is_some_and(|k| k != format!("{name}Args")) {
            return Err(Error::setting(field, format!("the kind must be {name}Args")));
        }
        let wrong = |e: serde_json::Error| Error::setting(&field, format!("strict decoding error: {e}"));
        let value = serde_json::Value::Object(map);
        match name.as_str() {
            "NodeResourcesFit" => made.fit = fit(serde_json::from_value(value).map_err(wrong)?, &field)?,
            "NodeResourcesBalancedAllocation" => {
                let args: BalancedArgs = serde_json::from_value(value).map_err(wrong)?;
                made.balanced = NodeResourcesBalancedAllocation { resources: weighted(args.resources) };
            }
            "NodeAffinity" => {
                let args: AffinityArgs = serde_json::from_value(value).map_err(wrong)?;
                made.affinity = NodeAffinity { added: args.added_affinity };
            }
            "InterPodAffinity" => {
                made.pods = inter_pod(serde_json::from_value(value).map_err(wrong)?, &field)?;
            }
            "PodTopologySpread" => {
                made.spread = spread(serde_json::from_value(value).map_err(wrong)?, &field)?;
            }
            "DefaultPreemption" => {
                made.preemption = preemption(serde_json::from_value(value).map_err(wrong)?, &field)?;
            }
            "VolumeBinding" => {
                let args: VolumeArgs = serde_json::from_value(value).map_err(wrong)?;
                made.bind_timeout = args.timeout(&field)?;
            }
            other => return Err(Error::setting(field, format!("arguments of {other} are not built yet"))),
        }
    }
    Ok(made)
}

fn fit(args: FitArgs, field: &str) -> Result<NodeResourcesFit, Error> {
    let shape = args.scoring_strategy.requested_to_capacity_ratio.map(|r| r.shape).unwrap_or_default();
    let strategy = match args.scoring_strategy.kind.as_deref() {
        None | Some("" | "LeastAllocated") => Strategy::LeastAllocated,
        Some("MostAllocated") => Strategy::MostAllocated,
        Some("RequestedToCapacityRatio") if is_shape(&shape) => {
            Strategy::RequestedToCapacityRatio(shape.iter().map(|p| (p.utilization, p.score * 10)).collect())
        }
        Some("RequestedToCapacityRatio") => {
            return Err(Error::setting(
                format!("{field}.scoringStrategy.shape"),
                "needs points of growing utilization (0-100) and scores (0-10)",
            ));
        }
        Some(other) => {
            return Err(Error::setting(
                format!("{field}.scoringStrategy.type"),
                format!("Unsupported value: {other:?}"),
            ));
        }
    };
    Ok(NodeResourcesFit {
        strategy,
        resources: weighted(args.scoring_strategy.resources),
        ignored: args.ignored_resources,
        ignored_groups: args.ignored_resource_groups,
    })
}

fn is_shape(shape: &[ShapePoint]) -> bool {
    let in_range = shape.iter().all(|p| (0..=100).contains(&p.utilization) && (0..=10).contains(&p.score));
    !shape.is_empty() && in_range && shape.is_sorted_by(|a, b| a.utilization < b.utilization)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct InterPodArgs {
    hard_pod_affinity_weight: Option<i64>,
    ignore_preferred_terms_of_existing_pods: bool,
}

fn inter_pod(args: InterPodArgs, field: &str) -> Result<InterPodAffinity, Error> {
    let hard_weight = args.hard_pod_affinity_weight.unwrap_or(1);
    if !(0..=100).contains(&hard_weight) {
        return Err(Error::setting(
            format!("{field}.hardPodAffinityWeight"),
            format!("Invalid value: {hard_weight}: not in valid range [0-100]"),
        ));
    }
    let ignore_existing_preferences = args.ignore_preferred_terms_of_existing_pods;
    Ok(InterPodAffinity { hard_weight, ignore_existing_preferences })
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct SpreadArgs {
    default_constraints: Vec<TopologySpreadConstraint>,
    defaulting_type: Option<String>,
}

fn spread(args: SpreadArgs, field: &str) -> Result<PodTopologySpread, Error> {
    let refuse = |what: &str, why: &str| Err(Error::setting(format!("{field}.{what}"), why));
    let given = args.default_constraints;
    match args.defaulting_type.as_deref() {
        None | Some("" | "System") if given.is_empty() => return Ok(PodTopologySpread::default()),
        None | Some("" | "System") => {
            return refuse("defaultConstraints", "when .defaultingType is System, must be empty");
        }
        Some("List") => {}
        Some(_) => {
            return refuse("defaultingType", "Unsupported value: supported values: \"System\", \"List\"");
        }
    }
    for constraint in &given {
        if constraint.max_skew <= 0 {
            return refuse("defaultConstraints.maxSkew", "must be greater than zero");
        }
        if constraint.topology_key.is_empty() {
            return refuse("defaultConstraints.topologyKey", "Required value: can not be empty");
        }
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&constraint.when_unsatisfiable.as_str()) {
            return refuse("defaultConstraints.whenUnsatisfiable", "Unsupported value");
        }
        if constraint.label_selector.is_some() {
            return refuse("defaultConstraints.labelSelector", "constraint must not define a selector");
        }
    }
    Ok(PodTopologySpread { defaults: given, system: false })
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct PreemptionArgs {
    min_candidate_nodes_percentage: Option<usize>,
    min_candidate_nodes_absolute: Option<usize>,
}

fn preemption(args: PreemptionArgs, field: &str) -> Result<DefaultPreemption, Error> {
    let default = DefaultPreemption::default();
    let made = DefaultPreemption {
        candidates_percentage: args.min_candidate_nodes_percentage.unwrap_or(default.candidates_percentage),
        candidates_absolute: args.min_candidate_nodes_absolute.unwrap_or(default.candidates_absolute),
    };
    if made.candidates_percentage > 100 {
        return Err(Error::setting(
            format!("{field}.minCandidateNodesPercentage"),
            format!("Invalid value: {}: not in valid range [0, 100]", made.candidates_percentage),
        ));
    }
    if made.candidates_percentage == 0 && made.candidates_absolute == 0 {
        return Err(Error::setting(
            format!("{field}.minCandidateNodesPercentage"),
            "cannot be zero at the same time as minCandidateNodesAbsolute",
        ));
    }
    Ok(made)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct VolumeArgs {
    bind_timeout_seconds: Option<i64>,
}

impl VolumeArgs {
    fn timeout(&self, field: &str) -> Result<Option<Duration>, Error> {
        let invalid = |_| {
            Error::setting(
                format!("{field}.bindTimeoutSeconds"),
                "invalid BindTimeoutSeconds, should not be a negative value",
            )
        };
        self.bind_timeout_seconds
            .map(|s| u64::try_from(s).map(Duration::from_secs).map_err(invalid))
            .transpose()
    }
}
