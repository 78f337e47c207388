//! ResourceQuota: what comes is counted in the status of the quotas of its namespace, and refused where it would be
//! too much. The count is written before the object is; one that is not stored after all is corrected by the
//! controller.
//!
//! Deliberately absent: the configuration's limited resources, which refuse objects that no quota covers.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::{Map, Value};
use apimachinery::{GroupResource, Status};
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::resource::Objects;
use async_trait::async_trait;
use quota::Amounts;

use super::context::{RESOURCE_QUOTAS, forbidden};

pub struct ResourceQuota {
    objects: Arc<dyn Objects>,
}

/// One quota that the object counts in.
struct Charge {
    quota: String,
    grown: Amounts,
}

impl ResourceQuota {
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects }
    }

    /// What is to be added to which quotas. Refuses what cannot be counted, or is too much by what is known.
    fn charges(&self, a: &Attributes<'_>, quotas: &[Arc<Value>]) -> Result<Vec<Charge>, Status> {
        let resource = &a.resource.group_resource();
        let Some(new) = a.object.as_ref().map(view) else { return Ok(Vec::new()) };
        let old =
            a.old_object.as_ref().filter(|_| a.operation == Operation::Update).map(|old| view(old.as_ref()));
        let now = jiff::Timestamp::now().as_second();
        let usage = |object: &quota::Object| quota::usage(resource, object, now);
        let before = old.as_ref().map(usage).unwrap_or_default();
        let grown = quota::growth(&usage(&new), &before);
        let mut charges = Vec::new();
        for quota in quotas {
            let read = view(quota);
            let name = quota.str_at(&["metadata", "name"]);
            let about = |name: &&String| quota::resource_of(name).as_ref() == Some(resource);
            let wanted: BTreeSet<String> = read.spec.hard.keys().filter(about).cloned().collect();
            if wanted.is_empty() || !quota::matches(&read.spec, resource, &new) {
                continue;
            }
            let in_force: BTreeSet<String> = read.status.hard.keys().filter(about).cloned().collect();
            let is_pod = resource.group.is_empty() && &*resource.resource == "pods";
            if is_pod && let Some(missing) = quota::missing(&new, &in_force) {
                return Err(forbidden(a, format!("failed quota: {name}: must specify {missing}")));
            }
            let unknown: Vec<&str> = wanted
                .iter()
                .filter(|n| !read.status.hard.contains_key(*n) || !read.status.used.contains_key(*n))
                .map(String::as_str)
                .collect();
            if !unknown.is_empty() {
                let names = unknown.join(",");
                return Err(forbidden(a, format!("status unknown for quota: {name}, resources: {names}")));
            }
            let grown = quota::mask(&grown, &in_force);
            if !grown.is_empty() {
                sum(name, &read.status, &grown).map_err(|why| forbidden(a, why))?;
                charges.push(Charge { quota: name.to_owned(), grown });
            }
        }
        Ok(charges)
    }

    /// Adds to the quota's status as it is in the store by then.
    async fn charge(&self, a: &Attributes<'_>, charge: &Charge) -> Result<(), Status> {
        let change = |live: &mut Value| -> Result<(), Status> {
            let used =
                sum(&charge.quota, &view(live).status, &charge.grown).map_err(|why| forbidden(a, why))?;
            for (name, amount) in used {
                live.set_at(&["status", "used", &name], amount.to_string());
            }
            Ok(())
        };
        let update =
            self.objects.update(a.cx, &RESOURCE_QUOTAS, "status", a.namespace, &charge.quota, &change);
        match update.await {
            // The quota went meanwhile: nothing to count any more.
            Err(e) if e.code == 404 => Ok(()),
            other => other.map(drop),
        }
    }
}

/// What is used with the growth, of the names that grow; or why that is too much.
fn sum(name: &str, status: &quota::Status, grown: &Amounts) -> Result<Amounts, String> {
    let names: BTreeSet<String> = grown.keys().cloned().collect();
    let (used, hard) = (status.used(), status.hard());
    let mut sum = quota::mask(&used, &names);
    quota::add(&mut sum, grown);
    let exceeded = quota::exceeded(&sum, &hard);
    if exceeded.is_empty() {
        return Ok(sum);
    }
    let show = |amounts: &Amounts| quota::show(&quota::mask(amounts, &exceeded));
    Err(format!(
        "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
        show(grown),
        show(&used),
        show(&hard)
    ))
}

/// What quotas look at in an object.
fn view(object: &Value) -> quota::Object {
    let mut tree = Map::new();
    for field in ["metadata", "spec", "status"] {
        if let Some(part) = object.get(field) {
            tree.insert(field, part.clone());
        }
    }
    let json = serde_json::to_value(Value::Map(tree)).unwrap_or_default();
    serde_json::from_value(json).unwrap_or_default()
}

/// Whether a later state of an object of this resource may use more than an earlier one.
fn grows(resource: &GroupResource) -> bool {
    resource.group.is_empty() && matches!(&*resource.resource, "pods" | "services" | "persistentvolumeclaims")
}

#[async_trait]
impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        let resource = a.resource.group_resource();
        let resize = &*resource.resource == "pods" && a.subresource == "resize";
        let update = a.operation == Operation::Update;
        if a.namespace.is_empty()
            || !(a.subresource.is_empty() || resize)
            || (update && !grows(&resource))
            || &*resource.resource == "namespaces"
        {
            return Ok(());
        }
        let quotas: Vec<Arc<Value>> =
            self.objects.list(&RESOURCE_QUOTAS, a.namespace).into_iter().map(|q| q.value).collect();
        if quotas.is_empty() {
            return Ok(());
        }
        let charges = self.charges(a, &quotas)?;
        if a.cx.dry_run {
            return Ok(());
        }
        for charge in &charges {
            self.charge(a, charge).await?;
        }
        Ok(())
    }
}
