//! What an object uses of a ResourceQuota, and which objects a quota is about: pure, for the controller that counts
//! what there is and for the admission plugin that counts what comes.
//!
//! Deliberately absent: requests, and quantities of devices claimed through resource.k8s.io.

mod object;
mod pod;
mod scope;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::GroupResource;
use apimachinery::quantity::{Format, Quantity};

pub use object::{Object, Spec, Status};
pub use pod::missing;
pub use scope::matches;

/// Quantities by the names that quotas use.
pub type Amounts = BTreeMap<String, Quantity>;

/// Resources that have a name of their own besides `count/RESOURCE.GROUP`.
const NAMED: [&str; 6] =
    ["pods", "services", "persistentvolumeclaims", "secrets", "configmaps", "replicationcontrollers"];
const CLASS: &str = ".storageclass.storage.k8s.io/";

/// `count/deployments.apps`.
pub fn count_name(resource: &GroupResource) -> String {
    match &*resource.group {
        "" => format!("count/{}", resource.resource),
        group => format!("count/{}.{group}", resource.resource),
    }
}

/// The resource whose objects decide about a name in a quota; None where no object does.
pub fn resource_of(name: &str) -> Option<GroupResource> {
    if let Some(counted) = name.strip_prefix("count/") {
        let (resource, group) = counted.split_once('.').unwrap_or((counted, ""));
        return Some(GroupResource::new(group, resource));
    }
    let core = |resource: &str| Some(GroupResource::new("", resource));
    match name {
        "resourcequotas" => core(name),
        _ if NAMED.contains(&name) => core(name),
        "services.nodeports" | "services.loadbalancers" => core("services"),
        "requests.storage" => core("persistentvolumeclaims"),
        _ if name.contains(CLASS) => core("persistentvolumeclaims"),
        _ if pod::is_compute(name) => core("pods"),
        _ => None,
    }
}

/// What one object of a resource uses, under every name that counts it.
pub fn usage(resource: &GroupResource, object: &Object, now: i64) -> Amounts {
    let one = || Quantity::new(1, Format::DecimalSi);
    let mut used = Amounts::from([(count_name(resource), one())]);
    let core = resource.group.is_empty();
    match &*resource.resource {
        "pods" if core => pod::usage(object, now, &mut used),
        "services" if core => object::service_usage(object, &mut used),
        "persistentvolumeclaims" if core => object::claim_usage(object, &mut used),
        name if core && (NAMED.contains(&name) || name == "resourcequotas") => {
            used.insert(name.to_owned(), one());
        }
        _ => {}
    }
    used
}

/// The amounts under these names only.
pub fn mask(amounts: &Amounts, names: &BTreeSet<String>) -> Amounts {
    amounts.iter().filter(|(name, _)| names.contains(*name)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Adds what `more` has.
pub fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        match to.get_mut(name) {
            Some(sum) => sum.add(amount),
            None => drop(to.insert(name.clone(), amount.clone())),
        }
    }
}

/// What `new` has more than `old`; nothing where it has less or the same.
pub fn growth(new: &Amounts, old: &Amounts) -> Amounts {
    let mut grown = Amounts::new();
    for (name, amount) in new {
        let mut amount = amount.clone();
        if let Some(before) = old.get(name) {
            amount.sub(before);
        }
        if amount.sign() > 0 {
            grown.insert(name.clone(), amount);
        }
    }
    grown
}

/// The names whose amount is above the limit.
pub fn exceeded(amounts: &Amounts, hard: &Amounts) -> BTreeSet<String> {
    let above = |(name, amount): &(&String, &Quantity)| hard.get(*name).is_some_and(|limit| *amount > limit);
    amounts.iter().filter(above).map(|(name, _)| name.clone()).collect()
}

/// `cpu=1,memory=2Gi`, as refusals show amounts.
pub fn show(amounts: &Amounts) -> String {
    amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}
