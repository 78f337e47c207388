//! How much of a quota is used, and which changes of objects set some of it free.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::GroupResource;
use apimachinery::quantity::{Format, Quantity};
use quota::Amounts;
use serde_json::{Value, json};

use crate::views::quota::ResourceQuota;
use crate::views::{Pod, Service};

/// The resources whose objects a quota counts.
pub fn resources(quota: &ResourceQuota) -> BTreeSet<(String, String)> {
    let of = |name: &String| quota::resource_of(name).map(|r| (r.group.to_string(), r.resource.to_string()));
    quota.spec.hard.keys().filter_map(of).collect()
}

/// What the objects of a namespace use of a quota: each of its names, also where nothing is used.
pub fn used<'a>(
    quota: &ResourceQuota,
    objects: impl IntoIterator<Item = (&'a GroupResource, &'a quota::Object)>,
    now: i64,
) -> Amounts {
    let names: BTreeSet<String> = quota.spec.hard.keys().cloned().collect();
    let zero = |name: &String| (name.clone(), Quantity::new(0, Format::DecimalSi));
    let mut used: Amounts = names.iter().filter(|n| quota::resource_of(n).is_some()).map(zero).collect();
    for (resource, object) in objects {
        if quota::matches(&quota.spec, resource, object) {
            quota::add(&mut used, &quota::mask(&quota::usage(resource, object, now), &names));
        }
    }
    used
}

/// The status to write; None where it says so already.
pub fn status(quota: &ResourceQuota, used: &Amounts) -> Option<Value> {
    let (hard, status) = (quota.spec.hard(), &quota.status);
    if status.hard() == hard && status.used() == *used {
        return None;
    }
    let texts = |amounts: &Amounts| -> BTreeMap<String, String> {
        amounts.iter().map(|(name, amount)| (name.clone(), amount.to_string())).collect()
    };
    Some(json!({"hard": quota.spec.hard, "used": texts(used)}))
}

/// Whether a change of a quota calls for counting: its limits are new, or not in force yet.
pub fn is_new(old: Option<&ResourceQuota>, new: &ResourceQuota) -> bool {
    old.is_none_or(|old| old.spec.hard() != new.spec.hard()) || new.status.hard() != new.spec.hard()
}

/// A pod that ends uses less from then on.
pub fn pod_frees(old: &Pod, new: &Pod) -> bool {
    new.is_terminal() && !old.is_terminal()
}

/// A Service of another type may use fewer node ports and load balancers.
pub fn service_frees(old: &Service, new: &Service) -> bool {
    old.spec.kind != new.spec.kind || old.spec.ports.len() != new.spec.ports.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(hard: Value, status: Value) -> ResourceQuota {
        serde_json::from_value(json!({"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": status}))
            .unwrap()
    }

    #[test]
    fn what_is_used_and_written() {
        let (pods, secrets) = (GroupResource::new("", "pods"), GroupResource::new("", "secrets"));
        let pod: quota::Object = serde_json::from_value(json!({"spec": {"containers": [
            {"name": "c", "resources": {"requests": {"cpu": "250m"}}}]}}))
        .unwrap();
        let secret = quota::Object::default();
        let hard = json!({"cpu": "1", "secrets": "5", "services": "2", "made.up": "1"});
        let empty = quota(hard.clone(), json!({}));
        let used = used(&empty, [(&pods, &pod), (&pods, &pod), (&secrets, &secret)], 0);
        assert_eq!(quota::show(&used), "cpu=500m,secrets=1,services=0");
        let written = status(&empty, &used).unwrap();
        assert_eq!(written, json!({"hard": hard, "used": {"cpu": "500m", "secrets": "1", "services": "0"}}));
        assert_eq!(status(&quota(hard, written), &used), None);
        assert_eq!(resources(&empty).len(), 3);
    }

    #[test]
    fn when_to_count() {
        let (one, two) = (json!({"pods": "1"}), json!({"pods": "2"}));
        let fresh = quota(one.clone(), json!({}));
        let counted = quota(one.clone(), json!({"hard": one, "used": {"pods": "0"}}));
        let raised = quota(two, json!({"hard": one, "used": {"pods": "0"}}));
        for (old, new, expected) in [
            (None, &fresh, true),
            (Some(&fresh), &counted, false),
            (Some(&counted), &raised, true),
            (Some(&fresh), &fresh, true),
        ] {
            assert_eq!(is_new(old, new), expected, "{new:?}");
        }
    }
}
