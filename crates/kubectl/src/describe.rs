//! `kubectl describe`: pods, Deployments, ReplicaSets, Services, nodes, ConfigMaps and Secrets as upstream shows them;
//! of every other kind the head, the whole object as indented lines, and its events.

mod align;
mod kinds;
mod pod;

use api::Value;

use crate::args::Flags;
use crate::error::{Error, Result};
use crate::mapper::Mapper;
use crate::output::template;
use crate::server::{Ask, Server};
use crate::targets::Target;
use crate::{Context, manifests, output, targets};

const FLAGS: &str = "all-namespaces,A selector,l= show-events chunk-size=";

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("describe", &[FLAGS, manifests::FLAGS].join(" "), arguments)?;
    if flags.words.is_empty() && !flags.given("filename") {
        return Err(Error::plain(
            "You must specify the type of resource to describe. Use \"kubectl api-resources\" for a complete list of supported resources.",
        ));
    }
    let Context { server, mapper } = Context::new(&flags).await?;
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for target in targets::of_flags(&mapper, &flags, &server, &flags.words)? {
        match targets::objects(&server, &target, &flags).await {
            Ok(objects) => all.extend(objects),
            Err(error) => errors.push(error),
        }
    }
    // As upstream: of several objects events are shown only where they are asked for.
    let with_events =
        if flags.given("show-events") { flags.on_by_default("show-events") } else { all.len() == 1 };
    let mut texts = Vec::new();
    for (target, object) in all {
        let events = match with_events {
            true => events(&server, &mapper, &target, &object).await?,
            false => String::new(),
        };
        texts.push(match special(&server, &mapper, &target, &object).await? {
            // Stock shows no events of these.
            Some(text) if matches!(target.resource.kind.as_str(), "Secret") => align::align(&text),
            Some(text) => align::align(&(text + &events)),
            None => describe(&object) + &align::align(&events),
        });
    }
    if texts.is_empty() && errors.is_empty() {
        eprintln!("No resources found in {} namespace.", server.settings.namespace);
    }
    output::write(&texts.join("\n\n"));
    Error::collect(errors)
}

/// Of the kinds that have a text of their own: with tabs between columns.
async fn special(
    server: &Server,
    mapper: &Mapper,
    target: &Target,
    object: &Value,
) -> Result<Option<String>> {
    let resource = &target.resource;
    let uid = object.str_at(&["metadata", "uid"]);
    let owned = async |kind: &str| -> Result<Vec<Value>> {
        let ask = Ask::get(mapper.resource(kind)?.path(&target.namespace, ""));
        let list = server.value(&ask).await?;
        let by = |o: &&Value| {
            o.list_at(&["metadata", "ownerReferences"]).iter().any(|r| r.str_at(&["uid"]) == uid)
        };
        Ok(list.list_at(&["items"]).iter().filter(by).cloned().collect())
    };
    Ok(Some(match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => pod::pod(object),
        ("", "ConfigMap") => kinds::config_map(object),
        ("", "Secret") => kinds::secret(object),
        ("", "Node") => {
            let lease = Ask::get(format!(
                "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{}",
                target.name
            ));
            kinds::node(object, server.value(&lease).await.ok().as_ref())
        }
        ("", "Service") => {
            let ask =
                Ask::get(mapper.resource("endpointslices.discovery.k8s.io")?.path(&target.namespace, ""))
                    .with("labelSelector", format!("kubernetes.io/service-name={}", target.name));
            kinds::service(object, server.value(&ask).await?.list_at(&["items"]))
        }
        ("apps", "Deployment") => kinds::deployment(object, &owned("replicasets.apps").await?),
        ("apps", "ReplicaSet") => kinds::replica_set(object, &owned("pods").await?),
        _ => return Ok(None),
    }))
}

/// `Title:` and a value in the next column.
fn line(out: &mut String, depth: usize, title: &str, value: impl std::fmt::Display) {
    *out += &format!("{}{title}:\t{value}\n", "  ".repeat(depth));
}

/// The first value beside the title, the others below it.
fn list_lines(out: &mut String, depth: usize, title: &str, values: Vec<String>) {
    let pad = "  ".repeat(depth);
    if values.is_empty() {
        return line(out, depth, title, "<none>");
    }
    for (at, value) in values.into_iter().enumerate() {
        *out += &if at == 0 { format!("{pad}{title}:\t{value}\n") } else { format!("{pad}\t{value}\n") };
    }
}

/// The labels or annotations of an object, as text, in order.
fn pairs_of(object: &Value, key: &str, between: &str) -> Vec<String> {
    let map = object.at(&["metadata", key]).and_then(Value::as_map);
    let hidden = |k: &str| k == crate::apply::LAST_APPLIED;
    let one = |(k, v): (&api::value::Key, &Value)| {
        format!("{k}{between}{}", v.as_str().unwrap_or_default().trim_end())
    };
    let mut lines: Vec<String> =
        map.into_iter().flat_map(|m| m.iter()).filter(|(k, _)| !hidden(k)).map(one).collect();
    lines.sort();
    lines
}

fn labels(out: &mut String, object: &Value) {
    list_lines(out, 0, "Labels", pairs_of(object, "labels", "="));
}

fn annotations(out: &mut String, object: &Value) {
    list_lines(out, 0, "Annotations", pairs_of(object, "annotations", ": "));
}

fn controlled_by(out: &mut String, object: &Value) {
    let owners = object.list_at(&["metadata", "ownerReferences"]).iter();
    if let Some(owner) = owners.clone().find(|o| o.at(&["controller"]).and_then(Value::as_bool) == Some(true))
    {
        line(out, 0, "Controlled By", format!("{}/{}", owner.str_at(&["kind"]), owner.str_at(&["name"])));
    }
}

/// As RFC 1123 has it.
fn time(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string(),
        Err(_) => text.to_owned(),
    }
}

fn describe(object: &Value) -> String {
    let mut out = String::new();
    let meta = |key: &str| object.str_at(&["metadata", key]);
    head(&mut out, "Name", meta("name"));
    if !meta("namespace").is_empty() {
        head(&mut out, "Namespace", meta("namespace"));
    }
    for (title, key, between) in [("Labels", "labels", "="), ("Annotations", "annotations", ": ")] {
        let pairs = pairs(object.at(&["metadata", key]), between);
        head(&mut out, title, &pairs);
    }
    head(&mut out, "API Version", object.str_at(&["apiVersion"]));
    head(&mut out, "Kind", object.str_at(&["kind"]));
    let hidden = ["name", "namespace", "labels", "annotations", "managedFields"];
    for (key, value) in object.as_map().into_iter().flat_map(|m| m.iter()) {
        if key == "kind" || key == "apiVersion" {
            continue;
        }
        let mut value = value.clone();
        if key == "metadata"
            && let Some(map) = value.as_map_mut()
        {
            map.retain(|k, _| !hidden.contains(&k.as_str()));
        }
        tree(&mut out, key, &value, 0);
    }
    out
}

fn head(out: &mut String, title: &str, text: &str) {
    out.push_str(&format!("{:<14}{text}\n", format!("{title}:")));
}

fn pairs(map: Option<&Value>, between: &str) -> String {
    let one = |(k, v): (&api::value::Key, &Value)| {
        format!("{k}{between}{}", v.as_str().unwrap_or_default().trim_end())
    };
    let mut lines: Vec<String> =
        map.and_then(Value::as_map).map(|m| m.iter().map(one).collect()).unwrap_or_default();
    lines.sort();
    if lines.is_empty() { "<none>".into() } else { lines.join(&format!("\n{:14}", "")) }
}

/// `creationTimestamp` is shown as `Creation Timestamp`.
fn title(key: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    for c in key.chars() {
        if out.is_empty() {
            out.extend(c.to_uppercase());
        } else {
            if c.is_uppercase() && before.is_lowercase() {
                out.push(' ');
            }
            out.push(c);
        }
        before = c;
    }
    out
}

fn tree(out: &mut String, key: &str, value: &Value, depth: usize) {
    let pad = "  ".repeat(depth);
    match value {
        Value::Map(map) => {
            out.push_str(&format!("{pad}{}:\n", title(key)));
            map.iter().for_each(|(k, v)| tree(out, k, v, depth + 1));
        }
        Value::List(items) => {
            out.push_str(&format!("{pad}{}:\n", title(key)));
            for item in items {
                match item.as_map() {
                    Some(map) => map.iter().for_each(|(k, v)| tree(out, k, v, depth + 1)),
                    None => out.push_str(&format!("{pad}  {}\n", template::text(item))),
                }
            }
        }
        scalar => out.push_str(&format!("{pad}{}:  {}\n", title(key), template::text(scalar))),
    }
}

async fn events(server: &Server, mapper: &Mapper, target: &Target, object: &Value) -> Result<String> {
    if target.resource.kind == "Event" {
        return Ok(String::new());
    }
    let events = mapper.resource("events.v1.").or_else(|_| mapper.resource("events"))?;
    let uid = object.str_at(&["metadata", "uid"]);
    let selector = format!("involvedObject.name={},involvedObject.uid={uid}", target.name);
    let list =
        server.value(&Ask::get(events.path(&target.namespace, "")).with("fieldSelector", selector)).await;
    let Ok(list) = list else { return Ok(String::new()) };
    let items = list.list_at(&["items"]);
    if items.is_empty() {
        return Ok("Events:\t<none>\n".into());
    }
    let now = jiff::Timestamp::now();
    let mut out =
        "Events:\n  Type\tReason\tAge\tFrom\tMessage\n  ----\t------\t----\t----\t-------\n".to_owned();
    let mut items: Vec<&Value> = items.iter().collect();
    let last = |e: &Value| -> String {
        let keys = ["lastTimestamp", "eventTime", "firstTimestamp"];
        keys.iter().map(|k| e.str_at(&[k])).find(|t| !t.is_empty()).unwrap_or_default().to_owned()
    };
    items.sort_by_cached_key(|e| last(e));
    for event in items {
        let age = |time: &str| template::text(&api::columns::age(time, now));
        let count = event.int_at(&["series", "count"]).or_else(|| event.int_at(&["count"])).unwrap_or(1);
        let age = match count {
            n if n > 1 => {
                format!("{} (x{n} over {})", age(&last(event)), age(event.str_at(&["firstTimestamp"])))
            }
            _ => age(&last(event)),
        };
        let from = match event.str_at(&["source", "component"]) {
            "" => event.str_at(&["reportingComponent"]),
            component => component,
        };
        let (kind, reason) = (event.str_at(&["type"]), event.str_at(&["reason"]));
        let mut message = event.str_at(&["message"]).trim().to_owned();
        let part = event.str_at(&["involvedObject", "fieldPath"]);
        if !part.is_empty() {
            message = format!("{part}: {message}");
        }
        out += &format!("  {kind}\t{reason}\t{age}\t{from}\t{message}\n");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_as_lines() {
        let object = api::value!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "a", "labels": {"k": "v"}, "creationTimestamp": "t"},
            "spec": {"list": [{"name": "n"}, "s"]}});
        let want = "Name:         a\nLabels:       k=v\nAnnotations:  <none>\nAPI Version:  v1\nKind:         X\nMetadata:\n  Creation Timestamp:  t\nSpec:\n  List:\n    Name:  n\n    s\n";
        assert_eq!(describe(&object), want);
    }
}
