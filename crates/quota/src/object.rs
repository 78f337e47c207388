//! What is read of objects: the fields that any quota looks at, of whichever kind.

use std::collections::BTreeMap;
use std::str::FromStr;

use apimachinery::quantity::{Format, Quantity};
use serde::{Deserialize, Deserializer};

use crate::{Amounts, CLASS};

/// Null is as good as nothing: Go writes nil lists and maps so.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An object of any kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Object {
    pub metadata: Metadata,
    pub spec: Spec,
    pub status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    pub deletion_timestamp: Option<String>,
    pub deletion_grace_period_seconds: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    pub annotations: BTreeMap<String, String>,
}

/// Of pods, services, claims, and quotas themselves.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    #[serde(deserialize_with = "lenient")]
    pub containers: Vec<Container>,
    #[serde(deserialize_with = "lenient")]
    pub init_containers: Vec<Container>,
    #[serde(deserialize_with = "lenient")]
    pub overhead: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    pub resources: Resources,
    pub active_deadline_seconds: Option<i64>,
    pub priority_class_name: String,
    pub affinity: Option<Affinity>,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(deserialize_with = "lenient")]
    pub ports: Vec<Port>,
    pub allocate_load_balancer_node_ports: Option<bool>,
    pub storage_class_name: Option<String>,
    pub volume_attributes_class_name: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub hard: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    pub scopes: Vec<String>,
    pub scope_selector: Option<ScopeSelector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub name: String,
    pub restart_policy: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub resources: Resources,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    #[serde(deserialize_with = "lenient")]
    pub requests: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    pub limits: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    pub pod_affinity: Option<Terms>,
    pub pod_anti_affinity: Option<Terms>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Terms {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution", deserialize_with = "lenient")]
    pub required: Vec<Term>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution", deserialize_with = "lenient")]
    pub preferred: Vec<Weighted>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Weighted {
    pub pod_affinity_term: Term,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Term {
    #[serde(deserialize_with = "lenient")]
    pub namespaces: Vec<String>,
    pub namespace_selector: Option<serde::de::IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    pub node_port: i32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScopeSelector {
    #[serde(deserialize_with = "lenient")]
    pub match_expressions: Vec<Requirement>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Requirement {
    pub scope_name: String,
    pub operator: String,
    #[serde(deserialize_with = "lenient")]
    pub values: Vec<String>,
}

/// Of pods, and of quotas.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub phase: String,
    #[serde(deserialize_with = "lenient")]
    pub hard: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    pub used: BTreeMap<String, String>,
}

/// Quantities out of their text; what cannot be read is left out.
pub fn amounts(texts: &BTreeMap<String, String>) -> Amounts {
    texts.iter().filter_map(|(name, text)| Some((name.clone(), Quantity::from_str(text).ok()?))).collect()
}

impl Status {
    /// A quota's limits as they are in force.
    pub fn hard(&self) -> Amounts {
        amounts(&self.hard)
    }

    pub fn used(&self) -> Amounts {
        amounts(&self.used)
    }
}

impl Spec {
    /// A quota's limits as they are wanted.
    pub fn hard(&self) -> Amounts {
        amounts(&self.hard)
    }
}

fn count(n: usize) -> Quantity {
    Quantity::new(i64::try_from(n).unwrap_or(i64::MAX), Format::DecimalSi)
}

/// Node ports and load balancers count apart.
pub(crate) fn service_usage(service: &Object, used: &mut Amounts) {
    let spec = &service.spec;
    let balancer = spec.kind == "LoadBalancer";
    let node_ports = match &*spec.kind {
        "NodePort" => spec.ports.len(),
        "LoadBalancer" if spec.allocate_load_balancer_node_ports == Some(false) => {
            spec.ports.iter().filter(|p| p.node_port != 0).count()
        }
        "LoadBalancer" => spec.ports.len(),
        _ => 0,
    };
    used.insert("services".into(), count(1));
    used.insert("services.nodeports".into(), count(node_ports));
    used.insert("services.loadbalancers".into(), count(usize::from(balancer)));
}

/// Claims and their storage, also by class.
pub(crate) fn claim_usage(claim: &Object, used: &mut Amounts) {
    let old = claim.metadata.annotations.get("volume.beta.kubernetes.io/storage-class");
    let class = old.or(claim.spec.storage_class_name.as_ref()).filter(|c| !c.is_empty());
    let storage = claim.spec.resources.requests.get("storage").and_then(|s| Quantity::from_str(s).ok());
    let mut put = |name: &str, amount: Quantity| {
        if let Some(class) = class {
            used.insert(format!("{class}{CLASS}{name}"), amount.clone());
        }
        used.insert(name.to_owned(), amount);
    };
    put("persistentvolumeclaims", count(1));
    if let Some(storage) = storage {
        put("requests.storage", storage);
    }
}
