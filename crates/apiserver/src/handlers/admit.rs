//! Admission of what is not stored: bindings, evictions, tokens, reviews, and connections (exec, attach,
//! port-forward, proxies), whose object is what their query asks for.

use api::{Map, Value};
use apimachinery::{GroupVersionKind, Status};

use super::Asked;
use crate::admission::{Attributes, Operation, Rounds};
use crate::catalog::Served;
use crate::endpoint::Query;

async fn admit(
    asked: &Asked<'_>,
    served: &Served,
    kind: &GroupVersionKind,
    operation: Operation,
    object: Value,
) -> Result<Value, Status> {
    let info = &asked.cx.info;
    let registry = &asked.chain.registry;
    let mut attributes = Attributes {
        cx: asked.cx,
        operation,
        kind: kind.clone(),
        resource: served.gvr.clone(),
        subresource: &info.subresource,
        namespace: &info.namespace,
        name: &info.name,
        object: Some(object),
        old_object: None,
        options: Value::map(),
        rounds: Rounds::default(),
    };
    registry.mutate(&mut attributes).await?;
    registry.admit(&attributes).await?;
    Ok(attributes.object.unwrap_or_default())
}

/// The object as it is to be acted on.
pub(super) async fn create(
    asked: &Asked<'_>,
    served: &Served,
    kind: &GroupVersionKind,
    object: Value,
) -> Result<Value, Status> {
    admit(asked, served, kind, Operation::Create, object).await
}

/// Refuses a connection that a plugin does not want. Plain reads (logs) are not admitted, as upstream has it.
pub(super) async fn connect(
    asked: &Asked<'_>,
    served: &Served,
    kind: &GroupVersionKind,
) -> Result<(), Status> {
    if !kind.kind.ends_with("Options") {
        return Ok(());
    }
    admit(asked, served, kind, Operation::Connect, options(kind, asked.query)).await.map(drop)
}

/// `PodExecOptions` and its kin out of a query.
fn options(kind: &GroupVersionKind, query: &Query) -> Value {
    let mut map = Map::new();
    map.push("kind", kind.kind.as_ref());
    map.push("apiVersion", kind.api_version());
    for (key, value) in &query.0 {
        match key.as_str() {
            "stdin" | "stdout" | "stderr" | "tty" => {
                let on = !matches!(value.as_str(), "" | "0" | "f" | "F" | "false" | "FALSE" | "False");
                map.insert(key.as_str(), on);
            }
            "container" | "path" => drop(map.insert(key.as_str(), value.as_str())),
            "command" | "ports" => {
                let item: Value = match (key.as_str(), value.parse::<i64>()) {
                    ("ports", Ok(port)) => port.into(),
                    _ => value.as_str().into(),
                };
                let list = map.or_insert_with(key, || Value::List(Vec::new()));
                list.as_list_mut().into_iter().for_each(|l| l.push(item.clone()));
            }
            _ => {}
        }
    }
    Value::Map(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_query() {
        let pairs = [
            ("stdin", "true"),
            ("tty", "0"),
            ("container", "c"),
            ("command", "a"),
            ("command", "1"),
            ("x", "y"),
        ];
        let query = Query(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        let expected = api::value!({"kind": "PodExecOptions", "apiVersion": "v1", "stdin": true, "tty": false,
            "container": "c", "command": ["a", "1"]});
        assert_eq!(options(&GroupVersionKind::new("", "v1", "PodExecOptions"), &query), expected);
    }
}
