//! The constant defaults that the table declares (`default` of a field). Defaults that look at other fields are
//! the kinds' own (strategies).

use crate::schema::{Node, Shape, Type};
use crate::value::{Map, Value};

/// Sets what nothing set and has a declared default, in the object and all below it.
pub fn apply(value: &mut Value, of: &Type) {
    if let Value::Map(map) = value {
        structure(map, of);
    }
}

fn structure(map: &mut Map, of: &Type) {
    if !of.has_defaults() {
        return;
    }
    for field in &of.fields {
        let node = &field.node;
        let present = map.get_mut(&field.name);
        match (present, &node.default) {
            (Some(value), default) => {
                if let Some(default) = default.as_ref().filter(|_| is_unset(node, value)) {
                    *value = Value::clone(default);
                }
                below(value, node);
            }
            (None, Some(default)) => map.push(field.name.clone(), Value::clone(default)),
            (None, None) => {}
        }
    }
}

fn is_unset(node: &Node, value: &Value) -> bool {
    value.is_null() && !node.nullable || !node.pointer && value.as_str().is_some_and(str::is_empty)
}

fn below(value: &mut Value, node: &Node) {
    if !node.leaf().as_struct().is_some_and(Type::has_defaults) {
        return;
    }
    match (&node.shape, value) {
        (Shape::Struct(of), Value::Map(map)) => structure(map, of),
        (Shape::List(inner), Value::List(list)) => list.iter_mut().for_each(|item| below(item, inner)),
        (Shape::Map(inner), Value::Map(map)) => map.values_mut().for_each(|item| below(item, inner)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_defaults_are_set_where_nothing_is() {
        let of = crate::schema::by_gvk("", "v1", "Pod").unwrap();
        let mut pod = crate::value!({"spec": {
            "containers": [{"ports": [{"containerPort": 1}, {"containerPort": 2, "protocol": "UDP"}]}],
            "volumes": [{"azureDisk": {"diskName": "d", "fsType": ""}}]}});
        apply(&mut pod, &of);
        let want = crate::value!({"spec": {
            "containers": [{"ports": [{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 2, "protocol": "UDP"}]}],
            "volumes": [{"azureDisk": {"diskName": "d", "fsType": "", "cachingMode": "ReadWrite", "kind": "Shared"}}]}});
        assert_eq!(pod, want);
    }
}
