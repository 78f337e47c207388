//! On which nodes the pods of a DaemonSet belong.

use client::StringMap;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::views::node::NodeSelector;
use crate::views::pod::{Affinity, RawSpec};
use crate::views::{DaemonSet, Node, Pod, Taint, Toleration};

/// What of a template's pod spec decides about nodes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Placement {
    node_name: String,
    node_selector: StringMap,
    affinity: Option<Affinity>,
    tolerations: Vec<Toleration>,
    host_network: bool,
}

/// Whether a node is to run the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// A pod is to be made if there is none.
    pub run: bool,
    /// One that is there may stay.
    pub stay: bool,
}

impl Placement {
    /// Of a DaemonSet's template, with the tolerations that every daemon has.
    pub fn of(set: &DaemonSet) -> Self {
        let mut placement: Self = serde_json::from_str(set.spec.template.spec.text()).unwrap_or_default();
        let own = tolerations(placement.host_network);
        placement.tolerations.extend(own);
        placement
    }

    pub fn fit(&self, node: &Node) -> Fit {
        let no = Fit { run: false, stay: false };
        let name = node.metadata.name.as_str();
        if !self.node_name.is_empty() && self.node_name != name {
            return no;
        }
        if !self.node_selector.is_subset_of(&node.metadata.labels) || !self.affinity_matches(node) {
            return no;
        }
        let untolerated = |effects: &[&str]| {
            let counts = |t: &&Taint| {
                effects.contains(&&*t.effect) && !self.tolerations.iter().any(|own| own.tolerates(t))
            };
            node.spec.taints.iter().any(|t| counts(&t))
        };
        Fit { run: !untolerated(&["NoSchedule", "NoExecute"]), stay: !untolerated(&["NoExecute"]) }
    }

    fn affinity_matches(&self, node: &Node) -> bool {
        let required: Option<&NodeSelector> =
            self.affinity.as_ref().and_then(|a| a.node_affinity.as_ref()).and_then(|n| n.required.as_ref());
        required.is_none_or(|r| r.matches(&node.metadata.name, &node.metadata.labels))
    }
}

/// Daemons run on nodes in trouble too.
fn tolerations(host_network: bool) -> Vec<Toleration> {
    let exists = |key: &str, effect: &str| Toleration {
        key: format!("node.kubernetes.io/{key}").into(),
        operator: "Exists".into(),
        effect: effect.into(),
        ..Toleration::default()
    };
    let mut all = vec![
        exists("not-ready", "NoExecute"),
        exists("unreachable", "NoExecute"),
        exists("disk-pressure", "NoSchedule"),
        exists("memory-pressure", "NoSchedule"),
        exists("pid-pressure", "NoSchedule"),
        exists("unschedulable", "NoSchedule"),
    ];
    if host_network {
        all.push(exists("network-unavailable", "NoSchedule"));
    }
    all
}

/// The template's pod spec, read once for many nodes.
pub struct SpecMaker {
    spec: Value,
}

impl SpecMaker {
    pub fn new(set: &DaemonSet) -> Self {
        let mut spec: Value = serde_json::from_str(set.spec.template.spec.text()).unwrap_or_default();
        let host_network = spec["hostNetwork"] == Value::Bool(true);
        let mut present: Vec<Value> = spec["tolerations"].as_array().cloned().unwrap_or_default();
        for toleration in tolerations(host_network) {
            let is_like =
                |t: &Value| t["key"] == json!(toleration.key) && t["effect"] == json!(toleration.effect);
            present.retain(|t| !is_like(t));
            present.push(json!(toleration));
        }
        spec["tolerations"] = Value::Array(present);
        Self { spec }
    }

    /// The spec of the pod for one node: the scheduler may choose no other. A template's own terms by field are
    /// replaced, those by label stay.
    pub fn for_node(&self, node: &str) -> RawSpec {
        let field = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
        let mut spec = self.spec.clone();
        if !spec["affinity"].is_object() {
            spec["affinity"] = json!({});
        }
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let terms = spec["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut terms: Vec<Value> = terms
            .into_iter()
            .filter(|t| t["matchExpressions"].is_array() || t["matchFields"].is_array())
            .collect();
        for term in &mut terms {
            term["matchFields"] = field.clone();
        }
        if terms.is_empty() {
            terms.push(json!({"matchFields": field}));
        }
        spec["affinity"]["nodeAffinity"][required] = json!({"nodeSelectorTerms": terms});
        RawSpec::from_value(&spec)
    }
}

/// The node that a daemon pod is for: where it runs, or where its affinity sends it.
pub fn target_node(pod: &Pod) -> Option<&str> {
    if !pod.spec.node_name.is_empty() {
        return Some(&pod.spec.node_name);
    }
    let required = pod.spec.affinity.as_ref()?.node_affinity.as_ref()?.required.as_ref()?;
    let fields = required.node_selector_terms.iter().flat_map(|t| &t.match_fields);
    let mut named = fields.filter(|r| r.key == "metadata.name" && r.operator == "In" && r.values.len() == 1);
    named.next().map(|r| r.values[0].as_str())
}
