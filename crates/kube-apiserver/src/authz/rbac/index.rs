//! Roles and bindings, indexed by subject: a decision looks at the bindings of the user and its groups only.
//! Kept up object by object.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use api::Value;
use apiserver::request::UserInfo;

use super::rule::Rule;
use crate::authn::service_account::username;

type Name = Box<str>;

/// Whom a binding names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    /// Users and, by their user names, service accounts.
    User(Name),
    Group(Name),
}

/// A ClusterRoleBinding, or a RoleBinding of one namespace.
#[derive(Debug)]
pub struct Binding {
    pub name: Name,
    /// "" for a ClusterRoleBinding.
    pub namespace: Name,
    pub cluster_role: bool,
    pub role: Name,
    subjects: Vec<Subject>,
}

#[derive(Debug, Default)]
struct Bindings {
    by_name: HashMap<Name, Arc<Binding>>,
    users: HashMap<Name, Vec<Arc<Binding>>>,
    groups: HashMap<Name, Vec<Arc<Binding>>>,
}

#[derive(Debug, Default)]
pub struct Index {
    cluster_roles: HashMap<Name, Arc<[Rule]>>,
    roles: HashMap<Name, HashMap<Name, Arc<[Rule]>>>,
    cluster: Bindings,
    namespaces: HashMap<Name, Bindings>,
}

/// A role that a binding names and that does not exist.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    pub cluster_role: bool,
    pub role: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.cluster_role { "clusterrole" } else { "role" };
        write!(f, "{kind}.rbac.authorization.k8s.io {:?} not found", self.role)
    }
}

fn identity(object: &Value) -> (&str, &str) {
    (object.str_at(&["metadata", "namespace"]), object.str_at(&["metadata", "name"]))
}

impl Binding {
    pub fn of(object: &Value) -> Self {
        let (namespace, name) = identity(object);
        let subjects = object.list_at(&["subjects"]).iter().filter_map(|s| subject(s, namespace)).collect();
        Self {
            name: name.into(),
            namespace: namespace.into(),
            cluster_role: object.str_at(&["roleRef", "kind"]) == "ClusterRole",
            role: object.str_at(&["roleRef", "name"]).into(),
            subjects,
        }
    }
}

fn subject(subject: &Value, namespace: &str) -> Option<Subject> {
    let name = subject.str_at(&["name"]);
    match subject.str_at(&["kind"]) {
        "User" => Some(Subject::User(name.into())),
        "Group" => Some(Subject::Group(name.into())),
        "ServiceAccount" => {
            let own = subject.str_at(&["namespace"]);
            let namespace = if own.is_empty() { namespace } else { own };
            (!namespace.is_empty()).then(|| Subject::User(username(namespace, name).into()))
        }
        _ => None,
    }
}

impl Bindings {
    fn set(&mut self, binding: Arc<Binding>) {
        self.remove(&binding.name);
        for subject in &binding.subjects {
            let list = match subject {
                Subject::User(name) => self.users.entry(name.clone()),
                Subject::Group(name) => self.groups.entry(name.clone()),
            };
            list.or_default().push(binding.clone());
        }
        self.by_name.insert(binding.name.clone(), binding);
    }

    fn remove(&mut self, name: &str) {
        let Some(old) = self.by_name.remove(name) else { return };
        for subject in &old.subjects {
            let (map, key) = match subject {
                Subject::User(name) => (&mut self.users, name),
                Subject::Group(name) => (&mut self.groups, name),
            };
            if let Some(list) = map.get_mut(key) {
                list.retain(|b| !Arc::ptr_eq(b, &old));
                if list.is_empty() {
                    map.remove(key);
                }
            }
        }
    }

    /// Each binding of the user with the words for the subject by which it applies.
    fn visit<'a>(
        &'a self,
        user: &'a UserInfo,
        visit: &mut impl FnMut(&'a Binding, &'static str, &'a str) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for binding in self.users.get(user.name.as_str()).into_iter().flatten() {
            visit(binding, "User", &user.name)?;
        }
        for group in &user.groups {
            for binding in self.groups.get(group.as_str()).into_iter().flatten() {
                visit(binding, "Group", group)?;
            }
        }
        ControlFlow::Continue(())
    }
}

impl Index {
    pub fn set_role(&mut self, object: &Value) {
        let (namespace, name) = identity(object);
        let rules: Arc<[Rule]> = Rule::all_of(object).into();
        if namespace.is_empty() {
            self.cluster_roles.insert(name.into(), rules);
        } else {
            self.roles.entry(namespace.into()).or_default().insert(name.into(), rules);
        }
    }

    pub fn remove_role(&mut self, object: &Value) {
        let (namespace, name) = identity(object);
        if namespace.is_empty() {
            self.cluster_roles.remove(name);
        } else if let Some(roles) = self.roles.get_mut(namespace) {
            roles.remove(name);
            if roles.is_empty() {
                self.roles.remove(namespace);
            }
        }
    }

    pub fn set_binding(&mut self, object: &Value) {
        let binding = Arc::new(Binding::of(object));
        if binding.namespace.is_empty() {
            self.cluster.set(binding);
        } else {
            self.namespaces.entry(binding.namespace.clone()).or_default().set(binding);
        }
    }

    pub fn remove_binding(&mut self, object: &Value) {
        let (namespace, name) = identity(object);
        if namespace.is_empty() {
            self.cluster.remove(name);
        } else if let Some(bindings) = self.namespaces.get_mut(namespace) {
            bindings.remove(name);
            if bindings.by_name.is_empty() {
                self.namespaces.remove(namespace);
            }
        }
    }

    /// The rules of a role, as seen from a namespace.
    pub fn role(&self, cluster_role: bool, namespace: &str, name: &str) -> Result<&Arc<[Rule]>, Missing> {
        let found = if cluster_role {
            self.cluster_roles.get(name)
        } else {
            self.roles.get(namespace).and_then(|roles| roles.get(name))
        };
        found.ok_or_else(|| Missing { cluster_role, role: name.to_owned() })
    }

    /// Every rule that applies to the user: the cluster's, and those of `namespace` unless it is "". With each
    /// the binding and the subject (kind, name) it applies by; the missing roles go to `missing`.
    pub fn visit<'a>(
        &'a self,
        user: &'a UserInfo,
        namespace: &str,
        mut missing: impl FnMut(Missing),
        mut found: impl FnMut(&'a Rule, &'a Binding, &'static str, &'a str) -> ControlFlow<()>,
    ) {
        let mut rules = |binding: &'a Binding, kind, name| match self.role(
            binding.cluster_role,
            &binding.namespace,
            &binding.role,
        ) {
            Ok(rules) => rules.iter().try_for_each(|rule| found(rule, binding, kind, name)),
            Err(absent) => {
                missing(absent);
                ControlFlow::Continue(())
            }
        };
        if self.cluster.visit(user, &mut rules).is_break() || namespace.is_empty() {
            return;
        }
        if let Some(bindings) = self.namespaces.get(namespace) {
            let _ = bindings.visit(user, &mut rules);
        }
    }
}
