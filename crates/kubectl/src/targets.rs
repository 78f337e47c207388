//! What a command is about: the words `TYPE[,TYPE] [NAME...]` and `TYPE/NAME...`, or the objects of files.

use std::rc::Rc;

use api::Value;

use crate::args::Flags;
use crate::error::{Error, Result};
use crate::manifests::{self, Manifest};
use crate::mapper::{Mapper, Resource};
use crate::server::{Ask, Server};

/// An object, or with an empty name a collection.
#[derive(Clone, Debug)]
pub struct Target {
    pub resource: Rc<Resource>,
    /// "" for all namespaces, and for what has none.
    pub namespace: String,
    pub name: String,
}

impl Target {
    pub fn path(&self) -> String {
        self.resource.path(&self.namespace, &self.name)
    }

    /// `deployment.apps/x`.
    pub fn display(&self) -> String {
        format!("{}/{}", self.resource.display(), self.name)
    }

    /// `deployment.apps "x"`, and where it is if in a namespace.
    pub fn quoted(&self) -> String {
        format!("{} {:?}", self.resource.display(), self.name)
    }
}

/// The targets of words. `all`: every namespace.
pub fn of_words(mapper: &Mapper, words: &[String], namespace: &str, all: bool) -> Result<Vec<Target>> {
    let target = |resource: Rc<Resource>, name: &str| Target {
        namespace: if all || !resource.namespaced { String::new() } else { namespace.to_owned() },
        resource,
        name: name.to_owned(),
    };
    if words.iter().any(|w| w.contains('/')) {
        return words.iter().map(|word| slashed(mapper, word).map(|(r, name)| target(r, &name))).collect();
    }
    let Some((types, names)) = words.split_first() else { return Ok(Vec::new()) };
    if all && !names.is_empty() {
        return Err(Error::plain("a resource cannot be retrieved by name across all namespaces"));
    }
    let mut targets = Vec::new();
    for word in types.split(',').filter(|w| !w.is_empty()) {
        for resource in mapper.resources(word)? {
            match names {
                [] => targets.push(target(resource, "")),
                names => targets.extend(names.iter().map(|name| target(resource.clone(), name))),
            }
        }
    }
    Ok(targets)
}

fn slashed(mapper: &Mapper, word: &str) -> Result<(Rc<Resource>, String)> {
    let parts: Vec<&str> = word.split('/').collect();
    match parts.as_slice() {
        [kind, name] if !kind.is_empty() && !name.is_empty() => {
            Ok((mapper.resource(kind)?, (*name).to_owned()))
        }
        [_, _] => Err(Error::plain("arguments in resource/name form must have a single resource and name")),
        [_] => Err(Error::plain(
            "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'",
        )),
        _ => Err(Error::plain("arguments in resource/name form may not have more than one slash")),
    }
}

/// The target of an object, which gets the namespace that it is meant for.
pub fn of_object(mapper: &Mapper, object: &mut Value, server: &Server) -> Result<Target> {
    let (api_version, kind) =
        (object.str_at(&["apiVersion"]).to_owned(), object.str_at(&["kind"]).to_owned());
    let resource = mapper.kind(&api_version, &kind).ok_or_else(|| {
        Error::Plain(format!(
            "no matches for kind {kind:?} in version {api_version:?}\nensure CRDs are installed first"
        ))
    })?;
    let mut namespace = String::new();
    if resource.namespaced {
        namespace = object.str_at(&["metadata", "namespace"]).to_owned();
        let settings = &server.settings;
        if namespace.is_empty() {
            namespace = settings.namespace.clone();
            object.set_at(&["metadata", "namespace"], namespace.as_str());
        } else if settings.namespace_given && namespace != settings.namespace {
            return Err(Error::Plain(format!(
                "the namespace from the provided object {namespace:?} does not match the namespace {:?}. You must pass '--namespace={namespace}' to perform this operation.",
                settings.namespace
            )));
        }
    }
    let name = object.str_at(&["metadata", "name"]).to_owned();
    Ok(Target { resource, namespace, name })
}

/// The objects of files with their targets, and the errors of those that the server does not know.
pub fn of_manifests(
    mapper: &Mapper,
    manifests: Vec<Manifest>,
    server: &Server,
) -> (Vec<(Target, Manifest)>, Vec<Error>) {
    let (mut known, mut errors) = (Vec::new(), Vec::new());
    for mut manifest in manifests {
        let meta = |key: &str| manifest.object.str_at(&["metadata", key]).to_owned();
        let (name, namespace) = (meta("name"), meta("namespace"));
        match of_object(mapper, &mut manifest.object, server) {
            Ok(target) => known.push((target, manifest)),
            Err(Error::Plain(text)) if text.starts_with("no matches") => errors.push(Error::Plain(format!(
                "resource mapping not found for name: {name:?} namespace: {namespace:?} from {:?}: {text}",
                manifest.source
            ))),
            Err(error) => errors.push(error),
        }
    }
    (known, errors)
}

/// The targets of words or of files.
pub fn of_flags(mapper: &Mapper, flags: &Flags, server: &Server, words: &[String]) -> Result<Vec<Target>> {
    let all = flags.on("all-namespaces");
    let mut targets = of_words(mapper, words, &server.settings.namespace, all)?;
    let (known, errors) = of_manifests(mapper, manifests::read(flags)?, server);
    Error::collect(errors)?;
    targets.extend(known.into_iter().map(|(target, _)| target));
    Ok(targets)
}

/// The target itself if it has a name, else each object of the collection that the selectors let through.
pub async fn objects(server: &Server, target: &Target, flags: &Flags) -> Result<Vec<(Target, Value)>> {
    if !target.name.is_empty() {
        let object = server.value(&Ask::get(target.path())).await?;
        return Ok(vec![(target.clone(), object)]);
    }
    let items = list(server, target, flags).await?;
    let one = |item: Value| {
        let part = |key: &str| item.str_at(&["metadata", key]).to_owned();
        (Target { resource: target.resource.clone(), namespace: part("namespace"), name: part("name") }, item)
    };
    Ok(items.into_iter().map(one).collect())
}

/// Every item of a collection, each with its kind, page after page.
pub async fn list(server: &Server, target: &Target, flags: &Flags) -> Result<Vec<Value>> {
    let (mut items, mut next) = (Vec::new(), String::new());
    loop {
        let ask = select(Ask::get(target.path()), flags).with("limit", "500").with("continue", &next);
        let mut page = server.value(&ask).await?;
        next = page.str_at(&["metadata", "continue"]).to_owned();
        let kind = page.str_at(&["kind"]).trim_end_matches("List").to_owned();
        let api_version = page.str_at(&["apiVersion"]).to_owned();
        for mut item in
            page.get_mut("items").and_then(Value::as_list_mut).map(std::mem::take).unwrap_or_default()
        {
            if item.get("kind").is_none() {
                item.set_at(&["kind"], kind.as_str());
                item.set_at(&["apiVersion"], api_version.as_str());
            }
            items.push(item);
        }
        if next.is_empty() {
            return Ok(items);
        }
    }
}

/// `-l` and `--field-selector` as parameters.
pub fn select(ask: Ask, flags: &Flags) -> Ask {
    ask.with("labelSelector", flags.text("selector")).with("fieldSelector", flags.text("field-selector"))
}
