//! Group commit: one thread takes what writers queued, applies all of it, writes one batch, waits
//! once for the disk, then makes it visible and answers everyone. While it waits, the next group
//! gathers, so groups grow with the load and a lone writer waits for nobody. The same thread ends
//! leases when their time is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::Instant;

use tokio::sync::oneshot;

use super::apply::Stage;
use super::engine::Engine;
use super::hub::Change;
use super::record;
use crate::{Error, Lease, Result, Txn, TxnResponse};

/// Requests of one group at most.
const GROUP_REQUESTS: usize = 4096;
/// Bytes of one group at which it closes.
const GROUP_BYTES: usize = 4 << 20;

type Reply<T> = oneshot::Sender<Result<T>>;

/// What writers queue.
pub enum Command {
    /// A transaction.
    Txn(Txn, Reply<TxnResponse>),
    /// A lease: seconds, id or 0.
    Grant(i64, i64, Reply<Lease>),
    /// The end of a lease.
    Revoke(i64, Reply<()>),
    /// Compaction at a revision.
    Compact(i64, Reply<i64>),
    /// The end of the store.
    Stop,
}

/// A durable group on its way to the watchers.
pub struct Published {
    /// Its changes, ascending.
    pub changes: Vec<Change>,
    /// The newest revision.
    pub upto: i64,
}

/// An answer that waits for the disk.
enum Answer {
    Txn(TxnResponse, Reply<TxnResponse>),
    Lease(Lease, Reply<Lease>),
    Done(Reply<()>),
    Compacted(i64, Reply<i64>),
}

impl Answer {
    fn send(self, outcome: &Result<()>) {
        // A caller that went away does not want to know.
        fn tell<T>(reply: Reply<T>, value: T, outcome: &Result<()>) {
            let _ = reply.send(outcome.clone().map(|()| value));
        }
        match self {
            Answer::Txn(value, reply) => tell(reply, value, outcome),
            Answer::Lease(value, reply) => tell(reply, value, outcome),
            Answer::Done(reply) => tell(reply, (), outcome),
            Answer::Compacted(value, reply) => tell(reply, value, outcome),
        }
    }
}

/// The thread's own state.
pub struct Committer {
    pub engine: Arc<Engine>,
    pub queue: Receiver<Command>,
    pub publish: SyncSender<Published>,
    pub compactions: Sender<i64>,
}

/// A group while it is being made.
struct Group<'a> {
    stage: Stage<'a>,
    answers: Vec<Answer>,
    compact: Option<i64>,
}

impl Committer {
    /// Runs until it is stopped or all writers are gone.
    pub fn run(self) {
        while let Some(first) = self.wait() {
            let mut group = Group { stage: Stage::new(&self.engine), answers: Vec::new(), compact: None };
            let mut more = group.take(first);
            while more && group.has_room() {
                match self.queue.try_recv() {
                    Ok(command) => more = group.take(Some(command)),
                    Err(_) => break,
                }
            }
            self.finish(group);
            if !more {
                break;
            }
        }
        self.stop();
    }

    /// The next command; `Some(None)` when a lease has ended instead, `None` at the end.
    fn wait(&self) -> Option<Option<Command>> {
        let expiry = self.engine.leases.lock().next_expiry();
        let healthy = self.engine.check_healthy().is_ok();
        let Some(expiry) = expiry.filter(|_| healthy) else {
            return self.queue.recv().ok().map(Some);
        };
        match self.queue.recv_timeout(expiry.saturating_duration_since(Instant::now())) {
            Ok(command) => Some(Some(command)),
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn finish(&self, group: Group<'_>) {
        let Group { stage, answers, compact } = group;
        let outcome = self.commit(stage, compact);
        if let Err(Error::Poisoned { reason }) = &outcome {
            self.engine.poison(reason.clone());
        }
        answers.into_iter().for_each(|answer| answer.send(&outcome));
        if let (Some(revision), Ok(())) = (compact, &outcome) {
            let _ = self.compactions.send(revision); // the store is closing if nobody takes it
        }
    }

    fn commit(&self, stage: Stage<'_>, compact: Option<i64>) -> Result<()> {
        self.engine.check_healthy()?;
        let Stage { batch, revision, changes, .. } = stage;
        if !batch.is_empty() {
            self.engine.disk.commit(batch, self.engine.durable(), true)?;
        }
        if let Some(revision) = compact {
            self.engine.compacted.store(revision, Ordering::Release);
        }
        self.engine.durable.store(revision, Ordering::Release);
        if !changes.is_empty() {
            let _ = self.publish.send(Published { changes, upto: revision }); // as above
        }
        Ok(())
    }

    /// A last marker, so that damage to the last group is found at the next open.
    fn stop(&self) {
        if self.engine.check_healthy().is_ok() {
            let batch = self.engine.disk.batch();
            if let Err(e) = self.engine.disk.commit(batch, self.engine.durable(), true) {
                tracing::warn!(error = %e, "the store's last marker was not written");
            }
        }
        let reason = "the store was closed".to_owned();
        self.engine.hub.close(&Error::Unavailable { endpoint: "embedded".into(), reason });
    }
}

impl Group<'_> {
    fn has_room(&self) -> bool {
        self.answers.len() < GROUP_REQUESTS && self.stage.batch.bytes() < GROUP_BYTES
    }

    /// Applies one command; `None` stands for the leases that have ended. Answers whether to go on.
    fn take(&mut self, command: Option<Command>) -> bool {
        match command {
            None => self.expire(),
            Some(Command::Txn(txn, reply)) => self.txn(&txn, reply),
            Some(Command::Grant(ttl, id, reply)) => {
                let granted = self.grant(ttl, id);
                self.answer(granted, reply, Answer::Lease);
            }
            Some(Command::Revoke(id, reply)) => {
                let revoked = self.revoke(id);
                self.answer(revoked, reply, |(), reply| Answer::Done(reply));
            }
            Some(Command::Compact(revision, reply)) => {
                let compacted = self.compact(revision);
                self.answer(compacted, reply, Answer::Compacted);
            }
            Some(Command::Stop) => return false,
        }
        true
    }

    fn answer<T>(&mut self, result: Result<T>, reply: Reply<T>, answer: impl FnOnce(T, Reply<T>) -> Answer) {
        match result {
            Ok(value) => self.answers.push(answer(value, reply)),
            Err(e) => {
                if let Error::Poisoned { reason } = &e {
                    self.stage.engine.poison(reason.clone());
                }
                let _ = reply.send(Err(e)); // a caller that went away does not want to know
            }
        }
    }

    fn healthy<T>(&mut self, attempt: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.stage.engine.check_healthy()?;
        attempt(self)
    }

    fn txn(&mut self, txn: &Txn, reply: Reply<TxnResponse>) {
        let done = self.healthy(|group| group.stage.txn(txn));
        self.answer(done, reply, Answer::Txn);
    }

    fn grant(&mut self, ttl: i64, id: i64) -> Result<Lease> {
        self.healthy(|group| {
            let mut leases = group.stage.engine.leases.lock();
            if id != 0 && leases.contains(id) {
                return Err(Error::LeaseExists { id });
            }
            let id = if id == 0 { fresh_id(|id| leases.contains(id)) } else { id };
            leases.grant(id, ttl, Instant::now());
            let key = record::lease_key(id);
            group.stage.batch.put_meta(&key, record::encode_number(&key, ttl));
            Ok(Lease { id, ttl })
        })
    }

    fn revoke(&mut self, id: i64) -> Result<()> {
        self.healthy(|group| {
            if !group.stage.engine.leases.lock().contains(id) {
                return Err(Error::LeaseNotFound { id });
            }
            group.stage.revoke(id)
        })
    }

    fn compact(&mut self, revision: i64) -> Result<i64> {
        self.healthy(|group| {
            let stage = &mut group.stage;
            if revision <= stage.compacted {
                return Err(Error::Compacted { compact_revision: stage.compacted });
            }
            if revision > stage.revision {
                return Err(Error::FutureRevision);
            }
            stage.compacted = revision;
            group.compact = Some(revision);
            let number = record::encode_number(record::COMPACT, revision);
            stage.batch.put_meta(record::COMPACT, number);
            Ok(stage.revision)
        })
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while self.has_room() {
            let Some(id) = self.stage.engine.leases.lock().expired(now) else { return };
            if let Err(e) = self.stage.revoke(id) {
                self.stage.engine.poison(e.to_string());
                return;
            }
        }
    }
}

/// A positive id that is not taken, spread so that ids are not guessed from each other's.
fn fresh_id(taken: impl Fn(i64) -> bool) -> i64 {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new();
    let mut count = 0_u64;
    loop {
        let id = (random.hash_one(count) >> 1) as i64;
        if id != 0 && !taken(id) {
            return id;
        }
        count += 1;
    }
}

/// The hub's thread: feeds watchers so that the committer need not.
pub fn run_publisher(engine: &Engine, groups: &Receiver<Published>) {
    while let Ok(group) = groups.recv() {
        let load = |change: &Change| engine.load_prev(&change.key, change.prev, change.item.rev.main());
        if let Err(e) = engine.hub.publish(&group.changes, group.upto, load) {
            // Watchers must not be told that there was nothing before: this is damage.
            engine.poison(e.to_string());
        }
    }
}
