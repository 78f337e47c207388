//! LimitRanger: the LimitRanges of a namespace give containers their default requests and limits, and bound what
//! containers, pods and claims may ask for.

use std::sync::Arc;

use api::{Map, Value};
use apimachinery::Status;
use apimachinery::quantity::Quantity;
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::resource::Objects;
use async_trait::async_trait;
use std::collections::BTreeMap;

use super::context::{LIMIT_RANGES, aggregate, forbidden, is, is_pod};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

type Amounts = BTreeMap<String, Quantity>;

pub struct LimitRanger {
    objects: Arc<dyn Objects>,
}

impl LimitRanger {
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects }
    }

    /// All items of all ranges of the namespace.
    fn items(&self, namespace: &str) -> Vec<Value> {
        let ranges = self.objects.list(&LIMIT_RANGES, namespace);
        ranges.iter().flat_map(|r| r.value.list_at(&["spec", "limits"]).to_vec()).collect()
    }
}

#[async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !sizes_pod(a) {
            return Ok(());
        }
        let items = self.items(a.namespace);
        if let Some(pod) = a.object.as_mut().filter(|_| !items.is_empty()) {
            set_defaults(pod, &items);
        }
        Ok(())
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        let pod = sizes_pod(a);
        let claim = is(a, "", "persistentvolumeclaims", "");
        let Some(object) = a.object.as_ref().filter(|_| pod || claim) else { return Ok(()) };
        if object.meta().deletion_timestamp().is_some() {
            return Ok(());
        }
        let mut errors = Vec::new();
        for item in self.items(a.namespace) {
            if pod { check_pod(object, &item, &mut errors) } else { check_claim(object, &item, &mut errors) }
        }
        if errors.is_empty() { Ok(()) } else { Err(forbidden(a, aggregate(&errors))) }
    }
}

/// A new pod, or other resources for one that is not going.
fn sizes_pod(a: &Attributes<'_>) -> bool {
    match a.operation {
        Operation::Create => is_pod(a),
        Operation::Update => {
            let going = a.old_object.as_ref().is_some_and(|old| old.meta().deletion_timestamp().is_some());
            is(a, "", "pods", "resize") && !going
        }
        _ => false,
    }
}

fn amounts(map: Option<&Value>) -> Amounts {
    let pairs = map.and_then(Value::as_map).into_iter().flat_map(Map::iter);
    pairs.filter_map(|(k, v)| Some((k.to_string(), v.as_str()?.parse().ok()?))).collect()
}

/// Fills what containers leave open, and says so in an annotation.
fn set_defaults(pod: &mut Value, items: &[Value]) {
    let mut defaults: [(&str, &str, Map); 2] =
        [("requests", "request", Map::new()), ("limits", "limit", Map::new())];
    for item in items.iter().filter(|i| i.str_at(&["type"]) == "Container") {
        for ((_, _, map), field) in defaults.iter_mut().zip(["defaultRequest", "default"]) {
            for (k, v) in item.get(field).and_then(Value::as_map).into_iter().flat_map(Map::iter) {
                map.insert(k.clone(), v.clone());
            }
        }
    }
    let mut said = Vec::new();
    for (list, kind) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod.at_mut(&["spec", list]).and_then(Value::as_list_mut);
        for container in containers.into_iter().flatten() {
            let name = container.str_at(&["name"]).to_owned();
            for (field, word, map) in &defaults {
                let set = fill(container, field, map);
                if !set.is_empty() {
                    said.push(format!("{} {word} for {kind} {name}", set.join(", ")));
                }
            }
        }
    }
    if !said.is_empty() {
        let text = format!("LimitRanger plugin set: {}", said.join("; "));
        pod.meta_mut().map_mut("annotations").insert(ANNOTATION, text);
    }
}

/// The names that were set, sorted.
fn fill(container: &mut Value, field: &str, defaults: &Map) -> Vec<String> {
    let mut set = Vec::new();
    for (name, amount) in defaults.iter() {
        if container.at(&["resources", field, name]).is_none() {
            container.set_at(&["resources", field, name], amount.clone());
            set.push(name.to_string());
        }
    }
    set.sort();
    set
}

/// One item's bounds on one thing.
struct Check<'a> {
    item: &'a Value,
    kind: &'a str,
    requests: &'a Amounts,
    limits: &'a Amounts,
}

impl Check<'_> {
    fn bounds(&self, field: &str) -> Amounts {
        amounts(self.item.get(field))
    }

    fn all(&self, errors: &mut Vec<String>) {
        for (name, bound) in self.bounds("min") {
            errors.extend(self.min(&name, &bound));
        }
        for (name, bound) in self.bounds("max") {
            errors.extend(self.max(&name, &bound));
        }
        for (name, bound) in self.bounds("maxLimitRequestRatio") {
            errors.extend(self.ratio(&name, &bound));
        }
    }

    fn min(&self, name: &str, bound: &Quantity) -> Option<String> {
        let words = format!("minimum {name} usage per {} is {bound}", self.kind);
        let Some(request) = self.requests.get(name) else {
            return Some(format!("{words}.  No request is specified"));
        };
        if request < bound {
            return Some(format!("{words}, but request is {request}"));
        }
        let limit = self.limits.get(name).filter(|limit| *limit < bound)?;
        Some(format!("{words}, but limit is {limit}"))
    }

    fn max(&self, name: &str, bound: &Quantity) -> Option<String> {
        let words = format!("maximum {name} usage per {} is {bound}", self.kind);
        let Some(limit) = self.limits.get(name) else {
            return Some(format!("{words}.  No limit is specified"));
        };
        if limit > bound {
            return Some(format!("{words}, but limit is {limit}"));
        }
        let request = self.requests.get(name).filter(|request| *request > bound)?;
        Some(format!("{words}, but request is {request}"))
    }

    fn ratio(&self, name: &str, bound: &Quantity) -> Option<String> {
        let words = format!("{name} max limit to request ratio per {} is {bound}, but", self.kind);
        let Some(request) = self.requests.get(name).filter(|q| !q.is_zero()) else {
            return Some(format!("{words} no request is specified or request is 0"));
        };
        let Some(limit) = self.limits.get(name).filter(|q| !q.is_zero()) else {
            return Some(format!("{words} no limit is specified or limit is 0"));
        };
        let ratio = limit.as_f64() / request.as_f64();
        (ratio > bound.as_f64()).then(|| format!("{words} provided ratio is {ratio:.6}"))
    }
}

fn check_pod(pod: &Value, item: &Value, errors: &mut Vec<String>) {
    let lists = ["containers", "initContainers"];
    let of = |container: &Value, field: &str| amounts(container.at(&["resources", field]));
    match item.str_at(&["type"]) {
        "Container" => {
            for container in lists.iter().flat_map(|list| pod.list_at(&["spec", list])) {
                let (requests, limits) = (of(container, "requests"), of(container, "limits"));
                Check { item, kind: "Container", requests: &requests, limits: &limits }.all(errors);
            }
        }
        "Pod" => {
            let (requests, limits) = (total(pod, "requests"), total(pod, "limits"));
            Check { item, kind: "Pod", requests: &requests, limits: &limits }.all(errors);
        }
        _ => {}
    }
}

/// The sum over containers, but at least the largest init container; restartable init containers add up. A limit
/// counts only if every container has one.
fn total(pod: &Value, field: &str) -> Amounts {
    let of = |container: &Value| amounts(container.at(&["resources", field]));
    let mut sum: Amounts = BTreeMap::new();
    let mut add = |more: Amounts| {
        for (name, amount) in more {
            sum.entry(name).and_modify(|total| total.add(&amount)).or_insert(amount);
        }
    };
    pod.list_at(&["spec", "containers"]).iter().for_each(|c| add(of(c)));
    let inits = pod.list_at(&["spec", "initContainers"]);
    let sidecar = |c: &&Value| c.str_at(&["restartPolicy"]) == "Always";
    inits.iter().filter(sidecar).for_each(|c| add(of(c)));
    for container in inits.iter().filter(|c| !sidecar(c)) {
        for (name, amount) in of(container) {
            let total = sum.entry(name).or_insert_with(|| amount.clone());
            if *total < amount {
                *total = amount;
            }
        }
    }
    sum
}

fn check_claim(claim: &Value, item: &Value, errors: &mut Vec<String>) {
    if item.str_at(&["type"]) != "PersistentVolumeClaim" {
        return;
    }
    let requests = amounts(claim.at(&["spec", "resources", "requests"]));
    let kind = "PersistentVolumeClaim";
    for (name, bound) in amounts(item.get("min")) {
        let words = format!("minimum {name} usage per {kind} is {bound}");
        match requests.get(&name) {
            None => errors.push(format!("{words}.  No request is specified")),
            Some(request) if *request < bound => errors.push(format!("{words}, but request is {request}")),
            Some(_) => {}
        }
    }
    for (name, bound) in amounts(item.get("max")) {
        let words = format!("maximum {name} usage per {kind} is {bound}");
        match requests.get(&name) {
            None => errors.push(format!("{words}.  No request is specified")),
            Some(request) if *request > bound => errors.push(format!("{words}, but request is {request}")),
            Some(_) => {}
        }
    }
}
