//! What all long-running commands share: the runtime, logging, and an orderly end at SIGTERM or SIGINT.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Outcome;

/// Runs a component until it ends by itself, or is asked to by a signal and has done so.
pub fn run<F, R>(verbosity: u8, work: F) -> Outcome
where
    F: FnOnce(CancellationToken) -> R,
    R: Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>>,
{
    component_base::init_logging(verbosity);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(workers()).build()?;
    let shutdown = CancellationToken::new();
    let result = runtime.block_on(async {
        let stop = shutdown.clone();
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("asked to end");
            stop.cancel();
        });
        work(shutdown).await
    });
    // Blocking calls that are still out (a netlink answer, a file) must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    result.map(|()| ExitCode::SUCCESS)
}

/// Threads that poll tasks: few, as each costs memory and components mostly wait.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, 8)
}
