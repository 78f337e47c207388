//! Container logs and the node's own log folder.

use std::collections::VecDeque;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use nix::sys::inotify::AddWatchFlags;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;
use tower::BoxError;

use super::query::Query;
use super::{Answer, Endpoints, text};
use crate::pod::PodExt;
use crate::runtime::logs::{parse, tail_offset};
use crate::watch_file::FileWatch;

/// Pieces in flight towards a slow reader.
const CHANNEL: usize = 16;
const BLOCK: usize = 64 << 10;
/// How often it is asked whether a followed container still runs, beside the events of its log.
const ALIVE: Duration = Duration::from_millis(500);

/// What of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Options {
    follow: bool,
    previous: bool,
    timestamps: bool,
    tail: Option<usize>,
    since: Option<Timestamp>,
    limit: Option<usize>,
    stream: Option<String>,
}

impl Options {
    fn read(query: &Query) -> Result<Self, String> {
        let number = |name: &str| match query.get(name).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => {
                text.parse::<u64>().map(Some).map_err(|_| format!("{name} must be a whole number: {text:?}"))
            }
        };
        let seconds = number("sinceSeconds")?.map(|seconds| Timestamp::now() - Duration::from_secs(seconds));
        let time = match query.get("sinceTime").filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| format!("sinceTime is no time: {text:?}"))?),
        };
        let stream = match query.get("stream") {
            None | Some("" | "All") => None,
            Some("Stdout") => Some("stdout".to_owned()),
            Some("Stderr") => Some("stderr".to_owned()),
            Some(other) => return Err(format!("unknown stream {other:?}")),
        };
        Ok(Self {
            follow: query.on(&["follow"]),
            previous: query.on(&["previous"]),
            timestamps: query.on(&["timestamps"]),
            tail: number("tailLines")?.and_then(|n| usize::try_from(n).ok()),
            since: time.or(seconds),
            limit: number("limitBytes")?.and_then(|n| usize::try_from(n).ok()),
            stream,
        })
    }
}

/// Which container's log is meant: its id with the runtime's name; or why there is none, in upstream's words.
fn choose(pod: &Pod, name: &str, status: Option<&ContainerStatus>, previous: bool) -> Result<String, String> {
    let place = format!("container {name:?} in pod {:?}", pod.name());
    let Some(status) = status else { return Err(format!("{place} is not available")) };
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    let of_last = last.and_then(|last| last.container_id.clone());
    if previous {
        return of_last.ok_or_else(|| format!("previous terminated {place} not found"));
    }
    let state = status.state.clone().unwrap_or_default();
    let current = status.container_id.clone();
    if state.running.is_some() {
        return current.ok_or_else(|| format!("{place} is not available"));
    }
    if let Some(ended) = &state.terminated {
        let id = ended.container_id.clone().or(of_last);
        return id.ok_or_else(|| format!("{place} is terminated"));
    }
    if let Some(id) = of_last {
        return Ok(id);
    }
    let waiting = state.waiting.and_then(|waiting| waiting.reason).unwrap_or_default();
    Err(match waiting.as_str() {
        "ErrImagePull" => format!("{place} is waiting to start: image can't be pulled"),
        "ImagePullBackOff" => format!("{place} is waiting to start: trying and failing to pull image"),
        "" => format!("{place} is not available"),
        reason => format!("{place} is waiting to start: {reason}"),
    })
}

/// The log of a container.
pub async fn container(
    endpoints: &Endpoints,
    namespace: &str,
    name: &str,
    container: &str,
    query: &Query,
) -> Answer {
    let Some(pod) = endpoints.cx.pods.by_name(namespace, name) else {
        return text(StatusCode::NOT_FOUND, format!("pod {name:?} does not exist\n"));
    };
    if pod.container(container).is_none() {
        return text(StatusCode::NOT_FOUND, format!("container {container:?} not found in pod {name:?}\n"));
    }
    let options = match Options::read(query) {
        Ok(options) => options,
        Err(error) => return text(StatusCode::UNPROCESSABLE_ENTITY, error),
    };
    let status = endpoints.cx.statuses.get(pod.uid()).or_else(|| pod.status.clone()).unwrap_or_default();
    let lists =
        [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
    let all: Vec<ContainerStatus> = lists.into_iter().flatten().flatten().collect();
    let own = all.iter().find(|status| status.name == container);
    let shown = match choose(&pod, container, own, options.previous) {
        Ok(id) => id,
        Err(error) => return text(StatusCode::BAD_REQUEST, error),
    };
    let id = shown.split_once("://").map_or(&*shown, |(_, id)| id).to_owned();
    let request = cri::v1::ContainerStatusRequest { container_id: id.clone(), verbose: false };
    let path = match endpoints.cx.runtime.container_status(request).await {
        Ok(answer) => answer.status.map(|status| PathBuf::from(status.log_path)).unwrap_or_default(),
        Err(error) => {
            return text(
                StatusCode::BAD_REQUEST,
                format!("unable to retrieve container logs for {shown}: {error}"),
            );
        }
    };
    let (sender, receiver) = mpsc::channel(CHANNEL);
    let runtime = endpoints.cx.runtime.clone();
    tokio::spawn(async move {
        if let Err(error) = send(&runtime, &id, &path, options, &sender).await {
            let message = format!("unable to retrieve container logs for {shown}: {error}");
            let _ = sender.send(Ok(Bytes::from(message))).await;
        }
    });
    streamed(receiver)
}

fn streamed(receiver: mpsc::Receiver<Result<Bytes, BoxError>>) -> Answer {
    let frames = tokio_stream::wrappers::ReceiverStream::new(receiver).map(|piece| piece.map(Frame::data));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let kind = http::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

type Sender = mpsc::Sender<Result<Bytes, BoxError>>;

/// Writes the wanted lines of a log into the channel until it ends or nobody reads any more.
async fn send(
    runtime: &cri::Runtime,
    id: &str,
    path: &Path,
    options: Options,
    sender: &Sender,
) -> std::io::Result<()> {
    let offset = match options.tail {
        Some(lines) => tail_offset(&mut std::fs::File::open(path)?, lines)?,
        None => 0,
    };
    let mut watch = watched(path);
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(SeekFrom::Start(offset)).await?;
    let mut lines = Lines::new(options);
    loop {
        // asked before reading, so that nothing written before the end is missed
        let over = !lines.options.follow || !running(runtime, id).await;
        let moved = rotated(path, &file).await;
        if !drain(&mut file, &mut lines, sender).await? || over {
            return Ok(());
        }
        if moved && let Ok(next) = tokio::fs::File::open(path).await {
            file = next;
            watch = watched(path);
            continue;
        }
        tokio::select! {
            () = sender.closed() => return Ok(()),
            () = wait(watch.as_ref().ok()) => {}
        }
    }
}

fn watched(path: &Path) -> std::io::Result<FileWatch> {
    let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF;
    FileWatch::new(path, flags)
}

/// Whether another file has taken the log's name, as after a rotation.
async fn rotated(path: &Path, file: &tokio::fs::File) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (tokio::fs::metadata(path).await, file.metadata().await) {
        (Ok(there), Ok(open)) => (there.dev(), there.ino()) != (open.dev(), open.ino()),
        _ => false,
    }
}

async fn wait(watch: Option<&FileWatch>) {
    let sleep = tokio::time::sleep(ALIVE);
    match watch {
        Some(watch) => {
            tokio::select! {
                there = watch.changed() => if !there { tokio::time::sleep(ALIVE).await },
                () = sleep => {}
            }
        }
        None => sleep.await,
    }
}

async fn running(runtime: &cri::Runtime, id: &str) -> bool {
    let request = cri::v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
    let status = runtime.container_status(request).await.ok().and_then(|answer| answer.status);
    status.is_some_and(|status| status.state == cri::v1::ContainerState::ContainerRunning as i32)
}

/// Sends what there is. False if enough was sent or nobody reads.
async fn drain(file: &mut tokio::fs::File, lines: &mut Lines, sender: &Sender) -> std::io::Result<bool> {
    loop {
        lines.left.reserve(BLOCK);
        if file.read_buf(&mut lines.left).await? == 0 {
            return Ok(true);
        }
        let (piece, done) = lines.take();
        if !piece.is_empty() && sender.send(Ok(piece)).await.is_err() {
            return Ok(false);
        }
        if done {
            return Ok(false);
        }
    }
}

/// Turns lines of the file into what is sent.
struct Lines {
    options: Options,
    left: BytesMut,
    sent: usize,
    /// Lines of the file that are still wanted; None: all.
    remaining: Option<usize>,
}

impl Lines {
    fn new(options: Options) -> Self {
        // What is written after the tail was found is not of it, unless it is followed.
        let remaining = options.tail.filter(|_| !options.follow);
        Self { options, left: BytesMut::new(), sent: 0, remaining }
    }

    /// What the complete lines give, and whether the limit is reached.
    fn take(&mut self) -> (Bytes, bool) {
        let mut out = BytesMut::new();
        let mut whole: VecDeque<BytesMut> = VecDeque::new();
        while self.remaining != Some(0)
            && let Some(end) = self.left.iter().position(|byte| *byte == b'\n')
        {
            self.remaining = self.remaining.map(|n| n - 1);
            let mut line = self.left.split_to(end + 1);
            line.truncate(end);
            whole.push_back(line);
        }
        for line in whole {
            self.line(&line, &mut out);
        }
        let done = match self.options.limit {
            Some(limit) if self.sent + out.len() >= limit => {
                out.truncate(limit - self.sent);
                true
            }
            _ => self.remaining == Some(0),
        };
        self.sent += out.len();
        (out.freeze(), done)
    }

    fn line(&self, line: &[u8], out: &mut BytesMut) {
        let Some(line) = parse(line) else { return };
        if self.options.stream.as_deref().is_some_and(|stream| stream != line.stream) {
            return;
        }
        if let Some(since) = self.options.since
            && line.timestamp().is_some_and(|time| time < since)
        {
            return;
        }
        if self.options.timestamps {
            out.extend_from_slice(line.time.as_bytes());
            out.extend_from_slice(b" ");
        }
        out.extend_from_slice(line.text);
        if !line.partial {
            out.extend_from_slice(b"\n");
        }
    }
}

/// A file or folder below the node's log folder.
pub fn node(endpoints: &Endpoints, parts: &[&str], shown: &str) -> Answer {
    if endpoints.cx.config.enable_system_log_handler == Some(false) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "logs endpoint is disabled.");
    }
    if parts.contains(&"..") {
        return text(StatusCode::BAD_REQUEST, "invalid URL path");
    }
    let root = &endpoints.cx.paths.logs;
    let path = parts.iter().fold(root.clone(), |path, part| path.join(part));
    let inside = path
        .canonicalize()
        .ok()
        .zip(root.canonicalize().ok())
        .is_some_and(|(path, root)| path.starts_with(root));
    if !inside {
        return text(StatusCode::NOT_FOUND, "404 page not found\n");
    }
    if path.is_dir() {
        let mut names: Vec<String> = std::fs::read_dir(&path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| {
                let slash = if entry.path().is_dir() { "/" } else { "" };
                format!("{}{slash}", entry.file_name().to_string_lossy())
            })
            .collect();
        names.sort();
        let lines: String = names.iter().map(|name| format!("<a href=\"{name}\">{name}</a>\n")).collect();
        tracing::debug!(shown, "list of logs");
        let mut answer = text(StatusCode::OK, format!("<!doctype html>\n<pre>\n{lines}</pre>\n"));
        let kind = http::HeaderValue::from_static("text/html; charset=utf-8");
        answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        return answer;
    }
    match std::fs::read(&path) {
        Ok(bytes) => text(StatusCode::OK, String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => text(StatusCode::NOT_FOUND, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(options: Options, text: &str) -> (String, bool) {
        let mut lines = Lines::new(options);
        lines.left.extend_from_slice(text.as_bytes());
        let (bytes, done) = lines.take();
        (String::from_utf8(bytes.to_vec()).unwrap(), done)
    }

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr P tw\n2026-01-01T00:00:02Z stderr F o\n2026-01-01T00:00:03Z stdout F cut";

    #[test]
    fn filters_lines() {
        assert_eq!(lines(Options::default(), LOG), ("one\ntwo\n".to_owned(), false));
        let stamped = Options { timestamps: true, stream: Some("stdout".into()), ..Options::default() };
        assert_eq!(lines(stamped, LOG).0, "2026-01-01T00:00:01Z one\n");
        let since = Options { since: Some("2026-01-01T00:00:02Z".parse().unwrap()), ..Options::default() };
        assert_eq!(lines(since, LOG).0, "two\n");
        let limit = Options { limit: Some(5), ..Options::default() };
        assert_eq!(lines(limit, LOG), ("one\nt".to_owned(), true));
        // More was written since the last line was looked for.
        let last = Options { tail: Some(1), ..Options::default() };
        assert_eq!(lines(last, LOG), ("one\n".to_owned(), true));
        let followed = Options { tail: Some(1), follow: true, ..Options::default() };
        assert_eq!(lines(followed, LOG), ("one\ntwo\n".to_owned(), false));
    }

    #[test]
    fn chooses_the_container() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}})).unwrap();
        let status = |state: serde_json::Value, last: serde_json::Value| -> ContainerStatus {
            serde_json::from_value(
                json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "containerID": "containerd://now", "state": state, "lastState": last}),
            )
            .unwrap()
        };
        let ended = json!({"terminated": {"exitCode": 1, "containerID": "containerd://before"}});
        let running = status(json!({"running": {}}), ended.clone());
        assert_eq!(choose(&pod, "c", Some(&running), false).unwrap(), "containerd://now");
        assert_eq!(choose(&pod, "c", Some(&running), true).unwrap(), "containerd://before");
        let fresh = status(json!({"waiting": {"reason": "ContainerCreating"}}), json!({}));
        assert_eq!(
            choose(&pod, "c", Some(&fresh), false).unwrap_err(),
            "container \"c\" in pod \"p\" is waiting to start: ContainerCreating"
        );
        assert_eq!(
            choose(&pod, "c", Some(&fresh), true).unwrap_err(),
            "previous terminated container \"c\" in pod \"p\" not found"
        );
    }
}
