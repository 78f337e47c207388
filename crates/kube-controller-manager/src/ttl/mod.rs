//! Tells kubelets, by an annotation of their node, for how many seconds they may keep Secrets and ConfigMaps: the
//! longer, the more nodes there are.

use std::sync::Arc;
use std::time::Duration;

use client::{Api, Error, ObjectKey, Patch, Store, WorkQueue, resource};
use parking_lot::Mutex;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::context::{Context, on_change};
use crate::views::Node;

const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";
/// From so many nodes, up to so many, so many seconds. The ranges overlap, so that a node more or less changes nothing.
const STEPS: [(usize, usize, u32); 5] =
    [(0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, usize::MAX, 300)];

/// The step for a number of nodes, coming from another one.
fn step(mut step: usize, nodes: usize) -> usize {
    while step + 1 < STEPS.len() && nodes > STEPS[step].1 {
        step += 1;
    }
    while nodes < STEPS[step].0 {
        step -= 1;
    }
    step
}

fn says(node: &Node, step: usize) -> bool {
    node.metadata.annotations.get(ANNOTATION).and_then(|text| text.parse().ok()) == Some(STEPS[step].2)
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let api = context.api("ttl-controller").await;
    let nodes = context.informers.nodes();
    let (store, queue) = (nodes.store(), WorkQueue::<ObjectKey>::new("ttlcontroller"));
    let at = Arc::new(Mutex::new(0));
    let (known, all, enqueue) = (at.clone(), store.clone(), queue.clone());
    on_change(&nodes, move |_, new, deleted| {
        let before = *known.lock();
        let now = step(before, all.len());
        *known.lock() = now;
        if now != before {
            all.keys().into_iter().for_each(|key| enqueue.add(key));
        } else if !deleted && !says(new, now) {
            enqueue.add(new.metadata.key());
        }
    });
    nodes.wait_synced().await;
    let sync = move |key| {
        let (api, store, at) = (api.clone(), store.clone(), at.clone());
        async move { sync(&api, &store, &key, &at).await }
    };
    context.work(&queue, 1, "ttlcontroller", sync).await;
}

async fn sync(
    api: &Api,
    nodes: &Store<Node>,
    key: &ObjectKey,
    at: &Mutex<usize>,
) -> Result<Option<Duration>, Error> {
    let step = *at.lock();
    if nodes.get_key(key).is_none_or(|node| says(&node, step)) {
        return Ok(None);
    }
    let patch = json!({"metadata": {"annotations": {ANNOTATION: STEPS[step].2.to_string()}}});
    match api.patch::<IgnoredAny>(&resource::NODES, "", key.name(), "", &Patch::Strategic, &patch).await {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_overlap() {
        for (from, nodes, seconds) in [
            (0, 0, 0),
            (0, 100, 0),
            (0, 101, 15),
            (1, 95, 15),
            (1, 89, 0),
            (0, 5000, 300),
            (4, 1000, 60),
            (4, 3, 0),
        ] {
            assert_eq!(STEPS[step(from, nodes)].2, seconds, "{from} {nodes}");
        }
    }
}
