//! Aggregation: group-versions that another server serves, as APIServices say. Their requests go there in the
//! name of the user; whether it can be reached is written into the APIService's condition `Available`.

mod forward;
pub(crate) mod resolve;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::Value;
use apimachinery::{GroupResource, GroupVersion, Status};
use apiserver::catalog::{Catalog, Priority};
use apiserver::resource::{Change, Objects};
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::allocators::context;
use crate::strategies::fields::{self, Fields, map, map_at};
use forward::Forward;
use resolve::Resolver;

/// How often a server that answered is asked again.
const RECHECK: Duration = Duration::from_secs(30);
/// How often one that does not answer is.
const RETRY: Duration = Duration::from_secs(2);

/// `--proxy-client-cert-file` and `--proxy-client-key-file`, PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

pub struct Aggregator {
    pub objects: Arc<dyn Objects>,
    pub catalog: Arc<Catalog>,
    pub identity: Option<Identity>,
    /// `--enable-aggregator-routing`: to an endpoint of the Service instead of its address.
    pub to_endpoints: bool,
}

fn resource() -> GroupResource {
    GroupResource::new("apiregistration.k8s.io", "apiservices")
}

struct Running {
    /// What the server was made of.
    spec: Value,
    stop: CancellationToken,
}

/// Follows the APIServices until `stop`. `synced`: those that the store had at the start are in the catalog.
pub async fn run(aggregator: Arc<Aggregator>, synced: watch::Sender<bool>, stop: CancellationToken) {
    let mut changes = aggregator.objects.watch(&resource());
    let mut running: HashMap<String, Running> = HashMap::new();
    loop {
        let change = tokio::select! {
            () = stop.cancelled() => return,
            change = changes.next() => change,
        };
        match change {
            None => return,
            Some(Change::Set { object, .. }) => aggregator.set(&object.value, &mut running, &stop),
            Some(Change::Deleted { old }) => {
                aggregator.remove(old.value.str_at(&["metadata", "name"]), &mut running)
            }
            Some(Change::Synced) => drop(synced.send_replace(true)),
        }
    }
}

fn group_version(spec: &Value) -> GroupVersion {
    GroupVersion::new(spec.str_at(&["group"]), spec.str_at(&["version"]))
}

impl Aggregator {
    fn set(
        self: &Arc<Self>,
        object: &Value,
        running: &mut HashMap<String, Running>,
        stop: &CancellationToken,
    ) {
        let name = object.str_at(&["metadata", "name"]);
        let spec = object.at(&["spec"]).cloned().unwrap_or_default();
        if running.get(name).is_some_and(|r| r.spec == spec) {
            return;
        }
        self.remove(name, running);
        if spec.at(&["service"]).is_none_or(Value::is_null) {
            return;
        }
        let gv = group_version(&spec);
        let resolver = Resolver { objects: self.objects.clone(), to_endpoints: self.to_endpoints };
        let forward = match Forward::new(&spec, resolver, self.identity.as_ref()) {
            Ok(forward) => Arc::new(forward),
            Err(error) => {
                tracing::warn!(name, %error, "this APIService cannot be served");
                return;
            }
        };
        let number = |key: &str| spec.int_at(&[key]).unwrap_or(0);
        let priority = Priority { group: number("groupPriorityMinimum"), version: number("versionPriority") };
        self.catalog.delegate(gv, priority, forward.clone());
        let stop = stop.child_token();
        tokio::spawn(watch_over(self.clone(), name.to_owned(), forward, stop.clone()));
        running.insert(name.to_owned(), Running { spec, stop });
    }

    fn remove(&self, name: &str, running: &mut HashMap<String, Running>) {
        if let Some(gone) = running.remove(name) {
            gone.stop.cancel();
            self.catalog.undelegate(&group_version(&gone.spec));
        }
    }

    /// Writes the condition, if it says something new.
    async fn say(&self, name: &str, found: &forward::Availability) -> Result<(), Status> {
        let there = self.objects.get_latest(&resource(), "", name).await?;
        let status = if found.available { "True" } else { "False" };
        let now = map_at(&there.value, &["status"])
            .items("conditions")
            .find(|c| c.text("type") == "Available")
            .cloned();
        if now.is_some_and(|c| {
            c.text("status") == status
                && c.text("reason") == found.reason
                && c.text("message") == found.message
        }) {
            return Ok(());
        }
        let condition = map([
            ("type", "Available".into()),
            ("status", status.into()),
            ("lastTransitionTime", fields::time(jiff::Timestamp::now())),
            ("reason", found.reason.into()),
            ("message", found.message.as_str().into()),
        ]);
        let change = |o: &mut Value| {
            o.set_at(&["status", "conditions"], vec![Value::Map(condition.clone())]);
            Ok(())
        };
        let mut cx = context::own("update", &resource(), "v1", "", name);
        cx.info.subresource = "status".into();
        self.objects.update(&cx, &resource(), "status", "", name, &change).await.map(drop)
    }
}

async fn watch_over(
    aggregator: Arc<Aggregator>,
    name: String,
    forward: Arc<Forward>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let before = forward.is_available();
        let found = forward.check().await;
        if found.available && !before {
            // Discovery is derived from the table: what this server says is known only now.
            aggregator.catalog.delegate(forward.group_version(), forward.priority(), forward.clone());
        }
        if let Err(error) = aggregator.say(&name, &found).await {
            tracing::info!(name, %error, "the condition of an APIService is not written");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(if found.available { RECHECK } else { RETRY }) => {}
        }
    }
}
