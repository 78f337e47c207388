//! `kubectl logs`

use api::Value;
use futures::stream::{FuturesUnordered, StreamExt as _};

use crate::args::Flags;
use crate::error::{Error, Result};
use crate::server::{Ask, Server};
use crate::targets;
use crate::{Context, output, pods};

const FLAGS: &str = "follow,f container,c= previous,p tail= since= since-time= timestamps selector,l= \
    all-containers all-pods prefix limit-bytes= max-log-requests= ignore-errors insecure-skip-tls-verify-backend \
    pod-running-timeout=";

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("logs", FLAGS, arguments)?;
    let context = Context::new(&flags).await?;
    let pods = pods_of(&context, &flags).await?;
    let many = flags.given("selector") || flags.on("all-pods");
    let mut streams = Vec::new();
    for pod in &pods {
        for container in containers(pod, &flags)? {
            streams.push(Stream::of(&context.server, pod, &container, &flags, many)?);
        }
    }
    if streams.is_empty() && many {
        eprintln!("No resources found in {} namespace.", context.server.settings.namespace);
    }
    if flags.on("follow") && streams.len() > 1 {
        return follow(&context.server, &flags, streams).await;
    }
    for stream in streams {
        copy(&context.server, stream, &flags).await?;
    }
    Ok(())
}

async fn pods_of(context: &Context, flags: &Flags) -> Result<Vec<Value>> {
    let Context { server, mapper } = context;
    let words = flags.words.as_slice();
    if flags.given("selector") {
        if !words.is_empty() {
            return Err(Error::plain("only a selector (-l) or a POD name is allowed"));
        }
        let pods = targets::of_words(mapper, &["pods".to_owned()], &server.settings.namespace, false)?;
        return targets::list(server, &pods[0], flags).await;
    }
    let [word, ..] = words else {
        return Err(Error::plain(
            "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command\nSee 'kubectl logs -h' for help and examples",
        ));
    };
    if words.len() > 2 || (words.len() == 2 && flags.given("container")) {
        return Err(Error::plain("only one of -c or an inline [CONTAINER] arg is allowed"));
    }
    match flags.on("all-pods") {
        true => pods::all_of_word(server, mapper, word).await,
        false => match pods::of_word(server, mapper, word, true).await {
            Err(Error::Server(refusal)) => Err(Error::Plain(format!(
                "error from server ({}): {} in namespace {:?}",
                refusal.reason, refusal.message, server.settings.namespace
            ))),
            found => Ok(vec![found?]),
        },
    }
}

fn containers(pod: &Value, flags: &Flags) -> Result<Vec<String>> {
    if flags.on("all-containers") {
        return Ok(pods::containers(pod, true));
    }
    let inline = flags.words.get(1).map_or("", String::as_str);
    let named = if flags.given("container") { flags.text("container") } else { inline };
    if named.is_empty() {
        return Ok(vec![pods::default_container(pod)?]);
    }
    pods::check_container(pod, named)?;
    Ok(vec![named.to_owned()])
}

struct Stream {
    ask: Ask,
    prefix: String,
}

impl Stream {
    fn of(server: &Server, pod: &Value, container: &str, flags: &Flags, many: bool) -> Result<Self> {
        let name = pod.str_at(&["metadata", "name"]);
        let namespace = match pod.str_at(&["metadata", "namespace"]) {
            "" => server.settings.namespace.as_str(),
            own => own,
        };
        let on = |name: &str| if flags.on(name) { "true" } else { "" };
        let tail = flags.int("tail", if many { 10 } else { -1 })?;
        let mut ask = Ask::get(format!("/api/v1/namespaces/{namespace}/pods/{name}/log"))
            .with("container", container)
            .with("follow", on("follow"))
            .with("previous", on("previous"))
            .with("timestamps", on("timestamps"))
            .with("insecureSkipTLSVerifyBackend", on("insecure-skip-tls-verify-backend"))
            .with("sinceTime", flags.text("since-time"))
            .with("limitBytes", flags.text("limit-bytes"));
        if tail >= 0 {
            ask = ask.with("tailLines", tail.to_string());
        }
        if flags.given("since") {
            let seconds = flags.duration("since", std::time::Duration::ZERO)?.as_secs_f64().ceil();
            ask = ask.with("sinceSeconds", format!("{seconds}"));
        }
        let prefix = if flags.on("prefix") { format!("[pod/{name}/{container}] ") } else { String::new() };
        Ok(Self { ask, prefix })
    }
}

/// One log to stdout; with a prefix line by line.
async fn copy(server: &Server, stream: Stream, flags: &Flags) -> Result<()> {
    let copied = async {
        let mut pieces = server.stream(&stream.ask).await?;
        if stream.prefix.is_empty() {
            while let Some(piece) = pieces.next().await? {
                raw(&piece);
            }
            return Ok(());
        }
        while let Some(line) = pieces.line().await? {
            raw(&[stream.prefix.as_bytes(), &line, b"\n"].concat());
        }
        Ok(())
    };
    match copied.await {
        Err(error) if flags.on("ignore-errors") => {
            output::say(format!("error: {error}"));
            Ok(())
        }
        other => other,
    }
}

async fn follow(server: &Server, flags: &Flags, streams: Vec<Stream>) -> Result<()> {
    let most = flags.int("max-log-requests", 5)?;
    if i64::try_from(streams.len()).unwrap_or(i64::MAX) > most {
        return Err(Error::Plain(format!(
            "you are attempting to follow {} log streams, but maximum allowed concurrency is {most}, use --max-log-requests to increase the limit",
            streams.len()
        )));
    }
    let mut running: FuturesUnordered<_> = streams.into_iter().map(|s| copy(server, s, flags)).collect();
    while let Some(done) = running.next().await {
        done?;
    }
    Ok(())
}

fn raw(bytes: &[u8]) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}
