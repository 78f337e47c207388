//! AdmissionReview: the request that a webhook gets, and what its answer means.

use api::Value;
use apimachinery::{GroupVersionKind, GroupVersionResource, Reason, Status};
use apiserver::admission::Attributes;
use apiserver::request::UserInfo;
use serde_json::{Map, json};

use super::json::to_json;
use crate::admission::criteria::operation_word;

/// What a hook is told about: the request, possibly in another version than it came.
pub struct Subject<'a> {
    pub kind: GroupVersionKind,
    pub resource: GroupVersionResource,
    pub object: Option<&'a Value>,
    pub old: Option<&'a Value>,
}

fn user(user: &UserInfo) -> serde_json::Value {
    let mut map = Map::new();
    for (key, text) in [("username", &user.name), ("uid", &user.uid)] {
        if !text.is_empty() {
            map.insert(key.into(), text.as_str().into());
        }
    }
    if !user.groups.is_empty() {
        map.insert("groups".into(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        map.insert("extra".into(), json!(user.extra));
    }
    map.into()
}

/// The review to send, with this uid, in `admission.k8s.io/VERSION`.
pub fn request(a: &Attributes<'_>, subject: &Subject<'_>, version: &str, uid: &str) -> serde_json::Value {
    let kind = |k: &GroupVersionKind| json!({"group": &*k.group, "version": &*k.version, "kind": &*k.kind});
    let resource = |r: &GroupVersionResource| json!({"group": &*r.group, "version": &*r.version, "resource": &*r.resource});
    let object = |value: Option<&Value>| value.map_or(serde_json::Value::Null, to_json);
    let mut request = Map::new();
    let mut put = |key: &str, value: serde_json::Value| {
        if value.as_str() != Some("") {
            request.insert(key.into(), value);
        }
    };
    put("uid", uid.into());
    put("kind", kind(&subject.kind));
    put("resource", resource(&subject.resource));
    put("subResource", a.subresource.into());
    put("requestKind", kind(&a.kind));
    put("requestResource", resource(&a.resource));
    put("requestSubResource", a.subresource.into());
    let name = if a.name.is_empty() { a.object.as_ref().map_or("", |o| o.name()) } else { a.name };
    put("name", name.into());
    put("namespace", a.namespace.into());
    put("operation", operation_word(a.operation).into());
    put("userInfo", user(&a.cx.user));
    put("object", object(subject.object));
    put("oldObject", object(subject.old));
    put("dryRun", a.cx.dry_run.into());
    put("options", object(Some(&a.options).filter(|o| o.as_map().is_some_and(|m| !m.is_empty()))));
    json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "request": request})
}

/// What a webhook said.
#[derive(Debug)]
pub struct Answer {
    pub warnings: Vec<String>,
    pub verdict: Verdict,
}

#[derive(Debug)]
pub enum Verdict {
    /// With a JSON patch, if there is one.
    Allowed(Option<Value>),
    Denied(Status),
}

/// Errors are the webhook's: it broke the protocol.
pub fn answer(
    review: &serde_json::Value,
    version: &str,
    uid: &str,
    mutating: bool,
    webhook: &str,
) -> Result<Answer, String> {
    let text = |value: &serde_json::Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let (kind, api_version) = (text(review, "kind"), text(review, "apiVersion"));
    let expected = format!("admission.k8s.io/{version}");
    if version == "v1" && (kind != "AdmissionReview" || api_version != expected) {
        return Err(format!(
            "expected webhook response of {expected}, Kind=AdmissionReview, got {api_version}, Kind={kind}"
        ));
    }
    let response = review.get("response").filter(|r| r.is_object()).ok_or("webhook response was absent")?;
    let got = text(response, "uid");
    if version == "v1" && got != uid {
        return Err(format!("expected response.uid={uid:?}, got {got:?}"));
    }
    let warnings =
        response["warnings"].as_array().into_iter().flatten().filter_map(|w| w.as_str().map(str::to_owned));
    let warnings = warnings.collect();
    if response["allowed"].as_bool() != Some(true) {
        return Ok(Answer { warnings, verdict: Verdict::Denied(denied(webhook, &response["status"])) });
    }
    let patch = patch(response, mutating, version)?;
    Ok(Answer { warnings, verdict: Verdict::Allowed(patch) })
}

fn patch(response: &serde_json::Value, mutating: bool, version: &str) -> Result<Option<Value>, String> {
    use base64::Engine as _;
    let encoded = response["patch"].as_str().unwrap_or_default();
    let kind = response["patchType"].as_str().unwrap_or_default();
    if encoded.is_empty() {
        return if kind.is_empty() || version != "v1" {
            Ok(None)
        } else {
            Err("webhook returned response.patchType but not response.patch".into())
        };
    }
    if !mutating {
        return Err("validating webhook may not return response.patch".into());
    }
    if kind != "JSONPatch" && !(version != "v1" && kind.is_empty()) {
        return Err(if kind.is_empty() {
            "webhook returned response.patch but not response.patchType".into()
        } else {
            format!("webhook returned invalid response.patchType of {kind:?}")
        });
    }
    let undecodable =
        |e: &dyn std::fmt::Display| format!("received undecodable patch in webhook response: {e}");
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).map_err(|e| undecodable(&e))?;
    let patch: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| undecodable(&e))?;
    let empty = patch.as_array().is_some_and(Vec::is_empty);
    Ok((!empty).then(|| super::json::from_json(patch)))
}

/// The refusal that the caller gets: the webhook's own status, with its name in front.
fn denied(webhook: &str, status: &serde_json::Value) -> Status {
    let text = |key: &str| status[key].as_str().unwrap_or_default();
    let by = format!("admission webhook {webhook:?} denied the request");
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    let code =
        status["code"].as_u64().and_then(|c| u16::try_from(c).ok()).filter(|c| *c >= 400).unwrap_or(400);
    let reason = serde_json::from_value(status["reason"].clone()).unwrap_or(Reason::Unknown);
    let refusal = Status::new(code, reason, message);
    match serde_json::from_value(status["details"].clone()) {
        Ok(details) => refusal.with_details(details),
        Err(_) => refusal,
    }
}
