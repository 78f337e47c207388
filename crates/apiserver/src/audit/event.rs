//! audit.k8s.io/v1 Event, in the order in which Go writes it.

use api::{Map, Value};
use jiff::Timestamp;

use super::{Level, Stage};
use crate::request::{RequestInfo, UserInfo};

/// What is known of a request; one stage of it is one event.
#[derive(Clone, Debug)]
pub struct Event {
    pub level: Level,
    pub id: String,
    pub uri: String,
    pub verb: String,
    pub user: UserInfo,
    pub impersonated: Option<UserInfo>,
    pub sources: Vec<String>,
    pub agent: String,
    pub object: Option<Reference>,
    /// `responseStatus`, without `metadata`.
    pub status: Option<Map>,
    pub request: Option<Value>,
    pub response: Option<Value>,
    pub received: Timestamp,
    pub annotations: Vec<(String, String)>,
}

/// `objectRef`.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub group: String,
    pub version: String,
    pub resource_version: String,
    pub subresource: String,
}

/// Longer user agents are cut.
const MAX_AGENT: usize = 1024;

impl Reference {
    pub fn of(info: &RequestInfo) -> Option<Self> {
        info.is_resource.then(|| Self {
            resource: info.resource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            group: info.group.clone(),
            version: info.version.clone(),
            subresource: info.subresource.clone(),
            ..Self::default()
        })
    }

    /// Takes from the request's object what the path did not say.
    pub fn complete(&mut self, object: &Value) {
        let fill = |to: &mut String, key: &str| {
            if to.is_empty() {
                *to = object.str_at(&["metadata", key]).to_owned();
            }
        };
        fill(&mut self.namespace, "namespace");
        fill(&mut self.name, "name");
        fill(&mut self.uid, "uid");
        fill(&mut self.resource_version, "resourceVersion");
    }

    fn to_value(&self) -> Value {
        let mut out = Map::new();
        for (key, text) in [
            ("resource", &self.resource),
            ("namespace", &self.namespace),
            ("name", &self.name),
            ("uid", &self.uid),
            ("apiGroup", &self.group),
            ("apiVersion", &self.version),
            ("resourceVersion", &self.resource_version),
            ("subresource", &self.subresource),
        ] {
            push_text(&mut out, key, text);
        }
        Value::Map(out)
    }
}

fn push_text(out: &mut Map, key: &str, text: &str) {
    if !text.is_empty() {
        out.push(key, text);
    }
}

fn texts(list: &[String]) -> Value {
    Value::List(list.iter().map(|t| Value::from(t.as_str())).collect())
}

fn user(of: &UserInfo) -> Value {
    let mut out = Map::new();
    push_text(&mut out, "username", &of.name);
    push_text(&mut out, "uid", &of.uid);
    if !of.groups.is_empty() {
        out.push("groups", texts(&of.groups));
    }
    if !of.extra.is_empty() {
        let extra = of.extra.iter().map(|(key, values)| (key.as_str().into(), texts(values)));
        out.push("extra", Value::Map(extra.collect()));
    }
    Value::Map(out)
}

fn time(at: Timestamp) -> String {
    format!("{at:.6}")
}

impl Event {
    /// The event of a stage as one line of JSON.
    pub fn line(&self, stage: Stage, now: Timestamp) -> Vec<u8> {
        let mut out = Map::new();
        out.push("kind", "Event");
        out.push("apiVersion", "audit.k8s.io/v1");
        out.push("level", self.level.name());
        out.push("auditID", self.id.as_str());
        out.push("stage", stage.name());
        out.push("requestURI", self.uri.as_str());
        out.push("verb", self.verb.as_str());
        out.push("user", user(&self.user));
        self.impersonated.iter().for_each(|of| out.push("impersonatedUser", user(of)));
        if !self.sources.is_empty() {
            out.push("sourceIPs", texts(&self.sources));
        }
        push_text(&mut out, "userAgent", &cut(&self.agent));
        self.object.iter().for_each(|of| out.push("objectRef", of.to_value()));
        if let Some(status) = &self.status {
            let mut of = Map::new();
            of.push("metadata", Value::map());
            status.iter().for_each(|(key, value)| of.push(key.clone(), value.clone()));
            out.push("responseStatus", Value::Map(of));
        }
        self.request.iter().for_each(|of| out.push("requestObject", of.clone()));
        self.response.iter().for_each(|of| out.push("responseObject", of.clone()));
        out.push("requestReceivedTimestamp", time(self.received));
        out.push("stageTimestamp", time(now));
        if !self.annotations.is_empty() {
            let all = self.annotations.iter().map(|(k, v)| (k.as_str().into(), Value::from(v.as_str())));
            out.push("annotations", Value::Map(all.collect()));
        }
        api::json::to_vec(&Value::Map(out))
    }
}

fn cut(agent: &str) -> String {
    if agent.len() <= MAX_AGENT {
        return agent.to_owned();
    }
    let end = (0..=MAX_AGENT).rev().find(|at| agent.is_char_boundary(*at)).unwrap_or(0);
    format!("{}...TRUNCATED", &agent[..end])
}
