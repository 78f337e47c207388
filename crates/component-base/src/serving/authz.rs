//! Whether a user may do what a request to a component asks for: the API server decides (SubjectAccessReview).
//! Its answers are cached.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use apimachinery::Status;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::authn::{User, review};
use crate::flags::GoDuration;

/// Upstream's flags of delegated authorization.
#[derive(Clone, Debug, clap::Args)]
pub struct AuthorizationOptions {
    /// Kubeconfig for SubjectAccessReviews; empty: only the paths that are always allowed are served.
    #[arg(long, default_value = "")]
    pub authorization_kubeconfig: String,
    /// Paths served without authorization.
    #[arg(long, value_delimiter = ',', default_value = "/healthz,/readyz,/livez")]
    pub authorization_always_allow_paths: Vec<String>,
    #[arg(long, default_value = "10s")]
    pub authorization_webhook_cache_authorized_ttl: GoDuration,
    #[arg(long, default_value = "10s")]
    pub authorization_webhook_cache_unauthorized_ttl: GoDuration,
}

/// What is to be decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attributes {
    /// `nonResourceAttributes`; the verb is the HTTP method in lower case.
    Path { verb: String, path: String },
    /// `resourceAttributes`, such as `nodes/proxy` of the kubelet.
    Resource {
        verb: String,
        group: String,
        resource: String,
        subresource: String,
        namespace: String,
        name: String,
    },
}

/// The answer; `reason` is the authorizer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
}

/// Authorizes requests to a component.
pub struct Authorization {
    reviews: Option<kube::Client>,
    always_allowed: Vec<String>,
    allowed_ttl: Duration,
    denied_ttl: Duration,
    cache: Mutex<HashMap<(User, Attributes), (Decision, Instant)>>,
}

const CACHE: usize = 4096;

impl Authorization {
    /// `reviews` sends SubjectAccessReviews; None: everything else than `always_allowed` and members of
    /// system:masters is refused. A trailing `*` in a path stands for any rest.
    pub fn new(
        reviews: Option<kube::Client>,
        always_allowed: Vec<String>,
        allowed_ttl: Duration,
        denied_ttl: Duration,
    ) -> Self {
        Self { reviews, always_allowed, allowed_ttl, denied_ttl, cache: Mutex::default() }
    }

    pub fn from_options(options: &AuthorizationOptions, reviews: Option<kube::Client>) -> Self {
        Self::new(
            reviews,
            options.authorization_always_allow_paths.clone(),
            options.authorization_webhook_cache_authorized_ttl.0,
            options.authorization_webhook_cache_unauthorized_ttl.0,
        )
    }

    /// Whether a path is served to anybody.
    pub fn is_always_allowed(&self, path: &str) -> bool {
        self.always_allowed.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == allowed,
        })
    }

    /// Asks the API server, unless it has just answered the same.
    pub async fn authorize(&self, user: &User, attributes: &Attributes) -> Result<Decision, Status> {
        let path_allowed =
            matches!(attributes, Attributes::Path { path, .. } if self.is_always_allowed(path));
        if path_allowed || user.groups.iter().any(|g| g == "system:masters") {
            return Ok(Decision { allowed: true, reason: String::new() });
        }
        let key = (user.clone(), attributes.clone());
        if let Some((decision, _)) = self.cache.lock().get(&key).filter(|(_, until)| *until > Instant::now())
        {
            return Ok(decision.clone());
        }
        let Some(client) = &self.reviews else {
            return Ok(Decision { allowed: false, reason: "no authorizer is configured".into() });
        };
        let answer =
            review(client, "/apis/authorization.k8s.io/v1/subjectaccessreviews", &body(user, attributes))
                .await?;
        let decision = Decision {
            allowed: answer.pointer("/status/allowed") == Some(&Value::Bool(true)),
            reason: answer.pointer("/status/reason").and_then(Value::as_str).unwrap_or_default().into(),
        };
        let ttl = if decision.allowed { self.allowed_ttl } else { self.denied_ttl };
        let mut cache = self.cache.lock();
        if cache.len() >= CACHE {
            cache.clear();
        }
        cache.insert(key, (decision.clone(), Instant::now() + ttl));
        Ok(decision)
    }
}

fn body(user: &User, attributes: &Attributes) -> Value {
    let mut spec = json!({"user": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra});
    match attributes {
        Attributes::Path { verb, path } => {
            spec["nonResourceAttributes"] = json!({"verb": verb, "path": path})
        }
        Attributes::Resource { verb, group, resource, subresource, namespace, name } => {
            spec["resourceAttributes"] = json!({
                "verb": verb, "group": group, "version": "v1", "resource": resource, "subresource": subresource,
                "namespace": namespace, "name": name,
            });
        }
    }
    json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_an_authorizer_only_what_is_always_allowed() {
        let authz = Authorization::new(
            None,
            vec!["/healthz".into(), "/livez/*".into()],
            Duration::ZERO,
            Duration::ZERO,
        );
        let user = User::anonymous();
        for (path, allowed) in
            [("/healthz", true), ("/healthz/x", false), ("/livez/ping", true), ("/metrics", false)]
        {
            let attributes = Attributes::Path { verb: "get".into(), path: path.into() };
            assert_eq!(authz.authorize(&user, &attributes).await.unwrap().allowed, allowed, "{path}");
        }
    }
}
