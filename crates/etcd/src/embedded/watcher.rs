//! The stream of a watch: takes from the hub's queue, and feeds from history while it is behind.
//! It holds no task and no thread; it works when it is polled.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::Stream;

use super::engine::Engine;
use super::hub::{Hub, Step, Watcher};
use crate::{Error, ProgressHandle, Result, Watch, WatchRequest, WatchResponse};

/// The consumer's side of a watch. It does not keep the store open.
struct Feed {
    engine: Weak<Engine>,
    hub: Arc<Hub>,
    watcher: Arc<Watcher>,
    progress_every: Option<Duration>,
    ended: bool,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.hub.remove(&self.watcher);
    }
}

/// Opens a watch.
pub fn open(engine: &Arc<Engine>, request: &WatchRequest, progress_every: Duration) -> Watch {
    let hub = engine.hub.clone();
    let watcher = hub.add(request, engine.durable());
    let handle = progress_handle(Arc::downgrade(engine), &hub, &watcher);
    let progress_every = request.progress_notify.then_some(progress_every);
    let feed = Feed { engine: Arc::downgrade(engine), hub, watcher, progress_every, ended: false };
    Watch::new(stream(feed), handle)
}

fn progress_handle(engine: Weak<Engine>, hub: &Arc<Hub>, watcher: &Arc<Watcher>) -> ProgressHandle {
    let (hub, watcher) = (Arc::downgrade(hub), Arc::downgrade(watcher));
    ProgressHandle::new(move || {
        // Without them the watch has ended, which its stream tells.
        if let (Some(engine), Some(hub), Some(watcher)) = (engine.upgrade(), hub.upgrade(), watcher.upgrade())
        {
            hub.request_progress(&watcher, engine.durable());
        }
    })
}

fn stream(feed: Feed) -> impl Stream<Item = Result<WatchResponse>> + Send {
    futures::stream::unfold(feed, |mut feed| async move {
        if feed.ended {
            return None;
        }
        let item = feed.next().await;
        feed.ended = item.is_err();
        Some((item, feed))
    })
}

impl Feed {
    async fn next(&mut self) -> Result<WatchResponse> {
        loop {
            match self.watcher.step(&self.hub) {
                Step::Send(revision, events) => return Ok(WatchResponse { revision, events }),
                Step::Progress(revision) => return Ok(WatchResponse { revision, events: Vec::new() }),
                Step::End(error) => return Err(error),
                Step::Behind(from) => {
                    if let Some(response) = self.feed_from_history(from).await? {
                        return Ok(response);
                    }
                }
                Step::Wait => self.wait().await,
            }
        }
    }

    async fn wait(&self) {
        let notified = self.watcher.notify.notified();
        match self.progress_every {
            None => notified.await,
            Some(every) => {
                if tokio::time::timeout(every, notified).await.is_err()
                    && let Some(engine) = self.engine.upgrade()
                {
                    self.hub.request_progress(&self.watcher, engine.durable());
                }
            }
        }
    }

    async fn feed_from_history(&self, from: i64) -> Result<Option<WatchResponse>> {
        let (engine, watcher) = (self.engine.clone(), self.watcher.clone());
        let read = move || {
            let engine = engine.upgrade().ok_or_else(closed)?;
            engine.history(&watcher.range, watcher.prev_kv, from)
        };
        let (mut events, next) = tokio::task::spawn_blocking(read).await.map_err(|_| closed())??;
        self.hub.rejoin(&self.watcher, next);
        events.retain(|event| !self.watcher.filtered(event.kind));
        let response = WatchResponse { revision: next - 1, events };
        Ok(Some(response).filter(|response| !response.is_progress()))
    }
}

fn closed() -> Error {
    Error::Unavailable { endpoint: "embedded".into(), reason: "the store was closed".into() }
}
