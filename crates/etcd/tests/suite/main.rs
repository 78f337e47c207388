//! One suite for every store: each case is a function over `Arc<dyn Store>`, run on the embedded
//! engine always, and on a real etcd where there is one (`TESTBED_CACHE`, the testbed's cache, or
//! `PATH`); where there is none, that half says so and is skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod client;
mod etcd_server;
mod kv;
mod lease;
mod txn;
mod watch;

use std::sync::Arc;

use etcd::{Embedded, KeyValue, PutRequest, SharedStore};

/// Makes two tests of each case.
macro_rules! cases {
    ($($module:ident :: $case:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let dir = tempfile::tempdir().unwrap();
                crate::$module::$case(super::embedded_store(dir.path())).await;
            })*
        }
        mod real_etcd {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(server) = crate::etcd_server::start(stringify!($case)).await else { return };
                crate::$module::$case(server.store().await).await;
            })*
        }
    };
}

cases! {
    kv::a_new_store_is_at_revision_1,
    kv::versions_and_revisions_count_as_etcd_counts,
    kv::ranges_have_limit_more_and_count,
    kv::ranges_at_old_revisions_show_the_past,
    kv::deletes_answer_what_was_there,
    kv::large_values_come_back_and_too_large_ones_are_refused,
    kv::compaction_takes_the_past_away,
    kv::puts_can_keep_value_or_lease,
    kv::writers_side_by_side_get_revisions_of_their_own,
    kv::empty_keys_are_refused,
    txn::only_one_creator_wins,
    txn::updates_compare_the_revision,
    txn::operations_see_those_before_them,
    txn::all_compares,
    txn::bad_transactions_change_nothing,
    watch::from_now_on_and_from_the_past,
    watch::previous_pairs,
    watch::one_response_has_all_of_a_revision,
    watch::a_compacted_start_ends_the_watch,
    watch::progress_comes_after_all_events,
    watch::filters_leave_kinds_out,
    watch::slow_watchers_miss_nothing,
    watch::many_watches_see_their_own_keys,
    watch::a_start_in_the_future_waits,
    watch::a_watch_from_the_compacted_revision_sees_its_deletion,
    lease::keys_go_with_their_lease,
    lease::a_kept_lease_stays,
    lease::leases_tell_their_keys,
    lease::unknown_leases_are_errors,
}

fn embedded_store(path: &std::path::Path) -> SharedStore {
    Arc::new(Embedded::open(etcd::embedded::Options::new(path)).unwrap())
}

/// Puts one key; answers its revision.
async fn put(store: &SharedStore, key: &str, value: &str) -> i64 {
    let request = PutRequest::new(key.to_owned(), value.to_owned());
    store.put(request).await.unwrap().revision
}

/// The pairs as text, for comparing.
fn text(kvs: &[KeyValue]) -> Vec<String> {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    kvs.iter().map(|kv| format!("{}={}", lossy(&kv.key), lossy(&kv.value))).collect()
}
