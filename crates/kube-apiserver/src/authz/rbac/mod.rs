//! Role-based access control: additive rules, bound to users, groups and service accounts.
//!
//! Left out: aggregation of ClusterRoles, which is a controller's work.

pub mod escalation;
mod index;
mod rule;

use std::ops::ControlFlow;
use std::sync::Arc;

use apimachinery::GroupResource;
use apiserver::auth::{Attributes, Decision};
use apiserver::request::UserInfo;
use apiserver::resource::{Change, Objects};
use futures::StreamExt as _;
use parking_lot::RwLock;
use tokio::sync::watch;

pub use index::{Binding, Index, Missing};
pub use rule::{Rule, uncovered};

pub const GROUP: &str = "rbac.authorization.k8s.io";

/// The authorizer, over an index that follows the watch cache.
pub struct Rbac {
    index: RwLock<Index>,
    synced: watch::Receiver<usize>,
}

#[derive(Clone, Copy)]
enum Source {
    Roles,
    Bindings,
}

const SOURCES: [(&str, Source); 4] = [
    ("clusterroles", Source::Roles),
    ("roles", Source::Roles),
    ("clusterrolebindings", Source::Bindings),
    ("rolebindings", Source::Bindings),
];

impl Rbac {
    /// Follows roles and bindings until dropped.
    pub fn start(objects: &Arc<dyn Objects>) -> Arc<Self> {
        let (tell, synced) = watch::channel(0);
        let rbac = Arc::new(Self { index: RwLock::default(), synced });
        let streams = SOURCES.map(|(resource, source)| {
            objects.watch(&GroupResource::new(GROUP, resource)).map(move |change| (source, change)).boxed()
        });
        let weak = Arc::downgrade(&rbac);
        tokio::spawn(async move {
            let mut changes = futures::stream::select_all(streams);
            while let Some((source, change)) = changes.next().await {
                let Some(rbac) = weak.upgrade() else { return };
                match change {
                    Change::Synced => tell.send_modify(|n| *n += 1),
                    change => rbac.apply(source, &change),
                }
            }
        });
        rbac
    }

    pub async fn synced(&self) {
        let _ = self.synced.clone().wait_for(|n| *n >= SOURCES.len()).await;
    }

    fn apply(&self, source: Source, change: &Change) {
        let mut index = self.index.write();
        match (source, change) {
            (Source::Roles, Change::Set { object, .. }) => index.set_role(&object.value),
            (Source::Roles, Change::Deleted { old }) => index.remove_role(&old.value),
            (Source::Bindings, Change::Set { object, .. }) => index.set_binding(&object.value),
            (Source::Bindings, Change::Deleted { old }) => index.remove_binding(&old.value),
            (_, Change::Synced) => {}
        }
    }

    pub fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        decide(&self.index.read(), attributes)
    }

    /// All rules of a user in a namespace.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Vec<Rule> {
        let mut rules = Vec::new();
        self.index.read().visit(
            user,
            namespace,
            |_| (),
            |rule, _, _, _| {
                rules.push(rule.clone());
                ControlFlow::Continue(())
            },
        );
        rules
    }

    /// The rules of a role that a binding in `namespace` names.
    pub fn role(&self, cluster_role: bool, namespace: &str, name: &str) -> Result<Arc<[Rule]>, Missing> {
        self.index.read().role(cluster_role, namespace, name).cloned()
    }
}

fn decide(index: &Index, attributes: &Attributes<'_>) -> Decision {
    let mut reason = None;
    let mut missing = Vec::new();
    index.visit(
        attributes.user,
        attributes.namespace,
        |m| missing.push(m),
        |rule, binding, kind, name| {
            if !rule.allows(attributes) {
                return ControlFlow::Continue(());
            }
            reason = Some(allowed_by(binding, kind, name));
            ControlFlow::Break(())
        },
    );
    if let Some(reason) = reason {
        return Decision::Allow(reason);
    }
    missing.dedup();
    match missing.as_slice() {
        [] => Decision::NoOpinion(String::new()),
        [one] => Decision::NoOpinion(format!("RBAC: {one}")),
        many => {
            let words: Vec<String> = many.iter().map(ToString::to_string).collect();
            Decision::NoOpinion(format!("RBAC: [{}]", words.join(", ")))
        }
    }
}

fn allowed_by(binding: &Binding, kind: &str, subject: &str) -> String {
    let role = if binding.cluster_role { "ClusterRole" } else { "Role" };
    let subject = match crate::authn::service_account::split_username(subject) {
        Some((namespace, name)) if kind == "User" => format!("ServiceAccount \"{name}/{namespace}\""),
        _ => format!("{kind} {subject:?}"),
    };
    if binding.namespace.is_empty() {
        format!(
            "RBAC: allowed by ClusterRoleBinding {:?} of {role} {:?} to {subject}",
            binding.name, binding.role
        )
    } else {
        let full = format!("{}/{}", binding.name, binding.namespace);
        format!("RBAC: allowed by RoleBinding {full:?} of {role} {:?} to {subject}", binding.role)
    }
}

#[cfg(test)]
mod tests;
