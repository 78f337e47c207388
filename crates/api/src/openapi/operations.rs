//! What can be asked of each path, as data: operations with their parameters and the kinds that go in and out, out of
//! the rows of what is served. Both versions of OpenAPI are written from it.
//!
//! Deliberately absent: how a document spells any of it, and prose.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use apimachinery::GroupVersionKind;

use super::names::{camel, tag, upper_first};
use super::{Entry, definition_name};
use crate::resources::Subresource;
use crate::schema::{self, Shape};
use crate::value::Key;

pub(super) const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

pub(super) type Media = &'static [&'static str];

pub(super) const ANY: Media = &["*/*"];
/// Built-in kinds.
pub(super) const OBJECTS: Media =
    &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const STREAMS: Media = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const LOGS: Media =
    &["text/plain", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const PATCHES: Media = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
/// Custom kinds.
const CUSTOM: Media = &["application/json", "application/yaml"];
const CUSTOM_PATCHES: Media =
    &["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Path,
    Query,
}

/// A parameter in the path or the query. Ordered as documents list them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Parameter {
    pub name: Key,
    pub place: Place,
    /// `string`, `integer`, `boolean`.
    pub of: &'static str,
}

pub(super) enum Answer {
    /// The name of a definition.
    Kind(Rc<str>),
    Text,
}

/// One method of a path.
pub(super) struct Operation {
    pub method: &'static str,
    pub id: String,
    pub tag: Rc<str>,
    /// `x-kubernetes-action`; "" outside of resources.
    pub action: &'static str,
    pub kind: Option<GroupVersionKind>,
    pub consumes: Media,
    pub produces: Media,
    /// Sorted; without those that the path has for all its operations.
    pub parameters: Vec<Parameter>,
    /// The definition of the body, and whether there must be one.
    pub body: Option<(Rc<str>, bool)>,
    pub answer: Answer,
    /// Codes that carry the answer.
    pub codes: &'static [u16],
}

/// A path with its operations.
pub(super) struct PathItem {
    pub path: String,
    /// What all operations take; sorted.
    pub parameters: Vec<Parameter>,
    pub operations: Vec<Operation>,
}

impl PathItem {
    /// Takes out of the operations the parameters that all of them have.
    pub fn new(path: String, mut operations: Vec<Operation>) -> Self {
        let mut shared = operations.first().map(|o| o.parameters.clone()).unwrap_or_default();
        shared.retain(|p| operations.iter().all(|o| o.parameters.contains(p)));
        shared.sort();
        for operation in &mut operations {
            operation.parameters.retain(|p| !shared.contains(p));
            operation.parameters.sort();
        }
        Self { path, parameters: shared, operations }
    }
}

/// The query parameters that stand for the fields of a kind of options. Only fields that a query can hold.
#[derive(Default)]
pub(super) struct Options(HashMap<String, Rc<[Parameter]>>);

impl Options {
    fn of(&mut self, name: &str) -> Rc<[Parameter]> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let made: Rc<[Parameter]> = parameters(name).into();
        self.0.insert(name.to_owned(), made.clone());
        made
    }

    fn meta(&mut self, name: &str) -> Rc<[Parameter]> {
        self.of(&format!("{META}.{name}"))
    }
}

fn parameters(name: &str) -> Vec<Parameter> {
    let Some(of) = schema::look(name) else { return Vec::new() };
    let own = of.fields.iter().filter(|f| f.in_json && f.embed.is_none());
    let own = own.filter(|f| !matches!(f.name.as_str(), "apiVersion" | "kind"));
    own.filter_map(|f| Some(query(f.name.as_str(), simple(&f.node.shape)?))).collect()
}

fn simple(shape: &Shape) -> Option<&'static str> {
    Some(match shape {
        Shape::Bool => "boolean",
        Shape::Int32 | Shape::Int64 => "integer",
        Shape::Float64 => "number",
        Shape::String => "string",
        Shape::List(item) => simple(&item.shape)?,
        _ => return None,
    })
}

fn query(name: &str, of: &'static str) -> Parameter {
    Parameter { name: name.into(), place: Place::Query, of }
}

fn in_path(name: &'static str) -> Parameter {
    Parameter { name: Key::const_new(name), place: Place::Path, of: "string" }
}

/// What operations on one thing (a resource or a subresource) have in common.
struct Subject {
    /// The end of ids: `NamespacedPodStatus`.
    id: String,
    kind: GroupVersionKind,
    object: Rc<str>,
    /// `name`, `namespace`, `pretty`.
    base: Vec<Parameter>,
}

/// Writes the paths of one resource.
pub(super) struct Maker<'a> {
    entry: &'a Entry<'a>,
    options: &'a mut Options,
    /// In ids: `AppsV1`.
    camel: String,
    tag: Rc<str>,
    status: Rc<str>,
    delete_options: Rc<str>,
    /// `/apis/apps/v1/`
    base: String,
}

fn meta(name: &str) -> Rc<str> {
    format!("{META}.{name}").into()
}

impl<'a> Maker<'a> {
    pub fn new(entry: &'a Entry<'a>, options: &'a mut Options) -> Self {
        let (group, version) = (&*entry.row.group, &*entry.row.version);
        Self {
            entry,
            options,
            camel: format!("{}{}", camel(group), upper_first(version)),
            tag: tag(group, Some(version)).into(),
            status: meta("Status"),
            delete_options: meta("DeleteOptions"),
            base: format!("/{}/", super::path_of(group, version)),
        }
    }

    fn custom(&self) -> bool {
        self.entry.custom.is_some()
    }

    fn has(&self, verb: &str) -> bool {
        self.entry.row.has_verb(verb)
    }

    /// The name of the definition of a kind.
    fn definition(&self, kind: &GroupVersionKind) -> Rc<str> {
        let own = self.custom() && kind.group == self.entry.row.group;
        let known = schema::by_gvk(&kind.group, &kind.version, &kind.kind).filter(|_| !own);
        match known {
            Some(of) => of.name().into(),
            None => definition_name(&kind.group, &kind.version, &kind.kind).into(),
        }
    }

    fn subject(&self, named: bool) -> Subject {
        let row = self.entry.row;
        let kind = row.gvk();
        let mut base = vec![query("pretty", "string")];
        if row.namespaced {
            base.push(in_path("namespace"));
        }
        if named {
            base.push(in_path("name"));
        }
        let namespaced = if row.namespaced { "Namespaced" } else { "" };
        Subject { id: format!("{namespaced}{}", row.kind), object: self.definition(&kind), kind, base }
    }

    /// An operation without body whose answer is the object.
    fn plain(
        &mut self,
        method: &'static str,
        action: &'static str,
        verb: &str,
        of: &Subject,
        options: &str,
    ) -> Operation {
        let mut parameters = of.base.clone();
        if !options.is_empty() {
            parameters.extend(self.options.meta(options).iter().cloned());
        }
        let custom = self.custom();
        Operation {
            method,
            id: format!("{verb}{}{}", self.camel, of.id),
            tag: self.tag.clone(),
            action,
            kind: Some(of.kind.clone()),
            consumes: if custom { CUSTOM } else { ANY },
            produces: if custom { CUSTOM } else { OBJECTS },
            parameters,
            body: None,
            answer: Answer::Kind(of.object.clone()),
            codes: &[200],
        }
    }

    /// All paths of the resource.
    pub fn write(mut self, out: &mut dyn FnMut(PathItem)) {
        let (row, base) = (self.entry.row, self.base.clone());
        let place = if row.namespaced { "namespaces/{namespace}/" } else { "" };
        let root = format!("{base}{place}{}", row.resource);
        let mut put = |path: String, operations: Vec<Operation>| {
            if !operations.is_empty() {
                out(PathItem::new(path, operations));
            }
        };
        put(root.clone(), self.collection());
        if row.namespaced && self.has("list") {
            put(format!("{base}{}", row.resource), vec![self.everywhere("list", "list", "")]);
        }
        let item = format!("{root}/{{name}}");
        let of = self.subject(true);
        put(item.clone(), self.object(&row.verbs, &of));
        for sub in &row.subresources {
            self.subresource(&item, sub, &mut put);
        }
        if self.has("watch") && !self.custom() {
            self.watches(&format!("{base}watch/{place}{}", row.resource), &mut put);
        }
    }

    fn collection(&mut self) -> Vec<Operation> {
        let of = self.subject(false);
        let mut out = Vec::new();
        if self.has("list") {
            out.push(self.list("list", "list", &of));
        }
        if self.has("create") {
            out.push(self.create(&of));
        }
        if self.has("deletecollection") {
            out.push(self.delete_collection(&of));
        }
        out
    }

    fn list(&mut self, action: &'static str, verb: &str, of: &Subject) -> Operation {
        let mut operation = self.plain("get", action, verb, of, "ListOptions");
        let list = GroupVersionKind { kind: self.entry.row.list_kind().into(), ..of.kind.clone() };
        operation.answer = Answer::Kind(self.definition(&list));
        if !self.custom() {
            operation.produces = STREAMS;
        }
        operation
    }

    /// Over all namespaces.
    fn everywhere(&mut self, action: &'static str, verb: &str, list: &str) -> Operation {
        let kind = &self.entry.row.kind;
        let mut of = self.subject(false);
        of.id = format!("{kind}{list}ForAllNamespaces");
        of.base.retain(|p| p.place == Place::Query);
        self.list(action, verb, &of)
    }

    fn create(&mut self, of: &Subject) -> Operation {
        let operation = self.plain("post", "post", "create", of, "CreateOptions");
        Operation { body: Some((of.object.clone(), true)), codes: &[200, 201, 202], ..operation }
    }

    fn delete_collection(&mut self, of: &Subject) -> Operation {
        let mut operation = self.plain("delete", "deletecollection", "delete", of, "ListOptions");
        operation.id = format!("delete{}Collection{}", self.camel, of.id);
        operation.answer = Answer::Kind(self.status.clone());
        if !self.custom() {
            operation.parameters.retain(|p| !matches!(p.name.as_str(), "watch" | "allowWatchBookmarks"));
            operation.parameters.extend(self.options.meta("DeleteOptions").iter().cloned());
            operation.body = Some((self.delete_options.clone(), false));
        }
        operation
    }

    /// One object, or a part of it.
    fn object(&mut self, verbs: &[Arc<str>], of: &Subject) -> Vec<Operation> {
        let has = |verb: &str| verbs.iter().any(|v| &**v == verb);
        let custom = self.custom();
        let mut out = Vec::new();
        if has("get") {
            out.push(self.plain("get", "get", "read", of, if custom { "GetOptions" } else { "" }));
        }
        if has("update") {
            let operation = self.plain("put", "put", "replace", of, "UpdateOptions");
            out.push(Operation { body: Some((of.object.clone(), true)), codes: &[200, 201], ..operation });
        }
        if has("delete") {
            let operation = self.plain("delete", "delete", "delete", of, "DeleteOptions");
            let answer = if self.entry.returns_deleted { &of.object } else { &self.status };
            let body = Some((self.delete_options.clone(), false));
            out.push(Operation {
                answer: Answer::Kind(answer.clone()),
                body,
                codes: &[200, 202],
                ..operation
            });
        }
        if has("patch") {
            let operation = self.plain("patch", "patch", "patch", of, "PatchOptions");
            out.push(Operation {
                consumes: if custom { CUSTOM_PATCHES } else { PATCHES },
                body: Some((meta("Patch"), true)),
                codes: if custom { &[200] } else { &[200, 201] },
                ..operation
            });
        }
        out
    }

    fn subresource(&mut self, item: &str, sub: &Subresource, put: &mut dyn FnMut(String, Vec<Operation>)) {
        let row = self.entry.row;
        let mut of = self.subject(true);
        let words: String = sub.name.split('/').map(upper_first).collect();
        of.id.push_str(&words);
        let kind = row.subresource_gvk(sub);
        of.object = self.definition(&kind);
        let path = format!("{item}/{}", sub.name);
        if kind.kind.ends_with("Options") {
            of.kind = kind;
            return self.connect(path, sub, &of, put);
        }
        // Documents name custom kinds at their `scale` too.
        if !self.custom() {
            of.kind = kind;
        }
        let mut operations = self.object(&sub.verbs, &of);
        if &*sub.name == "log" {
            for operation in &mut operations {
                let options = self.options.of("io.k8s.api.core.v1.PodLogOptions");
                operation.parameters.extend(options.iter().cloned());
                operation.produces = LOGS;
                operation.answer = Answer::Text;
            }
        }
        if sub.verbs.iter().any(|v| &**v == "create") {
            operations.push(self.create(&of));
        }
        put(path, operations);
    }

    /// Upgrades and proxies: no objects. What a proxy leads to takes any method, below a path too.
    fn connect(
        &mut self,
        path: String,
        sub: &Subresource,
        of: &Subject,
        put: &mut dyn FnMut(String, Vec<Operation>),
    ) {
        let is_proxy = sub.verbs.iter().any(|v| &**v == "delete");
        let methods: &[&'static str] = match is_proxy {
            true => &["get", "put", "post", "delete", "options", "head", "patch"],
            false => &["get", "post"],
        };
        let mut operations = |end: &str, more: Option<Parameter>| -> Vec<Operation> {
            let options = self.options.of(&of.object);
            let base = of.base.iter().filter(|p| p.name != "pretty").cloned();
            let parameters: Vec<Parameter> = base.chain(options.iter().cloned()).chain(more).collect();
            let operation = |method: &&'static str| Operation {
                method,
                id: format!("connect{}{}{}{end}", self.camel, upper_first(method), of.id),
                tag: self.tag.clone(),
                action: "connect",
                kind: Some(of.kind.clone()),
                consumes: ANY,
                produces: ANY,
                parameters: parameters.clone(),
                body: None,
                answer: Answer::Text,
                codes: &[200],
            };
            methods.iter().map(operation).collect()
        };
        let plain = operations("", None);
        let below = is_proxy.then(|| operations("WithPath", Some(in_path("path"))));
        put(path.clone(), plain);
        if let Some(below) = below {
            put(format!("{path}/{{path}}"), below);
        }
    }

    /// The paths of old that watch without `?watch`.
    fn watches(&mut self, root: &str, put: &mut dyn FnMut(String, Vec<Operation>)) {
        let row = self.entry.row;
        let mut of = self.subject(true);
        let one = self.list("watch", "watch", &of);
        of.id.push_str("List");
        of.base.retain(|p| p.name != "name");
        let all = self.list("watchlist", "watch", &of);
        let events = meta("WatchEvent");
        let as_events = |o: Operation| Operation { answer: Answer::Kind(events.clone()), ..o };
        put(root.to_owned(), vec![as_events(all)]);
        put(format!("{root}/{{name}}"), vec![as_events(one)]);
        if row.namespaced {
            let all = self.everywhere("watchlist", "watch", "List");
            put(format!("{}watch/{}", self.base, row.resource), vec![as_events(all)]);
        }
    }
}
