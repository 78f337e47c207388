//! All watches of a client on one gRPC stream, held by one task. When the stream breaks, the task
//! goes to the next endpoint and opens every watch again from the revision after the last it has
//! handed on. A consumer that falls far behind has its watch taken off the stream, and put back from
//! where it stopped once it has emptied its queue, so it holds up neither the others nor memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Status, Streaming};

use super::convert;
use super::failure::{self, About};
use super::transport::Transport;
use crate::proto::etcdserverpb as pb;
use crate::{Error, ProgressHandle, Result, Watch, WatchRequest, WatchResponse};

/// Responses that wait for a consumer before its watch is taken off the stream.
const QUEUE_RESPONSES: usize = 1024;
/// Bytes of values in them.
const QUEUE_BYTES: usize = 8 << 20;
/// etcd drops a request for progress while a watch of the stream is catching up: ask again after.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// The first pause before the stream is opened again; doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// The watch id of answers to requests for progress.
const ALL_WATCHES: i64 = -1;

enum Command {
    Open(WatchRequest, oneshot::Sender<Result<Arc<Queue>>>),
    /// The consumer has emptied its queue.
    Resume(i64),
    Progress(i64),
    Close(i64),
}

/// What the task hands to one consumer.
struct Queue {
    id: i64,
    state: Mutex<QueueState>,
    notify: Notify,
}

#[derive(Default)]
struct QueueState {
    responses: VecDeque<WatchResponse>,
    bytes: usize,
    /// Taken off the stream, as too much waits.
    paused: bool,
    end: Option<Error>,
}

/// The task's end of one watch.
struct Entry {
    request: WatchRequest,
    queue: Arc<Queue>,
    /// The revision to open it from, 0 until the server has told.
    next: i64,
    /// Waits for the first answer of the server.
    opened: Option<oneshot::Sender<Result<Arc<Queue>>>>,
    /// On the stream and confirmed there.
    live: bool,
    wants_progress: bool,
    /// Parts of a response that came in pieces.
    fragments: Vec<crate::Event>,
}

/// The handle of the task.
pub struct Mux {
    commands: mpsc::UnboundedSender<Command>,
    timeout: Duration,
}

impl Mux {
    /// Starts the task, which ends when the handle and all watches are gone.
    pub fn start(transport: Arc<Transport>) -> Self {
        let (commands, queue) = mpsc::unbounded_channel();
        let timeout = transport.request_timeout();
        tokio::spawn(
            Task { transport, commands: queue, entries: HashMap::new(), last_id: 0, asked: false }.run(),
        );
        Self { commands, timeout }
    }

    /// Opens a watch; answers once the server has it.
    pub async fn open(&self, request: WatchRequest) -> Result<Watch> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Open(request, reply)).map_err(|_| gone())?;
        let queue = match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(|_| gone())??,
            Err(_) => {
                let reason = format!("the watch was not confirmed in {:?}", self.timeout);
                return Err(Error::Timeout { endpoint: "etcd".into(), reason });
            }
        };
        let (commands, id) = (self.commands.clone(), queue.id);
        let progress = ProgressHandle::new(move || {
            let _ = commands.send(Command::Progress(id)); // the stream tells if the task is gone
        });
        Ok(Watch::new(consume(Consumer { queue, commands: self.commands.clone() }), progress))
    }
}

fn gone() -> Error {
    Error::Unavailable { endpoint: "etcd".into(), reason: "the client was closed".into() }
}

struct Consumer {
    queue: Arc<Queue>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Close(self.queue.id)); // the task may be gone first
    }
}

fn consume(consumer: Consumer) -> impl Stream<Item = Result<WatchResponse>> + Send {
    futures::stream::unfold(Some(consumer), |consumer| async move {
        let consumer = consumer?;
        match consumer.next().await {
            Ok(response) => Some((Ok(response), Some(consumer))),
            Err(e) => Some((Err(e), None)),
        }
    })
}

impl Consumer {
    async fn next(&self) -> Result<WatchResponse> {
        loop {
            {
                let mut state = self.queue.state.lock();
                if let Some(response) = state.responses.pop_front() {
                    state.bytes = state.bytes.saturating_sub(size(&response));
                    return Ok(response);
                }
                if let Some(end) = state.end.clone() {
                    return Err(end);
                }
                if std::mem::take(&mut state.paused) {
                    self.commands.send(Command::Resume(self.queue.id)).map_err(|_| gone())?;
                }
            }
            self.queue.notify.notified().await;
        }
    }
}

fn size(response: &WatchResponse) -> usize {
    let of = |event: &crate::Event| {
        event.kv.value.len() + event.prev_kv.as_ref().map_or(0, |kv| kv.value.len()) + event.kv.key.len()
    };
    response.events.iter().map(of).sum()
}

/// The outgoing half of the stream.
type Outgoing = mpsc::UnboundedSender<pb::WatchRequest>;

struct Task {
    transport: Arc<Transport>,
    commands: mpsc::UnboundedReceiver<Command>,
    entries: HashMap<i64, Entry>,
    last_id: i64,
    /// A request for progress is on its way.
    asked: bool,
}

/// Why a stream was left.
enum Left {
    Broken(Status),
    Idle,
    Closed,
}

impl Task {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            if self.entries.is_empty() {
                match self.commands.recv().await {
                    Some(command) => self.command(command, None),
                    None => return,
                }
                continue;
            }
            let (at, url, channel) = self.transport.current();
            let url = url.to_owned();
            match self.serve(channel, &mut pause).await {
                Left::Closed => return,
                Left::Idle => {}
                Left::Broken(status) => {
                    tracing::warn!(endpoint = %url, reason = %status.message(), "watch stream broke, opening it again");
                    self.entries.values_mut().for_each(|entry| {
                        entry.live = false;
                        entry.fragments.clear();
                    });
                    self.transport.move_on(at);
                    tokio::time::sleep(pause).await; // nothing tells when a server comes back
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    }

    /// Holds one stream until it breaks, or no watch is left.
    async fn serve(&mut self, channel: tonic::transport::Channel, pause: &mut Duration) -> Left {
        let (outgoing, requests) = mpsc::unbounded_channel();
        for entry in self.entries.values().filter(|entry| !entry.queue.state.lock().paused) {
            let _ = outgoing.send(convert::watch(&entry.request, entry.queue.id, entry.start()));
        }
        let mut opening = std::pin::pin!(open_stream(channel, requests));
        let mut stream = None;
        self.asked = false;
        let mut again = tokio::time::interval(ASK_AGAIN);
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                opened = &mut opening, if stream.is_none() => match opened {
                    Ok(opened) => stream = Some(opened),
                    Err(status) => return Left::Broken(status),
                },
                response = next(&mut stream) => match response {
                    Ok(Some(response)) => {
                        *pause = FIRST_PAUSE;
                        self.response(response, &outgoing);
                    }
                    Ok(None) => return Left::Broken(Status::unavailable("the server ended the stream")),
                    Err(status) => return Left::Broken(status),
                },
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command, Some(&outgoing)),
                    None => return Left::Closed,
                },
                _ = again.tick(), if self.asked => self.ask_progress(&outgoing),
            }
            if self.entries.is_empty() {
                return Left::Idle;
            }
        }
    }

    fn command(&mut self, command: Command, outgoing: Option<&Outgoing>) {
        match command {
            Command::Open(request, reply) => self.open(request, reply, outgoing),
            Command::Resume(id) => {
                if let (Some(entry), Some(outgoing)) = (self.entries.get(&id), outgoing) {
                    let _ = outgoing.send(convert::watch(&entry.request, id, entry.start()));
                }
            }
            Command::Progress(id) => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.wants_progress = true;
                    if let (true, Some(outgoing)) = (entry.live, outgoing) {
                        self.ask_progress(outgoing);
                    }
                }
            }
            Command::Close(id) => {
                if let (Some(_), Some(outgoing)) = (self.entries.remove(&id), outgoing) {
                    let _ = outgoing.send(cancel(id));
                }
            }
        }
    }

    fn open(
        &mut self,
        request: WatchRequest,
        reply: oneshot::Sender<Result<Arc<Queue>>>,
        outgoing: Option<&Outgoing>,
    ) {
        self.last_id += 1;
        let id = self.last_id;
        let queue = Arc::new(Queue { id, state: Mutex::default(), notify: Notify::new() });
        if let Some(outgoing) = outgoing {
            let _ = outgoing.send(convert::watch(&request, id, request.start_revision));
        }
        let entry = Entry {
            next: request.start_revision,
            request,
            queue,
            opened: Some(reply),
            live: false,
            wants_progress: false,
            fragments: Vec::new(),
        };
        self.entries.insert(id, entry);
    }

    fn ask_progress(&mut self, outgoing: &Outgoing) {
        let request = pb::watch_request::RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
        let _ = outgoing.send(pb::WatchRequest { request_union: Some(request) });
        self.asked = true;
    }

    fn response(&mut self, response: pb::WatchResponse, outgoing: &Outgoing) {
        let revision = convert::revision(response.header.as_ref());
        let id = response.watch_id;
        if id == ALL_WATCHES && !response.created && !response.canceled {
            return self.progress(revision);
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return self.unassigned(&response);
        };
        if response.canceled {
            // Otherwise it answers that we took a watch off the stream.
            let refused = response.created || entry.live || response.compact_revision != 0;
            if refused && let Some(entry) = self.entries.remove(&id) {
                entry.end(ended(&response));
            }
        } else if response.created {
            entry.created(revision);
            let (wanted, wants_progress) = (entry.is_wanted(), entry.wants_progress);
            if !wanted {
                self.entries.remove(&id);
                let _ = outgoing.send(cancel(id));
            } else if wants_progress {
                self.ask_progress(outgoing);
            }
        } else if !entry.take(response, revision) {
            let _ = outgoing.send(cancel(id));
        }
    }

    /// etcd refuses a watch under no id at all; then it is one that was not confirmed yet.
    fn unassigned(&mut self, response: &pb::WatchResponse) {
        if !response.canceled || !response.created {
            return; // the last words of a watch that was closed here
        }
        let waiting: Vec<i64> =
            self.entries.iter().filter(|(_, entry)| !entry.live).map(|(id, _)| *id).collect();
        for id in waiting {
            if let Some(entry) = self.entries.remove(&id) {
                entry.end(ended(response));
            }
        }
    }

    /// All watches of the stream have come to a revision.
    fn progress(&mut self, revision: i64) {
        self.asked = false;
        for entry in self.entries.values_mut().filter(|entry| entry.live) {
            entry.next = entry.next.max(revision + 1);
            if std::mem::take(&mut entry.wants_progress) {
                entry.queue.push(WatchResponse { revision, events: Vec::new() });
            }
        }
    }
}

/// The next response of a stream, once there is one.
async fn next(
    stream: &mut Option<Streaming<pb::WatchResponse>>,
) -> Result<Option<pb::WatchResponse>, Status> {
    match stream {
        Some(stream) => stream.message().await,
        None => std::future::pending().await,
    }
}

/// Opens the stream. It is open with the server's first response, so requests go first.
async fn open_stream(
    channel: tonic::transport::Channel,
    requests: mpsc::UnboundedReceiver<pb::WatchRequest>,
) -> Result<Streaming<pb::WatchResponse>, Status> {
    let mut client = pb::watch_client::WatchClient::new(channel).max_decoding_message_size(usize::MAX);
    let mut request = Request::new(UnboundedReceiverStream::new(requests));
    // A member without a leader must end the stream rather than be silent.
    request.metadata_mut().insert("hasleader", tonic::metadata::MetadataValue::from_static("true"));
    Ok(client.watch(request).await?.into_inner())
}

fn cancel(watch_id: i64) -> pb::WatchRequest {
    let request = pb::watch_request::RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id });
    pb::WatchRequest { request_union: Some(request) }
}

fn ended(response: &pb::WatchResponse) -> Error {
    match response.compact_revision {
        0 => {
            let status = Status::new(tonic::Code::FailedPrecondition, response.cancel_reason.clone());
            failure::error(&status, "etcd", About::default())
        }
        compact_revision => Error::Compacted { compact_revision },
    }
}

impl Entry {
    /// Where to open it from. A watch from now on that was never confirmed starts from now again.
    fn start(&self) -> i64 {
        self.next
    }

    /// Whether its consumer is still there.
    fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.queue) > 1
    }

    fn created(&mut self, revision: i64) {
        self.live = true;
        if self.next == 0 {
            self.next = revision + 1;
        }
        if let Some(opened) = self.opened.take() {
            let _ = opened.send(Ok(self.queue.clone())); // a caller that gave up drops the queue
        }
    }

    fn end(self, error: Error) {
        if let Some(opened) = self.opened {
            let _ = opened.send(Err(error)); // as above
            return;
        }
        self.queue.state.lock().end = Some(error);
        self.queue.notify.notify_one();
    }

    /// Hands a response on; false if its watch is to be taken off the stream.
    fn take(&mut self, response: pb::WatchResponse, revision: i64) -> bool {
        if !self.live {
            return true; // sent before it was taken off; it will come again
        }
        self.fragments.extend(convert::events(response.events));
        if response.fragment {
            return true;
        }
        let events = std::mem::take(&mut self.fragments);
        match events.last() {
            Some(last) => self.next = last.kv.mod_revision + 1,
            None => self.next = self.next.max(revision + 1),
        }
        let full = self.queue.push(WatchResponse { revision, events });
        self.live = !full;
        !full
    }
}

impl Queue {
    /// Adds a response; true if there is too much now.
    fn push(&self, response: WatchResponse) -> bool {
        let mut state = self.state.lock();
        state.bytes += size(&response);
        state.responses.push_back(response);
        state.paused = state.responses.len() >= QUEUE_RESPONSES || state.bytes >= QUEUE_BYTES;
        self.notify.notify_one();
        state.paused
    }
}
