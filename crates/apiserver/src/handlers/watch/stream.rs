//! A watch on its way to one client, as the body of an answer.
//!
//! What waits for the client when its connection is ready goes out in one frame. A connection of its own costs a
//! system call a write, whatever is in it: after a write the next one to it comes at the earliest [`SPACING`] later,
//! with all that has come until then. The first event after a pause is sent at once, and within this process, where
//! nothing is written, each is.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use apimachinery::Status;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body::Frame;
use tokio::time::{Instant, Sleep};

use super::writer::Writer;
use crate::cache::{Change, End, Entry, EventKind, Subscription};

/// Between bookmarks.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// The last bookmark comes that long before the end.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// Between two writes of events to one connection.
const SPACING: Duration = Duration::from_millis(10);
/// Bytes after which a frame takes no more events.
const BATCH: usize = 64 << 10;

/// Counts a watch as long as it runs, and its events.
pub(super) struct Gauge(pub component_base::metrics::Gauge, pub component_base::metrics::Counter);

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// See the module.
pub(super) struct Stream {
    pub writer: Arc<Writer>,
    pub initial: VecDeque<Arc<Entry>>,
    /// Tell the end of the initial events with this revision.
    pub end_of_initial: Option<i64>,
    pub subscription: Option<Subscription>,
    /// Changes up to this revision are not the watch's.
    pub after: i64,
    pub failed: Option<Status>,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
    /// Nothing is to be written before this.
    spaced_until: Option<Instant>,
    is_spaced: bool,
    /// A frame that somebody else has to be asked for.
    making: Option<BoxFuture<'static, Result<Bytes, Status>>>,
    /// A Table tells its columns once.
    columns_told: bool,
    gauge: Gauge,
}

enum Step {
    Frame(Bytes),
    /// Nothing to send until it is woken.
    Wait,
    End,
}

/// Frames that go out together.
#[derive(Default)]
struct Batch {
    one: Option<Bytes>,
    many: Vec<u8>,
}

impl Batch {
    fn add(&mut self, frame: Bytes) {
        match self.one.take() {
            None if self.many.is_empty() => self.one = Some(frame),
            first => {
                self.many.extend_from_slice(&first.unwrap_or_default());
                self.many.extend_from_slice(&frame);
            }
        }
    }

    fn len(&self) -> usize {
        self.one.as_ref().map_or(self.many.len(), Bytes::len)
    }

    fn finish(self) -> Option<Bytes> {
        self.one.or_else(|| (!self.many.is_empty()).then(|| self.many.into()))
    }
}

impl Stream {
    /// `is_spaced`: it goes over a wire.
    pub fn new(writer: Writer, bookmarks: bool, limit: Duration, is_spaced: bool, gauge: Gauge) -> Self {
        let now = Instant::now();
        Self {
            writer: Arc::new(writer),
            initial: VecDeque::new(),
            end_of_initial: None,
            subscription: None,
            after: 0,
            failed: None,
            bookmarks,
            next_bookmark: now + BOOKMARK_EVERY,
            deadline: now + limit,
            timer: Box::pin(tokio::time::sleep_until(now + limit)),
            spaced_until: None,
            is_spaced,
            making: None,
            columns_told: false,
            gauge,
        }
    }

    /// The next bytes to send; None: the watch is over.
    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut batch = Batch::default();
        let mut over = false;
        while batch.len() < BATCH {
            match self.step(cx, batch.len() > 0) {
                Step::Frame(frame) => batch.add(frame),
                Step::Wait => break,
                Step::End => {
                    over = true;
                    break;
                }
            }
        }
        match batch.finish() {
            None if over => Poll::Ready(None),
            None => Poll::Pending,
            frame => Poll::Ready(frame),
        }
    }

    fn step(&mut self, cx: &mut Context<'_>, has_begun: bool) -> Step {
        if let Some(making) = &mut self.making {
            let Poll::Ready(frame) = making.as_mut().poll(cx) else { return Step::Wait };
            self.making = None;
            return Step::Frame(self.sent(frame));
        }
        if let Some(status) = self.failed.take() {
            self.subscription = None;
            return Step::Frame(self.writer.error(&status));
        }
        if let Some(entry) = self.initial.pop_front() {
            return self.object(cx, entry);
        }
        if let Some(revision) = self.end_of_initial.take() {
            return Step::Frame(self.writer.bookmark(revision, true));
        }
        if self.subscription.is_none() {
            return Step::End;
        }
        if !has_begun && self.is_held(cx) {
            return Step::Wait;
        }
        self.next_change(cx)
    }

    /// Whether something is there that has to wait for more, as something was written just now.
    fn is_held(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(until) = self.spaced_until else { return false };
        if self.subscription.as_ref().is_none_or(Subscription::is_idle) {
            return false;
        }
        let held = Instant::now() < until && self.wake_at(until, cx);
        if !held {
            self.spaced_until = None;
        }
        held
    }

    /// Sees to it that the task is woken then; false: it is then already.
    fn wake_at(&mut self, when: Instant, cx: &mut Context<'_>) -> bool {
        if self.timer.deadline() != when {
            self.timer.as_mut().reset(when);
        }
        self.timer.as_mut().poll(cx).is_pending()
    }

    fn next_change(&mut self, cx: &mut Context<'_>) -> Step {
        loop {
            let Some(subscription) = &mut self.subscription else { return Step::End };
            match subscription.poll_next(cx) {
                Poll::Ready(Ok((_, change))) if change.revision <= self.after => {}
                Poll::Ready(Ok((kind, change))) => return self.change(cx, kind, change),
                Poll::Ready(Err(End::Closed)) => return Step::End,
                Poll::Ready(Err(End::TooSlow)) => {
                    self.subscription = None;
                    let status = Status::expired("too old resource version: the watch was too slow");
                    return Step::Frame(self.writer.error(&status));
                }
                Poll::Pending => return self.timers(cx),
            }
        }
    }

    fn timers(&mut self, cx: &mut Context<'_>) -> Step {
        let wake = if self.bookmarks { self.next_bookmark.min(self.deadline) } else { self.deadline };
        if self.wake_at(wake, cx) {
            return Step::Wait;
        }
        if Instant::now() >= self.deadline { Step::End } else { Step::Frame(self.bookmark()) }
    }

    fn object(&mut self, cx: &mut Context<'_>, entry: Arc<Entry>) -> Step {
        let (writer, with_columns) = (self.writer.clone(), !self.columns_told);
        self.make(cx, async move {
            let mut frame = Vec::new();
            writer.write(EventKind::Added, &entry, with_columns, &mut frame).await?;
            Ok(frame.into())
        })
    }

    fn change(&mut self, cx: &mut Context<'_>, kind: EventKind, change: Arc<Change>) -> Step {
        if self.is_spaced {
            self.spaced_until = Some(Instant::now() + SPACING);
        }
        if let Some(frame) = self.writer.shared(kind, &change) {
            return Step::Frame(self.sent(Ok(frame)));
        }
        let (writer, with_columns) = (self.writer.clone(), !self.columns_told);
        self.make(cx, async move { writer.change(kind, &change, with_columns).await })
    }

    /// At once, unless somebody else has to be asked.
    fn make(
        &mut self,
        cx: &mut Context<'_>,
        work: impl Future<Output = Result<Bytes, Status>> + Send + 'static,
    ) -> Step {
        self.columns_told = true;
        let mut work = work.boxed();
        match work.poll_unpin(cx) {
            Poll::Ready(frame) => Step::Frame(self.sent(frame)),
            Poll::Pending => {
                self.making = Some(work);
                Step::Wait
            }
        }
    }

    fn sent(&mut self, frame: Result<Bytes, Status>) -> Bytes {
        self.gauge.1.inc();
        frame.unwrap_or_else(|status| {
            self.subscription = None;
            self.initial.clear();
            self.end_of_initial = None;
            self.writer.error(&status)
        })
    }

    fn bookmark(&mut self) -> Bytes {
        let before_end = self.deadline - BOOKMARK_BEFORE_END;
        let now = Instant::now();
        self.next_bookmark = now + BOOKMARK_EVERY;
        if now < before_end && self.next_bookmark > before_end {
            self.next_bookmark = before_end;
        }
        let revision = self.subscription.as_mut().map_or(0, |s| {
            s.cache().ask_progress();
            s.bookmark()
        });
        self.writer.bookmark(revision.max(self.after), false)
    }
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let batch = ready!(self.poll_batch(cx));
        Poll::Ready(batch.map(|bytes| Ok(Frame::data(bytes))))
    }
}
