//! `kubectl events`.

use api::Value;

use crate::args::Flags;
use crate::error::{Error, Result};
use crate::output::table::Writer;
use crate::output::{self, Format, template};
use crate::server::Ask;
use crate::{Context, targets};

const FLAGS: &str = "all-namespaces,A for= types= watch,w no-headers chunk-size=";

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("events", &[FLAGS, output::FLAGS].join(" "), arguments)?;
    let types = flags.list("types");
    if !types.iter().all(|t| t.eq_ignore_ascii_case("normal") || t.eq_ignore_ascii_case("warning")) {
        return Err(Error::plain("valid --types are Normal or Warning"));
    }
    let context = Context::new(&flags).await?;
    let all = flags.on("all-namespaces");
    let resource = context.mapper.resource("events")?;
    let namespace = if all { "" } else { context.server.settings.namespace.as_str() };
    let mut ask = Ask::get(resource.path(namespace, ""));
    if flags.given("for") {
        ask = ask.with("fieldSelector", about(&context, &flags)?);
    }
    let mut list = context.server.value(&ask).await?;
    let from = list.str_at(&["metadata", "resourceVersion"]).to_owned();
    let fits =
        |e: &Value| types.is_empty() || types.iter().any(|t| t.eq_ignore_ascii_case(e.str_at(&["type"])));
    let items = list.get_mut("items").and_then(Value::as_list_mut).map(std::mem::take).unwrap_or_default();
    let mut items: Vec<Value> = items.into_iter().filter(fits).collect();
    items.sort_by_cached_key(|e| last(e).to_owned());
    if flags.given("output") {
        return Format::of(&flags)?.print(
            &output::list_of(items),
            &context.mapper,
            flags.on("show-managed-fields"),
        );
    }
    let mut writer = Writer::default();
    if items.is_empty() && !flags.on("watch") {
        eprintln!(
            "{}",
            if all {
                "No events found.".to_owned()
            } else {
                format!("No events found in {namespace} namespace.")
            }
        );
        return Ok(());
    }
    if !flags.on("no-headers") {
        let names = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"].map(str::to_owned);
        writer.row(all.then(|| "NAMESPACE".to_owned()).into_iter().chain(names).collect());
    }
    items.iter().for_each(|event| writer.row(row(event, all)));
    output::write(&writer.flush());
    if !flags.on("watch") {
        return Ok(());
    }
    let mut stream = context.server.stream(&ask.with("watch", "true").with("resourceVersion", from)).await?;
    while let Some((kind, event)) = stream.event().await? {
        if kind != "DELETED" && kind != "BOOKMARK" && fits(&event) {
            writer.row(row(&event, all));
            output::write(&writer.flush());
        }
    }
    Ok(())
}

/// The field selector of `--for TYPE/NAME`.
fn about(context: &Context, flags: &Flags) -> Result<String> {
    let word = flags.text("for").to_owned();
    if !word.contains('/') {
        return Err(Error::plain("--for must be in resource/name form"));
    }
    let target = targets::of_words(&context.mapper, &[word], "", false)?.remove(0);
    let resource = &target.resource;
    Ok(format!(
        "involvedObject.kind={},involvedObject.apiVersion={},involvedObject.name={}",
        resource.kind,
        resource.api_version(),
        target.name
    ))
}

/// When it was seen last.
fn last(event: &Value) -> &str {
    let times = [
        event.str_at(&["series", "lastObservedTime"]),
        event.str_at(&["lastTimestamp"]),
        event.str_at(&["eventTime"]),
        event.str_at(&["metadata", "creationTimestamp"]),
    ];
    times.into_iter().find(|t| !t.is_empty()).unwrap_or_default()
}

fn row(event: &Value, all: bool) -> Vec<String> {
    let now = jiff::Timestamp::now();
    let age = |time: &str| template::text(&api::columns::age(time, now));
    let count = event.int_at(&["series", "count"]).or_else(|| event.int_at(&["count"])).unwrap_or(1);
    let first = match event.str_at(&["firstTimestamp"]) {
        "" => event.str_at(&["eventTime"]),
        first => first,
    };
    let seen = match count {
        n if n > 1 => format!("{} (x{n} over {})", age(last(event)), age(first)),
        _ => age(last(event)),
    };
    let of = |key: &str| event.str_at(&["involvedObject", key]);
    let cells = [
        seen,
        event.str_at(&["type"]).to_owned(),
        event.str_at(&["reason"]).to_owned(),
        format!("{}/{}", of("kind"), of("name")),
        event.str_at(&["message"]).trim().to_owned(),
    ];
    let namespace = all.then(|| event.str_at(&["metadata", "namespace"]).to_owned());
    namespace.into_iter().chain(cells).collect()
}
