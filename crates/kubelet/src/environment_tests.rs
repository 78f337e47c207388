//! Cases of the environment.

use std::sync::Arc;

use serde_json::json;

use super::*;

fn pod() -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"a": "1"}, "annotations": {"q": "x\"y"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "resources": {"limits": {"cpu": "250m"}}}]}
    }))
    .unwrap()
}

fn container(value: serde_json::Value) -> Container {
    serde_json::from_value(value).unwrap()
}

fn data() -> Arc<Data> {
    Arc::new(
        serde_json::from_value(json!({"metadata": {"name": "m"}, "data": {"k": "v", "other": "w"}})).unwrap(),
    )
}

fn run(spec: serde_json::Value, services: &[(String, String)]) -> Result<Vec<(String, String)>, EnvError> {
    let facts =
        Facts { host_ips: vec!["10.0.0.1".into()], pod_ips: vec!["10.1.0.2".into()], ..Facts::default() };
    let lookup = |kind: Kind, name: &str| (kind == Kind::ConfigMap && name == "m").then(data);
    let files = |volume: &str, path: &str| match (volume, path) {
        ("v", "a.env") => Ok("A='1'\n".to_owned()),
        ("v", "bad") => Ok("A".to_owned()),
        ("v", _) => Err(EnvError::File),
        _ => Err(EnvError::Volume(volume.to_owned())),
    };
    let from = Sources { facts: &facts, objects: &lookup, files: &files };
    environment(&pod(), &container(spec), services, from)
}

fn one(spec: serde_json::Value) -> String {
    run(json!({"name": "c", "env": [spec]}), &[]).unwrap().remove(0).1
}

#[test]
fn expands() {
    let lookup = |name: &str| (name == "A").then(|| "x".to_owned());
    for (text, want) in [
        ("$(A)", "x"),
        ("a$(A)b", "axb"),
        ("$$(A)", "$(A)"),
        ("$(B)", "$(B)"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("$", "$"),
        ("$$$(A)", "$x"),
    ] {
        assert_eq!(expand(text, lookup), want, "{text}");
    }
}

#[test]
fn reads_every_source() {
    let field = |path: &str| json!({"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}});
    assert_eq!(one(field("metadata.name")), "p");
    assert_eq!(one(field("status.podIP")), "10.1.0.2");
    assert_eq!(one(field("metadata.labels['a']")), "1");
    assert_eq!(one(field("metadata.annotations['q']")), "x\"y");
    assert_eq!(one(field("spec.nodeName")), "n1");
    assert_eq!(one(json!({"name": "X", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}})), "v");
    let limit = json!({"name": "X", "valueFrom": {"resourceFieldRef": {
        "containerName": "c", "resource": "limits.cpu", "divisor": "1m"}}});
    assert_eq!(one(limit), "250");
}

#[test]
fn keeps_order_and_expands_earlier_ones_and_services() {
    let spec = json!({"name": "c", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}],
        "env": [{"name": "A", "value": "$(P_k)-$(SVC)"}, {"name": "SVC", "value": "own"}]});
    let got = run(spec, &[("SVC".into(), "s".into()), ("T".into(), "t".into())]).unwrap();
    let got: Vec<_> = got.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(got, ["P_k=v", "P_other=w", "A=v-s", "SVC=own", "T=t"]);
}

#[test]
fn says_what_is_missing() {
    let key = |name: &str, key: &str, optional: bool| {
        json!({"name": "c", "env": [{"name": "X", "valueFrom": {"configMapKeyRef":
            {"name": name, "key": key, "optional": optional}}}]})
    };
    let error = |spec| run(spec, &[]).unwrap_err().to_string();
    assert_eq!(error(key("m", "z", false)), "couldn't find key z in ConfigMap ns/m");
    assert_eq!(error(key("none", "z", false)), "configmap \"none\" not found");
    assert_eq!(run(key("m", "z", true), &[]).unwrap(), []);
    assert_eq!(run(key("none", "z", true), &[]).unwrap(), []);
}

#[test]
fn names_services() {
    let service = ServiceFacts {
        name: "web-1".into(),
        ip: "10.0.0.9".into(),
        ports: vec![("http".into(), 80, "TCP".into())],
    };
    let got: Vec<_> = service_variables(&[service]).into_iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        got,
        [
            "WEB_1_SERVICE_HOST=10.0.0.9",
            "WEB_1_SERVICE_PORT=80",
            "WEB_1_SERVICE_PORT_HTTP=80",
            "WEB_1_PORT=tcp://10.0.0.9:80",
            "WEB_1_PORT_80_TCP=tcp://10.0.0.9:80",
            "WEB_1_PORT_80_TCP_PROTO=tcp",
            "WEB_1_PORT_80_TCP_PORT=80",
            "WEB_1_PORT_80_TCP_ADDR=10.0.0.9"
        ]
    );
}

#[test]
fn reads_files() {
    let read = |volume: &str, path: &str, key: &str, optional: bool| {
        let file = json!({"volumeName": volume, "path": path, "key": key, "optional": optional});
        run(json!({"name": "c", "env": [{"name": "X", "valueFrom": {"fileKeyRef": file}}]}), &[])
    };
    assert_eq!(read("v", "a.env", "A", false).unwrap(), [("X".to_owned(), "1".to_owned())]);
    assert_eq!(read("v", "a.env", "B", true).unwrap(), []);
    let missing = read("v", "a.env", "B", false).unwrap_err().to_string();
    assert_eq!(missing, "environment variable key \"B\" not found in file \"a.env\"");
    assert_eq!(read("v", "bad", "A", true), Err(EnvError::File));
    assert_eq!(read("w", "a.env", "A", true), Err(EnvError::Volume("w".into())));
}
