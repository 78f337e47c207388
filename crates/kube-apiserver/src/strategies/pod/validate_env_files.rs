//! Environment variables out of files (`fileKeyRef`, KEP-3721): the selector itself, and that its volume is an
//! emptyDir of the pod.

use api::Map;
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::names;

use super::super::fields::Fields;
use super::super::names::env_name;

/// `valueFrom.fileKeyRef`.
pub fn selector(file: &Map, path: &Path, errors: &mut ErrorList) {
    for (name, check) in [("key", env_name as fn(&str) -> Vec<String>), ("volumeName", names::dns1123_label)]
    {
        let (text, at) = (file.text(name), path.child(name));
        if text.is_empty() {
            errors.push(Error::required(&at, ""));
        } else {
            errors.extend(check(text).into_iter().map(|why| Error::invalid(&at, text, why)));
        }
    }
    let (text, at) = (file.text("path"), path.child("path"));
    if text.is_empty() {
        errors.push(Error::required(&at, ""));
    } else if text.split('/').any(|part| part == "..") {
        errors.push(Error::invalid(&at, text, "must not contain '..'"));
    }
}

/// The volumes of all selectors of a pod.
pub fn volumes(spec: &Map, path: &Path, errors: &mut ErrorList) {
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for (i, container) in spec.items(list).enumerate() {
            for (j, variable) in container.items("env").enumerate() {
                let Some(file) = variable.sub("valueFrom").and_then(|from| from.sub("fileKeyRef")) else {
                    continue;
                };
                let at = path.child(list).index(i).child("env").index(j);
                let at = at.child("valueFrom").child("fileKeyRef").child("volumeName");
                errors.extend(volume(spec, file.text("volumeName"), &at));
            }
        }
    }
}

fn volume(spec: &Map, name: &str, at: &Path) -> Option<Error> {
    match spec.items("volumes").find(|volume| volume.text("name") == name) {
        None => Some(Error::not_found(at, name)),
        Some(volume) if !volume.has("emptyDir") => {
            Some(Error::invalid(at, name, "referenced volume must be of type emptyDir"))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::value;
    use serde_json::json;

    fn said(check: impl FnOnce(&Path, &mut ErrorList)) -> Vec<String> {
        let mut errors = ErrorList::new();
        check(&Path::new("spec"), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn selectors_are_whole() {
        let of = |file: serde_json::Value| {
            said(|path, errors| selector(value(file).as_map().unwrap(), path, errors))
        };
        assert_eq!(of(json!({"key": "A", "volumeName": "v", "path": "a/b.env"})), [""; 0]);
        assert_eq!(of(json!({})).len(), 3);
        assert_eq!(
            of(json!({"key": "A", "volumeName": "v", "path": "a/../b"})),
            ["spec.path: Invalid value: \"a/../b\": must not contain '..'"]
        );
    }

    #[test]
    fn volumes_are_the_pods_own() {
        let of = |name: &str| {
            let file = json!({"fileKeyRef": {"volumeName": name}});
            let pod = json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}}],
                "containers": [{"env": [{"name": "X", "valueFrom": file}]}]});
            said(|path, errors| volumes(value(pod).as_map().unwrap(), path, errors))
        };
        assert_eq!(of("v"), [""; 0]);
        let at = "spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName";
        assert_eq!(of("w"), [format!("{at}: Not found: \"w\"")]);
        assert_eq!(
            of("c"),
            [format!("{at}: Invalid value: \"c\": referenced volume must be of type emptyDir")]
        );
    }
}
