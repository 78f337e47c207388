//! Paths that are no resources: discovery, OpenAPI, version, health, metrics, and what the assembly adds.

use api::Value;
use apimachinery::Status;
use http::{Method, Response};
use http_body_util::BodyExt;

use super::{Asked, discovery, openapi, represent, wrong_method};
use crate::endpoint::{Answer, Body, Call};
use crate::http::negotiate::{Offer, wanted};
use crate::http::respond;

/// How long discovery waits for a server that has just started to know its custom and aggregated resources.
const FILLED_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) async fn serve(asked: Asked<'_>) -> Result<Response<Body>, Status> {
    let path = asked.cx.info.path.clone();
    if let Some(endpoint) = own(&asked, &path) {
        let (cx, request, peer) = (asked.cx, asked.request, asked.peer);
        let offer = wanted(request.headers(), asked.query, Offer::PLAIN);
        return match endpoint.call(cx, Call::Connect(Box::new(request), peer)).await? {
            Answer::Raw(answer) => Ok(answer),
            Answer::Object(code, value) => represent::answer_value(&offer?, &value, code),
        };
    }
    if !matches!(*asked.request.method(), Method::GET | Method::HEAD) {
        return Err(wrong_method());
    }
    let query = asked.request.uri().query().unwrap_or_default();
    if let Some(answer) = asked.chain.health.answer(&path, query) {
        let mut answer = answer.map(|body| body.map_err(|never| match never {}).boxed());
        let no_cache = http::HeaderValue::from_static("no-cache, private");
        answer.headers_mut().insert(http::header::CACHE_CONTROL, no_cache);
        return Ok(answer);
    }
    if of_all_resources(&path) && !asked.chain.registry.catalog.filled(FILLED_WITHIN).await {
        return Err(super::still_filling());
    }
    if let Some(answer) = discovery::serve(&asked) {
        return answer;
    }
    if let Some(answer) = openapi::serve(&asked).await {
        return answer;
    }
    match path.trim_end_matches('/') {
        "" => index(&asked),
        "/version" => version(&asked),
        "/metrics" => {
            let text = component_base::metrics::render();
            Ok(respond::bytes(200, component_base::metrics::CONTENT_TYPE, text))
        }
        _ => Ok(respond::not_found_text()),
    }
}

/// Whether the answer depends on all that is served: half of it would be taken for the whole.
fn of_all_resources(path: &str) -> bool {
    ["/apis", "/openapi"]
        .iter()
        .any(|p| path.strip_prefix(p).is_some_and(|r| r.is_empty() || r.starts_with('/')))
}

fn own(asked: &Asked<'_>, path: &str) -> Option<std::sync::Arc<dyn crate::endpoint::Endpoint>> {
    let fits = |prefix: &str| path == prefix || (prefix.ends_with('/') && path.starts_with(prefix));
    asked.chain.paths.iter().find(|(prefix, _)| fits(prefix)).map(|(_, endpoint)| endpoint.clone())
}

fn index(asked: &Asked<'_>) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, Offer::PLAIN)?;
    let mut paths = discovery::paths(asked.chain);
    let fixed = [
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/readyz",
        "/version",
    ];
    paths.extend(fixed.into_iter().map(str::to_owned));
    paths.extend(asked.chain.paths.iter().map(|(p, _)| p.clone()));
    paths.sort();
    paths.dedup();
    let mut json = serde_json::to_vec_pretty(&serde_json::json!({ "paths": paths })).unwrap_or_default();
    if !offer.pretty {
        // Upstream indents this document always.
        json.push(b'\n');
    }
    Ok(respond::bytes(200, "application/json", json))
}

fn version(asked: &Asked<'_>) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, Offer::PLAIN)?;
    let version = &asked.chain.options.version;
    let mut parts = version.git_version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or("1"), parts.next().unwrap_or("37"));
    let text = |s: &str| Value::from(s);
    let mut out = api::Map::new();
    for (key, value) in [
        ("major", major),
        ("minor", minor),
        ("emulationMajor", major),
        ("emulationMinor", minor),
        ("minCompatibilityMajor", major),
        ("minCompatibilityMinor", "36"),
        ("gitVersion", &version.git_version),
        ("gitCommit", &version.git_commit),
        ("gitTreeState", "clean"),
        ("buildDate", &version.build_date),
        ("goVersion", "rust"),
        ("compiler", "rustc"),
        ("platform", PLATFORM),
    ] {
        out.push(key, text(value));
    }
    let mut json = api::json::to_vec(&Value::Map(out));
    if !offer.pretty {
        // Upstream indents this document always.
        json = respond::pretty(&json);
    }
    Ok(respond::document(200, &offer, json))
}

#[cfg(target_arch = "x86_64")]
const PLATFORM: &str = "linux/amd64";
#[cfg(target_arch = "aarch64")]
const PLATFORM: &str = "linux/arm64";
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const PLATFORM: &str = "linux/unknown";
