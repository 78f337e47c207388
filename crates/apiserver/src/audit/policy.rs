//! audit.k8s.io/v1 Policy: rules in order, of which the first that fits a request decides its level.

use api::Value;

use super::{Level, Stage};
use crate::request::{RequestInfo, UserInfo};

/// Why a policy is not taken. Upstream refuses such a file too.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("failed decoding: {0}")]
    Decode(String),
    #[error("unknown kind {0:?}: expected Policy of audit.k8s.io/v1")]
    Kind(String),
    #[error("loaded illegal policy with 0 rules")]
    Empty,
    #[error("{0}")]
    Invalid(String),
}

#[derive(Clone, Debug)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    names: Vec<String>,
}

#[derive(Clone, Debug)]
struct Rule {
    level: Level,
    users: Vec<String>,
    groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    urls: Vec<String>,
    omit_stages: Vec<Stage>,
    omit_managed: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    omit_stages: Vec<Stage>,
}

/// What the policy says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub level: Level,
    pub omit_stages: Vec<Stage>,
    pub omit_managed: bool,
}

fn texts(of: &Value, key: &str) -> Vec<String> {
    of.list_at(&[key]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn stages(of: &Value, at: &str) -> Result<Vec<Stage>, PolicyError> {
    let named = |name: String| {
        Stage::named(&name)
            .ok_or_else(|| PolicyError::Invalid(format!("{at}: Invalid value: {name:?}: unknown stage")))
    };
    texts(of, "omitStages").into_iter().map(named).collect()
}

impl Policy {
    /// Of YAML or JSON.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let of = api::yaml::parse(text.as_bytes()).map_err(|e| PolicyError::Decode(e.to_string()))?;
        if of.api_version() != "audit.k8s.io/v1" || of.kind() != "Policy" {
            return Err(PolicyError::Kind(format!("{}, Kind={}", of.api_version(), of.kind())));
        }
        let omit_stages = stages(&of, "omitStages")?;
        let omit_managed = of.bool_at(&["omitManagedFields"]).unwrap_or(false);
        let rules = of.list_at(&["rules"]).iter().enumerate();
        let rules: Vec<Rule> =
            rules.map(|(at, r)| rule(r, at, &omit_stages, omit_managed)).collect::<Result<_, _>>()?;
        if rules.is_empty() { Err(PolicyError::Empty) } else { Ok(Self { rules, omit_stages }) }
    }

    /// No rule fits: nothing is written.
    pub fn decide(&self, user: &UserInfo, info: &RequestInfo) -> Decision {
        match self.rules.iter().find(|r| r.fits(user, info)) {
            Some(rule) => Decision {
                level: rule.level,
                omit_stages: rule.omit_stages.clone(),
                omit_managed: rule.omit_managed,
            },
            None => {
                Decision { level: Level::None, omit_stages: self.omit_stages.clone(), omit_managed: false }
            }
        }
    }
}

fn rule(of: &Value, at: usize, omit: &[Stage], omit_managed: bool) -> Result<Rule, PolicyError> {
    let invalid = |field: &str, value: &str, why: &str| {
        PolicyError::Invalid(format!("rules[{at}].{field}: Invalid value: {value:?}: {why}"))
    };
    let level = of.str_at(&["level"]);
    let mut omit_stages = stages(of, &format!("rules[{at}].omitStages"))?;
    omit_stages.extend(omit);
    let group = |g: &Value| GroupResources {
        group: g.str_at(&["group"]).to_owned(),
        resources: texts(g, "resources"),
        names: texts(g, "resourceNames"),
    };
    let rule = Rule {
        level: Level::named(level).ok_or_else(|| invalid("level", level, "unknown level"))?,
        users: texts(of, "users"),
        groups: texts(of, "userGroups"),
        verbs: texts(of, "verbs"),
        resources: of.list_at(&["resources"]).iter().map(group).collect(),
        namespaces: texts(of, "namespaces"),
        urls: texts(of, "nonResourceURLs"),
        omit_stages,
        omit_managed: of.bool_at(&["omitManagedFields"]).unwrap_or(omit_managed),
    };
    let of_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
    if of_resources && !rule.urls.is_empty() {
        let why = "rules cannot apply to both regular resources and non-resource URLs";
        return Err(invalid("nonResourceURLs", &rule.urls.join(","), why));
    }
    for url in rule.urls.iter().filter(|u| *u != "*") {
        if !url.starts_with('/') {
            return Err(invalid(
                "nonResourceURLs",
                url,
                "non-resource URL rules must begin with a '/' character",
            ));
        }
        if url.strip_suffix('*').unwrap_or(url).contains('*') {
            let why = "non-resource URL wildcards '*' must be the final character of the rule";
            return Err(invalid("nonResourceURLs", url, why));
        }
    }
    Ok(rule)
}

fn has(list: &[String], text: &str) -> bool {
    list.iter().any(|l| l == text)
}

impl Rule {
    fn fits(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        let who = (self.users.is_empty() || has(&self.users, &user.name))
            && (self.groups.is_empty() || user.groups.iter().any(|g| has(&self.groups, g)));
        if !who || !self.verbs.is_empty() && !has(&self.verbs, &info.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return self.fits_resource(info);
        }
        self.urls.is_empty() || !info.is_resource && self.urls.iter().any(|u| fits_path(u, &info.path))
    }

    fn fits_resource(&self, info: &RequestInfo) -> bool {
        info.is_resource
            && (self.namespaces.is_empty() || has(&self.namespaces, &info.namespace))
            && (self.resources.is_empty() || self.resources.iter().any(|g| g.fits(info)))
    }
}

fn fits_path(rule: &str, path: &str) -> bool {
    rule == path || rule.strip_suffix('*').is_some_and(|start| path.starts_with(start))
}

impl GroupResources {
    fn fits(&self, info: &RequestInfo) -> bool {
        if self.group != info.group {
            return false;
        }
        let named = self.names.is_empty() || has(&self.names, &info.name);
        self.resources.is_empty() || named && self.resources.iter().any(|r| fits_name(r, info))
    }
}

/// `pods`, `pods/log`, `pods/*`, `*/scale`, `*`.
fn fits_name(rule: &str, info: &RequestInfo) -> bool {
    let (resource, sub) = (info.resource.as_str(), info.subresource.as_str());
    match rule.split_once('/') {
        _ if rule == "*" => true,
        None => sub.is_empty() && rule == resource,
        Some(("*", wanted)) => !sub.is_empty() && wanted == sub,
        Some((wanted, "*")) => wanted == resource,
        Some((wanted, part)) => wanted == resource && part == sub,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(verb: &str, path: &str, user: &str, groups: &[&str]) -> (UserInfo, RequestInfo) {
        let method = http::Method::from_bytes(verb.as_bytes()).unwrap();
        let info = crate::http::info::request_info(&method, path, &crate::endpoint::Query::default());
        let groups = groups.iter().map(|g| (*g).to_owned()).collect();
        (UserInfo { name: user.into(), groups, ..UserInfo::default() }, info)
    }

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, users: ["system:kube-proxy"], verbs: ["list"], resources: [{group: "", resources: ["services"]}]}
- {level: None, userGroups: ["quiet"], nonResourceURLs: ["/healthz*", "/version"]}
- {level: Metadata, resources: [{group: "", resources: ["secrets", "pods/log"]}, {group: "apps"}]}
- {level: Request, namespaces: ["kube-system"], omitStages: [Panic], omitManagedFields: false}
- {level: RequestResponse, resources: [{group: "", resources: ["pods/*", "*/status"]}, {group: "", resources: ["configmaps"], resourceNames: ["a"]}]}
"#;

    #[test]
    fn the_first_rule_that_fits() {
        let policy = Policy::parse(POLICY).unwrap();
        for (verb, path, user, groups, expected) in [
            ("GET", "/api/v1/services", "system:kube-proxy", &[][..], Level::None),
            ("GET", "/api/v1/services/x", "system:kube-proxy", &[], Level::None),
            ("GET", "/healthz/etcd", "u", &["quiet"], Level::None),
            ("GET", "/api/v1/namespaces/n/secrets/s", "u", &[], Level::Metadata),
            ("GET", "/api/v1/namespaces/kube-system/pods/p/log", "u", &[], Level::Metadata),
            ("POST", "/apis/apps/v1/namespaces/n/deployments", "u", &[], Level::Metadata),
            ("GET", "/api/v1/namespaces/kube-system/pods", "u", &[], Level::Request),
            ("GET", "/api/v1/namespaces/n/pods/p", "u", &[], Level::RequestResponse),
            ("GET", "/api/v1/namespaces/n/pods/p/exec", "u", &[], Level::RequestResponse),
            ("PUT", "/api/v1/nodes/n/status", "u", &[], Level::RequestResponse),
            ("GET", "/api/v1/namespaces/n/configmaps/a", "u", &[], Level::RequestResponse),
            ("GET", "/api/v1/namespaces/n/configmaps/b", "u", &[], Level::None),
            ("GET", "/metrics", "u", &[], Level::None),
        ] {
            let (user, info) = asked(verb, path, user, groups);
            assert_eq!(policy.decide(&user, &info).level, expected, "{verb} {path}");
        }
        let (user, info) = asked("GET", "/api/v1/namespaces/kube-system/pods", "u", &[]);
        let decision = policy.decide(&user, &info);
        assert_eq!(decision.omit_stages, [Stage::Panic, Stage::RequestReceived]);
        assert!(!decision.omit_managed);
    }

    #[test]
    fn policies_that_are_not_taken() {
        let with = |rules: &str| format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {rules}\n");
        for (text, why) in [
            (with("[]"), "0 rules"),
            (with("[{level: Everything}]"), "unknown level"),
            (with("[{level: None, omitStages: [Later]}]"), "unknown stage"),
            (with("[{level: None, nonResourceURLs: [\"x\"]}]"), "begin with a '/'"),
            (with("[{level: None, nonResourceURLs: [\"/a*b\"]}]"), "final character"),
            (with("[{level: None, namespaces: [ns], nonResourceURLs: [\"/a\"]}]"), "both"),
            ("apiVersion: v1\nkind: Policy\n".into(), "unknown kind"),
        ] {
            let error = Policy::parse(&text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
