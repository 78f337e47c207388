//! `/healthz`, `/livez`, `/readyz`: named checks, each by itself at `/readyz/NAME`, all of them at `?verbose`,
//! some left out by `?exclude=NAME`.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use parking_lot::RwLock;

/// Ok, or why not.
pub type CheckResult = Result<(), String>;

type Check = Arc<dyn Fn() -> CheckResult + Send + Sync>;

#[derive(Clone)]
struct Named {
    name: String,
    check: Check,
    live: bool,
    ready: bool,
}

/// A component's checks. Clones share them.
#[derive(Clone, Default)]
pub struct Health {
    checks: Arc<RwLock<Vec<Named>>>,
    /// Counts [`Health::touch`].
    touched: Arc<tokio::sync::watch::Sender<u64>>,
}

impl Health {
    /// With the check `ping`, which always succeeds.
    pub fn new() -> Self {
        let health = Self::default();
        health.add("ping", || Ok(()));
        health
    }

    /// A check of all three endpoints.
    pub fn add(&self, name: &str, check: impl Fn() -> CheckResult + Send + Sync + 'static) {
        self.push(name, check, true, true);
    }

    /// A check of `/readyz` alone.
    pub fn add_ready(&self, name: &str, check: impl Fn() -> CheckResult + Send + Sync + 'static) {
        self.push(name, check, false, true);
    }

    /// Says that a check may answer otherwise than before.
    pub fn touch(&self) {
        self.touched.send_modify(|n| *n += 1);
    }

    /// Until all checks of `/readyz` succeed. Sees a change when it is [touched](Self::touch).
    pub async fn ready(&self) {
        let mut touched = self.touched.subscribe();
        while !self.is_ready() && touched.changed().await.is_ok() {}
    }

    fn is_ready(&self) -> bool {
        let checks: Vec<Check> =
            self.checks.read().iter().filter(|c| c.ready).map(|c| c.check.clone()).collect();
        checks.iter().all(|check| check().is_ok())
    }

    fn push(
        &self,
        name: &str,
        check: impl Fn() -> CheckResult + Send + Sync + 'static,
        live: bool,
        ready: bool,
    ) {
        self.checks.write().push(Named { name: name.into(), check: Arc::new(check), live, ready });
    }

    /// The answer for a path, or None if it is not one of health.
    pub fn answer(&self, path: &str, query: &str) -> Option<Response<Full<Bytes>>> {
        let (endpoint, one) =
            path.strip_prefix('/')?.split_once('/').unwrap_or((path.strip_prefix('/')?, ""));
        let wanted: fn(&Named) -> bool = match endpoint {
            "healthz" | "livez" => |c| c.live,
            "readyz" => |c| c.ready,
            _ => return None,
        };
        let checks: Vec<Named> = self.checks.read().iter().filter(|c| wanted(c)).cloned().collect();
        if one.is_empty() {
            return Some(all(endpoint, &checks, query));
        }
        let check = checks.iter().find(|c| c.name == one);
        Some(match check.map(|c| (c.check)()) {
            Some(Ok(())) => text(StatusCode::OK, "ok".into()),
            Some(Err(why)) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n"))
            }
            None => text(StatusCode::NOT_FOUND, "404 page not found\n".into()),
        })
    }
}

fn all(endpoint: &str, checks: &[Named], query: &str) -> Response<Full<Bytes>> {
    let parameters: Vec<_> = query.split('&').map(|p| p.split_once('=').unwrap_or((p, ""))).collect();
    let excluded = |name: &str| parameters.iter().any(|(k, v)| *k == "exclude" && *v == name);
    let verbose = parameters.iter().any(|(k, _)| *k == "verbose");
    let (mut lines, mut failed) = (String::new(), false);
    for check in checks {
        if excluded(&check.name) {
            lines.push_str(&format!("[+]{} excluded: ok\n", check.name));
            continue;
        }
        match (check.check)() {
            Ok(()) => lines.push_str(&format!("[+]{} ok\n", check.name)),
            Err(why) => {
                failed = true;
                tracing::info!(endpoint, check = %check.name, "health check failed: {why}");
                lines.push_str(&format!("[-]{} failed: reason withheld\n", check.name));
            }
        }
    }
    match (failed, verbose) {
        (true, _) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{endpoint} check failed\n")),
        (false, true) => text(StatusCode::OK, format!("{lines}{endpoint} check passed\n")),
        (false, false) => text(StatusCode::OK, "ok".into()),
    }
}

/// A plain answer.
pub fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn ask(health: &Health, path: &str, query: &str) -> (u16, String) {
        let answer = health.answer(path, query).unwrap();
        let status = answer.status().as_u16();
        (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn endpoints() {
        let health = Health::new();
        health.add_ready("informers", || Err("not yet".into()));
        assert_eq!(ask(&health, "/healthz", "").await, (200, "ok".into()));
        assert_eq!(ask(&health, "/livez", "verbose").await, (200, "[+]ping ok\nlivez check passed\n".into()));
        let (status, body) = ask(&health, "/readyz", "").await;
        assert_eq!(
            (status, &*body),
            (500, "[+]ping ok\n[-]informers failed: reason withheld\nreadyz check failed\n")
        );
        assert_eq!(ask(&health, "/readyz", "exclude=informers").await.0, 200);
        assert_eq!(ask(&health, "/readyz/ping", "").await, (200, "ok".into()));
        assert!(health.answer("/metrics", "").is_none());
    }
}
