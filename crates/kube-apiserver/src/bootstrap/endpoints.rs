//! Masters by lease: each keeps a record under `masterleases` that dies with it; whoever sees a change writes the
//! endpoints of the Service `kubernetes`.

use std::net::IpAddr;

use api::{Map, Value};
use apimachinery::{GroupResource, Status};
use bytes::Bytes;
use etcd::{DeleteRangeRequest, PutRequest, RangeRequest};

use super::Bootstrap;
use super::service::{NAME, NAMESPACE};
use crate::allocators::envelope::{self, Unreadable};
use crate::strategies::fields::{Fields, map, map_at};

/// Seconds that a record outlives its master.
const LEASE_SECONDS: i64 = 15;

fn prefix(b: &Bootstrap) -> String {
    format!("{}/masterleases/", b.settings.etcd_prefix)
}

fn key(b: &Bootstrap) -> Bytes {
    format!("{}{}", prefix(b), b.settings.advertise).into()
}

/// Says that this master lives, and brings the endpoints in line with all that do.
pub async fn reconcile(b: &Bootstrap) -> Result<(), Status> {
    let lease = b.store.lease_grant(LEASE_SECONDS, 0).await.map_err(Status::internal)?;
    let put = PutRequest { lease: lease.id, ..PutRequest::new(key(b), record(b.settings.advertise)) };
    b.store.put(put).await.map_err(Status::internal)?;
    write(b, masters(b).await?).await
}

/// Takes this master's record away.
pub async fn leave(b: &Bootstrap) -> Result<(), Status> {
    b.store.delete_range(DeleteRangeRequest::key(key(b))).await.map_err(Status::internal)?;
    let rest = masters(b).await?;
    if rest.is_empty() { Ok(()) } else { write(b, rest).await }
}

async fn masters(b: &Bootstrap) -> Result<Vec<IpAddr>, Status> {
    let found = b.store.range(RangeRequest::prefix(prefix(b))).await.map_err(Status::internal)?;
    let mut all: Vec<IpAddr> = found.kvs.iter().filter_map(|kv| address(&kv.value).ok().flatten()).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Endpoints with one subset of one address, as Go masters write it.
fn record(ip: IpAddr) -> Vec<u8> {
    let (mut address, mut subset, mut endpoints) = (Vec::new(), Vec::new(), Vec::new());
    envelope::put(&mut address, 1, ip.to_string().as_bytes());
    envelope::put(&mut subset, 1, &address);
    envelope::put(&mut endpoints, 1, b"");
    envelope::put(&mut endpoints, 2, &subset);
    envelope::close("v1", "Endpoints", &endpoints)
}

fn address(bytes: &[u8]) -> Result<Option<IpAddr>, Unreadable> {
    let Some(subset) = envelope::field(envelope::open(bytes)?, 2)? else { return Ok(None) };
    let Some(address) = envelope::field(subset, 1)? else { return Ok(None) };
    let ip = envelope::field(address, 1)?.and_then(|text| std::str::from_utf8(text).ok());
    Ok(ip.and_then(|text| text.parse().ok()))
}

async fn write(b: &Bootstrap, masters: Vec<IpAddr>) -> Result<(), Status> {
    // The Service's own family alone.
    let own: Vec<IpAddr> =
        masters.into_iter().filter(|ip| ip.is_ipv4() == b.settings.advertise.is_ipv4()).collect();
    let port = i64::from(b.settings.secure_port);
    one(b, &GroupResource::new("", "endpoints"), endpoints(&own, port), &["subsets"]).await?;
    let family = if b.settings.advertise.is_ipv4() { "IPv4" } else { "IPv6" };
    let slices = GroupResource::new("discovery.k8s.io", "endpointslices");
    one(b, &slices, slice(&own, port, family), &["endpoints", "ports"]).await
}

async fn one(
    b: &Bootstrap,
    resource: &GroupResource,
    wanted: Value,
    parts: &'static [&'static str],
) -> Result<(), Status> {
    let Some(there) = b.find(resource, NAMESPACE, NAME).await? else {
        return b.ensure(resource, wanted).await;
    };
    let wants = map_at(&wanted, &[]);
    let labels = |o: &Value| map_at(o, &["metadata", "labels"]).clone();
    let labelled = labels(&wanted).iter().all(|(k, v)| labels(&there).get(k) == Some(v));
    if labelled && parts.iter().all(|p| map_at(&there, &[]).same(wants, p)) {
        return Ok(());
    }
    let change = |o: &mut Value| {
        let object = o.as_map_or_make();
        parts.iter().for_each(|p| object.copy_from(wants, p));
        let to = object.map_mut("metadata").map_mut("labels");
        labels(&wanted).iter().for_each(|(k, v)| drop(to.insert(k.clone(), v.clone())));
        Ok(())
    };
    b.update(resource, "v1", "", &wanted, &change).await
}

fn metadata(label: &str, value: &str) -> Map {
    map([
        ("name", NAME.into()),
        ("namespace", NAMESPACE.into()),
        ("labels", map([(label, value.into())]).into()),
    ])
}

fn ports(port: i64) -> Vec<Value> {
    vec![Value::Map(map([("name", "https".into()), ("port", port.into()), ("protocol", "TCP".into())]))]
}

fn endpoints(masters: &[IpAddr], port: i64) -> Value {
    let addresses: Vec<Value> =
        masters.iter().map(|ip| Value::Map(map([("ip", ip.to_string().into())]))).collect();
    let subset = map([("addresses", addresses.into()), ("ports", ports(port).into())]);
    Value::Map(map([
        ("apiVersion", "v1".into()),
        ("kind", "Endpoints".into()),
        ("metadata", metadata("endpointslice.kubernetes.io/skip-mirror", "true").into()),
        ("subsets", vec![Value::Map(subset)].into()),
    ]))
}

fn slice(masters: &[IpAddr], port: i64, family: &str) -> Value {
    let endpoint = |ip: &IpAddr| {
        let addresses = vec![Value::from(ip.to_string())];
        Value::Map(map([
            ("addresses", addresses.into()),
            ("conditions", map([("ready", true.into())]).into()),
        ]))
    };
    Value::Map(map([
        ("apiVersion", "discovery.k8s.io/v1".into()),
        ("kind", "EndpointSlice".into()),
        ("metadata", metadata("kubernetes.io/service-name", NAME).into()),
        ("addressType", family.into()),
        ("endpoints", masters.iter().map(endpoint).collect::<Vec<_>>().into()),
        ("ports", ports(port).into()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_holds_its_address() {
        let ip: IpAddr = "10.0.0.7".parse().unwrap();
        assert_eq!(address(&record(ip)).unwrap(), Some(ip));
    }
}
