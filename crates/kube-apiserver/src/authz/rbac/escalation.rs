//! Nobody may grant what he does not hold: writes of roles and bindings are checked against the writer's own
//! rules, unless he may `escalate` the role or `bind` it. Upstream does this in the storage of those kinds; here
//! it is an admission plugin that is always on.

use std::sync::Arc;

use api::Value;
use apimachinery::{GroupResource, Status};
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::auth;
use apiserver::request::UserInfo;
use async_trait::async_trait;

use super::rule::{Rule, uncovered};
use crate::authz::{Authorization, SUPERUSERS};

pub struct EscalationCheck {
    authorization: Arc<Authorization>,
}

impl EscalationCheck {
    pub fn new(authorization: Arc<Authorization>) -> Self {
        Self { authorization }
    }

    fn may(&self, user: &UserInfo, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
        self.authorization.allows(&auth::Attributes {
            user,
            verb,
            is_resource: true,
            path: "",
            group: super::GROUP,
            version: "*",
            resource,
            subresource: "",
            namespace,
            name,
            label_selector: "",
            field_selector: "",
        })
    }

    fn confirm(&self, a: &Attributes<'_>, rules: &[Rule]) -> Result<(), String> {
        let user = &a.cx.user;
        let missing = uncovered(&self.authorization.rules_for(user, a.namespace).rules, rules);
        if missing.is_empty() {
            return Ok(());
        }
        let mut words: Vec<String> = missing.iter().map(Rule::describe).collect();
        words.sort();
        let groups: Vec<String> = user.groups.iter().map(|g| format!("{g:?}")).collect();
        Err(format!(
            "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            groups.join(" "),
            words.join("\n")
        ))
    }

    fn check_role(&self, a: &Attributes<'_>, object: &Value, resource: &GroupResource) -> Result<(), Status> {
        let old = a.old_object.as_deref();
        let unchanged = old.is_some_and(|old| {
            old.get("rules") == object.get("rules")
                && old.get("aggregationRule") == object.get("aggregationRule")
        });
        if unchanged || self.may(&a.cx.user, "escalate", &a.resource.resource, a.namespace, a.name) {
            return Ok(());
        }
        let aggregates = |o: &Value| o.at(&["aggregationRule"]).is_some_and(|v| !v.is_null());
        if (aggregates(object) || old.is_some_and(aggregates))
            && self.confirm(a, &Rule::everything()).is_err()
        {
            let why = "must have cluster-admin privileges to use the aggregationRule";
            return Err(Status::forbidden(resource, a.name, why));
        }
        self.confirm(a, &Rule::all_of(object)).map_err(|why| Status::forbidden(resource, a.name, why))
    }

    fn check_binding(
        &self,
        a: &Attributes<'_>,
        object: &Value,
        resource: &GroupResource,
    ) -> Result<(), Status> {
        let unchanged = a.old_object.as_deref().is_some_and(|old| {
            old.get("subjects") == object.get("subjects") && old.get("roleRef") == object.get("roleRef")
        });
        let cluster_role = object.str_at(&["roleRef", "kind"]) == "ClusterRole";
        let role = object.str_at(&["roleRef", "name"]);
        let kind = if cluster_role { "clusterroles" } else { "roles" };
        if unchanged || self.may(&a.cx.user, "bind", kind, a.namespace, role) {
            return Ok(());
        }
        // Upstream's answer names the binding's resource with the role's name.
        let rules = self.authorization.rbac().role(cluster_role, a.namespace, role);
        let rules = rules.map_err(|_| Status::not_found(resource, role))?;
        self.confirm(a, &rules).map_err(|why| Status::forbidden(resource, a.name, why))
    }
}

#[async_trait]
impl Plugin for EscalationCheck {
    fn name(&self) -> &'static str {
        "RBACEscalationCheck"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        if &*a.resource.group != super::GROUP || !a.subresource.is_empty() || a.cx.user.in_group(SUPERUSERS) {
            return Ok(());
        }
        let Some(object) = &a.object else { return Ok(()) };
        let resource = a.resource.group_resource();
        match &*a.resource.resource {
            "roles" | "clusterroles" => self.check_role(a, object, &resource),
            "rolebindings" | "clusterrolebindings" => self.check_binding(a, object, &resource),
            _ => Ok(()),
        }
    }
}
