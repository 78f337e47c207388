//! The parts of the queue, with the clock under control.

use super::*;
use crate::resources::Symbols;

fn pod(name: &str, priority: i32) -> Arc<Pod> {
    let view = serde_json::json!({"metadata": {"name": name, "uid": name}, "spec": {"priority": priority, "containers": []}});
    Arc::new(crate::testing::pod(view, &mut Symbols::default()))
}

fn rejected() -> PluginSet {
    let mut set = PluginSet::default();
    set.insert(PluginId(3));
    set
}

fn queue() -> Queue {
    Queue::new(Times::default())
}

fn pop(queue: &mut Queue) -> String {
    queue.pop(Instant::now()).map(|q| q.pod.uid.to_string()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn priority_then_time() {
    let mut queue = queue();
    for (name, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
        queue.add(pod(name, priority), 0, None, Instant::now());
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    queue.update(pod("c", 9));
    assert_eq!([(); 5].map(|()| pop(&mut queue)), ["c", "b", "d", "a", ""]);
    assert_eq!(queue.count("active"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_pod_waits_for_a_change_and_its_backoff() {
    let mut queue = queue();
    queue.add(pod("a", 0), 0, None, Instant::now());
    for seconds in [1, 2, 4, 8, 10, 10] {
        assert_eq!(pop(&mut queue), "a");
        queue.park("a", rejected(), Instant::now());
        assert_eq!((pop(&mut queue).as_str(), queue.count("unschedulable")), ("", 1));
        assert_eq!(queue.waiting_for((0, PluginId(3))).len(), 1);
        queue.activate("a", Instant::now());
        assert_eq!((queue.get("a").unwrap().place, queue.count("backoff")), (Place::Backoff, 1));
        assert!(queue.rejectors().is_empty());
        // With another pod active, the backoff is waited for.
        tokio::time::advance(Duration::from_secs(seconds) - Duration::from_millis(1)).await;
        queue.flush_backoff(Instant::now());
        assert_eq!(queue.get("a").unwrap().place, Place::Backoff);
        tokio::time::advance(Duration::from_millis(1)).await;
        queue.flush_backoff(Instant::now());
        assert_eq!(queue.get("a").unwrap().place, Place::Active);
    }
    assert_eq!(queue.get("a").unwrap().attempts, 6);
}

#[tokio::test(start_paused = true)]
async fn backoff_is_cut_short_when_nothing_else_is_there_but_not_after_an_error() {
    let mut queue = queue();
    for name in ["error", "rejected"] {
        queue.add(pod(name, 0), 0, None, Instant::now());
        assert_eq!(pop(&mut queue), name);
    }
    queue.park("error", PluginSet::default(), Instant::now());
    queue.park("rejected", rejected(), Instant::now());
    queue.activate("rejected", Instant::now());
    assert_eq!([(); 2].map(|()| pop(&mut queue)), ["rejected", ""]);
    let ends = queue.next_backoff().unwrap();
    assert_eq!(ends, Instant::now() + Duration::from_secs(1));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(pop(&mut queue), "error");
    assert_eq!(queue.next_backoff(), None);
}

#[tokio::test(start_paused = true)]
async fn backoff_that_is_over_is_not_waited_for_again() {
    let mut queue = queue();
    queue.add(pod("a", 0), 0, None, Instant::now());
    pop(&mut queue);
    queue.park("a", rejected(), Instant::now());
    tokio::time::advance(Duration::from_secs(2)).await;
    queue.activate("a", Instant::now());
    assert_eq!(queue.get("a").unwrap().place, Place::Active);
}

#[tokio::test(start_paused = true)]
async fn gates_and_the_flush() {
    let mut queue = queue();
    queue.add(pod("gated", 0), 0, Some(PluginId(0)), Instant::now());
    queue.add(pod("a", 0), 0, None, Instant::now());
    assert_eq!([(); 2].map(|()| pop(&mut queue)), ["a", ""]);
    queue.park("a", rejected(), Instant::now());
    tokio::time::advance(Duration::from_secs(299)).await;
    queue.flush_unschedulable(Instant::now());
    assert_eq!(pop(&mut queue), "");
    tokio::time::advance(Duration::from_secs(1)).await;
    queue.flush_unschedulable(Instant::now());
    assert_eq!([(); 2].map(|()| pop(&mut queue)), ["a", ""]);
    assert_eq!(queue.count("gated"), 1);
    queue.activate("gated", Instant::now());
    assert_eq!(pop(&mut queue), "gated");
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_meanwhile_does_not_come_back() {
    let mut queue = queue();
    queue.add(pod("a", 0), 0, None, Instant::now());
    pop(&mut queue);
    queue.remove("a");
    queue.park("a", rejected(), Instant::now());
    queue.activate("a", Instant::now());
    assert!(queue.get("a").is_none() && pop(&mut queue).is_empty());
    queue.add(pod("b", 0), 0, None, Instant::now());
    queue.remove("b");
    assert_eq!((pop(&mut queue).as_str(), queue.count("active")), ("", 0));
}
