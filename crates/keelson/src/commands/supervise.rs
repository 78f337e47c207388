//! Components that share a process: each restarts by itself when it fails, as an init system would restart it, and
//! the others go on.

use std::error::Error;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub type Boxed = Box<dyn Error + Send + Sync>;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The components of this process.
pub struct Components {
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Components {
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), shutdown }
    }

    /// Runs `start()` until shutdown, again after each failure, with pauses that grow to half a minute.
    pub fn add<F, R>(&mut self, name: &'static str, start: F)
    where
        F: Fn(CancellationToken) -> R + Send + 'static,
        R: Future<Output = Result<(), Boxed>> + Send,
    {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            let mut pause = FIRST_PAUSE;
            while !shutdown.is_cancelled() {
                // Of its own, so that what it spawned ends before it starts again.
                let run = shutdown.child_token();
                let begin = std::time::Instant::now();
                match start(run.clone()).await {
                    Ok(()) => tracing::warn!(component = name, "ended by itself"),
                    Err(error) => tracing::error!(component = name, %error, "failed"),
                }
                run.cancel();
                if begin.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                }
            }
        });
    }

    /// Until all have ended after shutdown.
    pub async fn wait(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
