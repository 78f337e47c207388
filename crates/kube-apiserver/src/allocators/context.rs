//! Requests that the server makes of itself, as `system:apiserver`.

use std::sync::Arc;

use apimachinery::GroupResource;
use apiserver::request::{RequestContext, RequestInfo, UserInfo, Warnings};

/// A write of the server's own. `version` is the one in which the object is given.
pub fn own(
    verb: &str,
    resource: &GroupResource,
    version: &str,
    namespace: &str,
    name: &str,
) -> RequestContext {
    RequestContext {
        info: RequestInfo {
            is_resource: true,
            verb: verb.into(),
            prefix: if resource.group.is_empty() { "api" } else { "apis" }.into(),
            group: resource.group.to_string(),
            version: version.into(),
            namespace: namespace.into(),
            resource: resource.resource.to_string(),
            name: name.into(),
            ..RequestInfo::default()
        },
        user: Arc::new(UserInfo::loopback()),
        dry_run: false,
        field_manager: "kube-apiserver".into(),
        user_agent: "kube-apiserver".into(),
        audit_id: uuid::Uuid::new_v4().to_string(),
        now: jiff::Timestamp::now(),
        warnings: Warnings::default(),
    }
}
