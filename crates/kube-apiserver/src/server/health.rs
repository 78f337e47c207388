//! Checks beside those of the generic server: whether the store answers.

use std::sync::Arc;
use std::time::Duration;

use component_base::health::Health;
use etcd::SharedStore;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// How often the store is asked; a check answers with what was last known.
const INTERVAL: Duration = Duration::from_secs(5);

/// Adds `etcd` (alive and ready) and `etcd-readiness` (ready).
pub fn store(health: &Health, store: SharedStore, timeout: Duration, stop: CancellationToken) {
    let known = Arc::new(Mutex::new(Err("etcd was not asked yet".to_owned())));
    let (live, ready) = (known.clone(), known.clone());
    health.add("etcd", move || live.lock().clone());
    health.add_ready("etcd-readiness", move || ready.lock().clone());
    let health = health.clone();
    tokio::spawn(async move {
        let mut timer = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = timer.tick() => {}
            }
            let answer = match tokio::time::timeout(timeout, store.status()).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(format!("etcd failed: {error}")),
                Err(_) => Err("error getting data from etcd: context deadline exceeded".into()),
            };
            *known.lock() = answer;
            health.touch();
        }
    });
}
