//! Answers without what is different at each run: identities, versions, times, addresses and ports that a server
//! chooses, keys. A body becomes a tree; one that is no JSON is decoded where it can be, and else stays text.

use std::sync::LazyLock;

use api::codec::{self, Media};
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::exchange::Answer;

/// A pattern of text and what takes its place.
type Rule = (Regex, &'static str);

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rules = [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", "<time>"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
        (r"eyJ[\w-]{8,}\.eyJ[\w-]+\.[\w-]+", "<token>"),
        (r"kube-api-access-\w{5}", "kube-api-access-<random>"),
        (r"\bcurrent: \d+", "current: <version>"),
        (r"resource version: (\d+) \(\d+\)", "resource version: <version> (<version>)"),
        (r"(in precondition: |object meta: |in record \()\d+", "$1<version>"),
        (r"\b(\d+):3[0-2]\d{3}/(TCP|UDP)", "$1:<port>/$2"),
        (r#"("resourceVersion\\?":\\?")\d+"#, "$1<version>"),
        (r#"(resourceVersion: "?)\d+"#, "$1<version>"),
        // Whichever of several bindings that allow it upstream comes across first.
        (r#"(ClusterRole(?:Binding)?) "system:(?:discovery|public-info-viewer)""#, "$1 <one that allows it>"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:<port>"),
    ];
    rules.into_iter().filter_map(|(from, to)| Some((Regex::new(from).ok()?, to))).collect()
});

static SERVICE_IP: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\b10\.96\.\d+\.\d+\b").ok());

/// The compared form of an answer to a request with this body.
pub fn of(answer: &Answer, request: &str, unordered: &[String]) -> Value {
    let mut body = tree(answer);
    for at in unordered {
        if let Some(Value::Array(list)) = body.pointer_mut(at) {
            list.sort_by_key(ToString::to_string);
        }
    }
    let body = Normal { request, generated: generated(request) }.value(body);
    let headers: Vec<Value> =
        answer.headers.iter().map(|(name, value)| json!(format!("{name}: {}", text(value)))).collect();
    json!({"code": answer.code, "headers": headers, "body": body})
}

fn tree(answer: &Answer) -> Value {
    let content_type =
        answer.headers.iter().find(|(n, _)| n == "content-type").map_or("", |(_, v)| v.as_str());
    let kind = content_type.split(';').next().unwrap_or_default();
    let decoded = match Media::parse(kind) {
        Some(media @ (Media::Protobuf | Media::Cbor)) => decode(&answer.body, media),
        _ => None,
    };
    if let Some(value) = decoded {
        return value;
    }
    let mut documents: Vec<Value> = Vec::new();
    for document in serde_json::Deserializer::from_slice(&answer.body).into_iter() {
        match document {
            Ok(value) => documents.push(value),
            Err(_) => return Value::String(String::from_utf8_lossy(&answer.body).into_owned()),
        }
    }
    if documents.len() == 1 { documents.remove(0) } else { Value::Array(documents) }
}

/// A binary body as its JSON, with its media type's own absences.
fn decode(body: &[u8], media: Media) -> Option<Value> {
    let (api_version, kind) = codec::type_meta(body, media).ok()?;
    let (group, version) = api::resources::split(&api_version);
    let of = api::schema::by_gvk(group, version, &kind)?;
    let (value, _) = codec::decode(body, media, &of).ok()?;
    serde_json::from_slice(&codec::encode(&value, Media::Json, &of).ok()?).ok()
}

fn text(text: &str) -> String {
    RULES.iter().fold(text.to_owned(), |text, (from, to)| from.replace_all(&text, *to).into_owned())
}

struct Normal<'a> {
    request: &'a str,
    /// What names begin with that the server makes up for this request.
    generated: Option<Regex>,
}

/// Of an object whose name is to be generated.
fn generated(request: &str) -> Option<Regex> {
    const KEPT: usize = 58;
    let object: Value = serde_json::from_str(request).ok()?;
    let prefix: String = object.pointer("/metadata/generateName")?.as_str()?.chars().take(KEPT).collect();
    Regex::new(&format!("({})[a-z0-9]{{5}}\\b", regex::escape(&prefix))).ok()
}

impl Normal<'_> {
    fn value(&self, value: Value) -> Value {
        match value {
            Value::Object(map) => self.object(map),
            Value::Array(list) => list.into_iter().map(|v| self.value(v)).collect(),
            Value::String(s) => Value::String(self.names(self.addresses(text(&s)))),
            other => other,
        }
    }

    fn object(&self, mut map: Map<String, Value>) -> Value {
        let prefix = map.get("generateName").and_then(Value::as_str).map(str::to_owned);
        if let (Some(prefix), Some(Value::String(name))) = (prefix, map.get_mut("name"))
            && name.starts_with(&prefix)
            && name.len() == prefix.len() + 5
        {
            *name = format!("{prefix}<random>");
        }
        let fields = map.into_iter().map(|(key, value)| {
            let value = self.field(&key, value);
            (text(&key), value)
        });
        Value::Object(fields.collect())
    }

    fn field(&self, key: &str, value: Value) -> Value {
        let own = |v: &Value| !self.request.contains(&v.to_string());
        match (key, &value) {
            ("resourceVersion", Value::String(s)) if !s.is_empty() && s != "0" => json!("<version>"),
            ("cells", Value::Array(_)) => without_ages(self.value(value)),
            ("columnDefinitions", _) => without_prose(self.value(value)),
            ("continue", Value::String(s)) if !s.is_empty() => json!("<continue>"),
            ("nodePort" | "healthCheckNodePort" | "targetPort", Value::Number(_)) if own(&value) => {
                json!("<port>")
            }
            _ => self.value(value),
        }
    }

    fn names(&self, text: String) -> String {
        let Some(pattern) = &self.generated else { return text };
        pattern.replace_all(&text, "$1<random>").into_owned()
    }

    /// Service addresses that the request does not name.
    fn addresses(&self, text: String) -> String {
        let Some(pattern) = &*SERVICE_IP else { return text };
        let one = |found: &regex::Captures<'_>| {
            if self.request.contains(&found[0]) { found[0].to_owned() } else { "<ip>".to_owned() }
        };
        pattern.replace_all(&text, one).into_owned()
    }
}

/// Ages of a row: a request comes a second earlier or later.
fn without_ages(mut cells: Value) -> Value {
    static AGE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^(\d+[dhms])+$").ok());
    let is_age =
        |cell: &Value| AGE.as_ref().zip(cell.as_str()).is_some_and(|(pattern, text)| pattern.is_match(text));
    for cell in cells.as_array_mut().into_iter().flatten().filter(|cell| is_age(cell)) {
        *cell = json!("<age>");
    }
    cells
}

/// What columns of Tables say of themselves is prose, which is each server's own.
fn without_prose(mut columns: Value) -> Value {
    for column in columns.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        if column.contains_key("description") {
            column.insert("description".into(), json!("<prose>"));
        }
    }
    columns
}

/// Where two trees differ: (place, left, right), "" for what is absent.
pub fn differences(left: &Value, right: &Value) -> Vec<(String, String, String)> {
    let mut out = Vec::new();
    walk(left, right, "", &mut out);
    out
}

fn walk(left: &Value, right: &Value, at: &str, out: &mut Vec<(String, String, String)>) {
    let shown = |v: Option<&Value>| v.map(ToString::to_string).unwrap_or_default();
    match (left, right) {
        (Value::Object(l), Value::Object(r)) => {
            let keys = l.keys().chain(r.keys().filter(|k| !l.contains_key(*k)));
            for key in keys {
                match (l.get(key), r.get(key)) {
                    (Some(a), Some(b)) => walk(a, b, &format!("{at}/{key}"), out),
                    (a, b) => out.push((format!("{at}/{key}"), shown(a), shown(b))),
                }
            }
        }
        (Value::Array(l), Value::Array(r)) => {
            for i in 0..l.len().max(r.len()) {
                match (l.get(i), r.get(i)) {
                    (Some(a), Some(b)) => walk(a, b, &format!("{at}/{i}"), out),
                    (a, b) => out.push((format!("{at}/{i}"), shown(a), shown(b))),
                }
            }
        }
        (a, b) if a != b => out.push((at.to_owned(), shown(Some(a)), shown(Some(b)))),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn normal(body: &str, request: &str) -> Value {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let answer = Answer { code: 200, headers, body: body.as_bytes().to_vec().into() };
        of(&answer, request, &[])["body"].clone()
    }

    #[test]
    fn what_a_server_chooses_is_taken_out() {
        let body = r#"{"metadata":{"generateName":"a-","name":"a-x2x2x","uid":"0c1f4ad0-7c3e-4a52-9a4e-0123456789ab","resourceVersion":"7","creationTimestamp":"2024-01-01T00:00:00Z"},"spec":{"clusterIP":"10.96.3.4","nodePort":30001}}"#;
        let expected = json!({"metadata":{"generateName":"a-","name":"a-<random>","uid":"<uid>","resourceVersion":"<version>","creationTimestamp":"<time>"},"spec":{"clusterIP":"<ip>","nodePort":"<port>"}});
        assert_eq!(normal(body, ""), expected);
        assert_eq!(
            normal(body, "10.96.3.4 30001")["spec"],
            json!({"clusterIP":"10.96.3.4","nodePort":30001})
        );
    }

    #[test]
    fn differences_name_their_place() {
        let (a, b) = (json!({"a":[1,2],"b":1}), json!({"a":[1,3,4]}));
        let found: Vec<String> = differences(&a, &b).into_iter().map(|(at, ..)| at).collect();
        assert_eq!(found, ["/a/1", "/a/2", "/b"]);
    }
}
