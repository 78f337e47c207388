//! Conversion webhooks of CustomResourceDefinitions: ConversionReview of apiextensions.k8s.io/v1.

use std::time::Duration;

use api::Value;
use apimachinery::Status;
use serde_json::json;

use super::call::{Target, uid};
use super::json::{from_json, to_json};
use crate::aggregator::resolve::Resolver;

const TIMEOUT: Duration = Duration::from_secs(30);

/// `spec.conversion.webhook` of one definition.
pub struct ConversionWebhook {
    /// What is converted, for messages: `Kind` and group as in `Foo.example.com`.
    kind: String,
    target: Target,
    version: Option<String>,
    resolver: Resolver,
}

impl ConversionWebhook {
    /// `webhook`: the value at `spec.conversion.webhook`.
    pub fn new(kind: impl Into<String>, webhook: &Value, resolver: Resolver) -> Self {
        let versions = webhook.list_at(&["conversionReviewVersions"]).iter().filter_map(Value::as_str);
        Self {
            kind: kind.into(),
            target: Target::of(webhook.get("clientConfig").unwrap_or(&Value::Null)),
            version: versions.into_iter().find(|v| matches!(*v, "v1" | "v1beta1")).map(str::to_owned),
            resolver,
        }
    }

    /// The objects, in their order, with `to` (`group/version`) as apiVersion.
    pub async fn convert(&self, objects: Vec<Value>, to: &str) -> Result<Vec<Value>, Status> {
        let failed =
            |why: String| Status::internal(format!("conversion webhook for {} failed: {why}", self.kind));
        let version = self
            .version
            .as_ref()
            .ok_or_else(|| failed("it speaks no review version that is known here".into()))?;
        let uid = uid();
        let count = objects.len();
        let review = json!({
            "kind": "ConversionReview",
            "apiVersion": format!("apiextensions.k8s.io/{version}"),
            "request": {"uid": uid, "desiredAPIVersion": to, "objects": objects.iter().map(to_json).collect::<Vec<_>>()},
        });
        let answer = self.target.post(&self.resolver, &review, TIMEOUT).await.map_err(failed)?;
        let converted = read(&answer, &uid).map_err(failed)?;
        if converted.len() != count {
            return Err(failed(format!("expected {count} converted objects, got {}", converted.len())));
        }
        let mut out = Vec::with_capacity(count);
        for (before, after) in objects.iter().zip(converted) {
            out.push(checked(before, from_json(after), to).map_err(failed)?);
        }
        Ok(out)
    }
}

fn read(answer: &serde_json::Value, uid: &str) -> Result<Vec<serde_json::Value>, String> {
    let response = answer.get("response").filter(|r| r.is_object()).ok_or("no response provided")?;
    let got = response["uid"].as_str().unwrap_or_default();
    if got != uid {
        return Err(format!("expected response.uid={uid:?}, got {got:?}"));
    }
    let result = &response["result"];
    if result["status"].as_str() != Some("Success") {
        return Err(result["message"].as_str().filter(|m| !m.is_empty()).unwrap_or("no message").to_owned());
    }
    Ok(response["convertedObjects"].as_array().cloned().unwrap_or_default())
}

/// A webhook converts; of metadata it may change labels and annotations only.
fn checked(before: &Value, mut after: Value, to: &str) -> Result<Value, String> {
    let got = after.str_at(&["apiVersion"]);
    if got != to {
        return Err(format!("expected converted object to have apiVersion {to}, got {got}"));
    }
    if after.kind() != before.kind() {
        return Err(format!(
            "expected converted object to have kind {}, got {}",
            before.kind(),
            after.kind()
        ));
    }
    for field in ["name", "namespace", "uid"] {
        if after.str_at(&["metadata", field]) != before.str_at(&["metadata", field]) {
            return Err(format!("invalid metadata: {field} must not change"));
        }
    }
    let (labels, annotations) =
        (after.remove_at(&["metadata", "labels"]), after.remove_at(&["metadata", "annotations"]));
    let mut metadata = before.get("metadata").cloned().unwrap_or_else(Value::map);
    let map = metadata.as_map_or_make();
    for (key, value) in [("labels", labels), ("annotations", annotations)] {
        match value.filter(|v| !v.is_null()) {
            Some(value) => drop(map.insert(key, value)),
            None => drop(map.remove(key)),
        }
    }
    after.set_at(&["metadata"], metadata);
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let good = json!({"response": {"uid": "u", "result": {"status": "Success"}, "convertedObjects": [{"a": 1}]}});
        assert_eq!(read(&good, "u").unwrap().len(), 1);
        assert!(read(&good, "v").unwrap_err().contains("response.uid"));
        let bad = json!({"response": {"uid": "u", "result": {"status": "Failure", "message": "why"}}});
        assert_eq!(read(&bad, "u").unwrap_err(), "why");
        assert_eq!(read(&json!({}), "u").unwrap_err(), "no response provided");
    }

    #[test]
    fn metadata_stays() {
        let before = from_json(
            json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "n", "resourceVersion": "5"}}),
        );
        let after = json!({"apiVersion": "g/v2", "kind": "K", "metadata": {"name": "n", "labels": {"a": "b"}}, "spec": 1});
        let out = to_json(&checked(&before, from_json(after.clone()), "g/v2").unwrap());
        assert_eq!(out["metadata"], json!({"name": "n", "resourceVersion": "5", "labels": {"a": "b"}}));
        assert!(checked(&before, from_json(after), "g/v3").is_err());
        let renamed = json!({"apiVersion": "g/v2", "kind": "K", "metadata": {"name": "other"}});
        assert!(checked(&before, from_json(renamed), "g/v2").unwrap_err().contains("name must not change"));
    }
}
