//! Which requests a webhook, a policy or a binding is about: rules, selectors, and the version in which it wants the
//! objects. Pure but for the namespace's labels.

use api::Value;
use apimachinery::labels::{LabelSelector, Selector};
use apimachinery::{GroupVersionKind, GroupVersionResource, Status};
use apiserver::admission::{Attributes, Operation};
use apiserver::resource::Objects;

use super::context::NAMESPACES;

/// `operations`, `apiGroups`, `apiVersions`, `resources`, `scope`, and of policies `resourceNames`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
    /// Empty: all.
    names: Vec<String>,
}

/// What a rule is matched with.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub operation: Operation,
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
}

/// The operation as reviews spell it.
pub fn operation_word(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

fn strings(value: &Value, field: &str) -> Vec<String> {
    value.list_at(&[field]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Rule {
    fn of(rule: &Value) -> Self {
        Self {
            operations: strings(rule, "operations"),
            groups: strings(rule, "apiGroups"),
            versions: strings(rule, "apiVersions"),
            resources: strings(rule, "resources"),
            scope: rule.str_at(&["scope"]).to_owned(),
            names: strings(rule, "resourceNames"),
        }
    }

    fn matches(&self, s: Subject<'_>) -> bool {
        let has = |list: &[String], item: &str| list.iter().any(|l| l == "*" || l == item);
        let is_namespace = s.resource == "namespaces" && s.group.is_empty();
        let namespaced = !s.namespace.is_empty() && !is_namespace;
        let scope = match self.scope.as_str() {
            "Namespaced" => namespaced,
            "Cluster" => !namespaced,
            _ => true,
        };
        scope
            && has(&self.operations, operation_word(s.operation))
            && has(&self.groups, s.group)
            && has(&self.versions, s.version)
            && self.resources.iter().any(|r| resource_matches(r, s.resource, s.subresource))
            && (self.names.is_empty() || self.names.iter().any(|n| n == s.name))
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/scale`, `*`, `*/*`.
fn resource_matches(pattern: &str, resource: &str, subresource: &str) -> bool {
    let (base, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
    (base == "*" || base == resource) && (sub == "*" || sub == subresource)
}

/// The version in which somebody wants a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    pub kind: GroupVersionKind,
    pub resource: GroupVersionResource,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Criteria {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    /// Without rules everything is meant: a binding narrows down what its policy is about.
    all_without_rules: bool,
    /// `matchPolicy`: an equivalent version will do.
    equivalent: bool,
    namespace: Selector,
    object: Selector,
}

fn selector(of: &Value, field: &str) -> Result<Selector, String> {
    let Some(value) = of.get(field).filter(|v| !v.is_null()) else { return Ok(Selector::default()) };
    let parsed: LabelSelector = value.view().map_err(|e| format!("{field}: {e}"))?;
    parsed.selector().map_err(|e| format!("{field}: {e}"))
}

impl Criteria {
    /// Of a webhook. Errors: a selector that does not parse.
    pub fn of_webhook(webhook: &Value) -> Result<Self, String> {
        Ok(Self {
            rules: webhook.list_at(&["rules"]).iter().map(Rule::of).collect(),
            excluded: Vec::new(),
            all_without_rules: false,
            equivalent: webhook.str_at(&["matchPolicy"]) != "Exact",
            namespace: selector(webhook, "namespaceSelector")?,
            object: selector(webhook, "objectSelector")?,
        })
    }

    /// Of a policy's `matchConstraints` or a binding's `matchResources`. Errors: a selector that does not parse.
    pub fn of_policy(of: &Value) -> Result<Self, String> {
        let rules = |key: &str| of.list_at(&[key]).iter().map(Rule::of).collect();
        Ok(Self {
            rules: rules("resourceRules"),
            excluded: rules("excludeResourceRules"),
            all_without_rules: true,
            ..Self::of_webhook(of)?
        })
    }

    /// None: it is not about this request. Errors: the namespace, whose labels are needed, could not be read.
    pub async fn interest(
        &self,
        objects: &dyn Objects,
        a: &Attributes<'_>,
    ) -> Result<Option<Interest>, Status> {
        let Some(interest) = self.by_rules(objects, a).filter(|_| self.selects_object(a)) else {
            return Ok(None);
        };
        Ok(self.selects_namespace(objects, a).await?.then_some(interest))
    }

    fn by_rules(&self, objects: &dyn Objects, a: &Attributes<'_>) -> Option<Interest> {
        if !self.excluded.is_empty() && self.matched(&self.excluded, objects, a).is_some() {
            return None;
        }
        if self.rules.is_empty() && self.all_without_rules {
            return Some(Interest { kind: a.kind.clone(), resource: a.resource.clone() });
        }
        self.matched(&self.rules, objects, a)
    }

    fn matched(&self, rules: &[Rule], objects: &dyn Objects, a: &Attributes<'_>) -> Option<Interest> {
        let matches = |version: &str| {
            rules.iter().any(|rule| {
                rule.matches(Subject {
                    operation: a.operation,
                    group: &a.resource.group,
                    version,
                    resource: &a.resource.resource,
                    subresource: a.subresource,
                    namespace: a.namespace,
                    name: a.name,
                })
            })
        };
        if matches(&a.resource.version) {
            return Some(Interest { kind: a.kind.clone(), resource: a.resource.clone() });
        }
        // Conversion exists for whole objects, not for the options of actions.
        if !self.equivalent || a.operation == Operation::Connect {
            return None;
        }
        let versions = objects.versions(&a.resource.group_resource());
        let other = versions.into_iter().find(|k| k.version != a.resource.version && matches(&k.version))?;
        let resource = other.group_version().with_resource(a.resource.resource.clone());
        Some(Interest { kind: other.group_version().with_kind(a.kind.kind.clone()), resource })
    }

    fn selects_object(&self, a: &Attributes<'_>) -> bool {
        let matches = |o: &Value| self.object.matches(|key| o.meta().label(key));
        self.object.is_everything()
            || a.object.as_ref().is_some_and(matches)
            || a.old_object.as_deref().is_some_and(matches)
    }

    async fn selects_namespace(&self, objects: &dyn Objects, a: &Attributes<'_>) -> Result<bool, Status> {
        let matches = |o: &Value| self.namespace.matches(|key| o.meta().label(key));
        if self.namespace.is_everything() {
            return Ok(true);
        }
        if &*a.resource.resource == "namespaces" && a.resource.group.is_empty() {
            return Ok(a.object.as_ref().or(a.old_object.as_deref()).is_none_or(matches));
        }
        if a.namespace.is_empty() {
            return Ok(true);
        }
        let namespace = match objects.get(&NAMESPACES, "", a.namespace) {
            Some(found) => found,
            None => objects.get_latest(&NAMESPACES, "", a.namespace).await?,
        };
        Ok(matches(&namespace.value))
    }
}

/// Objects that say what is admitted are not admitted by it: a broken one could never be mended.
pub fn is_exempt(resource: &GroupVersionResource) -> bool {
    &*resource.group == "admissionregistration.k8s.io"
        && matches!(
            &*resource.resource,
            "validatingwebhookconfigurations"
                | "mutatingwebhookconfigurations"
                | "validatingadmissionpolicies"
                | "validatingadmissionpolicybindings"
                | "mutatingadmissionpolicies"
                | "mutatingadmissionpolicybindings"
        )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::value;

    #[test]
    fn rules() {
        let rule = |resources: &[&str], scope: &str| {
            Rule::of(&value(
                json!({"operations": ["CREATE", "UPDATE"], "apiGroups": ["apps", ""], "apiVersions": ["v1"],
                "resources": resources, "scope": scope}),
            ))
        };
        let subject = |resource: &'static str, subresource: &'static str, namespace: &'static str| Subject {
            operation: Operation::Create,
            group: "",
            version: "v1",
            resource,
            subresource,
            namespace,
            name: "x",
        };
        for (resources, scope, subject, expected) in [
            (&["pods"][..], "*", subject("pods", "", "n"), true),
            (&["pods"], "*", subject("pods", "status", "n"), false),
            (&["pods/status"], "*", subject("pods", "status", "n"), true),
            (&["pods/*"], "*", subject("pods", "status", "n"), true),
            (&["*"], "*", subject("pods", "status", "n"), false),
            (&["*/*"], "*", subject("pods", "status", "n"), true),
            (&["*"], "Cluster", subject("nodes", "", ""), true),
            (&["*"], "Cluster", subject("namespaces", "", "n"), true),
            (&["*"], "Namespaced", subject("namespaces", "", "n"), false),
            (&["*"], "Cluster", subject("pods", "", "n"), false),
        ] {
            assert_eq!(
                rule(resources, scope).matches(subject),
                expected,
                "{resources:?} {scope} {subject:?}"
            );
        }
        let delete = Subject { operation: Operation::Delete, ..subject("pods", "", "n") };
        assert!(!rule(&["*"], "*").matches(delete));
        assert!(!rule(&["*"], "*").matches(Subject { version: "v2", ..subject("pods", "", "n") }));
        let named = |names: &[&str]| Rule {
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            ..rule(&["pods"], "*")
        };
        assert!(named(&["y", "x"]).matches(subject("pods", "", "n")));
        assert!(!named(&["y"]).matches(subject("pods", "", "n")));
    }

    #[tokio::test]
    async fn a_binding_without_rules_means_all_but_what_it_excludes() {
        let cx = crate::testing::context(apiserver::request::UserInfo::default());
        let a = Attributes {
            cx: &cx,
            operation: Operation::Create,
            kind: GroupVersionKind::new("", "v1", "ConfigMap"),
            resource: GroupVersionResource::new("", "v1", "configmaps"),
            subresource: "",
            namespace: "ns",
            name: "x",
            object: Some(value(json!({"metadata": {"labels": {"a": "b"}}}))),
            old_object: None,
            options: Value::Null,
            rounds: apiserver::admission::Rounds::default(),
        };
        let fake = crate::testing::Fake::with(&[(
            "namespaces",
            json!({"metadata": {"name": "ns", "labels": {"team": "a"}}}),
        )]);
        let all = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]});
        for (of, expected) in [
            (json!({}), true),
            (json!({"excludeResourceRules": [all]}), false),
            (json!({"objectSelector": {"matchLabels": {"a": "c"}}}), false),
            (json!({"namespaceSelector": {"matchLabels": {"team": "a"}}}), true),
            (json!({"namespaceSelector": {"matchLabels": {"team": "b"}}}), false),
        ] {
            let criteria = Criteria::of_policy(&value(of.clone())).unwrap();
            assert_eq!(criteria.interest(&*fake, &a).await.unwrap().is_some(), expected, "{of}");
        }
        assert!(
            Criteria::of_webhook(&value(json!({}))).unwrap().interest(&*fake, &a).await.unwrap().is_none()
        );
    }
}
