//! OpenAPI v2 in protobuf: the messages of gnostic's `openapi.v2`, which kubectl and client-go ask for. A tree of JSON
//! goes in, so that both encodings come from one description.
//!
//! Deliberately absent: what upstream's documents never have (headers, forms, examples, OAuth).

use serde_json::Value as Json;

use crate::proto::wire;

/// How a field of JSON lies in its message.
enum As {
    Text,
    Texts,
    Bool,
    Int,
    Double,
    /// Any value: its JSON as YAML.
    Any,
    Anys,
    Message(&'static Message),
    Messages(&'static Message),
    /// A message of (name, message) pairs.
    Named(&'static Message),
    /// A type or a list of them.
    Type,
    /// A message that holds one or many schemas.
    Items,
    /// A schema or a boolean.
    SchemaOrBool,
    Parameters,
    Responses,
    /// The schema of an answer.
    Content,
}

struct Message {
    /// (JSON, tag, how), by rising tag.
    fields: &'static [(&'static str, u32, As)],
    /// The tag of `x-` fields; 0 for none.
    extensions: u32,
}

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, As::Text),
        ("format", 2, As::Text),
        ("title", 3, As::Text),
        ("description", 4, As::Text),
        ("default", 5, As::Any),
        ("multipleOf", 6, As::Double),
        ("maximum", 7, As::Double),
        ("exclusiveMaximum", 8, As::Bool),
        ("minimum", 9, As::Double),
        ("exclusiveMinimum", 10, As::Bool),
        ("maxLength", 11, As::Int),
        ("minLength", 12, As::Int),
        ("pattern", 13, As::Text),
        ("maxItems", 14, As::Int),
        ("minItems", 15, As::Int),
        ("uniqueItems", 16, As::Bool),
        ("maxProperties", 17, As::Int),
        ("minProperties", 18, As::Int),
        ("required", 19, As::Texts),
        ("enum", 20, As::Anys),
        ("additionalProperties", 21, As::SchemaOrBool),
        ("type", 22, As::Type),
        ("items", 23, As::Items),
        ("allOf", 24, As::Messages(&SCHEMA)),
        ("properties", 25, As::Named(&SCHEMA)),
        ("readOnly", 27, As::Bool),
        ("externalDocs", 29, As::Message(&EXTERNAL_DOCS)),
        ("example", 30, As::Any),
    ],
    extensions: 31,
};

static EXTERNAL_DOCS: Message =
    Message { fields: &[("description", 1, As::Text), ("url", 2, As::Text)], extensions: 3 };

static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 2, As::Message(&OPERATION)),
        ("put", 3, As::Message(&OPERATION)),
        ("post", 4, As::Message(&OPERATION)),
        ("delete", 5, As::Message(&OPERATION)),
        ("options", 6, As::Message(&OPERATION)),
        ("head", 7, As::Message(&OPERATION)),
        ("patch", 8, As::Message(&OPERATION)),
        ("parameters", 9, As::Parameters),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, As::Texts),
        ("summary", 2, As::Text),
        ("description", 3, As::Text),
        ("externalDocs", 4, As::Message(&EXTERNAL_DOCS)),
        ("operationId", 5, As::Text),
        ("produces", 6, As::Texts),
        ("consumes", 7, As::Texts),
        ("parameters", 8, As::Parameters),
        ("responses", 9, As::Responses),
        ("schemes", 10, As::Texts),
        ("deprecated", 11, As::Bool),
    ],
    extensions: 13,
};

static RESPONSE: Message =
    Message { fields: &[("description", 1, As::Text), ("schema", 2, As::Content)], extensions: 5 };

static REFERENCE: Message =
    Message { fields: &[("$ref", 1, As::Text), ("description", 2, As::Text)], extensions: 0 };

static BODY: Message = Message {
    fields: &[
        ("description", 1, As::Text),
        ("name", 2, As::Text),
        ("in", 3, As::Text),
        ("required", 4, As::Bool),
        ("schema", 5, As::Message(&SCHEMA)),
    ],
    extensions: 6,
};

static IN_PATH: Message = Message {
    fields: &[
        ("required", 1, As::Bool),
        ("in", 2, As::Text),
        ("description", 3, As::Text),
        ("name", 4, As::Text),
        ("type", 5, As::Text),
        ("format", 6, As::Text),
        ("uniqueItems", 19, As::Bool),
    ],
    extensions: 22,
};

static IN_QUERY: Message = Message {
    fields: &[
        ("required", 1, As::Bool),
        ("in", 2, As::Text),
        ("description", 3, As::Text),
        ("name", 4, As::Text),
        ("type", 6, As::Text),
        ("format", 7, As::Text),
        ("uniqueItems", 20, As::Bool),
    ],
    extensions: 23,
};

static INFO: Message = Message { fields: &[("title", 1, As::Text), ("version", 2, As::Text)], extensions: 7 };

static API_KEY: Message = Message {
    fields: &[
        ("type", 1, As::Text),
        ("name", 2, As::Text),
        ("in", 3, As::Text),
        ("description", 4, As::Text),
    ],
    extensions: 5,
};

/// Tags of a document.
pub(super) const SWAGGER: u32 = 1;
pub(super) const INFORMATION: u32 = 2;
pub(super) const PATHS: u32 = 8;
pub(super) const DEFINITIONS: u32 = 9;
pub(super) const PARAMETERS: u32 = 10;
pub(super) const SECURITY: u32 = 12;
pub(super) const SECURITY_DEFINITIONS: u32 = 13;

/// Of (name, value) pairs.
const NAME: u32 = 1;
const VALUE: u32 = 2;

pub(super) fn info(out: &mut Vec<u8>, of: &Json) {
    wire::message(out, INFORMATION, |out| write(out, &INFO, of));
}

/// One of `paths`: a pair within that message.
pub(super) fn path(out: &mut Vec<u8>, name: &str, of: &Json) {
    named(out, 2, name, |out| write(out, &PATH_ITEM, of));
}

/// One of `definitions`.
pub(super) fn definition(out: &mut Vec<u8>, name: &str, of: &Json) {
    named(out, 1, name, |out| write(out, &SCHEMA, of));
}

/// One of `parameters`.
pub(super) fn parameter(out: &mut Vec<u8>, name: &str, of: &Json) {
    named(out, 1, name, |out| self::any_parameter(out, of));
}

/// One of `securityDefinitions`, which is an API key.
pub(super) fn api_key(out: &mut Vec<u8>, name: &str, of: &Json) {
    named(out, 1, name, |out| wire::message(out, 2, |out| write(out, &API_KEY, of)));
}

/// One of `security`: a scheme without scopes.
pub(super) fn requirement(out: &mut Vec<u8>, name: &str) {
    wire::message(out, SECURITY, |out| named(out, 1, name, |_| ()));
}

fn named(out: &mut Vec<u8>, tag: u32, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    wire::message(out, tag, |out| {
        wire::bytes(out, NAME, name.as_bytes());
        wire::message(out, VALUE, value);
    });
}

fn any(out: &mut Vec<u8>, tag: u32, of: &Json) {
    wire::message(out, tag, |out| wire::bytes(out, 2, format!("{of}\n").as_bytes()));
}

fn write(out: &mut Vec<u8>, message: &Message, of: &Json) {
    let Some(map) = of.as_object() else { return };
    for (name, tag, how) in message.fields {
        if let Some(value) = map.get(*name) {
            field(out, *tag, how, value);
        }
    }
    let extensions = map.iter().filter(|(name, _)| message.extensions != 0 && name.starts_with("x-"));
    for (name, value) in extensions {
        wire::message(out, message.extensions, |out| {
            wire::bytes(out, NAME, name.as_bytes());
            any(out, VALUE, value);
        });
    }
}

fn text(out: &mut Vec<u8>, tag: u32, of: &Json) {
    of.as_str().filter(|t| !t.is_empty()).into_iter().for_each(|t| wire::bytes(out, tag, t.as_bytes()));
}

/// A list's items; anything else is the only one.
fn items(of: &Json) -> &[Json] {
    of.as_array().map_or(std::slice::from_ref(of), Vec::as_slice)
}

fn pairs(of: &Json) -> impl Iterator<Item = (&String, &Json)> {
    of.as_object().into_iter().flatten()
}

fn field(out: &mut Vec<u8>, tag: u32, how: &As, of: &Json) {
    match how {
        As::Text => text(out, tag, of),
        As::Texts => items(of).iter().for_each(|t| text(out, tag, t)),
        As::Bool => of.as_bool().filter(|b| *b).into_iter().for_each(|_| wire::number(out, tag, 1)),
        As::Int => {
            let whole = of.as_i64().or_else(|| of.as_f64().map(|n| n as i64));
            whole.filter(|n| *n != 0).into_iter().for_each(|n| wire::number(out, tag, n));
        }
        As::Double => double(out, tag, of),
        As::Any => any(out, tag, of),
        As::Anys => items(of).iter().for_each(|v| any(out, tag, v)),
        As::Message(message) => wire::message(out, tag, |out| write(out, message, of)),
        As::Messages(message) => {
            items(of).iter().for_each(|v| wire::message(out, tag, |out| write(out, message, v)));
        }
        As::Named(message) => wire::message(out, tag, |out| {
            pairs(of).for_each(|(name, v)| named(out, 1, name, |out| write(out, message, v)));
        }),
        As::Type => wire::message(out, tag, |out| items(of).iter().for_each(|t| text(out, 1, t))),
        As::Items => wire::message(out, tag, |out| {
            items(of).iter().for_each(|v| wire::message(out, 1, |out| write(out, &SCHEMA, v)));
        }),
        As::SchemaOrBool => wire::message(out, tag, |out| match of {
            Json::Bool(allowed) => wire::number(out, 2, i64::from(*allowed)),
            schema => wire::message(out, 1, |out| write(out, &SCHEMA, schema)),
        }),
        As::Parameters => items(of).iter().for_each(|p| wire::message(out, tag, |out| any_place(out, p))),
        As::Responses => wire::message(out, tag, |out| {
            let answer = |out: &mut Vec<u8>, v| wire::message(out, 1, |out| write(out, &RESPONSE, v));
            pairs(of).for_each(|(code, v)| named(out, 1, code, |out| answer(out, v)));
        }),
        As::Content => wire::message(out, tag, |out| wire::message(out, 1, |out| write(out, &SCHEMA, of))),
    }
}

fn double(out: &mut Vec<u8>, tag: u32, of: &Json) {
    if let Some(n) = of.as_f64().filter(|n| *n != 0.0) {
        wire::key(out, tag, 1);
        out.extend_from_slice(&n.to_le_bytes());
    }
}

/// A parameter, or a reference to one.
fn any_place(out: &mut Vec<u8>, of: &Json) {
    match of.get("$ref") {
        Some(_) => wire::message(out, 2, |out| write(out, &REFERENCE, of)),
        None => wire::message(out, 1, |out| any_parameter(out, of)),
    }
}

fn any_parameter(out: &mut Vec<u8>, of: &Json) {
    let other = |out: &mut Vec<u8>, tag, message| {
        wire::message(out, 2, |out| wire::message(out, tag, |out| write(out, message, of)));
    };
    match of["in"].as_str().unwrap_or_default() {
        "body" => wire::message(out, 1, |out| write(out, &BODY, of)),
        "path" => other(out, 4, &IN_PATH),
        _ => other(out, 3, &IN_QUERY),
    }
}
