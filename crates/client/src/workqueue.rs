//! A queue of keys with the semantics of client-go's work queue: a key that is queued is not queued twice; one
//! that is being processed and is added again is processed again afterwards, never twice at a time.
//! Rate-limited adds wait exponentially longer an item (5 ms to 1000 s), and all of them share a bucket (10 a
//! second, bursts of 100).

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use component_base::metrics::{self, Counter, Gauge, Histogram};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

const BASE: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(1000);
const BUCKET_RATE: f64 = 10.0;
const BUCKET_BURST: f64 = 100.0;

struct State<K> {
    queue: VecDeque<K>,
    /// Queued, or to be queued when its processing ends; with the time of the add.
    dirty: HashMap<K, Instant>,
    processing: HashSet<K>,
    failures: HashMap<K, u32>,
    /// Keys that wait, with the timer generation that is in force.
    waiting: HashMap<K, Instant>,
    tokens: f64,
    refilled: Instant,
    shutting_down: bool,
}

struct Metrics {
    adds: Counter,
    retries: Counter,
    depth: Gauge,
    queue_seconds: Histogram,
    work_seconds: Histogram,
}

struct Inner<K> {
    state: Mutex<State<K>>,
    ready: Notify,
    drained: Notify,
    metrics: Metrics,
}

/// See the module. Clones share the queue.
pub struct WorkQueue<K> {
    inner: Arc<Inner<K>>,
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<K: Clone + Eq + Hash + Send + 'static> WorkQueue<K> {
    /// `name` labels the queue's metrics (`workqueue_*`).
    pub fn new(name: &str) -> Self {
        let state = State {
            queue: VecDeque::new(),
            dirty: HashMap::new(),
            processing: HashSet::new(),
            failures: HashMap::new(),
            waiting: HashMap::new(),
            tokens: BUCKET_BURST,
            refilled: Instant::now(),
            shutting_down: false,
        };
        let inner = Inner {
            state: Mutex::new(state),
            ready: Notify::new(),
            drained: Notify::new(),
            metrics: Metrics::new(name),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Queues `key`, unless it is queued already.
    pub fn add(&self, key: K) {
        let mut state = self.inner.state.lock();
        if state.shutting_down || state.dirty.contains_key(&key) {
            return;
        }
        self.inner.metrics.adds.inc();
        state.dirty.insert(key.clone(), Instant::now());
        if !state.processing.contains(&key) {
            state.queue.push_back(key);
            self.inner.metrics.depth.inc();
            drop(state);
            self.inner.ready.notify_one();
        }
    }

    /// Queues `key` after `delay`; of several pending delays the earliest counts.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let due = Instant::now() + delay;
        {
            let mut state = self.inner.state.lock();
            if state.shutting_down || state.waiting.get(&key).is_some_and(|known| *known <= due) {
                return;
            }
            state.waiting.insert(key.clone(), due);
        }
        let queue = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(due).await;
            let in_force = {
                let mut state = queue.inner.state.lock();
                let in_force = state.waiting.get(&key) == Some(&due);
                if in_force {
                    state.waiting.remove(&key);
                }
                in_force
            };
            if in_force {
                queue.add(key);
            }
        });
    }

    /// Queues `key` after a failure: the longer, the more often since the last [`WorkQueue::forget`].
    pub fn add_rate_limited(&self, key: K) {
        self.inner.metrics.retries.inc();
        let delay = {
            let mut state = self.inner.state.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            let own = BASE.saturating_mul(1 << (*failures).min(18)).min(LONGEST);
            *failures += 1;
            own.max(state.bucket_delay())
        };
        self.add_after(key, delay);
    }

    /// Ends the counting of a key's failures.
    pub fn forget(&self, key: &K) {
        self.inner.state.lock().failures.remove(key);
    }

    pub fn num_requeues(&self, key: &K) -> u32 {
        self.inner.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    pub fn len(&self) -> usize {
        self.inner.state.lock().queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next key; None once the queue is shut down and empty. Each must be given back with
    /// [`WorkQueue::done`].
    pub async fn get(&self) -> Option<K> {
        loop {
            let ready = self.inner.ready.notified();
            tokio::pin!(ready);
            ready.as_mut().enable();
            {
                let mut state = self.inner.state.lock();
                if let Some(key) = state.queue.pop_front() {
                    if let Some(added) = state.dirty.remove(&key) {
                        self.inner.metrics.queue_seconds.observe(added.elapsed().as_secs_f64());
                    }
                    self.inner.metrics.depth.dec();
                    state.processing.insert(key.clone());
                    if !state.queue.is_empty() {
                        self.inner.ready.notify_one();
                    }
                    return Some(key);
                }
                if state.shutting_down {
                    return None;
                }
            }
            ready.await;
        }
    }

    /// Ends the processing of a key; it is queued again if it was added meanwhile.
    pub fn done(&self, key: &K) {
        let mut state = self.inner.state.lock();
        state.processing.remove(key);
        if state.dirty.contains_key(key) {
            state.queue.push_back(key.clone());
            self.inner.metrics.depth.inc();
            self.inner.ready.notify_one();
        } else if state.processing.is_empty() {
            self.inner.drained.notify_waiters();
        }
    }

    /// No more adds; what is queued is still handed out.
    pub fn shut_down(&self) {
        self.inner.state.lock().shutting_down = true;
        self.inner.ready.notify_waiters();
    }

    /// [`WorkQueue::shut_down`], and waits until nothing is processed.
    pub async fn shut_down_with_drain(&self) {
        self.shut_down();
        loop {
            let drained = self.inner.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            {
                let state = self.inner.state.lock();
                if state.processing.is_empty() && state.queue.is_empty() {
                    return;
                }
            }
            drained.await;
        }
    }

    /// Runs `workers` tasks that pass keys to `work` until the queue is shut down. `Err` is logged and the key
    /// comes back rate-limited; `Ok(Some(delay))` brings it back after the delay.
    pub fn run<F, R, E>(&self, workers: usize, name: &'static str, work: F) -> tokio::task::JoinSet<()>
    where
        F: Fn(K) -> R + Clone + Send + 'static,
        R: Future<Output = Result<Option<Duration>, E>> + Send,
        E: std::fmt::Display + Send,
        K: std::fmt::Debug + Sync,
    {
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..workers.max(1) {
            let (queue, work) = (self.clone(), work.clone());
            set.spawn(async move {
                while let Some(key) = queue.get().await {
                    let begun = Instant::now();
                    match work(key.clone()).await {
                        Ok(again) => {
                            queue.forget(&key);
                            if let Some(delay) = again {
                                queue.add_after(key.clone(), delay);
                            }
                        }
                        Err(e) => {
                            tracing::debug!(controller = name, ?key, "will try again: {e}");
                            queue.add_rate_limited(key.clone());
                        }
                    }
                    queue.inner.metrics.work_seconds.observe(begun.elapsed().as_secs_f64());
                    queue.done(&key);
                }
            });
        }
        set
    }
}

impl<K> State<K> {
    /// Takes a token of the bucket that all keys share; how long until it is there.
    fn bucket_delay(&mut self) -> Duration {
        let now = Instant::now();
        let gained = now.duration_since(self.refilled).as_secs_f64() * BUCKET_RATE;
        self.tokens = (self.tokens + gained).min(BUCKET_BURST) - 1.0;
        self.refilled = now;
        if self.tokens >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.tokens / BUCKET_RATE) }
    }
}

impl Metrics {
    fn new(name: &str) -> Self {
        let label = [("name", name)];
        let buckets = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0];
        Self {
            adds: metrics::counter("workqueue_adds_total", "Adds handled by the queue", &label),
            retries: metrics::counter("workqueue_retries_total", "Retries handled by the queue", &label),
            depth: metrics::gauge("workqueue_depth", "Keys that wait in the queue", &label),
            queue_seconds: metrics::histogram(
                "workqueue_queue_duration_seconds",
                "Seconds that a key waits before it is processed",
                &label,
                &buckets,
            ),
            work_seconds: metrics::histogram(
                "workqueue_work_duration_seconds",
                "Seconds that processing a key takes",
                &label,
                &buckets,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_queued_once_and_again_after_processing() {
        let queue = WorkQueue::new("t1");
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.len(), 1);
        let key = queue.get().await.unwrap();
        queue.add("a");
        assert_eq!(queue.len(), 0, "it is being processed");
        queue.done(&key);
        assert_eq!(queue.get().await, Some("a"));
        queue.done(&"a");
        queue.shut_down_with_drain().await;
        assert_eq!(queue.get().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_delay_counts() {
        let queue = WorkQueue::new("t2");
        let begun = Instant::now();
        queue.add_after("a", Duration::from_secs(60));
        queue.add_after("a", Duration::from_secs(1));
        queue.add_after("a", Duration::from_secs(30));
        assert_eq!(queue.get().await, Some("a"));
        assert_eq!(begun.elapsed().as_secs(), 1);
        queue.done(&"a");
        assert!(tokio::time::timeout(Duration::from_secs(100), queue.get()).await.is_err(), "only once");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_and_longer() {
        let queue = WorkQueue::new("t3");
        let mut waits = Vec::new();
        for _ in 0..4 {
            let begun = Instant::now();
            queue.add_rate_limited("a");
            queue.get().await;
            queue.done(&"a");
            waits.push(begun.elapsed().as_millis());
        }
        assert_eq!(waits, [5, 10, 20, 40]);
        assert_eq!(queue.num_requeues(&"a"), 4);
        queue.forget(&"a");
        assert_eq!(queue.num_requeues(&"a"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn all_keys_share_a_bucket() {
        let queue = WorkQueue::new("t4");
        let begun = Instant::now();
        for key in 0..110 {
            queue.add_rate_limited(key);
        }
        for _ in 0..110 {
            queue.get().await;
        }
        assert_eq!(begun.elapsed().as_millis(), 1000);
    }
}
