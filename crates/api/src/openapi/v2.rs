//! Operations as OpenAPI v2 (Swagger 2.0) spells them. Parameters that many operations have stand once, under their name
//! and a hash, as upstream writes them.

use std::collections::BTreeMap;

use base64::Engine;
use serde_json::{Map, Value as Json, json};

use super::operations::{Answer, Operation, Parameter, PathItem, Place};
use super::schemas::Dialect;

/// Parameters by the name under which operations refer to them.
#[derive(Default)]
pub(super) struct Shared(pub BTreeMap<String, Json>);

impl Shared {
    fn reference(&mut self, of: Json) -> Json {
        let text = of.to_string();
        let name = format!("{}-{}", of["name"].as_str().unwrap_or("param"), short_hash(&text));
        let to = json!({"$ref": format!("#/parameters/{name}")});
        self.0.entry(name).or_insert(of);
        to
    }

    /// kubectl up to 1.27 looks for `dryRun` and `fieldValidation` at each operation.
    fn parameter(&mut self, of: &Parameter) -> Json {
        let mut out = json!({"name": of.name.as_str(), "in": "query", "type": of.of, "uniqueItems": true});
        if of.place == Place::Path {
            out["in"] = "path".into();
            out["required"] = true.into();
        }
        match of.name.as_str() {
            "name" | "dryRun" | "fieldValidation" => out,
            _ => self.reference(out),
        }
    }

    fn body(&mut self, kind: &str, required: bool) -> Json {
        let mut out = json!({"name": "body", "in": "body", "schema": Dialect::V2.reference(kind)});
        if required {
            out["required"] = true.into();
        }
        if kind.starts_with("io.k8s.apimachinery") { self.reference(out) } else { out }
    }

    fn operation(&mut self, of: &Operation) -> Json {
        let mut out = Map::new();
        let mut put = |key: &str, list: &[&str]| {
            if !list.is_empty() {
                out.insert(key.into(), list.into());
            }
        };
        put("consumes", of.consumes);
        put("produces", of.produces);
        put("schemes", &["https"]);
        put("tags", &[&of.tag]);
        out.insert("operationId".into(), of.id.as_str().into());
        let body = of.body.as_ref().map(|(kind, required)| self.body(kind, *required));
        let parameters: Vec<Json> =
            body.into_iter().chain(of.parameters.iter().map(|p| self.parameter(p))).collect();
        if !parameters.is_empty() {
            out.insert("parameters".into(), parameters.into());
        }
        let answer = match &of.answer {
            Answer::Kind(kind) => Dialect::V2.reference(kind),
            Answer::Text => json!({"type": "string"}),
        };
        let answers = of
            .codes
            .iter()
            .map(|code| (code.to_string(), json!({"description": super::meaning(*code), "schema": answer})));
        let refused = ("401".to_owned(), json!({"description": super::meaning(401)}));
        out.insert("responses".into(), answers.chain([refused]).collect::<Map<_, _>>().into());
        super::extend(&mut out, of);
        Json::Object(out)
    }

    pub fn path(&mut self, item: &PathItem) -> Json {
        let mut out: Map<String, Json> =
            item.operations.iter().map(|o| (o.method.to_owned(), self.operation(o))).collect();
        if !item.parameters.is_empty() {
            out.insert("parameters".into(), item.parameters.iter().map(|p| self.parameter(p)).collect());
        }
        Json::Object(out)
    }
}

/// Eight signs of an FNV-1 hash.
fn short_hash(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        hash.wrapping_mul(0x0000_0100_0000_01b3) ^ u64::from(byte)
    });
    base64::engine::general_purpose::URL_SAFE.encode(&hash.to_be_bytes()[..6])
}
