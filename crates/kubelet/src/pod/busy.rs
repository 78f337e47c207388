//! Calls to the runtime that are never given up half way: a container whose start was cut off counts as one that ran
//! and failed. Whoever stops a pod waits for the call that is under way.

use std::sync::Arc;

use tokio::sync::Mutex;

/// The calls of one pod, one at a time. Clones share them.
#[derive(Clone, Default)]
pub struct Busy {
    call: Arc<Mutex<()>>,
}

impl Busy {
    /// Runs a call to its end, even if nobody waits for it any more.
    pub async fn run<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> T {
        let guard = self.call.clone().lock_owned().await;
        let task = tokio::spawn(async move {
            let out = call.await;
            drop(guard);
            out
        });
        task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Waits until no call is under way.
    pub async fn idle(&self) {
        drop(self.call.lock().await);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_is_ended_and_awaited() {
        let busy = Busy::default();
        let (go, wait) = oneshot::channel::<()>();
        let (say, said) = oneshot::channel();
        let mut call = Box::pin(busy.run(async move {
            let _ = wait.await;
            let _ = say.send(7);
        }));
        assert!(call.as_mut().now_or_never().is_none());
        drop(call);
        assert!(busy.idle().now_or_never().is_none());
        go.send(()).unwrap();
        busy.idle().await;
        assert_eq!(said.await, Ok(7));
    }
}
