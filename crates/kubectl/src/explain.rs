//! `kubectl explain`, from the server's OpenAPI v3.
//!
//! Deliberately absent: `--output=plaintext-openapiv2`.

use api::Value;

use crate::args::Flags;
use crate::error::{Error, Result};
use crate::mapper::Resource;
use crate::server::Ask;
use crate::{Context, output};

const FLAGS: &str = "recursive api-version= output,o=";
/// Where upstream breaks lines.
const WIDTH: usize = 80;

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("explain", FLAGS, arguments)?;
    if !matches!(flags.text("output"), "" | "plaintext") {
        return Err(Error::not_built(format!("explain -o {}", flags.text("output"))));
    }
    let word = match flags.words.as_slice() {
        [] => {
            return Err(Error::plain(
                "You must specify the type of resource to explain. Use \"kubectl api-resources\" for a complete list of supported resources.",
            ));
        }
        [word] => word,
        _ => {
            return Err(Error::plain(
                "We accept only this format: explain RESOURCE\nSee 'kubectl explain -h' for help and examples",
            ));
        }
    };
    let context = Context::new(&flags).await?;
    let (resource, fields) = resource_and_fields(&context, word, flags.text("api-version"))?;
    let root = if resource.group.is_empty() { "api" } else { "apis" };
    let document =
        context.server.value(&Ask::get(format!("/openapi/v3/{root}/{}", resource.api_version()))).await?;
    let schemas = Schemas(document.at(&["components", "schemas"]));
    let top = schemas
        .of_kind(&resource)
        .ok_or_else(|| Error::Plain(format!("couldn't find resource for {:?}", resource.api_version())))?;
    output::write(&schemas.explain(&resource, top, &fields, flags.on("recursive"))?);
    Ok(())
}

/// `deploy.spec.template`: what comes before the first dot may be a resource with its group.
fn resource_and_fields(context: &Context, word: &str, version: &str) -> Result<(Resource, Vec<String>)> {
    let parts: Vec<&str> = word.trim_end_matches('.').split('.').collect();
    let at = |n: usize| context.mapper.resource(&parts[..n].join("."));
    // The longest name with a group that is one; the first word alone otherwise.
    let long = (2..=parts.len()).rev().find_map(|n| Some((at(n).ok()?, n)));
    let (found, used) = match (at(1), long) {
        (Ok(found), None) => (found, 1),
        (_, Some(long)) => long,
        (Err(error), None) => return Err(Error::Bare(error.to_string())),
    };
    let mut resource = (*found).clone();
    if !version.is_empty() {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let fits = |r: &&std::rc::Rc<Resource>| {
            r.group == group && r.version == version && r.plural == resource.plural
        };
        let other = context.mapper.resources.iter().find(fits);
        resource = (**other.ok_or_else(|| {
            Error::Plain(format!(
                "couldn't find resource for \"{group}/{version}, Resource={}\"",
                resource.plural
            ))
        })?)
        .clone();
    }
    Ok((resource, parts[used..].iter().map(|p| (*p).to_owned()).collect()))
}

struct Schemas<'a>(Option<&'a Value>);

impl<'a> Schemas<'a> {
    fn of_kind(&self, resource: &Resource) -> Option<&'a Value> {
        let is = |v: &&Value| {
            v.list_at(&["x-kubernetes-group-version-kind"]).iter().any(|g| {
                g.str_at(&["group"]) == resource.group
                    && g.str_at(&["version"]) == resource.version
                    && g.str_at(&["kind"]) == resource.kind
            })
        };
        self.0?.as_map()?.iter().map(|(_, v)| v).find(is)
    }

    /// Follows `$ref` and an `allOf` of one.
    fn resolve(&self, mut schema: &'a Value) -> &'a Value {
        for _ in 0..8 {
            let by = match schema.list_at(&["allOf"]) {
                [one] => one.str_at(&["$ref"]),
                _ => schema.str_at(&["$ref"]),
            };
            match by.rsplit_once('/').and_then(|(_, name)| self.0?.get(name)) {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }

    /// What a field holds, with the lists and maps around it taken off.
    fn element(&self, schema: &'a Value) -> &'a Value {
        let resolved = self.resolve(schema);
        match (resolved.get("items"), resolved.get("additionalProperties")) {
            (Some(items), _) => self.element(items),
            (_, Some(values)) if values.as_map().is_some() => self.element(values),
            _ => resolved,
        }
    }

    /// What is said of a field, then of the type that it holds, each with a line break behind it.
    fn descriptions(&self, schema: &'a Value, out: &mut String) {
        let resolved = match schema.str_at(&["$ref"]).rsplit_once('/') {
            Some((_, name)) => self.0.and_then(|all| all.get(name)).unwrap_or(schema),
            None => schema,
        };
        let own = resolved.str_at(&["description"]);
        if !own.is_empty() {
            *out += own;
            out.push('\n');
        }
        let values = resolved.get("additionalProperties").filter(|v| v.as_map().is_some());
        for below in resolved.list_at(&["allOf"]).iter().chain(resolved.get("items")).chain(values) {
            self.descriptions(below, out);
        }
    }

    /// `<[]Container>`, `<map[string]string>`, `<PodSpec>`.
    fn type_of(&self, schema: &'a Value) -> String {
        let resolved = self.resolve(schema);
        if let Some(items) = resolved.get("items") {
            return format!("[]{}", self.type_of(items));
        }
        if let Some(values) = resolved.get("additionalProperties").filter(|v| v.as_map().is_some()) {
            return format!("map[string]{}", self.type_of(values));
        }
        let by = match schema.list_at(&["allOf"]) {
            [one] => one.str_at(&["$ref"]),
            _ => schema.str_at(&["$ref"]),
        };
        let kind = resolved.str_at(&["type"]);
        if kind == "string" && resolved.str_at(&["format"]) == "date-time" {
            return "string".into();
        }
        match by.rsplit_once('.') {
            Some((_, name)) if kind == "object" || kind.is_empty() || name.len() > 1 => name.to_owned(),
            _ if kind == "object" => "Object".into(),
            _ if kind.is_empty() => "Object".into(),
            _ => kind.to_owned(),
        }
    }

    fn explain(
        &self,
        resource: &Resource,
        top: &'a Value,
        fields: &[String],
        recursive: bool,
    ) -> Result<String> {
        let mut out = String::new();
        if !resource.group.is_empty() {
            out += &format!("GROUP:      {}\n", resource.group);
        }
        out += &format!("KIND:       {}\nVERSION:    {}\n\n", resource.kind, resource.version);
        let (mut here, mut shown) = (top, None);
        for field in fields {
            let of = self.element(here);
            let Some(next) = of.at(&["properties", field]) else {
                output::write(&out);
                return Err(Error::Plain(format!("field {field:?} does not exist")));
            };
            here = next;
            shown = Some(field);
        }
        if let Some(field) = shown {
            out += &format!("FIELD: {field} <{}>\n", self.type_of(here));
            if let Some(values) = here.get("enum").and_then(Value::as_list) {
                let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                out += &format!("ENUM:\n    {}\n", values.join("\n    "));
            } else {
                out.push('\n');
            }
        }
        out += "\nDESCRIPTION:\n";
        if shown.is_none() {
            out = out.replacen("\n\nDESCRIPTION", "\nDESCRIPTION", 1);
        }
        let (mut said, of) = (String::new(), self.element(here));
        self.descriptions(here, &mut said);
        paragraphs(&mut out, if said.is_empty() { "<empty>" } else { &said }, 4);
        external_docs(&mut out, self.resolve(here), 0);
        if of.at(&["properties"]).is_some() {
            out += "FIELDS:\n";
            self.fields(&mut out, of, 2, recursive, &mut Vec::new());
        }
        out.push('\n');
        Ok(out)
    }

    fn fields(
        &self,
        out: &mut String,
        of: &'a Value,
        depth: usize,
        recursive: bool,
        above: &mut Vec<*const Value>,
    ) {
        let required: Vec<&str> = of.list_at(&["required"]).iter().filter_map(Value::as_str).collect();
        let map = of.at(&["properties"]).and_then(Value::as_map);
        let mut properties: Vec<(&str, &'a Value)> =
            map.into_iter().flat_map(|m| m.iter()).map(|(k, v)| (&**k, v)).collect();
        properties.sort_by_key(|(name, _)| *name);
        for (name, schema) in properties {
            let needed = if required.contains(&name) { " -required-" } else { "" };
            *out += &format!("{}{name}\t<{}>{needed}\n", " ".repeat(depth), self.type_of(schema));
            if let Some(values) = schema.get("enum").and_then(Value::as_list) {
                let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                let more = if values.len() > 4 { ", ...." } else { "" };
                let first = &values[..values.len().min(4)];
                *out += &format!("{}enum: {}{more}\n", " ".repeat(depth), first.join(", "));
            }
            if !recursive {
                let text = schema.str_at(&["description"]);
                paragraphs(out, if text.is_empty() { "<no description>" } else { text }, depth + 2);
                external_docs(out, schema, depth + 2);
                out.push('\n');
                continue;
            }
            let below = self.element(schema);
            // A schema may hold itself (JSONSchemaProps).
            if below.at(&["properties"]).is_some() && !above.contains(&std::ptr::from_ref(below)) {
                above.push(below);
                self.fields(out, below, depth + 2, true, above);
                above.pop();
            }
        }
    }
}

/// Where more is said of a schema.
fn external_docs(out: &mut String, of: &Value, indent: usize) {
    let Some(docs) = of.get("externalDocs") else { return };
    let pad = " ".repeat(indent);
    *out += &format!("\n{pad}EXTERNAL DOCS:\n");
    let inner = if indent == 0 { 4 } else { indent + 2 };
    let (text, url) = (docs.str_at(&["description"]), docs.str_at(&["url"]));
    if !text.is_empty() {
        paragraphs(out, text, inner);
    }
    if !url.is_empty() {
        *out += &format!("{}URL: {url}\n", " ".repeat(inner));
    }
}

/// Text broken at blanks, each line indented. Blanks within a line stay as they are.
fn paragraphs(out: &mut String, text: &str, indent: usize) {
    let (pad, room) = (" ".repeat(indent), WIDTH - indent);
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for part in paragraph.split_inclusive(' ').fold(Vec::new(), with_blanks) {
            let word = part.trim_start_matches(' ');
            let before = line.chars().count() + part.len() - word.len();
            if before + word.chars().count() > room && before > 1 {
                *out += &format!("{pad}{line}\n");
                line.clear();
                line.push_str(word);
            } else {
                line.push_str(&part);
            }
        }
        *out += &format!("{pad}{line}\n");
    }
}

/// Words with the blanks before them.
fn with_blanks(mut words: Vec<String>, piece: &str) -> Vec<String> {
    let word = piece.trim_end_matches(' ');
    match words.last_mut() {
        Some(last) if last.trim_matches(' ').is_empty() => last.push_str(word),
        _ => words.push(word.to_owned()),
    }
    if word.len() < piece.len() {
        match words.last_mut() {
            Some(last) if word.is_empty() => last.push(' '),
            _ => words.push(" ".into()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    #[test]
    fn fields_of_a_kind_and_below() {
        let schemas = value!({
            "x.Thing": {"type": "object", "description": "A thing.", "required": ["spec"], "properties": {
                "kind": {"type": "string"}, "spec": {"allOf": [{"$ref": "#/components/schemas/x.ThingSpec"}], "description": "What it is."},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}}},
                "x-kubernetes-group-version-kind": [{"group": "g", "version": "v1", "kind": "Thing"}]},
            "x.ThingSpec": {"type": "object", "properties": {"parts": {"type": "array", "items": {"$ref": "#/components/schemas/x.Part"}}}},
            "x.Part": {"type": "object", "properties": {"n": {"type": "integer"}, "mode": {"type": "string", "enum": ["A", "B"]}}}});
        let schemas = Schemas(Some(&schemas));
        let resource =
            Resource { group: "g".into(), version: "v1".into(), kind: "Thing".into(), ..Resource::default() };
        let top = schemas.of_kind(&resource).unwrap();
        let text = schemas.explain(&resource, top, &[], false).unwrap();
        let want = "GROUP:      g\nKIND:       Thing\nVERSION:    v1\n\nDESCRIPTION:\n    A thing.\n    \nFIELDS:\n  \
            kind\t<string>\n    <no description>\n\n  labels\t<map[string]string>\n    <no description>\n\n  spec\t<ThingSpec> -required-\n    What it is.\n\n\n";
        assert_eq!(text, want);
        let parts = schemas.explain(&resource, top, &["spec".into(), "parts".into()], true).unwrap();
        assert!(parts.contains("FIELD: parts <[]Part>\n\n\nDESCRIPTION:"), "{parts}");
        assert!(parts.contains("FIELDS:\n  mode\t<string>\n  enum: A, B\n  n\t<integer>\n"), "{parts}");
        let error = schemas.explain(&resource, top, &["nope".into()], false).unwrap_err().to_string();
        assert_eq!(error, "field \"nope\" does not exist");
    }

    #[test]
    fn long_text_is_broken() {
        let mut out = String::new();
        paragraphs(&mut out, &"word ".repeat(40), 4);
        assert!(out.lines().all(|l| l.len() <= 80 && l.starts_with("    word")), "{out}");
        let mut out = String::new();
        paragraphs(&mut out, &format!("a   b {} c", "x".repeat(72)), 4);
        assert_eq!(out, format!("    a   b\n    {} c\n", "x".repeat(72)));
        let mut out = String::new();
        paragraphs(&mut out, &format!("More: {}", "x".repeat(99)), 4);
        assert_eq!(out, format!("    More:\n    {}\n", "x".repeat(99)));
    }
}
