//! The sequences of requests whose answers a reference server recorded (`api/tests/data/apply`), sent to ours: the same
//! codes, objects, conflicts and managedFields. Times are left out: they order entries by the second. The sequence
//! `revision` is left out: upstream compares the raw text of `data`, white space too, which is not kept here.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::{Value, json};
use support::Bed;

const DEFINITION: &str = include_str!("data/apply-definition.json");

/// Without what differs from run to run.
fn scrubbed(mut value: Value) -> Value {
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in ["uid", "resourceVersion", "creationTimestamp", "selfLink"] {
            meta.remove(name);
        }
        if let Some(entries) = meta.get_mut("managedFields").and_then(Value::as_array_mut) {
            entries.iter_mut().for_each(|e| drop(e.as_object_mut().map(|e| e.remove("time"))));
            entries.sort_by_key(Value::to_string);
        }
    }
    if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
        ["clusterIP", "clusterIPs"].iter().for_each(|f| drop(spec.remove(*f)));
    }
    value
}

/// Sets what a step of an update names, by path.
fn edit(object: &mut Value, changes: &Value) {
    for (path, value) in changes.as_object().unwrap() {
        let (parents, last) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = &mut *object;
        for key in parents.split('/').filter(|k| !k.is_empty()) {
            at = &mut at[key];
        }
        match value {
            Value::Null => drop(at.as_object_mut().unwrap().remove(last)),
            value => at[last] = value.clone(),
        }
    }
}

async fn step(bed: &Bed, collection: &str, name: &str, step: &Value) -> (u16, Value) {
    let subresource = step["subresource"].as_str().map(|s| format!("/{s}")).unwrap_or_default();
    let force = if step["force"] == true { "&force=true" } else { "" };
    let query = format!("?fieldManager={}{force}", step["manager"].as_str().unwrap());
    let path = format!("{collection}/{name}{subresource}");
    let patch = |kind: &str| format!("application/{kind}");
    let body = &step["body"];
    let content = match step["op"].as_str().unwrap() {
        "create" => return bed.call("POST", &format!("{collection}{query}"), Some(body)).await,
        "update" => {
            let (_, mut object) = bed.call("GET", &path, None).await;
            edit(&mut object, body);
            return bed.call("PUT", &format!("{path}{query}"), Some(&object)).await;
        }
        "apply" => patch("apply-patch+yaml"),
        "merge" => patch("merge-patch+json"),
        "strategic" => patch("strategic-merge-patch+json"),
        _ => patch("json-patch+json"),
    };
    bed.send("PATCH", &format!("{path}{query}"), &content, Some(body.to_string())).await
}

/// Runs a sequence; what differs.
async fn run(bed: &Bed, collection: &str, name: &str, text: &str) -> Vec<String> {
    let steps: Vec<Value> = serde_json::from_str(text).unwrap();
    let mut differ = Vec::new();
    for (i, row) in steps.iter().enumerate() {
        let collection = row["collection"].as_str().unwrap_or(collection);
        let (code, answer) = step(bed, collection, name, row).await;
        let (ours, theirs) = (scrubbed(answer), scrubbed(row["answer"].clone()));
        if (json!(code), &ours) != (row["code"].clone(), &theirs) {
            differ.push(format!("step {}\n ours   {code} {ours}\n theirs {} {theirs}", i + 1, row["code"]));
        }
    }
    differ
}

macro_rules! sequences {
    ($($file:literal, $collection:literal, $name:literal;)*) => {
        [$(($file, $collection, $name, include_str!(concat!("../../api/tests/data/apply/", $file, ".json")))),*]
    };
}

#[tokio::test]
async fn recorded_sequences_give_the_same_answers() {
    let bed = Bed::start(&[]).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}, "automountServiceAccountToken": false});
    assert_eq!(bed.call("POST", "/api/v1/namespaces/default/serviceaccounts", Some(&account)).await.0, 201);
    let definition: Value = serde_json::from_str(DEFINITION).unwrap();
    let (code, answer) =
        bed.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", Some(&definition)).await;
    assert_eq!(code, 201, "{answer}");
    for _ in 0..200 {
        if bed.call("GET", "/apis/example.com/v1/widgets", None).await.0 == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let sequences = sequences! {
        "deployment-conflict", "/apis/apps/v1/namespaces/default/deployments", "web";
        "deployment-update", "/apis/apps/v1/namespaces/default/deployments", "web";
        "configmap-ownership", "/api/v1/namespaces/default/configmaps", "conf";
        "many-updaters", "/api/v1/namespaces/default/configmaps", "conf";
        "client-side", "/api/v1/namespaces/default/configmaps", "conf";
        "lists", "/api/v1/namespaces/default/services", "svc";
        "pod", "/api/v1/namespaces/default/pods", "p";
        "custom", "/apis/example.com/v1/namespaces/default/widgets", "w";
        "custom-versions", "/apis/example.com/v1beta1/namespaces/default/widgets", "w";
    };
    let mut differ = Vec::new();
    for (file, collection, name, text) in sequences {
        for one in run(&bed, collection, name, text).await {
            differ.push(format!("{file} {one}"));
        }
        bed.call("DELETE", &format!("{collection}/{name}?gracePeriodSeconds=0"), None).await;
    }
    assert!(differ.is_empty(), "{} steps differ\n{}", differ.len(), differ.join("\n"));
    bed.server.shutdown().await;
}
