//! One webhook of a configuration: what it wants to hear of, and where it is.

use api::Value;
use apimachinery::labels::{LabelSelector, Selector};
use apiserver::admission::Operation;

use super::call::Target;
use crate::authn::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideEffects {
    None,
    NoneOnDryRun,
    Other,
}

/// `operations`, `apiGroups`, `apiVersions`, `resources`, `scope`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
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
}

fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

/// The operation as reviews spell it.
pub fn operation_word(operation: Operation) -> &'static str {
    word(operation)
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
        }
    }

    pub fn matches(&self, s: Subject<'_>) -> bool {
        let has = |list: &[String], item: &str| list.iter().any(|l| l == "*" || l == item);
        let is_namespace = s.resource == "namespaces" && s.group.is_empty();
        let namespaced = !s.namespace.is_empty() && !is_namespace;
        let scope = match self.scope.as_str() {
            "Namespaced" => namespaced,
            "Cluster" => !namespaced,
            _ => true,
        };
        scope
            && has(&self.operations, word(s.operation))
            && has(&self.groups, s.group)
            && has(&self.versions, s.version)
            && self.resources.iter().any(|r| resource_matches(r, s.resource, s.subresource))
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/scale`, `*`, `*/*`.
fn resource_matches(pattern: &str, resource: &str, subresource: &str) -> bool {
    let (base, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
    (base == "*" || base == resource) && (sub == "*" || sub == subresource)
}

/// A mutating, validating or conversion webhook.
#[derive(Debug)]
pub struct Hook {
    pub name: String,
    /// Of the configuration object.
    pub configuration: String,
    pub rules: Vec<Rule>,
    /// `matchPolicy`: an equivalent version will do.
    pub equivalent: bool,
    /// `failurePolicy: Ignore`.
    pub ignore_failure: bool,
    pub namespace_selector: Selector,
    pub object_selector: Selector,
    pub side_effects: SideEffects,
    /// `reinvocationPolicy: IfNeeded`.
    pub reinvoke: bool,
    pub timeout: std::time::Duration,
    /// It has conditions in CEL.
    pub conditions: bool,
    /// The first of `admissionReviewVersions` that we speak.
    pub review_version: Option<String>,
    pub target: Target,
}

fn selector(webhook: &Value, field: &str) -> Result<Selector, Error> {
    let Some(value) = webhook.get(field) else { return Ok(Selector::default()) };
    let parsed: LabelSelector = value.view().map_err(|e| Error::Config(format!("{field}: {e}")))?;
    parsed.selector().map_err(|e| Error::Config(format!("{field}: {e}")))
}

impl Hook {
    fn of(configuration: &str, webhook: &Value) -> Result<Self, Error> {
        let spoken = |v: &&String| matches!(v.as_str(), "v1" | "v1beta1");
        let seconds = webhook.int_at(&["timeoutSeconds"]).filter(|s| (1..=30).contains(s)).unwrap_or(10);
        Ok(Self {
            name: webhook.str_at(&["name"]).to_owned(),
            configuration: configuration.to_owned(),
            rules: webhook.list_at(&["rules"]).iter().map(Rule::of).collect(),
            equivalent: webhook.str_at(&["matchPolicy"]) != "Exact",
            ignore_failure: webhook.str_at(&["failurePolicy"]) == "Ignore",
            namespace_selector: selector(webhook, "namespaceSelector")?,
            object_selector: selector(webhook, "objectSelector")?,
            side_effects: match webhook.str_at(&["sideEffects"]) {
                "None" => SideEffects::None,
                "NoneOnDryRun" => SideEffects::NoneOnDryRun,
                _ => SideEffects::Other,
            },
            reinvoke: webhook.str_at(&["reinvocationPolicy"]) == "IfNeeded",
            timeout: std::time::Duration::from_secs(seconds.unsigned_abs()),
            conditions: !webhook.list_at(&["matchConditions"]).is_empty(),
            review_version: strings(webhook, "admissionReviewVersions").iter().find(spoken).cloned(),
            target: Target::of(webhook.get("clientConfig").unwrap_or(&Value::Null)),
        })
    }

    /// The hooks of a configuration; those that cannot be understood are left out with a warning.
    pub fn all_of(configuration: &Value) -> Vec<Self> {
        let name = configuration.name();
        let hook = |webhook: &Value| {
            Self::of(name, webhook)
                .inspect_err(|error| tracing::warn!(configuration = name, %error, "a webhook is left out"))
                .ok()
        };
        configuration.list_at(&["webhooks"]).iter().filter_map(hook).collect()
    }
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
    }
}
