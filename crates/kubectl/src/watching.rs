//! Waiting for what becomes of one object: its state now, then its watch, over again where a watch ends.

use std::time::Duration;

use api::Value;

use crate::error::{Error, Result};
use crate::server::{Ask, Server};
use crate::targets::Target;

/// Shows each state of the object (None: it is not there) to `check` until that says yes, or an error. False: it
/// took longer than `timeout`.
pub async fn until(
    server: &Server,
    target: &Target,
    timeout: Duration,
    mut check: impl FnMut(Option<&Value>) -> Result<bool>,
) -> Result<bool> {
    match tokio::time::timeout(timeout, follow(server, target, &mut check)).await {
        Ok(done) => done.map(|()| true),
        Err(_) => Ok(false),
    }
}

async fn follow(
    server: &Server,
    target: &Target,
    check: &mut impl FnMut(Option<&Value>) -> Result<bool>,
) -> Result<()> {
    let collection = target.resource.path(&target.namespace, "");
    let ask = Ask::get(collection).with("fieldSelector", format!("metadata.name={}", target.name));
    loop {
        let list = server.value(&ask).await?;
        if check(list.list_at(&["items"]).first())? {
            return Ok(());
        }
        let from = list.str_at(&["metadata", "resourceVersion"]).to_owned();
        match events(server, ask.clone().with("watch", "true").with("resourceVersion", from), check).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(Error::Server(refusal)) if refusal.code == 410 => {}
            Err(error) => return Err(error),
        }
    }
}

/// False when the watch has ended.
async fn events(
    server: &Server,
    ask: Ask,
    check: &mut impl FnMut(Option<&Value>) -> Result<bool>,
) -> Result<bool> {
    let mut events = server.stream(&ask).await?;
    while let Some((kind, object)) = events.event().await? {
        let state = match kind.as_str() {
            "BOOKMARK" => continue,
            "DELETED" => None,
            _ => Some(&object),
        };
        if check(state)? {
            return Ok(true);
        }
    }
    Ok(false)
}
