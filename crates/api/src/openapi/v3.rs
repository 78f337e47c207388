//! Operations as OpenAPI v3 spells them.

use serde_json::{Map, Value as Json, json};

use super::operations::{Answer, Media, Operation, Parameter, PathItem, Place};
use super::schemas::Dialect;

fn parameter(of: &Parameter) -> Json {
    let mut out = Map::new();
    out.insert("name".into(), of.name.as_str().into());
    match of.place {
        Place::Query => out.insert("in".into(), "query".into()),
        Place::Path => {
            out.insert("in".into(), "path".into());
            out.insert("required".into(), true.into())
        }
    };
    out.insert("schema".into(), json!({"type": of.of, "uniqueItems": true}));
    Json::Object(out)
}

fn content(media: Media, schema: &Json) -> Json {
    media.iter().map(|m| ((*m).to_owned(), json!({ "schema": schema }))).collect::<Map<String, Json>>().into()
}

fn operation(of: &Operation) -> Json {
    let mut out = Map::new();
    out.insert("tags".into(), json!([&*of.tag]));
    out.insert("operationId".into(), of.id.as_str().into());
    if !of.parameters.is_empty() {
        out.insert("parameters".into(), of.parameters.iter().map(parameter).collect());
    }
    if let Some((kind, required)) = &of.body {
        let mut body = json!({"content": content(of.consumes, &Dialect::V3.reference(kind))});
        if *required {
            body["required"] = true.into();
        }
        out.insert("requestBody".into(), body);
    }
    let answer = match &of.answer {
        Answer::Kind(kind) => Dialect::V3.reference(kind),
        Answer::Text => json!({"type": "string"}),
    };
    let content = content(of.produces, &answer);
    let answers = of
        .codes
        .iter()
        .map(|code| (code.to_string(), json!({"description": super::meaning(*code), "content": content})));
    let refused = ("401".to_owned(), json!({"description": super::meaning(401)}));
    out.insert("responses".into(), answers.chain([refused]).collect::<Map<_, _>>().into());
    super::extend(&mut out, of);
    Json::Object(out)
}

pub(super) fn path(item: &PathItem) -> Json {
    let mut out: Map<String, Json> =
        item.operations.iter().map(|o| (o.method.to_owned(), operation(o))).collect();
    if !item.parameters.is_empty() {
        out.insert("parameters".into(), item.parameters.iter().map(parameter).collect());
    }
    Json::Object(out)
}
