//! Choosing containers, and queries.

use serde_json::json;

use super::*;
use crate::testing::value;

#[test]
fn containers() {
    let one = value(
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]}}),
    );
    assert_eq!(container(&one, "").unwrap(), "a");
    assert_eq!(container(&one, "i").unwrap(), "i");
    assert_eq!(container(&one, "x").unwrap_err().message, "container x is not valid for pod p");
    let two =
        value(json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}}));
    assert_eq!(
        container(&two, "").unwrap_err().message,
        "a container name must be specified for pod p, choose one of: [a b]"
    );
}

#[test]
fn queries() {
    assert_eq!(
        pairs("command=echo&command=a+b%2Fc&x"),
        [("command".into(), "echo".into()), ("command".into(), "a b/c".into()), ("x".into(), String::new())]
    );
    assert_eq!(encode("a b/c~"), "a%20b%2Fc~");
}
