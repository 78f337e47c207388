//! SubjectAccessReview, local and self, and SelfSubjectRulesReview.

use std::sync::Arc;

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path, Shown};
use apimachinery::{GroupKind, Status};
use apiserver::auth::{Attributes, Decision};
use apiserver::endpoint::{Answer, Call, Endpoint};
use apiserver::request::{RequestContext, UserInfo};
use async_trait::async_trait;

use super::created;
use crate::authz::Authorization;

/// Whose access a review is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The one that it names.
    Named,
    /// The one that it names, in the review's own namespace.
    Local,
    /// Who asks.
    Caller,
}

pub struct AccessReview {
    pub subject: Subject,
    pub authorization: Arc<Authorization>,
}

#[async_trait]
impl Endpoint for AccessReview {
    async fn call(&self, cx: &RequestContext, call: Call) -> Result<Answer, Status> {
        let mut review = created(call)?;
        self.check(cx, &review)?;
        let user = match self.subject {
            Subject::Caller => cx.user.clone(),
            Subject::Named | Subject::Local => Arc::new(subject(&review)),
        };
        let selectors = Selectors::of(&review);
        let decision = self.authorization.decide(&attributes(&review, &user, &selectors));
        review.set_at(&["status"], status(decision));
        if self.subject == Subject::Local {
            review.set_at(&["metadata", "namespace"], cx.info.namespace.as_str());
        }
        Ok(Answer::Object(201, review))
    }
}

impl AccessReview {
    fn check(&self, cx: &RequestContext, review: &Value) -> Result<(), Status> {
        let spec = Path::new("spec");
        let present = |field: &str| review.at(&["spec", field]).is_some_and(|v| !v.is_null());
        let (resource, other) = (present("resourceAttributes"), present("nonResourceAttributes"));
        let path = NonResource(other.then(|| review.at(&["spec", "nonResourceAttributes"])).flatten());
        let mut errors = ErrorList::new();
        if resource == other {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.push(Error::invalid(&spec, &path, why));
        }
        let nobody =
            review.str_at(&["spec", "user"]).is_empty() && review.list_at(&["spec", "groups"]).is_empty();
        if self.subject != Subject::Caller && nobody {
            errors.push(Error::invalid(
                &spec.child("user"),
                "",
                "at least one of user or group must be specified",
            ));
        }
        if self.subject == Subject::Local {
            let namespace = review.str_at(&["spec", "resourceAttributes", "namespace"]);
            if resource && namespace != cx.info.namespace {
                let at = spec.child("resourceAttributes").child("namespace");
                errors.push(Error::invalid(&at, namespace, "must match metadata.namespace"));
            }
            if other {
                let at = spec.child("nonResourceAttributes");
                errors.push(Error::invalid(&at, &path, "disallowed on this kind of request"));
            }
        }
        if errors.is_empty() {
            return Ok(());
        }
        // Upstream names no kind here.
        Err(Status::invalid(
            &GroupKind { group: "authorization.k8s.io".into(), kind: "".into() },
            "",
            &errors,
        ))
    }
}

/// `nonResourceAttributes` as messages show it.
struct NonResource<'a>(Option<&'a Value>);

impl Shown for NonResource<'_> {
    fn shown(&self) -> String {
        let Some(value) = self.0 else { return "null".into() };
        format!("{{\"Path\":{:?},\"Verb\":{:?}}}", value.str_at(&["path"]), value.str_at(&["verb"]))
    }
}

fn strings(list: &[Value]) -> Vec<String> {
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn subject(review: &Value) -> UserInfo {
    let extra = review.at(&["spec", "extra"]).and_then(Value::as_map);
    UserInfo {
        name: review.str_at(&["spec", "user"]).to_owned(),
        uid: review.str_at(&["spec", "uid"]).to_owned(),
        groups: strings(review.list_at(&["spec", "groups"])),
        extra: extra
            .into_iter()
            .flat_map(Map::iter)
            // Keys are lower case wherever they come from.
            .map(|(k, v)| (k.to_lowercase().to_string(), strings(v.as_list().unwrap_or_default())))
            .collect(),
    }
}

/// The selectors of a review as requests write them.
struct Selectors {
    field: String,
    label: String,
}

impl Selectors {
    fn of(review: &Value) -> Self {
        let text = |kind: &str| {
            let path = ["spec", "resourceAttributes", kind];
            let Some(selector) = review.at(&path) else { return String::new() };
            let raw = selector.str_at(&["rawSelector"]);
            if !raw.is_empty() {
                return raw.to_owned();
            }
            let requirements = selector.list_at(&["requirements"]).iter();
            requirements.filter_map(requirement).collect::<Vec<_>>().join(",")
        };
        Self { field: text("fieldSelector"), label: text("labelSelector") }
    }
}

/// One requirement as text. What cannot be said is left out: the authorizer then sees a wider request.
fn requirement(requirement: &Value) -> Option<String> {
    let key = requirement.str_at(&["key"]);
    let values = strings(requirement.list_at(&["values"]));
    match (requirement.str_at(&["operator"]), values.as_slice()) {
        ("In", [one]) => Some(format!("{key}={one}")),
        ("NotIn", [one]) => Some(format!("{key}!={one}")),
        ("In", many) if !many.is_empty() => Some(format!("{key} in ({})", many.join(","))),
        ("NotIn", many) if !many.is_empty() => Some(format!("{key} notin ({})", many.join(","))),
        ("Exists", _) => Some(key.to_owned()),
        ("DoesNotExist", _) => Some(format!("!{key}")),
        _ => None,
    }
}

fn attributes<'a>(review: &'a Value, user: &'a UserInfo, selectors: &'a Selectors) -> Attributes<'a> {
    let resource = |field| review.str_at(&["spec", "resourceAttributes", field]);
    let other = |field| review.str_at(&["spec", "nonResourceAttributes", field]);
    let is_resource = review.at(&["spec", "resourceAttributes"]).is_some_and(|v| !v.is_null());
    let version = resource("version");
    Attributes {
        user,
        verb: if is_resource { resource("verb") } else { other("verb") },
        is_resource,
        path: other("path"),
        group: resource("group"),
        version: if version.is_empty() { "*" } else { version },
        resource: resource("resource"),
        subresource: resource("subresource"),
        namespace: resource("namespace"),
        name: resource("name"),
        label_selector: &selectors.label,
        field_selector: &selectors.field,
    }
}

fn status(decision: Decision) -> Map {
    let mut status = Map::new();
    let (allowed, denied, reason) = match decision {
        Decision::Allow(reason) => (true, false, reason),
        Decision::Deny(reason) => (false, true, reason),
        Decision::NoOpinion(reason) => (false, false, reason),
    };
    status.push("allowed", allowed);
    if denied {
        status.push("denied", true);
    }
    if !reason.is_empty() {
        status.push("reason", reason);
    }
    status
}

pub struct RulesReview {
    pub authorization: Arc<Authorization>,
}

#[async_trait]
impl Endpoint for RulesReview {
    async fn call(&self, cx: &RequestContext, call: Call) -> Result<Answer, Status> {
        let mut review = created(call)?;
        let namespace = review.str_at(&["spec", "namespace"]);
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let found = self.authorization.rules_for(&cx.user, namespace);
        let list = |texts: &[compact_str::CompactString]| {
            Value::List(texts.iter().map(|t| Value::from(t.as_str())).collect())
        };
        let (mut resources, mut others) = (Vec::new(), Vec::new());
        for rule in &found.rules {
            let mut map = Map::new();
            map.push("verbs", list(&rule.verbs));
            if rule.resources.is_empty() {
                map.push("nonResourceURLs", list(&rule.non_resource_urls));
                others.push(Value::Map(map));
                continue;
            }
            map.push("apiGroups", list(&rule.api_groups));
            map.push("resources", list(&rule.resources));
            if !rule.resource_names.is_empty() {
                map.push("resourceNames", list(&rule.resource_names));
            }
            resources.push(Value::Map(map));
        }
        let mut status = Map::new();
        status.push("resourceRules", resources);
        status.push("nonResourceRules", others);
        status.push("incomplete", found.incomplete.is_some());
        if let Some(why) = found.incomplete {
            status.push("evaluationError", why);
        }
        // What was asked is not repeated.
        review.set_at(&["spec"], Map::new());
        review.set_at(&["status"], status);
        Ok(Answer::Object(201, review))
    }
}
