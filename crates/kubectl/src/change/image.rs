//! `kubectl set image`. Deliberately absent: the other things that `set` sets.

use api::Value;

use super::How;
use crate::args::Flags;
use crate::error::{Error, Result};
use crate::{Context, manifests, output};

pub async fn run(arguments: &[String]) -> Result<()> {
    let declared = [super::FLAGS, output::FLAGS, manifests::FLAGS].join(" ");
    let mut flags = Flags::parse("set", &declared, arguments)?;
    match flags.words.first().map(String::as_str) {
        Some("image") => drop(flags.words.remove(0)),
        Some(word @ ("env" | "resources" | "selector" | "serviceaccount" | "subject")) => {
            return Err(Error::not_built(format!("the subcommand \"set {word}\"")));
        }
        Some(word) => return Err(Error::Plain(format!("unknown command {word:?} for \"kubectl set\""))),
        None => return Err(Error::plain("set needs a subcommand: image")),
    }
    let (resources, changes) = super::resources_and_changes(&flags.words, "image")?;
    if changes.is_empty() {
        return Err(Error::plain("at least one image update is required"));
    }
    let images: Vec<(&str, &str)> = changes.iter().filter_map(|c| c.split_once('=')).collect();
    let how = How::of(&flags, "kubectl-set")?;
    let context = Context::new(&flags).await?;
    let mut errors = Vec::new();
    for (target, before) in super::objects(&context, &flags, resources).await? {
        let mut after = before.clone();
        let missing = set(&mut after, &images);
        errors.extend(
            missing.into_iter().map(|name| Error::Plain(format!("unable to find container named {name:?}"))),
        );
        if errors.is_empty() && after != before {
            how.send(&context, &target, &before, after, "image updated").await?;
        }
    }
    Error::collect(errors)
}

/// Where a kind keeps its pods' specification.
pub fn pod_spec(object: &Value) -> &'static [&'static str] {
    match object.str_at(&["kind"]) {
        "Pod" => &["spec"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => &["spec", "template", "spec"],
    }
}

/// Sets images by container, `*` for all; the names that no container has.
fn set(object: &mut Value, images: &[(&str, &str)]) -> Vec<String> {
    let mut missing = Vec::new();
    let path = pod_spec(object);
    for (name, image) in images {
        let mut found = false;
        for list in ["containers", "initContainers"] {
            let place: Vec<&str> = path.iter().copied().chain([list]).collect();
            for container in object.at_mut(&place).and_then(Value::as_list_mut).into_iter().flatten() {
                if *name == "*" || container.str_at(&["name"]) == *name {
                    container.set_at(&["image"], *image);
                    found = true;
                }
            }
        }
        if !found {
            missing.push((*name).to_owned());
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    #[test]
    fn images_by_name_or_all() {
        let mut object = value!({"kind": "Deployment", "spec": {"template": {"spec": {
            "containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}], "initContainers": [{"name": "i", "image": "1"}]}}}});
        assert_eq!(set(&mut object, &[("a", "2"), ("z", "3")]), ["z"]);
        let images = |o: &Value, list: &str| -> Vec<String> {
            let items = o.list_at(&["spec", "template", "spec", list]);
            items.iter().map(|c| c.str_at(&["image"]).to_owned()).collect()
        };
        assert_eq!(images(&object, "containers"), ["2", "1"]);
        assert!(set(&mut object, &[("*", "4")]).is_empty());
        assert_eq!(
            (images(&object, "containers"), images(&object, "initContainers")),
            (vec!["4".into(), "4".into()], vec!["4".to_owned()])
        );
    }
}
