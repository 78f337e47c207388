//! `kubectl get`: the server's Tables, or the objects themselves in another format; `--watch`.

use api::Value;
use futures::future::join_all;

use crate::args::Flags;
use crate::error::{Error, Result};
use crate::mapper::Mapper;
use crate::output::table::{Look, Printer};
use crate::output::{self, Format};
use crate::server::{Ask, Server};
use crate::targets::{self, Target};
use crate::{Context, manifests};

const FLAGS: &str = "all-namespaces,A selector,l= field-selector= watch,w watch-only output-watch-events \
    show-labels show-kind no-headers label-columns,L= ignore-not-found chunk-size= sort-by= raw= server-print \
    subresource=";

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("get", &[FLAGS, output::FLAGS, manifests::FLAGS].join(" "), arguments)?;
    if flags.given("raw") {
        let server = Context::server(&flags).await?;
        output::write(&String::from_utf8_lossy(&server.bytes(&Ask::get(flags.text("raw"))).await?));
        return Ok(());
    }
    let format = Format::of(&flags)?;
    if flags.words.is_empty() && !flags.given("filename") && !flags.given("kustomize") {
        return Err(Error::Bare(
            "You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of supported resources.\n\nerror: Required resource not specified.\nUse \"kubectl explain <resource>\" for a detailed description of that resource (e.g. kubectl explain pods).\nSee 'kubectl get -h' for help and examples".into(),
        ));
    }
    let Context { server, mapper } = Context::new(&flags).await?;
    let targets = targets::of_flags(&mapper, &flags, &server, &flags.words)?;
    check(&flags, &targets)?;
    if flags.on("watch") || flags.on("watch-only") {
        return watch(&server, &mapper, &flags, &format, &targets).await;
    }
    match &format {
        Format::Table { wide } if flags.text("sort-by").is_empty() => {
            tables(&server, &flags, &targets, *wide).await
        }
        Format::Table { .. } => Err(Error::not_built("--sort-by with tables")),
        _ => objects(&server, &mapper, &flags, &format, &targets).await,
    }
}

fn check(flags: &Flags, targets: &[Target]) -> Result<()> {
    let selective = flags.given("selector") || flags.given("field-selector");
    if selective && targets.iter().any(|t| !t.name.is_empty()) {
        return Err(Error::plain("name cannot be provided when a selector is specified"));
    }
    if let Some(target) = targets.iter().find(|t| !t.resource.has_verb("list") && t.name.is_empty()) {
        return Err(Error::Bare(format!(
            "Error from server (MethodNotAllowed): the server does not allow this method on the requested resource: {}",
            target.resource.plural
        )));
    }
    Ok(())
}

fn ask(target: &Target, flags: &Flags) -> Ask {
    let sub = flags.text("subresource");
    let path = if sub.is_empty() { target.path() } else { format!("{}/{sub}", target.path()) };
    match target.name.is_empty() {
        true => targets::select(Ask::get(path), flags),
        false => Ask::get(path),
    }
}

/// Every page of a collection's Table, or an object's.
async fn pages(server: &Server, target: &Target, flags: &Flags) -> Result<Vec<Value>> {
    let (mut pages, mut next) = (Vec::new(), String::new());
    let limit = flags.int("chunk-size", 500)?;
    loop {
        let mut ask = ask(target, flags).with_table();
        if target.name.is_empty() && limit > 0 {
            ask = ask.with("limit", limit.to_string()).with("continue", &next);
        }
        let page = server.value(&ask).await?;
        next = page.str_at(&["metadata", "continue"]).to_owned();
        pages.push(page);
        if next.is_empty() {
            return Ok(pages);
        }
    }
}

fn kinds(targets: &[Target]) -> usize {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for target in targets {
        let kind = (target.resource.group.as_str(), target.resource.plural.as_str());
        if !seen.contains(&kind) {
            seen.push(kind);
        }
    }
    seen.len()
}

fn look(flags: &Flags, target: &Target, wide: bool, many: bool) -> Look {
    Look {
        wide,
        no_headers: flags.on("no-headers"),
        namespaces: flags.on("all-namespaces") && target.resource.namespaced,
        labels: flags.on("show-labels"),
        label_columns: flags.list("label-columns"),
        prefix: if many || flags.on("show-kind") {
            format!("{}/", target.resource.display())
        } else {
            String::new()
        },
        events: flags.on("output-watch-events"),
    }
}

async fn tables(server: &Server, flags: &Flags, targets: &[Target], wide: bool) -> Result<()> {
    let answers = join_all(targets.iter().map(|target| pages(server, target, flags))).await;
    let many = kinds(targets) > 1;
    let (mut errors, mut printed) = (Vec::new(), false);
    let mut current: Option<(&Target, Printer)> = None;
    for (target, answer) in targets.iter().zip(answers) {
        let tables = match answer {
            Ok(tables) => tables,
            Err(error) if error.is_not_found() && flags.on("ignore-not-found") => continue,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        if tables.iter().all(is_empty) {
            continue;
        }
        let same = current.as_ref().is_some_and(|(t, _)| t.resource == target.resource);
        if !same {
            if let Some((_, mut before)) = current.take() {
                output::write(&(before.flush() + "\n"));
            }
            current = Some((target, Printer::new(look(flags, target, wide, many))));
        }
        if let Some((_, printer)) = &mut current {
            tables.iter().for_each(|table| add(printer, table));
            printed = true;
        }
    }
    if let Some((_, mut last)) = current {
        output::write(&last.flush());
    }
    if !printed && errors.is_empty() && !flags.on("ignore-not-found") {
        nothing_found(server, flags, targets);
    }
    Error::collect(errors)
}

fn is_empty(table: &Value) -> bool {
    table.str_at(&["kind"]) == "Table" && table.list_at(&["rows"]).is_empty()
}

/// A Table's rows; of a server that makes none, name and age.
fn add(printer: &mut Printer, answer: &Value) {
    if answer.str_at(&["kind"]) == "Table" {
        return printer.add(answer, "");
    }
    let items = match answer.get("items").and_then(Value::as_list) {
        Some(items) => items.to_vec(),
        None => vec![answer.clone()],
    };
    let rows = items.into_iter().map(|item| {
        let age = api::columns::age(item.str_at(&["metadata", "creationTimestamp"]), jiff::Timestamp::now());
        let name = item.str_at(&["metadata", "name"]).to_owned();
        let mut row = Value::map();
        row.set_at(&["cells"], Value::List(vec![name.into(), age]));
        row.set_at(&["object"], item);
        row
    });
    let mut table = api::value!({"columnDefinitions": [{"name": "Name"}, {"name": "Age"}]});
    table.set_at(&["rows"], rows.collect::<Value>());
    printer.add(&table, "");
}

fn nothing_found(server: &Server, flags: &Flags, targets: &[Target]) {
    let namespaced = targets.iter().any(|t| t.resource.namespaced);
    if flags.on("all-namespaces") || !namespaced {
        eprintln!("No resources found");
    } else {
        eprintln!("No resources found in {} namespace.", server.settings.namespace);
    }
}

/// Objects in another format: the only one as it is, several as a List.
async fn objects(
    server: &Server,
    mapper: &Mapper,
    flags: &Flags,
    format: &Format,
    targets: &[Target],
) -> Result<()> {
    let single = targets.len() == 1 && !targets[0].name.is_empty();
    let (mut items, mut errors) = (Vec::new(), Vec::new());
    for target in targets {
        let found = match target.name.is_empty() {
            true => targets::list(server, target, flags).await,
            false => server.value(&ask(target, flags)).await.map(|object| vec![object]),
        };
        match found {
            Ok(found) => items.extend(found),
            Err(error) if error.is_not_found() && flags.on("ignore-not-found") => {}
            Err(error) => errors.push(error),
        }
    }
    if !flags.text("sort-by").is_empty() {
        sort(&mut items, flags.text("sort-by"))?;
    }
    let managed = flags.on("show-managed-fields");
    let named = targets.iter().all(|t| !t.name.is_empty());
    if single && items.len() == 1 {
        format.print(&items[0], mapper, managed)?;
    } else if !(named && items.is_empty()) {
        format.print(&output::list_of(items), mapper, managed)?;
    }
    Error::collect(errors)
}

fn sort(items: &mut [Value], by: &str) -> Result<()> {
    let path = by.trim_start_matches('{').trim_end_matches('}');
    let path = api::jsonpath::JsonPath::parse(path).map_err(|e| Error::Plain(e.to_string()))?;
    items.sort_by(|a, b| compare(path.find(a).first().copied(), path.find(b).first().copied()));
    Ok(())
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> std::cmp::Ordering {
    match (a, b) {
        (Some(Value::Int(a)), Some(Value::Int(b))) => a.cmp(b),
        (None, b) if b.is_some() => std::cmp::Ordering::Less,
        (Some(_), None) => std::cmp::Ordering::Greater,
        (a, b) => a.and_then(Value::as_str).cmp(&b.and_then(Value::as_str)),
    }
}

async fn watch(
    server: &Server,
    mapper: &Mapper,
    flags: &Flags,
    format: &Format,
    targets: &[Target],
) -> Result<()> {
    let [target] = targets else {
        return Err(Error::plain("you may only specify a single resource type"));
    };
    let wide = matches!(format, Format::Table { wide: true });
    let mut printer = Printer::new(look(flags, target, wide, false));
    let mut from = String::new();
    let first = collection(target, flags);
    let first = if format.is_table() { first.with_table() } else { first };
    let list = server.value(&first).await?;
    from.push_str(list.str_at(&["metadata", "resourceVersion"]));
    let named_is_gone =
        !target.name.is_empty() && list.list_at(&["rows"]).is_empty() && list.list_at(&["items"]).is_empty();
    if named_is_gone && !flags.on("watch-only") {
        server.value(&Ask::get(target.path())).await?;
    }
    if !flags.on("watch-only") {
        if format.is_table() {
            output::write(&printer.table(&list, "ADDED"));
        } else {
            for item in list.list_at(&["items"]) {
                format.print(item, mapper, flags.on("show-managed-fields"))?;
            }
        }
    }
    let ask = collection(target, flags).with("watch", "true").with("resourceVersion", &from);
    let ask = if format.is_table() { ask.with_table() } else { ask };
    let mut events = server.stream(&ask).await?;
    while let Some((kind, object)) = events.event().await? {
        if kind == "BOOKMARK" {
            continue;
        }
        if format.is_table() {
            output::write(&printer.table(&object, &kind));
        } else {
            format.print(&object, mapper, flags.on("show-managed-fields"))?;
        }
    }
    Ok(())
}

/// A watch of one object is one of its collection by name.
fn collection(target: &Target, flags: &Flags) -> Ask {
    if target.name.is_empty() {
        return targets::select(Ask::get(target.path()), flags);
    }
    let all = Target { name: String::new(), ..target.clone() };
    Ask::get(all.path()).with("fieldSelector", format!("metadata.name={}", target.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    #[test]
    fn sorted_by_a_path() -> Result<()> {
        let mut items = vec![value!({"n": 10}), value!({"n": 9}), value!({})];
        sort(&mut items, "{.n}")?;
        let numbers: Vec<_> = items.iter().map(|i| i.int_at(&["n"])).collect();
        assert_eq!(numbers, [None, Some(9), Some(10)]);
        Ok(())
    }
}
