//! `/healthz` and `/livez` of the proxy, as load balancers and kubelets ask them: whether changes reach the rules, and
//! at `/healthz` also whether this node should get new connections (KEP-3836).

use std::sync::Arc;
use std::time::{Duration, Instant};

use component_base::health::text;
use component_base::metrics;
use component_base::serving::{Handler, More, answer};
use http::{HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use serde_json::json;

use crate::metrics::Metrics;

/// Upstream's: two of its periods of full syncs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is known of the proxy's health. Clones share it.
#[derive(Clone, Default)]
pub struct Health(Arc<std::sync::Mutex<Inner>>);

struct Inner {
    /// When the rules were last in place.
    updated: Option<Timestamp>,
    /// Since when a change waits to be.
    pending: Option<Instant>,
    eligible: bool,
}

impl Default for Inner {
    fn default() -> Self {
        Self { updated: None, pending: None, eligible: true }
    }
}

impl Inner {
    fn healthy(&self) -> bool {
        self.updated.is_some() && self.pending.is_none_or(|since| since.elapsed() < PATIENCE)
    }
}

impl Health {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// There is a change that the rules do not have yet.
    pub fn queued(&self) {
        self.inner().pending.get_or_insert_with(Instant::now);
    }

    /// The rules have all changes.
    pub fn updated(&self) {
        let mut inner = self.inner();
        inner.updated = Some(Timestamp::now());
        inner.pending = None;
    }

    pub fn set_eligible(&self, eligible: bool) {
        self.inner().eligible = eligible;
    }

    pub fn healthy(&self) -> bool {
        self.inner().healthy()
    }

    /// Status and body of `/healthz`, or of `/livez`, which the node's end does not concern.
    pub fn report(&self, live_only: bool) -> (StatusCode, String) {
        let (inner, now) = (self.inner(), Timestamp::now());
        let healthy = inner.healthy();
        let updated = inner.updated.unwrap_or(Timestamp::UNIX_EPOCH);
        // As long as nothing waits, what was written last is as good as written now.
        let mut body = json!({"lastUpdated": if healthy { now } else { updated }, "currentTime": now});
        if !live_only {
            body["nodeEligible"] = inner.eligible.into();
        }
        body["healthy"] = healthy.into();
        body["status"] = json!({"IPv4": {"lastUpdated": updated, "healthy": healthy}});
        let good = healthy && (live_only || inner.eligible);
        (if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, body.to_string())
    }

    /// Answers both paths and no other.
    pub fn handler(&self, metrics: Metrics) -> Handler {
        let health = self.clone();
        Arc::new(move |request| {
            let (status, body) = match request.uri().path() {
                "/healthz" => counted(health.report(false), &metrics.healthz),
                "/livez" => counted(health.report(true), &metrics.livez),
                _ => {
                    let missing = answer(text(StatusCode::NOT_FOUND, "404 page not found\n".into()));
                    return Box::pin(std::future::ready(missing));
                }
            };
            Box::pin(std::future::ready(answer(json_answer(status, body))))
        })
    }
}

fn counted(report: (StatusCode, String), counter: &metrics::CounterVec) -> (StatusCode, String) {
    counter.with(&[report.0.as_str()]).inc();
    report
}

/// An answer in JSON that browsers do not guess at.
pub fn json_answer(status: StatusCode, body: String) -> Response<http_body_util::Full<bytes::Bytes>> {
    let mut found = text(status, body);
    found.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    found
}

/// `/proxyMode`, which stands beside `/metrics`.
pub fn proxy_mode() -> More {
    Arc::new(|path: &str| (path == "/proxyMode").then(|| text(StatusCode::OK, "nftables".into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(health: &Health, live_only: bool) -> u16 {
        health.report(live_only).0.as_u16()
    }

    #[test]
    fn a_node_that_leaves_is_alive_but_gets_no_connections() {
        let health = Health::default();
        assert_eq!((code(&health, false), code(&health, true)), (503, 503), "no rules yet");
        health.updated();
        assert_eq!((code(&health, false), code(&health, true)), (200, 200));
        health.queued();
        assert_eq!(code(&health, false), 200, "a change may wait for a while");
        health.set_eligible(false);
        assert_eq!((code(&health, false), code(&health, true)), (503, 200));
        let body: serde_json::Value = serde_json::from_str(&health.report(false).1).unwrap();
        assert_eq!(
            (&body["nodeEligible"], &body["status"]["IPv4"]["healthy"]),
            (&json!(false), &json!(true))
        );
        assert!(!health.report(true).1.contains("nodeEligible"));
    }
}
