//! The ServiceCIDR `kubernetes`, the Service `kubernetes` at its first address, and the endpoints behind it.

use std::net::IpAddr;
use std::time::Duration;

use api::Value;
use apimachinery::{GroupResource, Status};

use super::{Bootstrap, endpoints};
use crate::allocators::ips::{Range, service_cidrs};
use crate::strategies::fields::{self, Fields, map, map_at};

/// How often a master says that it lives.
const INTERVAL: Duration = Duration::from_secs(10);

pub const NAME: &str = "kubernetes";
pub const NAMESPACE: &str = "default";

pub async fn cidr(b: &Bootstrap) -> Result<(), Status> {
    let cidrs: Vec<Value> =
        b.settings.service_cidrs.iter().map(|c| Value::from(c.trunc().to_string())).collect();
    let wanted = Value::Map(map([
        ("apiVersion", "networking.k8s.io/v1".into()),
        ("kind", "ServiceCIDR".into()),
        ("metadata", map([("name", NAME.into())]).into()),
        ("spec", map([("cidrs", cidrs.into())]).into()),
    ]));
    b.ensure(service_cidrs(), wanted.clone()).await?;
    let Some(there) = b.find(service_cidrs(), "", NAME).await? else { return Ok(()) };
    if map_at(&there, &["spec"]).list("cidrs") != map_at(&wanted, &["spec"]).list("cidrs") {
        tracing::warn!("the ServiceCIDR {NAME} has another range than --service-cluster-ip-range");
    }
    if map_at(&there, &["status"]).items("conditions").any(|c| c.text("type") == "Ready") {
        return Ok(());
    }
    let change = |o: &mut Value| {
        let condition = map([
            ("type", "Ready".into()),
            ("status", "True".into()),
            ("lastTransitionTime", fields::time(jiff::Timestamp::now())),
            ("reason", "".into()),
            ("message", "addresses can be taken from this range".into()),
        ]);
        o.set_at(&["status", "conditions"], vec![Value::Map(condition)]);
        Ok(())
    };
    b.update(service_cidrs(), "v1", "status", &wanted, &change).await
}

/// Until the end: the Service, this server's record, the endpoints of all masters; at the end the record goes.
pub async fn run(b: Bootstrap) {
    while !b.stop.is_cancelled() {
        if let Err(error) = once(&b).await {
            tracing::info!(%error, "the Service {NAME} is not reconciled");
            b.pause(super::RETRY).await;
            continue;
        }
        b.pause(INTERVAL).await;
    }
    if b.settings.reconcile_endpoints
        && let Err(error) = endpoints::leave(&b).await
    {
        tracing::info!(%error, "this server's record stays until its lease ends");
    }
}

async fn once(b: &Bootstrap) -> Result<(), Status> {
    let first = first_address(b);
    b.ensure(&GroupResource::new("", "services"), service(b, first)).await?;
    if b.settings.reconcile_endpoints {
        endpoints::reconcile(b).await?;
    }
    Ok(())
}

fn first_address(b: &Bootstrap) -> Option<IpAddr> {
    b.settings.service_cidrs.first().map(|net| Range::new(*net).address(0))
}

fn service(b: &Bootstrap, ip: Option<IpAddr>) -> Value {
    let mut port = map([
        ("name", "https".into()),
        ("protocol", "TCP".into()),
        ("port", 443i64.into()),
        ("targetPort", Value::Int(b.settings.secure_port.into())),
    ]);
    let mut kind = "ClusterIP";
    if b.settings.node_port != 0 {
        port.insert("nodePort", i64::from(b.settings.node_port));
        kind = "NodePort";
    }
    let ip = ip.map(|ip| ip.to_string()).unwrap_or_default();
    let spec = map([
        ("clusterIP", ip.into()),
        ("ports", vec![Value::Map(port)].into()),
        ("sessionAffinity", "None".into()),
        ("ipFamilyPolicy", "SingleStack".into()),
        ("type", kind.into()),
    ]);
    let labels = map([("component", "apiserver".into()), ("provider", "kubernetes".into())]);
    let metadata = map([("name", NAME.into()), ("namespace", NAMESPACE.into()), ("labels", labels.into())]);
    Value::Map(map([
        ("apiVersion", "v1".into()),
        ("kind", "Service".into()),
        ("metadata", metadata.into()),
        ("spec", spec.into()),
    ]))
}
