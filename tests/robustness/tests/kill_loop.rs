//! A few rounds of the kill loop with a fixed seed, over the embedded store.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::PathBuf;

use robustness_tests::rounds::{self, Score, Settings};
use robustness_tests::servers::Plan;

/// The built binary: `KEELSON_BIN`, or `keelson` in the target folder of this test.
fn keelson() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("KEELSON_BIN") {
        return Some(path.into());
    }
    let test = std::env::current_exe().ok()?;
    Some(test.parent()?.parent()?.join("keelson")).filter(|p| p.exists())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing() {
    let Some(keelson) = keelson() else {
        println!("skipped: no keelson binary; build it or set KEELSON_BIN");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        command: vec![keelson.display().to_string(), "kube-apiserver".into()],
        etcd: None,
        folder: folder.path().to_owned(),
    };
    let score = rounds::run(&plan, Settings { rounds: 4, seed: 7, writers: 8 }).await.unwrap();
    assert_eq!(score, Score { passed: 4, failed: 0 });
}
