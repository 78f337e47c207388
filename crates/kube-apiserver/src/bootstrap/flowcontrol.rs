//! Flow schemas and priority levels. Those that say so by annotation get their spec back; requests are limited by
//! a total, not by these objects yet.

use api::Value;
use apimachinery::{GroupResource, Status};

use super::{Bootstrap, objects_of};
use crate::strategies::fields::{Fields, map_at, of};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

pub async fn reconcile(b: &Bootstrap) -> Result<(), Status> {
    for resource in ["prioritylevelconfigurations", "flowschemas"] {
        let gr = GroupResource::new(GROUP, resource);
        for object in objects_of(GROUP, resource) {
            one(b, &gr, object).await?;
        }
    }
    let schemas = GroupResource::new(GROUP, "flowschemas");
    for object in objects_of(GROUP, "flowschemas") {
        dangling(b, &schemas, &object).await?;
    }
    Ok(())
}

async fn one(b: &Bootstrap, resource: &GroupResource, object: Value) -> Result<(), Status> {
    let name = object.str_at(&["metadata", "name"]).to_owned();
    let Some(there) = b.find(resource, "", &name).await? else {
        return b.ensure(resource, object).await;
    };
    let automatic = map_at(&there, &["metadata", "annotations"]).text(AUTO_UPDATE) == "true";
    if !automatic || of(&there).same(of(&object), "spec") {
        return Ok(());
    }
    let spec = object.at(&["spec"]).cloned().unwrap_or_default();
    let change = |o: &mut Value| {
        o.set_at(&["spec"], spec.clone());
        Ok(())
    };
    b.update(resource, "v1", "", &object, &change).await
}

/// Each schema says whether its priority level exists.
async fn dangling(b: &Bootstrap, resource: &GroupResource, object: &Value) -> Result<(), Status> {
    let name = object.str_at(&["metadata", "name"]);
    let Some(there) = b.find(resource, "", name).await? else { return Ok(()) };
    let said = map_at(&there, &["status"]).items("conditions").any(|c| c.text("type") == "Dangling");
    if said {
        return Ok(());
    }
    let level = object.str_at(&["spec", "priorityLevelConfiguration", "name"]).to_owned();
    let change = move |o: &mut Value| {
        let condition = crate::strategies::fields::map([
            ("type", "Dangling".into()),
            ("status", "False".into()),
            ("lastTransitionTime", crate::strategies::fields::time(jiff::Timestamp::now())),
            ("reason", "Found".into()),
            ("message", format!("the priority level {level:?} is there").into()),
        ]);
        o.set_at(&["status", "conditions"], vec![Value::Map(condition)]);
        Ok(())
    };
    b.update(resource, "v1", "status", object, &change).await
}
