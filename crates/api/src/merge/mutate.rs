//! Laying a configuration over an object without anybody owning what it says: how MutatingAdmissionPolicy (KEP-3962)
//! changes objects.

use super::place::{Kind, Place};
use super::typed::overlay;
use super::validate::validate;
use crate::schema::Type;
use crate::value::Value;

/// Lays `config`, which has the object's apiVersion and kind, over `object`. Errors, in upstream's words: what the
/// schema does not know, and lists, maps and structs that it replaces as a whole: the caller would lose what he did not
/// name.
pub fn mutate(of: &Type, object: &mut Value, config: &Value) -> Result<(), String> {
    let place = Place::Root(of);
    validate(place, config)
        .map_err(|why| format!("failed to convert patch object to typed object: {why}"))?;
    let mut atomics = Vec::new();
    find_atomics(place, config, &mut String::new(), &mut atomics);
    if !atomics.is_empty() {
        return Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
            atomics.join(", ")
        ));
    }
    overlay(place, object, config);
    Ok(())
}

fn is_atomic(place: Place<'_>, value: &Value) -> bool {
    let typed = !matches!(place, Place::Untyped);
    typed && matches!(value, Value::Map(_) | Value::List(_)) && place.kind(value) == Kind::Leaf
}

fn find_atomics(place: Place<'_>, value: &Value, path: &mut String, out: &mut Vec<String>) {
    if is_atomic(place, value) {
        out.push(path.clone());
    }
    let len = path.len();
    match value {
        Value::Map(map) => {
            for (key, value) in map.iter() {
                let Some((below, true)) = place.field(key) else { continue };
                path.push('.');
                path.push_str(key);
                find_atomics(below, value, path, out);
                path.truncate(len);
            }
        }
        Value::List(list) => {
            for (i, item) in list.iter().enumerate() {
                path.push_str(&format!("[{i}]"));
                find_atomics(place.item(), item, path, out);
                path.truncate(len);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::schema::by_gvk;
    use crate::value;

    fn pod() -> crate::schema::TypeRef {
        by_gvk("", "v1", "Pod").unwrap()
    }

    #[test]
    fn lists_with_keys_are_merged() {
        let mut object = value!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "one", "image": "i"}, {"name": "two"}]}});
        let config = value!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"c": "d"}},
            "spec": {"containers": [{"name": "one", "tty": true}]}});
        mutate(&pod(), &mut object, &config).unwrap();
        let expected = value!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "x", "labels": {"a": "b", "c": "d"}},
            "spec": {"containers": [{"name": "one", "image": "i", "tty": true}, {"name": "two"}]}});
        assert_eq!(object, expected);
    }

    #[test]
    fn refusals() {
        let words = |config: Value| mutate(&pod(), &mut value!({}), &config).unwrap_err();
        assert_eq!(
            words(value!({"spec": {"containers": [{"name": "a", "command": ["x"]}]}})),
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.containers[0].command"
        );
        assert_eq!(
            words(value!({"spec": {"nodeSelector": {"a": "b"}, "none": 1}})),
            "failed to convert patch object to typed object: .spec.none: field not declared in schema"
        );
        assert_eq!(
            words(value!({"spec": {"nodeSelector": {"a": "b"}}})),
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.nodeSelector"
        );
    }
}
