//! What exists once in the cluster and is given to Services: addresses and node ports. Shared with other masters
//! by what lies in the store: IPAddress objects, and a bitmap of ports.

pub mod bitmap;
pub mod context;
pub mod envelope;
pub mod ips;
pub mod ports;
pub mod repair;

use std::net::IpAddr;
use std::sync::Arc;

use api::{Map, Value};
use apimachinery::field::{Error as FieldError, Path};
use apimachinery::{GroupKind, Status};
use apiserver::request::RequestContext;
use apiserver::strategy::Undo;
use async_trait::async_trait;

use crate::strategies::fields::{Fields, map_at, of};
use crate::strategies::service::{wants_health_port, wants_node_ports};
use crate::strategies::validation::Json;
use ips::{Family, Ips, Owner};
use ports::Ports;

/// Gives Services their addresses and ports.
pub struct ServiceAllocator {
    ips: Arc<Ips>,
    ports: Arc<Ports>,
    /// Families of `--service-cluster-ip-range`, the first is the default.
    families: Vec<Family>,
}

/// What one write took, to be given back if it fails.
struct Taken {
    ips: Arc<Ips>,
    ports: Arc<Ports>,
    addresses: Vec<String>,
    numbers: Vec<i64>,
}

#[async_trait]
impl Undo for Taken {
    async fn undo(self: Box<Self>) {
        for ip in &self.addresses {
            self.ips.release(ip).await;
        }
        if let Err(error) = self.ports.release(&self.numbers).await {
            tracing::warn!(%error, "node ports cannot be released; the repair will try again");
        }
    }
}

fn invalid(service: &Value, error: FieldError) -> Status {
    Status::invalid(
        &GroupKind { group: "".into(), kind: "Service".into() },
        service.str_at(&["metadata", "name"]),
        &[error],
    )
}

fn spec_path() -> Path {
    Path::new("spec")
}

impl ServiceAllocator {
    pub fn new(ips: Arc<Ips>, ports: Arc<Ports>, families: Vec<Family>) -> Self {
        Self { ips, ports, families }
    }

    /// See [`apiserver::strategy::Strategy::allocate`].
    pub async fn allocate(
        &self,
        cx: &RequestContext,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<Option<Box<dyn Undo>>, Status> {
        let mut taken =
            Taken { ips: self.ips.clone(), ports: self.ports.clone(), addresses: vec![], numbers: vec![] };
        let done = self.allocate_all(cx, service, old, &mut taken).await;
        match done {
            Ok(()) => Ok(Some(Box::new(taken))),
            Err(status) => {
                Box::new(taken).undo().await;
                Err(status)
            }
        }
    }

    async fn allocate_all(
        &self,
        cx: &RequestContext,
        service: &mut Value,
        old: Option<&Value>,
        taken: &mut Taken,
    ) -> Result<(), Status> {
        self.families(service, old)?;
        self.addresses(cx, service, old, taken).await?;
        self.node_ports(cx, service, old, taken).await?;
        self.health_port(cx, service, old, taken).await
    }

    /// Fills `ipFamilyPolicy` and `ipFamilies`.
    fn families(&self, service: &mut Value, old: Option<&Value>) -> Result<(), Status> {
        let plan = plan_families(of(service), old.map(of), &self.families);
        let plan = plan.map_err(|error| invalid(service, error))?;
        if let Some((policy, families)) = plan {
            let spec = service.as_map_or_make().map_mut("spec");
            spec.insert("ipFamilyPolicy", policy);
            spec.insert("ipFamilies", families.iter().map(|f| Value::from(f.name())).collect::<Vec<_>>());
        }
        Ok(())
    }

    async fn addresses(
        &self,
        cx: &RequestContext,
        service: &mut Value,
        old: Option<&Value>,
        taken: &mut Taken,
    ) -> Result<(), Status> {
        let spec = map_at(service, &["spec"]);
        if !needs_address(spec) {
            return Ok(());
        }
        if spec.text("clusterIP") == "None" {
            let ips = vec![Value::from("None")];
            service.as_map_or_make().map_mut("spec").insert("clusterIPs", ips);
            return Ok(());
        }
        let held: Vec<String> =
            old.filter(|o| needs_address(map_at(o, &["spec"]))).map(addresses_of).unwrap_or_default();
        let wanted = addresses_of(service);
        let families: Vec<Family> =
            spec.list("ipFamilies").iter().filter_map(Value::as_str).filter_map(Family::parse).collect();
        let meta = map_at(service, &["metadata"]);
        let (namespace, name) = (meta.text("namespace").to_owned(), meta.text("name").to_owned());
        let owner = Owner { namespace: &namespace, name: &name };
        let mut got = Vec::with_capacity(families.len());
        for (i, family) in families.iter().enumerate() {
            let ip = match wanted.get(i) {
                Some(ip) if held.contains(ip) => ip.clone(),
                Some(ip) => self.take(cx, service, ip, owner, taken).await?,
                None => {
                    let ip = self.ips.take_any(*family, owner, cx.dry_run).await;
                    let ip = ip
                        .map_err(|e| Status::internal(format!("failed to allocate a serviceIP: {e}")))?
                        .to_string();
                    remember(&mut taken.addresses, ip.clone(), cx.dry_run);
                    ip
                }
            };
            got.push(Value::from(ip));
        }
        let spec = service.as_map_or_make().map_mut("spec");
        spec.insert("clusterIP", got.first().cloned().unwrap_or_default());
        spec.insert("clusterIPs", got);
        Ok(())
    }

    async fn take(
        &self,
        cx: &RequestContext,
        service: &Value,
        ip: &str,
        owner: Owner<'_>,
        taken: &mut Taken,
    ) -> Result<String, Status> {
        let at = spec_path().child("clusterIPs");
        let shown = || Json(service.at(&["spec", "clusterIPs"]).unwrap_or(&Value::Null)).0.clone();
        let refuse = |why: String| {
            let shown = shown();
            let first = [Value::from(ip)];
            let value = if shown.is_null() { Value::List(first.to_vec()) } else { shown };
            invalid(service, FieldError::invalid(&at, &Json(&value), why))
        };
        let address: IpAddr = ip.parse().map_err(|_| refuse("must be a valid IP address".into()))?;
        match self.ips.take(address, owner, cx.dry_run).await {
            Ok(()) => {
                remember(&mut taken.addresses, address.to_string(), cx.dry_run);
                Ok(ip.to_owned())
            }
            Err(ips::Error::Api(status)) => Err(status),
            Err(error) => Err(refuse(format!("failed to allocate IP {ip}: {error}"))),
        }
    }

    async fn node_ports(
        &self,
        cx: &RequestContext,
        service: &mut Value,
        old: Option<&Value>,
        taken: &mut Taken,
    ) -> Result<(), Status> {
        let spec = map_at(service, &["spec"]);
        let automatic = wants_node_ports(spec);
        if !automatic && !matches!(spec.text("type"), "NodePort" | "LoadBalancer") {
            return Ok(());
        }
        let held: Vec<i64> = old.map(node_ports_of).unwrap_or_default();
        // Ports of one number may serve several protocols: the second one shares what the first one took.
        let mut mine: Vec<i64> = Vec::new();
        let ports: Vec<Map> = spec.items("ports").cloned().collect();
        let mut numbers = Vec::with_capacity(ports.len());
        for (i, port) in ports.iter().enumerate() {
            let number = match port.int("nodePort").unwrap_or(0) {
                0 if !automatic => 0,
                0 => match shared_number(&ports, &numbers, i) {
                    Some(n) => n,
                    None => self.any_port(cx, taken).await?,
                },
                n if held.contains(&n) || mine.contains(&n) => n,
                n => {
                    let at = spec_path().child("ports").index(i).child("nodePort");
                    self.this_port(cx, service, n, &at, taken).await?;
                    n
                }
            };
            mine.push(number);
            numbers.push(number);
        }
        let list = service.at_mut(&["spec", "ports"]).and_then(Value::as_list_mut).into_iter().flatten();
        for (port, number) in list.filter_map(Value::as_map_mut).zip(numbers) {
            if number != 0 {
                port.insert("nodePort", number);
            }
        }
        Ok(())
    }

    async fn any_port(&self, cx: &RequestContext, taken: &mut Taken) -> Result<i64, Status> {
        let port = self.ports.take_any().await;
        let port = port.map_err(|e| Status::internal(format!("failed to allocate a nodePort: {e}")))?;
        if cx.dry_run {
            // Nothing was to be kept; the number is only shown.
            let _ = self.ports.release(&[port]).await;
        } else {
            taken.numbers.push(port);
        }
        Ok(port)
    }

    async fn this_port(
        &self,
        cx: &RequestContext,
        service: &Value,
        port: i64,
        at: &Path,
        taken: &mut Taken,
    ) -> Result<(), Status> {
        // Upstream's dry run does not look who has it.
        let done = if cx.dry_run { Ok(()) } else { self.ports.take(port).await };
        match done {
            Ok(()) => {
                if !cx.dry_run {
                    taken.numbers.push(port);
                }
                Ok(())
            }
            Err(error @ (ports::Error::Allocated | ports::Error::OutOfRange(_))) => {
                Err(invalid(service, FieldError::invalid(at, &port, error.to_string())))
            }
            Err(error) => Err(Status::internal(error)),
        }
    }

    async fn health_port(
        &self,
        cx: &RequestContext,
        service: &mut Value,
        old: Option<&Value>,
        taken: &mut Taken,
    ) -> Result<(), Status> {
        let spec = map_at(service, &["spec"]);
        if !wants_health_port(spec) {
            return Ok(());
        }
        let held = old
            .map(|o| map_at(o, &["spec"]))
            .filter(|s| wants_health_port(s))
            .and_then(|s| s.int("healthCheckNodePort"));
        match spec.int("healthCheckNodePort").filter(|n| *n != 0) {
            Some(n) if held == Some(n) => {}
            Some(n) => {
                let at = spec_path().child("healthCheckNodePort");
                self.this_port(cx, service, n, &at, taken).await?;
            }
            None => {
                let n = self.any_port(cx, taken).await?;
                service.set_at(&["spec", "healthCheckNodePort"], n);
            }
        }
        Ok(())
    }

    /// After a write: gives back what the old object held and the new one does not.
    pub async fn release(&self, cx: &RequestContext, new: Option<&Value>, old: &Value) {
        if cx.dry_run {
            return;
        }
        let kept_ips =
            new.filter(|n| needs_address(map_at(n, &["spec"]))).map(addresses_of).unwrap_or_default();
        if needs_address(map_at(old, &["spec"])) {
            for ip in addresses_of(old).iter().filter(|ip| !kept_ips.contains(ip)) {
                self.ips.release(ip).await;
            }
        }
        let kept = new.map(all_ports_of).unwrap_or_default();
        let gone: Vec<i64> = all_ports_of(old).into_iter().filter(|p| !kept.contains(p)).collect();
        if let Err(error) = self.ports.release(&gone).await {
            tracing::warn!(%error, "node ports cannot be released; the repair will try again");
        }
    }
}

fn remember(list: &mut Vec<String>, item: String, dry_run: bool) {
    if !dry_run {
        list.push(item);
    }
}

/// A port without number shares the number of one before it with the same port and another protocol.
fn shared_number(ports: &[Map], numbers: &[i64], i: usize) -> Option<i64> {
    let me = &ports[i];
    let twin =
        |p: &&(usize, &Map)| p.1.int("port") == me.int("port") && p.1.text("protocol") != me.text("protocol");
    let before: Vec<(usize, &Map)> = ports[..i].iter().enumerate().collect();
    let found = before.iter().find(twin).map(|(j, _)| numbers[*j]);
    found.filter(|n| *n != 0)
}

fn needs_address(spec: &Map) -> bool {
    matches!(spec.text("type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

/// Addresses of a Service, headless ones apart.
pub fn addresses_of(service: &Value) -> Vec<String> {
    let spec = map_at(service, &["spec"]);
    let mut all: Vec<String> =
        spec.list("clusterIPs").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if all.is_empty() && !spec.text("clusterIP").is_empty() {
        all.push(spec.text("clusterIP").to_owned());
    }
    all.retain(|ip| ip != "None" && !ip.is_empty());
    all
}

fn node_ports_of(service: &Value) -> Vec<i64> {
    map_at(service, &["spec"]).items("ports").filter_map(|p| p.int("nodePort")).filter(|n| *n != 0).collect()
}

/// With the health check's.
pub fn all_ports_of(service: &Value) -> Vec<i64> {
    let mut all = node_ports_of(service);
    all.extend(map_at(service, &["spec"]).int("healthCheckNodePort").filter(|n| *n != 0));
    all
}

type Families = (String, Vec<Family>);

/// Policy and families of a Service; None for one without addresses.
fn plan_families(
    service: &Map,
    old: Option<&Map>,
    configured: &[Family],
) -> Result<Option<Families>, FieldError> {
    let empty = Map::new();
    let spec = service.sub("spec").unwrap_or(&empty);
    if !needs_address(spec) {
        return Ok(None);
    }
    let at = spec_path().child("ipFamilies");
    let headless = spec.text("clusterIP") == "None";
    let selectorless = headless && spec.sub("selector").is_none_or(Map::is_empty);
    let mut policy = spec.text("ipFamilyPolicy").to_owned();
    let mut families: Vec<Family> =
        spec.list("ipFamilies").iter().filter_map(Value::as_str).filter_map(Family::parse).collect();
    let ips: Vec<IpAddr> =
        spec.list("clusterIPs").iter().filter_map(Value::as_str).filter_map(|ip| ip.parse().ok()).collect();
    for (i, ip) in ips.iter().enumerate() {
        if families.len() == i {
            families.push(Family::of(*ip));
        } else if families.get(i).is_some_and(|f| *f != Family::of(*ip)) {
            let shown = Value::List(spec.list("ipFamilies").to_vec());
            return Err(FieldError::invalid(&at, &Json(&shown), "does not match the family of clusterIPs"));
        }
    }
    if policy.is_empty() {
        let both = families.len() > 1 || ips.len() > 1;
        policy = match (both, selectorless && old.is_none() && families.is_empty()) {
            (true, _) | (_, true) => "RequireDualStack",
            _ => "SingleStack",
        }
        .to_owned();
        if families.len() > 1 && !selectorless && old.is_none() {
            let shown = Value::List(spec.list("ipFamilies").to_vec());
            return Err(FieldError::invalid(
                &spec_path().child("ipFamilyPolicy"),
                &Json(&shown),
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
            ));
        }
    }
    if !selectorless {
        check_configured(&policy, &families, configured)?;
    }
    fill_families(&mut families, &policy, configured, selectorless);
    Ok(Some((policy, families)))
}

fn check_configured(policy: &str, families: &[Family], configured: &[Family]) -> Result<(), FieldError> {
    if policy == "RequireDualStack" && configured.len() < 2 {
        let why = "this cluster is not configured for dual-stack services";
        return Err(FieldError::invalid(&spec_path().child("ipFamilyPolicy"), "RequireDualStack", why));
    }
    for (i, family) in families.iter().enumerate() {
        if !configured.contains(family) {
            let at = spec_path().child("ipFamilies").index(i);
            return Err(FieldError::invalid(&at, family.name(), "not configured on this cluster"));
        }
    }
    Ok(())
}

fn fill_families(families: &mut Vec<Family>, policy: &str, configured: &[Family], selectorless: bool) {
    let both = [Family::V4, Family::V6];
    let default = configured.first().copied().unwrap_or(Family::V4);
    if families.is_empty() {
        families.push(default);
    }
    let second = if selectorless { &both[..] } else { configured };
    match policy {
        "SingleStack" => families.truncate(1),
        _ if families.len() == 1 => families.extend(second.iter().find(|f| **f != families[0]).copied()),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
