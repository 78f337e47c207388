//! Nodes, taints and tolerations, node selectors.

use client::{ObjectMeta, StringMap, Time, view};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::Condition;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    pub metadata: ObjectMeta,
    pub spec: NodeSpec,
    pub status: NodeStatus,
}

view!(Node);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    #[serde(rename = "podCIDR")]
    pub pod_cidr: CompactString,
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<CompactString>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Taint {
    pub key: CompactString,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub value: CompactString,
    pub effect: CompactString,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_added: Option<Time>,
}

impl Taint {
    pub fn new(key: &str, effect: &str) -> Self {
        Self { key: key.into(), effect: effect.into(), ..Self::default() }
    }

    /// Same key and effect.
    pub fn is_like(&self, other: &Self) -> bool {
        self.key == other.key && self.effect == other.effect
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub key: CompactString,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub operator: CompactString,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub value: CompactString,
    #[serde(skip_serializing_if = "CompactString::is_empty")]
    pub effect: CompactString,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

impl Toleration {
    pub fn tolerates(&self, taint: &Taint) -> bool {
        if !self.effect.is_empty() && self.effect != taint.effect {
            return false;
        }
        if !self.key.is_empty() && self.key != taint.key {
            return false;
        }
        let numbers = || Some((taint.value.parse::<i64>().ok()?, self.value.parse::<i64>().ok()?));
        match &*self.operator {
            "" | "Equal" => self.value == taint.value && !self.key.is_empty(),
            "Exists" => true,
            "Lt" => numbers().is_some_and(|(taint, own)| taint < own),
            "Gt" => numbers().is_some_and(|(taint, own)| taint > own),
            _ => false,
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector {
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorTerm {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<NodeRequirement>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_fields: Vec<NodeRequirement>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeRequirement {
    pub key: CompactString,
    pub operator: CompactString,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<CompactString>,
}

impl NodeRequirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let listed = || value.is_some_and(|v| self.values.iter().any(|known| known == v));
        let numbers = || Some((value?.parse::<i64>().ok()?, self.values.first()?.parse::<i64>().ok()?));
        match &*self.operator {
            "In" => listed(),
            "NotIn" => !listed(),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            "Gt" => numbers().is_some_and(|(value, bound)| value > bound),
            "Lt" => numbers().is_some_and(|(value, bound)| value < bound),
            _ => false,
        }
    }
}

impl NodeSelector {
    /// Whether any term matches; a term without requirements matches nothing.
    pub fn matches(&self, name: &str, labels: &StringMap) -> bool {
        self.node_selector_terms.iter().any(|term| {
            let empty = term.match_expressions.is_empty() && term.match_fields.is_empty();
            let field = |r: &NodeRequirement| r.matches((r.key == "metadata.name").then_some(name));
            !empty
                && term.match_expressions.iter().all(|r| r.matches(labels.get(&r.key)))
                && term.match_fields.iter().all(field)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations() {
        let taint =
            Taint { key: "k".into(), value: "v".into(), effect: "NoExecute".into(), time_added: None };
        let tolerate = |key: &str, operator: &str, value: &str, effect: &str| Toleration {
            key: key.into(),
            operator: operator.into(),
            value: value.into(),
            effect: effect.into(),
            toleration_seconds: None,
        };
        for (toleration, expected) in [
            (tolerate("", "Exists", "", ""), true),
            (tolerate("k", "", "v", ""), true),
            (tolerate("k", "Equal", "w", ""), false),
            (tolerate("k", "Exists", "", "NoSchedule"), false),
            (tolerate("x", "Exists", "", ""), false),
        ] {
            assert_eq!(toleration.tolerates(&taint), expected, "{toleration:?}");
        }
    }
}
