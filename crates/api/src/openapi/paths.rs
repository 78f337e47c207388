//! Paths: what can be asked of each resource and subresource, with the kinds that go in and out.

use serde_json::{Map, Value as Json, json};

use super::schemas::Wanted;
use super::{Entry, definition_name, path_of};
use crate::resources::Subresource;
use crate::schema;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const MEDIA: [&str; 3] = ["application/json", "application/vnd.kubernetes.protobuf", "application/yaml"];

pub(super) fn paths(
    group: &str,
    version: &str,
    entries: &[Entry<'_>],
    wanted: &mut Wanted,
) -> Map<String, Json> {
    let mut out = Map::new();
    let base = format!("/{}/", path_of(group, version));
    let mut maker = Maker { group, version, tag: tag(group, version), wanted };
    if entries.iter().any(|e| e.custom.is_none()) {
        out.insert(base.clone(), maker.discovery());
    }
    for entry in entries {
        maker.resource(&base, entry, &mut out);
    }
    let mut sorted: Vec<_> = out.into_iter().collect();
    sorted.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    sorted.into_iter().collect()
}

/// `apps_v1`, `core_v1`, `rbacAuthorization_v1`.
fn tag(group: &str, version: &str) -> String {
    format!("{}_{version}", lower_first(&camel_group(group)))
}

fn upper_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

/// `Apps`, `Core`, `RbacAuthorization`, `ExampleCom`.
fn camel_group(group: &str) -> String {
    let own = group.strip_suffix(".k8s.io").unwrap_or(group);
    if own.is_empty() { "Core".into() } else { own.split('.').map(upper_first).collect() }
}

struct Maker<'a> {
    group: &'a str,
    version: &'a str,
    tag: String,
    wanted: &'a mut Wanted,
}

/// One operation of a path.
struct Op<'a> {
    method: &'static str,
    action: &'static str,
    /// The verb that begins its id.
    id: &'static str,
    kind: (&'a str, &'a str, &'a str),
    body: Option<Json>,
    /// Codes other than 200 that carry the answer.
    codes: &'static [u16],
    parameters: &'static [&'static str],
}

const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETE: &[&str] = &[
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
];
const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
    "watch",
];

fn parameter(name: &str) -> Json {
    let of = match name {
        "allowWatchBookmarks"
        | "sendInitialEvents"
        | "watch"
        | "force"
        | "orphanDependents"
        | "ignoreStoreReadErrorWithClusterBreakingPotential" => "boolean",
        "limit" | "timeoutSeconds" | "gracePeriodSeconds" => "integer",
        _ => "string",
    };
    json!({"name": name, "in": "query", "schema": {"type": of, "uniqueItems": true}})
}

fn in_path(name: &str) -> Json {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}})
}

impl Maker<'_> {
    fn discovery(&mut self) -> Json {
        let of = self.wanted.reference(&format!("{META}.APIResourceList"));
        let id = format!("get{}{}APIResources", camel_group(self.group), upper_first(self.version));
        json!({"get": {"tags": [self.tag], "operationId": id, "responses": responses(&of, &[], false)}})
    }

    /// The name of the definition of a kind.
    fn definition(&mut self, group: &str, version: &str, kind: &str, custom: bool) -> Json {
        let known = if custom && group == self.group { None } else { schema::by_gvk(group, version, kind) };
        match known {
            Some(of) => self.wanted.reference(&of.name),
            None => super::schemas::reference(&definition_name(group, version, kind)),
        }
    }

    fn resource(&mut self, base: &str, entry: &Entry<'_>, out: &mut Map<String, Json>) {
        let (row, custom) = (entry.row, entry.custom.is_some());
        let kind = &*row.kind;
        let plural = &*row.resource;
        let namespaced = if row.namespaced { "Namespaced" } else { "" };
        let object = self.definition(self.group, self.version, kind, custom);
        let list = row
            .verbs
            .iter()
            .any(|v| &**v == "list")
            .then(|| self.definition(self.group, self.version, &format!("{kind}List"), custom));
        let has = |verb: &str| row.verbs.iter().any(|v| &**v == verb);
        let root = if row.namespaced {
            format!("{base}namespaces/{{namespace}}/{plural}")
        } else {
            format!("{base}{plural}")
        };
        let of = (self.group, self.version, kind);
        let id = |of: &str| format!("{namespaced}{of}");
        let status = self.wanted.reference(&format!("{META}.Status"));
        if has("watch") && !custom {
            self.wanted.reference(&format!("{META}.WatchEvent"));
        }
        let mut collection = Vec::new();
        if let Some(list) = list.as_ref() {
            let op = Op {
                method: "get",
                action: "list",
                id: "list",
                kind: of,
                body: None,
                codes: &[],
                parameters: LIST,
            };
            collection.push(self.operation(op, &id(kind), list));
        }
        if has("create") {
            let op = Op {
                method: "post",
                action: "post",
                id: "create",
                kind: of,
                body: Some(object.clone()),
                codes: &[201, 202],
                parameters: WRITE,
            };
            collection.push(self.operation(op, &id(kind), &object));
        }
        if has("deletecollection") {
            let body = Some(self.wanted.reference(&format!("{META}.DeleteOptions")));
            let op = Op {
                method: "delete",
                action: "deletecollection",
                id: "delete",
                kind: of,
                body,
                codes: &[],
                parameters: DELETE,
            };
            collection.push(self.operation(op, &format!("Collection{}", id(kind)), &status));
        }
        put(out, root.clone(), collection, row.namespaced, None);
        if let (true, Some(list)) = (row.namespaced, &list) {
            let op = Op {
                method: "get",
                action: "list",
                id: "list",
                kind: of,
                body: None,
                codes: &[],
                parameters: LIST,
            };
            let all = self.operation(op, &format!("{kind}ForAllNamespaces"), list);
            put(out, format!("{base}{plural}"), vec![all], false, None);
        }
        let item = format!("{root}/{{name}}");
        let operations = self.item(&row.verbs, of, &id(kind), &object, &status, custom);
        put(out, item.clone(), operations, row.namespaced, Some("name"));
        for sub in &row.subresources {
            self.subresource(&item, entry, sub, &id(kind), out);
        }
    }

    fn item(
        &mut self,
        verbs: &[std::sync::Arc<str>],
        of: (&str, &str, &str),
        id: &str,
        object: &Json,
        status: &Json,
        custom: bool,
    ) -> Vec<(&'static str, Json)> {
        let has = |verb: &str| verbs.iter().any(|v| &**v == verb);
        let mut out = Vec::new();
        if has("get") {
            let op = Op {
                method: "get",
                action: "get",
                id: "read",
                kind: of,
                body: None,
                codes: &[],
                parameters: &[],
            };
            out.push(self.operation(op, id, object));
        }
        if has("update") {
            let op = Op {
                method: "put",
                action: "put",
                id: "replace",
                kind: of,
                body: Some(object.clone()),
                codes: &[201],
                parameters: WRITE,
            };
            out.push(self.operation(op, id, object));
        }
        if has("delete") {
            let body = Some(self.wanted.reference(&format!("{META}.DeleteOptions")));
            let op = Op {
                method: "delete",
                action: "delete",
                id: "delete",
                kind: of,
                body,
                codes: &[202],
                parameters: DELETE,
            };
            out.push(self.operation(op, id, status));
        }
        if has("patch") {
            out.push(self.patch(of, id, object, custom));
        }
        out
    }

    fn patch(
        &mut self,
        of: (&str, &str, &str),
        id: &str,
        object: &Json,
        custom: bool,
    ) -> (&'static str, Json) {
        let op = Op {
            method: "patch",
            action: "patch",
            id: "patch",
            kind: of,
            body: None,
            codes: &[201],
            parameters: PATCH,
        };
        let (method, mut operation) = self.operation(op, id, object);
        let patch = self.wanted.reference(&format!("{META}.Patch"));
        let mut media = vec![
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
        ];
        if !custom {
            media.push("application/strategic-merge-patch+json");
        }
        let content: Map<String, Json> =
            media.into_iter().map(|m| (m.to_owned(), json!({ "schema": patch }))).collect();
        operation["requestBody"] = json!({"content": content, "required": true});
        (method, operation)
    }

    fn subresource(
        &mut self,
        item: &str,
        entry: &Entry<'_>,
        sub: &Subresource,
        id: &str,
        out: &mut Map<String, Json>,
    ) {
        let row = entry.row;
        let (group, version) = if sub.version.is_empty() {
            (self.group.to_owned(), self.version.to_owned())
        } else {
            (sub.group.to_string(), sub.version.to_string())
        };
        let custom = entry.custom.is_some() && sub.version.is_empty();
        let of = (&*group, &*version, &*sub.kind);
        if sub.kind.ends_with("Options") {
            let operations = self.connect(&sub.verbs, of, &format!("{id}{}", upper_first(&sub.name)));
            put(out, format!("{item}/{}", sub.name), operations, row.namespaced, Some("name"));
            return;
        }
        let camel: String = sub.name.split('/').map(upper_first).collect();
        let id = format!("{id}{camel}");
        let object = self.definition(&group, &version, &sub.kind, custom);
        let status = self.wanted.reference(&format!("{META}.Status"));
        let mut operations = self.item(&sub.verbs, of, &id, &object, &status, entry.custom.is_some());
        if sub.verbs.iter().any(|v| &**v == "create") {
            let op = Op {
                method: "post",
                action: "post",
                id: "create",
                kind: of,
                body: Some(object.clone()),
                codes: &[201, 202],
                parameters: WRITE,
            };
            operations.push(self.operation(op, &id, &object));
        }
        put(out, format!("{item}/{}", sub.name), operations, row.namespaced, Some("name"));
    }

    /// Upgrades and proxies: every method, no objects.
    fn connect(
        &self,
        verbs: &[std::sync::Arc<str>],
        of: (&str, &str, &str),
        id: &str,
    ) -> Vec<(&'static str, Json)> {
        let methods =
            [("get", "get"), ("create", "post"), ("update", "put"), ("patch", "patch"), ("delete", "delete")];
        let asked = methods.into_iter().filter(|(verb, _)| verbs.iter().any(|v| &**v == *verb));
        let (group, version, kind) = of;
        let operation = |method: &str| {
            let id = format!(
                "connect{}{}{}{id}",
                camel_group(self.group),
                upper_first(self.version),
                upper_first(method)
            );
            json!({
                "tags": [self.tag],
                "operationId": id,
                "responses": {
                    "200": {"description": "OK", "content": {"*/*": {"schema": {"type": "string"}}}},
                    "401": {"description": "Unauthorized"},
                },
                "x-kubernetes-action": "connect",
                "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
            })
        };
        asked.map(|(_, method)| (method, operation(method))).collect()
    }

    fn operation(&self, op: Op<'_>, id: &str, answer: &Json) -> (&'static str, Json) {
        let mut out = Map::new();
        out.insert("tags".into(), json!([self.tag]));
        let id = format!("{}{}{}{id}", op.id, camel_group(self.group), upper_first(self.version));
        out.insert("operationId".into(), id.into());
        if !op.parameters.is_empty() {
            out.insert("parameters".into(), op.parameters.iter().map(|p| parameter(p)).collect());
        }
        if let Some(body) = op.body {
            let required = op.method != "delete";
            let mut of = json!({"content": {"*/*": {"schema": body}}});
            if required {
                of["required"] = true.into();
            }
            out.insert("requestBody".into(), of);
        }
        out.insert("responses".into(), responses(answer, op.codes, op.action == "list"));
        let (group, version, kind) = op.kind;
        out.insert("x-kubernetes-action".into(), op.action.into());
        out.insert(
            "x-kubernetes-group-version-kind".into(),
            json!({"group": group, "version": version, "kind": kind}),
        );
        (op.method, Json::Object(out))
    }
}

fn responses(answer: &Json, more: &[u16], watch: bool) -> Json {
    let mut media: Vec<&str> = MEDIA.to_vec();
    if watch {
        media.extend(["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"]);
        media.sort_unstable();
    }
    let content: Map<String, Json> =
        media.into_iter().map(|m| (m.to_owned(), json!({ "schema": answer }))).collect();
    let mut out = Map::new();
    for (code, text) in [(200, "OK"), (201, "Created"), (202, "Accepted")] {
        if code == 200 || more.contains(&code) {
            out.insert(code.to_string(), json!({"description": text, "content": content}));
        }
    }
    out.insert("401".into(), json!({"description": "Unauthorized"}));
    Json::Object(out)
}

fn put(
    out: &mut Map<String, Json>,
    path: String,
    operations: Vec<(&'static str, Json)>,
    namespaced: bool,
    name: Option<&str>,
) {
    if operations.is_empty() {
        return;
    }
    let mut of: Map<String, Json> =
        operations.into_iter().map(|(method, op)| (method.to_owned(), op)).collect();
    let mut parameters: Vec<Json> = name.into_iter().map(in_path).collect();
    if namespaced {
        parameters.push(in_path("namespace"));
    }
    parameters.push(parameter("pretty"));
    of.insert("parameters".into(), parameters.into());
    out.insert(path, Json::Object(of));
}
