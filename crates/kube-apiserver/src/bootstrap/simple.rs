//! Objects that are made once and then left alone: namespaces and the system's priority classes.

use apimachinery::{GroupResource, Status};

use super::{Bootstrap, objects_of};

pub async fn namespaces(b: &Bootstrap) -> Result<(), Status> {
    let resource = GroupResource::new("", "namespaces");
    for mut object in objects_of("", "namespaces") {
        // The finalizer is the strategy's, and nobody's field.
        object.remove_at(&["spec"]);
        b.ensure(&resource, object).await?;
    }
    Ok(())
}

const DESCRIPTION: &str = "For pods without which the cluster does not work";

pub async fn priority_classes(b: &Bootstrap) -> Result<(), Status> {
    let resource = GroupResource::new("scheduling.k8s.io", "priorityclasses");
    for mut object in objects_of("scheduling.k8s.io", "priorityclasses") {
        object.set_at(&["description"], DESCRIPTION);
        b.ensure(&resource, object).await?;
    }
    Ok(())
}
