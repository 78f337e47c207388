//! `kubectl describe`, minimal: the head, the whole object as indented lines, and its events. Deliberately absent:
//! what upstream shows for single kinds.

use api::Value;

use crate::args::Flags;
use crate::error::{Error, Result};
use crate::mapper::Mapper;
use crate::output::table::Writer;
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
    let (mut texts, mut errors) = (Vec::new(), Vec::new());
    for target in targets::of_flags(&mapper, &flags, &server, &flags.words)? {
        match targets::objects(&server, &target, &flags).await {
            Ok(objects) => {
                for (target, object) in objects {
                    let events = match flags.on_by_default("show-events") {
                        true => events(&server, &mapper, &target, &object).await?,
                        false => String::new(),
                    };
                    texts.push(describe(&object) + &events);
                }
            }
            Err(error) => errors.push(error),
        }
    }
    if texts.is_empty() && errors.is_empty() {
        eprintln!("No resources found in {} namespace.", server.settings.namespace);
    }
    output::write(&texts.join("\n\n"));
    Error::collect(errors)
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
        return Ok("Events:  <none>\n".into());
    }
    let now = jiff::Timestamp::now();
    let mut writer = Writer::default();
    writer.row(["  Type", "Reason", "Age", "From", "Message"].map(str::to_owned).to_vec());
    writer.row(["  ----", "------", "----", "----", "-------"].map(str::to_owned).to_vec());
    for event in items {
        let time = ["lastTimestamp", "eventTime", "firstTimestamp"]
            .iter()
            .map(|k| event.str_at(&[k]))
            .find(|t| !t.is_empty());
        let age = template::text(&api::columns::age(time.unwrap_or_default(), now));
        let count = event.int_at(&["count"]).unwrap_or(1);
        let age = if count > 1 { format!("{age} (x{count})") } else { age };
        let from = match event.str_at(&["source", "component"]) {
            "" => event.str_at(&["reportingComponent"]),
            component => component,
        };
        writer.row(vec![
            format!("  {}", event.str_at(&["type"])),
            event.str_at(&["reason"]).to_owned(),
            age,
            from.to_owned(),
            event.str_at(&["message"]).trim().to_owned(),
        ]);
    }
    Ok(format!("Events:\n{}", writer.flush()))
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
