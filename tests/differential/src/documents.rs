//! What both servers publish about themselves: OpenAPI v2, every document of OpenAPI v3, discovery plain and aggregated,
//! with the custom resources of `requests/documents.json` among what is served.
//!
//! Descriptions are left out: ours come from another source, and operations have none. Parameters of v2 that stand under
//! a name are compared where they are used, since the name is a hash over their description.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::compare::{Outcome, Score};
use crate::exchange::Client;
use crate::{Error, Result};

/// How long a server may take to publish what was created.
const PATIENCE: Duration = Duration::from_secs(60);
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const SHOWN: usize = 40;

/// A line of `known-documents.txt` or `known-audit.txt`: a document and a place in it, `*` in either for anything. A tab
/// stands between them where the name has blanks.
pub(crate) struct Known {
    document: String,
    place: String,
    seen: bool,
}

fn fits(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    let mut parts = pattern.split('*').peekable();
    let Some(first) = parts.next() else { return false };
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

pub(crate) fn read(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(name);
    fs::read_to_string(&path).map_err(|e| Error::File(path.display().to_string(), e))
}

pub(crate) fn known(text: &str) -> Vec<Known> {
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    let of = |(document, place): (&str, &str)| Known {
        document: document.into(),
        place: place.into(),
        seen: false,
    };
    lines.filter_map(|l| l.split_once('\t').or_else(|| l.split_once(' '))).map(of).collect()
}

/// Counts what came of a document; what is known to differ is marked as seen.
pub(crate) fn judge(
    name: &str,
    mut different: Vec<(String, String, String)>,
    known: &mut [Known],
    score: &mut Score,
    verbose: bool,
) {
    let before = different.len();
    different.retain(|(place, ..)| {
        let hit = known.iter_mut().filter(|k| fits(&k.document, name) && fits(&k.place, place));
        hit.fold(true, |_, k| {
            k.seen = true;
            false
        })
    });
    let outcome = match (before, different.len()) {
        (0, _) => Outcome::Same,
        (_, 0) => Outcome::Known,
        _ => Outcome::Different,
    };
    score.count(outcome);
    if outcome.failed() || verbose && outcome == Outcome::Known {
        show(name, before, &different);
    }
}

/// Known differences that are none any more.
pub(crate) fn gone(known: &[Known], score: &mut Score) {
    for gone in known.iter().filter(|k| !k.seen) {
        println!("Gone: {} {}", gone.document, gone.place);
        score.count(Outcome::Gone);
    }
}

/// Compares all documents of both servers.
pub async fn run(folder: &Path, there: &Client, here: &Client, verbose: bool) -> Result<Score> {
    let definitions: Vec<Value> = serde_json::from_str(&read(folder, "requests/documents.json")?)
        .map_err(|e| Error::Setup(format!("documents.json: {e}")))?;
    for server in [there, here] {
        define(server, &definitions).await?;
    }
    let mut known = known(&read(folder, "known-documents.txt")?);
    let mut score = Score::default();
    for (name, target, accept) in targets(there, here).await? {
        let (wanted, got) =
            futures::future::join(there.document(&target, accept), here.document(&target, accept)).await;
        let mut different = Vec::new();
        walk(&normal(&name, wanted?), &normal(&name, got?), String::new(), &mut different);
        judge(&name, different, &mut known, &mut score, verbose);
    }
    gone(&known, &mut score);
    for (server, definition) in
        [there, here].into_iter().flat_map(|s| definitions.iter().map(move |d| (s, d)))
    {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        server.change("DELETE", &format!("{DEFINITIONS}/{name}"), &json!({})).await?;
    }
    Ok(score)
}

fn show(name: &str, all: usize, different: &[(String, String, String)]) {
    println!("{name}: {all} differences, {} of them new", different.len());
    for (place, there, here) in different.iter().take(SHOWN) {
        println!("  {place}\n    upstream {there}\n    ours     {here}");
    }
}

/// Creates the definitions and waits until both versions of OpenAPI tell of them.
async fn define(server: &Client, definitions: &[Value]) -> Result<()> {
    for definition in definitions {
        let (code, said) = server.change("POST", DEFINITIONS, definition).await?;
        if code != 201 {
            return Err(Error::Setup(format!("{} refuses: {}", server.name, String::from_utf8_lossy(&said))));
        }
    }
    let wanted: BTreeSet<String> = definitions.iter().flat_map(published).collect();
    let end = tokio::time::Instant::now() + PATIENCE;
    let mut again = tokio::time::interval(Duration::from_millis(200));
    while tokio::time::Instant::now() < end {
        again.tick().await;
        let v2 = server.document("/openapi/v2", "application/json").await?;
        let v3 = server.document("/openapi/v3", "application/json").await?;
        let there = |path: &String| match path.strip_prefix("apis/") {
            Some(_) => v3["paths"].get(path).is_some(),
            None => v2["paths"].get(path).is_some(),
        };
        if wanted.iter().all(there) {
            return Ok(());
        }
    }
    Err(Error::Setup(format!("{} does not publish {wanted:?}", server.name)))
}

/// Paths of v2 and documents of v3 that a definition leads to.
fn published(definition: &Value) -> Vec<String> {
    let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&definition["spec"]["group"]), text(&definition["spec"]["names"]["plural"]));
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let served = versions.filter(|v| v["served"] == true).map(|v| text(&v["name"]));
    served.flat_map(|v| [format!("apis/{group}/{v}"), format!("/apis/{group}/{v}/{plural}")]).collect()
}

/// (name, target, accept) of all that is compared.
async fn targets(there: &Client, here: &Client) -> Result<Vec<(String, String, &'static str)>> {
    let json = "application/json";
    let (v3, ours) = (there.document("/openapi/v3", json).await?, here.document("/openapi/v3", json).await?);
    let paths =
        |index: &Value| index["paths"].as_object().into_iter().flatten().map(|(k, _)| k.clone()).collect();
    let (v3, ours): (BTreeSet<String>, BTreeSet<String>) = (paths(&v3), paths(&ours));
    let mut out =
        vec![("v2".to_owned(), "/openapi/v2".to_owned(), json), ("v3".into(), "/openapi/v3".into(), json)];
    out.extend(v3.intersection(&ours).map(|p| (format!("v3/{p}"), format!("/openapi/v3/{p}"), json)));
    for root in ["/api", "/apis"] {
        out.push((format!("discovery{root}"), root.into(), json));
        out.push((format!("aggregated{root}"), root.into(), AGGREGATED));
    }
    let groups = there.document("/apis", json).await?;
    for group in groups["groups"].as_array().into_iter().flatten() {
        let name = format!("/apis/{}", group["name"].as_str().unwrap_or_default());
        out.push((format!("discovery{name}"), name, json));
        let versions = group["versions"].as_array().into_iter().flatten();
        let paths = versions.map(|v| format!("/apis/{}", v["groupVersion"].as_str().unwrap_or_default()));
        out.extend(paths.map(|p| (format!("discovery{p}"), p, json)));
    }
    out.push(("discovery/api/v1".into(), "/api/v1".into(), json));
    Ok(out)
}

/// What is compared of a document.
fn normal(name: &str, document: Value) -> Value {
    match name {
        "v2" => {
            let parameters = document["parameters"].clone();
            let mut out = plain(&document, &parameters);
            out.as_object_mut().into_iter().for_each(|map| drop(map.remove("parameters")));
            out
        }
        "v3" => {
            document["paths"].as_object().into_iter().flatten().map(|(k, _)| (k.clone(), json!({}))).collect()
        }
        _ => plain(&document, &Value::Null),
    }
}

fn plain(of: &Value, parameters: &Value) -> Value {
    match of {
        Value::Object(map) => {
            let shared =
                map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/parameters/"));
            if let Some(found) = shared.and_then(|name| parameters.get(name)) {
                return plain(found, parameters);
            }
            let prose = |key: &str, value: &Value| key == "description" && value.is_string();
            let kept = map.iter().filter(|(key, value)| !prose(key, value) && *key != "serverAddress");
            kept.map(|(key, value)| (key.clone(), plain(value, parameters))).collect::<Map<_, _>>().into()
        }
        Value::Array(list) => {
            let list: Vec<Value> = list.iter().map(|v| plain(v, parameters)).collect();
            by_place(&list).unwrap_or(Value::Array(list))
        }
        other => other.clone(),
    }
}

/// Parameters by place and name, resources of discovery by name: their order says nothing (upstream tells custom ones as
/// they lie in a map).
fn by_place(list: &[Value]) -> Option<Value> {
    let text = |v: &Value, key: &str| v.get(key)?.as_str().map(str::to_owned);
    let named = |v: &Value| {
        let name = ["name", "resource", "subresource"].into_iter().find_map(|key| text(v, key))?;
        Some((text(v, "in").map_or(name.clone(), |place| format!("{place}:{name}")), v.clone()))
    };
    let all: Option<BTreeMap<String, Value>> = list.iter().map(named).collect();
    all.filter(|all| !all.is_empty()).map(|all| all.into_iter().collect::<Map<_, _>>().into())
}

pub(crate) fn walk(there: &Value, here: &Value, place: String, out: &mut Vec<(String, String, String)>) {
    if there == here {
        return;
    }
    let (Value::Object(a), Value::Object(b)) = (there, here) else {
        return out.push((place, there.to_string(), here.to_string()));
    };
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for key in keys {
        let place = format!("{place}/{key}");
        match (a.get(key), b.get(key)) {
            (Some(there), Some(here)) => walk(there, here, place, out),
            (there, here) => {
                let text = |v: Option<&Value>| v.map_or("nothing".into(), Value::to_string);
                out.push((place, text(there), text(here)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("v2", "v2", true),
            ("v2", "v3", false),
            ("v3/*", "v3/apis", true),
            ("/a/*/c", "/a/b/c", true),
            ("/a/*/c", "/a/b/d", false),
            ("*/x/*", "/y/x/z", true),
            ("*x", "abx", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn shared_parameters_are_compared_where_they_are_used() {
        let document = |name: &str, of: &str| {
            normal(
                "v2",
                json!({"paths": {"/a": {"parameters": [{"$ref": format!("#/parameters/{name}")}]}},
                "parameters": {name: {"in": "query", "name": "p", "type": of, "description": name}}}),
            )
        };
        let mut out = Vec::new();
        walk(&document("p-1", "string"), &document("p-2", "string"), String::new(), &mut out);
        assert!(out.is_empty(), "{out:?}");
        walk(&document("p-1", "string"), &document("p-2", "integer"), String::new(), &mut out);
        assert_eq!(
            out,
            [("/paths//a/parameters/query:p/type".into(), "\"string\"".into(), "\"integer\"".into())]
        );
    }
}
