//! Finds what was leaked: ports and addresses that no Service holds (a crash between taking and writing), and those
//! that Services hold without having taken them. Every master runs it; all changes are compare and swap.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::Value;
use apimachinery::GroupResource;
use apiserver::resource::Objects;
use tokio_util::sync::CancellationToken;

use super::ips::{self, Ips, Owner};
use super::ports::Ports;
use super::{addresses_of, all_ports_of};
use crate::strategies::fields::{Fields, map_at};

/// `--repair-*` has no flag upstream: three minutes.
pub const INTERVAL: Duration = Duration::from_secs(180);

/// An address object younger than this may belong to a Service that is just being written.
const GRACE_SECONDS: i64 = 60;

pub fn services() -> &'static GroupResource {
    static R: OnceLock<GroupResource> = OnceLock::new();
    R.get_or_init(|| GroupResource::new("", "services"))
}

/// What a look at all Services and IPAddresses says is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// (address, namespace, name) of Services whose address has no object.
    pub create: Vec<(String, String, String)>,
    /// Objects of addresses that their Service does not hold.
    pub delete: Vec<String>,
}

pub fn plan(services: &[Arc<Value>], addresses: &[Arc<Value>], now: jiff::Timestamp) -> Plan {
    let mut held: HashMap<String, (String, String)> = HashMap::new();
    for s in services {
        let meta = map_at(s, &["metadata"]);
        for ip in addresses_of(s) {
            held.insert(ip, (meta.text("namespace").into(), meta.text("name").into()));
        }
    }
    let mut plan = Plan::default();
    let mut known = HashSet::new();
    for a in addresses {
        let meta = map_at(a, &["metadata"]);
        let name = meta.text("name");
        known.insert(name.to_owned());
        if map_at(a, &["metadata", "labels"]).text(ips::MANAGED_BY) != ips::CONTROLLER {
            continue;
        }
        let parent = map_at(a, &["spec", "parentRef"]);
        let owned =
            held.get(name).is_some_and(|(ns, n)| ns == parent.text("namespace") && n == parent.text("name"));
        let young = meta
            .text("creationTimestamp")
            .parse::<jiff::Timestamp>()
            .is_ok_and(|t| now.as_second() - t.as_second() < GRACE_SECONDS);
        if !owned && !young {
            plan.delete.push(name.to_owned());
        }
    }
    plan.create =
        held.into_iter().filter(|(ip, _)| !known.contains(ip)).map(|(ip, (ns, n))| (ip, ns, n)).collect();
    plan.create.sort();
    plan.delete.sort();
    plan
}

/// Runs until `stop`.
pub async fn run(objects: Arc<dyn Objects>, ips: Arc<Ips>, ports: Arc<Ports>, stop: CancellationToken) {
    let mut suspects = HashSet::new();
    let mut timer = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        let services: Vec<_> = objects.list(services(), "").into_iter().map(|o| o.value).collect();
        let used = services.iter().flat_map(|s| all_ports_of(s)).collect();
        match ports.repair(&used, &suspects).await {
            Ok(next) => suspects = next,
            Err(error) => tracing::warn!(%error, "node ports cannot be repaired"),
        }
        let addresses: Vec<_> = objects.list(ips::ip_addresses(), "").into_iter().map(|o| o.value).collect();
        let plan = plan(&services, &addresses, jiff::Timestamp::now());
        for (ip, namespace, name) in &plan.create {
            if let Ok(address) = ip.parse() {
                let _ = ips.create(address, Owner { namespace, name }).await;
            }
        }
        for ip in &plan.delete {
            ips.release(ip).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategies::fields::{map, one};

    #[test]
    fn leaks_are_found_both_ways() {
        let service = |name: &str, ip: &str| {
            let spec = one("clusterIPs", vec![Value::from(ip)]);
            let meta = map([("namespace", "d".into()), ("name", name.into())]);
            Arc::new(Value::Map(map([("metadata", meta.into()), ("spec", spec.into())])))
        };
        let address = |ip: &str, owner: &str, made: &str| {
            let mut object = ips::ip_object(
                "10.0.0.1".parse().unwrap_or(std::net::IpAddr::V4(0.into())),
                Owner { namespace: "d", name: owner },
            );
            object.set_at(&["metadata", "name"], ip);
            object.set_at(&["metadata", "creationTimestamp"], made);
            Arc::new(object)
        };
        let now = jiff::Timestamp::from_second(1_700_000_000).unwrap_or_default();
        let old = "2020-01-01T00:00:00Z";
        let services = [service("a", "10.0.0.1"), service("b", "10.0.0.2"), service("c", "None")];
        let addresses = [
            address("10.0.0.1", "a", old),
            address("10.0.0.3", "gone", old),
            address("10.0.0.4", "new", "2023-11-14T22:13:00Z"),
        ];
        let plan = plan(&services, &addresses, now);
        assert_eq!(plan.create, [("10.0.0.2".to_owned(), "d".to_owned(), "b".to_owned())]);
        assert_eq!(plan.delete, ["10.0.0.3"]);
    }
}
