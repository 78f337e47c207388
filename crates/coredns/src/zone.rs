//! What a name in the cluster's domain means: the records of Kubernetes' DNS specification 1.1.0, as a pure
//! function of Services, EndpointSlices and Namespaces.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::views::{Endpoint, Port, Service, Slice};

/// Seconds that clients may keep an answer; what kubeadm's CoreDNS is told.
pub const TTL: u32 = 30;

/// The objects that names are made of.
pub trait Source {
    fn namespace_exists(&self, name: &str) -> bool;
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>>;
    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<Slice>>;
    fn services_at(&self, address: IpAddr) -> Vec<Arc<Service>>;
    fn slices_at(&self, address: IpAddr) -> Vec<Arc<Slice>>;
}

/// Query types that the zone tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    A,
    Aaaa,
    Cname,
    Srv,
    Ptr,
    Txt,
    Soa,
    Ns,
    Any,
    Other,
}

/// One record's owner and data; names without the final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub name: String,
    pub data: Data,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    Address(IpAddr),
    Cname(String),
    Srv { priority: u16, weight: u16, port: u16, target: String },
    Ptr(String),
    Txt(String),
    Soa,
    Ns(String),
}

/// The meaning of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The answer section and the additional one. Both empty: the name exists with other types.
    Records(Vec<Record>, Vec<Record>),
    /// An ExternalName outside the domain: the CNAME, and a name that somebody else must resolve.
    External(Record),
    NoSuchName,
    /// Not of this zone.
    Elsewhere,
}

/// The cluster's domain.
#[derive(Clone, Debug)]
pub struct Zone {
    domain: String,
}

impl Zone {
    /// `domain` as in `cluster.local`.
    pub fn new(domain: &str) -> Self {
        Self { domain: domain.trim_matches('.').to_ascii_lowercase() }
    }

    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// `name` in lower case, without the final dot.
    pub fn resolve(&self, source: &impl Source, name: &str, kind: Kind) -> Meaning {
        if let Some(address) = reverse(name) {
            return self.pointers(source, name, address, kind);
        }
        let Some(rest) = self.below(name) else { return Meaning::Elsewhere };
        let labels: Vec<&str> = if rest.is_empty() { Vec::new() } else { rest.split('.').collect() };
        let found = match labels.as_slice() {
            [] => Some(self.apex(name, kind)),
            ["dns-version"] => Some(vec![record(name, Data::Txt("1.1.0".into()))]),
            ["ns", "dns"] | ["dns"] | ["svc" | "pod"] => Some(Vec::new()),
            [namespace, "svc" | "pod"] => source.namespace_exists(namespace).then(Vec::new),
            [address, namespace, "pod"] => pod(source, name, address, namespace),
            [service, namespace, "svc"] => return self.service(source, name, service, namespace, kind),
            [endpoint, service, namespace, "svc"] => {
                self.endpoint(source, name, endpoint, service, namespace)
            }
            [port, protocol, service, namespace, "svc"] => {
                return self.named_port(source, name, (port, protocol), (service, namespace), kind);
            }
            _ => None,
        };
        match found {
            Some(records) => {
                Meaning::Records(records.into_iter().filter(|r| answers(r, kind)).collect(), Vec::new())
            }
            None => Meaning::NoSuchName,
        }
    }

    /// The labels before the domain; None for a name outside it.
    fn below<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_suffix(&self.domain)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_suffix('.') }
    }

    fn apex(&self, name: &str, kind: Kind) -> Vec<Record> {
        match kind {
            Kind::Ns => vec![record(name, Data::Ns(format!("ns.dns.{}", self.domain)))],
            _ => vec![record(name, Data::Soa)],
        }
    }

    fn service(
        &self,
        source: &impl Source,
        name: &str,
        service: &str,
        namespace: &str,
        kind: Kind,
    ) -> Meaning {
        let Some(found) = source.service(namespace, service) else { return Meaning::NoSuchName };
        if found.spec.kind == "ExternalName" {
            return external(name, &found, kind);
        }
        if kind == Kind::Srv || kind == Kind::Any && found.is_headless() {
            let (srv, extra) = self.srv(source, name, &found, None);
            return Meaning::Records(srv, extra);
        }
        let addresses = if found.is_headless() { headless(source, &found) } else { cluster_ips(&found) };
        if found.is_headless() && addresses.is_empty() {
            // As upstream: a headless Service without endpoints has no name.
            return Meaning::NoSuchName;
        }
        let records = addresses.into_iter().map(|a| record(name, Data::Address(a)));
        Meaning::Records(records.filter(|r| answers(r, kind)).collect(), Vec::new())
    }

    /// One endpoint of a headless Service by its host name or its dashed address.
    fn endpoint(
        &self,
        source: &impl Source,
        name: &str,
        label: &str,
        service: &str,
        namespace: &str,
    ) -> Option<Vec<Record>> {
        if label.starts_with('_') {
            // `_tcp.service.namespace.svc` exists above its ports.
            return source.service(namespace, service).map(|_| Vec::new());
        }
        let found = source.service(namespace, service)?;
        let mut records = Vec::new();
        for slice in source.slices(namespace, service) {
            for endpoint in slice.endpoints.iter().filter(|e| is_published(e, &found)) {
                let addresses = parsed(endpoint).filter(|a| endpoint_label(endpoint, *a) == label);
                records.extend(addresses.map(|a| record(name, Data::Address(a))));
            }
        }
        records.sort_by_key(order);
        records.dedup();
        (!records.is_empty()).then_some(records)
    }

    fn named_port(
        &self,
        source: &impl Source,
        name: &str,
        (port, protocol): (&str, &str),
        (service, namespace): (&str, &str),
        kind: Kind,
    ) -> Meaning {
        let (Some(port), Some(protocol)) = (port.strip_prefix('_'), protocol.strip_prefix('_')) else {
            return Meaning::NoSuchName;
        };
        let Some(found) = source.service(namespace, service) else { return Meaning::NoSuchName };
        let (records, extra) = self.srv(source, name, &found, Some((port, protocol)));
        if records.is_empty() {
            return Meaning::NoSuchName;
        }
        if matches!(kind, Kind::Srv | Kind::Any) {
            Meaning::Records(records, extra)
        } else {
            Meaning::Records(Vec::new(), Vec::new())
        }
    }

    /// SRV records of all ports, or of the one asked for, with the addresses of their targets.
    fn srv(
        &self,
        source: &impl Source,
        name: &str,
        service: &Service,
        only: Option<(&str, &str)>,
    ) -> (Vec<Record>, Vec<Record>) {
        let wanted =
            |p: &Port| only.is_none_or(|(n, proto)| p.name == n && p.protocol.eq_ignore_ascii_case(proto));
        let base = format!("{}.{}.svc.{}", service.metadata.name, service.metadata.namespace, self.domain);
        let (mut records, mut extra) = (Vec::new(), Vec::new());
        let mut add = |port: u16, target: &str, addresses: &[IpAddr]| {
            records.push(record(name, Data::Srv { priority: 0, weight: 100, port, target: target.into() }));
            extra.extend(addresses.iter().map(|a| record(target, Data::Address(*a))));
        };
        if service.is_headless() {
            for slice in source.slices(&service.metadata.namespace, &service.metadata.name) {
                for port in slice.ports.iter().filter(|p| wanted(p)) {
                    for endpoint in slice.endpoints.iter().filter(|e| is_published(e, service)) {
                        for address in parsed(endpoint) {
                            add(
                                port.port,
                                &format!("{}.{base}", endpoint_label(endpoint, address)),
                                &[address],
                            );
                        }
                    }
                }
            }
        } else {
            let addresses = cluster_ips(service);
            for port in service.spec.ports.iter().filter(|p| wanted(p)) {
                add(port.port, &base, &addresses);
            }
        }
        extra.sort_by_key(order);
        extra.dedup();
        let weight = (100 / records.len().max(1)).max(1) as u16;
        for found in &mut records {
            if let Data::Srv { weight: w, .. } = &mut found.data {
                *w = weight;
            }
        }
        (records, extra)
    }

    fn pointers(&self, source: &impl Source, name: &str, address: IpAddr, kind: Kind) -> Meaning {
        let mut names: Vec<String> = source
            .services_at(address)
            .iter()
            .map(|s| format!("{}.{}.svc.{}", s.metadata.name, s.metadata.namespace, self.domain))
            .collect();
        for slice in source.slices_at(address) {
            let Some(service) = slice.metadata.labels.get("kubernetes.io/service-name") else { continue };
            for endpoint in slice.endpoints.iter().filter(|e| parsed(e).any(|a| a == address)) {
                if names.is_empty() || !endpoint.hostname.is_empty() {
                    let label = endpoint_label(endpoint, address);
                    names.push(format!("{label}.{service}.{}.svc.{}", slice.metadata.namespace, self.domain));
                }
            }
        }
        if names.is_empty() {
            return Meaning::Elsewhere;
        }
        let records = names.into_iter().map(|n| record(name, Data::Ptr(n)));
        Meaning::Records(records.filter(|r| answers(r, kind)).collect(), Vec::new())
    }
}

fn record(name: &str, data: Data) -> Record {
    Record { name: name.into(), data }
}

fn order(record: &Record) -> (String, Option<IpAddr>) {
    let address = if let Data::Address(a) = record.data { Some(a) } else { None };
    (record.name.clone(), address)
}

fn answers(record: &Record, kind: Kind) -> bool {
    matches!(
        (&record.data, kind),
        (_, Kind::Any)
            | (Data::Address(IpAddr::V4(_)), Kind::A)
            | (Data::Address(IpAddr::V6(_)), Kind::Aaaa)
            | (Data::Cname(_), Kind::A | Kind::Aaaa | Kind::Cname)
            | (Data::Srv { .. }, Kind::Srv)
            | (Data::Ptr(_), Kind::Ptr)
            | (Data::Txt(_), Kind::Txt)
            | (Data::Soa, Kind::Soa)
            | (Data::Ns(_), Kind::Ns)
    )
}

fn external(name: &str, service: &Service, kind: Kind) -> Meaning {
    let target = service.spec.external_name.trim_end_matches('.').to_ascii_lowercase();
    let cname = record(name, Data::Cname(target));
    match kind {
        Kind::A | Kind::Aaaa => Meaning::External(cname),
        Kind::Cname | Kind::Any => Meaning::Records(vec![cname], Vec::new()),
        _ => Meaning::Records(Vec::new(), Vec::new()),
    }
}

fn pod(source: &impl Source, name: &str, label: &str, namespace: &str) -> Option<Vec<Record>> {
    if !source.namespace_exists(namespace) {
        return None;
    }
    let address: IpAddr = if label.bytes().filter(|b| *b == b'-').count() == 3 && !label.contains("--") {
        IpAddr::V4(label.replace('-', ".").parse::<Ipv4Addr>().ok()?)
    } else {
        label.replace('-', ":").parse().ok()?
    };
    Some(vec![record(name, Data::Address(address))])
}

fn cluster_ips(service: &Service) -> Vec<IpAddr> {
    service.spec.cluster_ips.iter().filter_map(|ip| ip.parse().ok()).collect()
}

fn headless(source: &impl Source, service: &Service) -> Vec<IpAddr> {
    let slices = source.slices(&service.metadata.namespace, &service.metadata.name);
    let endpoints = slices.iter().flat_map(|s| s.endpoints.iter()).filter(|e| is_published(e, service));
    let mut addresses: Vec<IpAddr> = endpoints.flat_map(parsed).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Ready, or of a Service that publishes those that are not.
fn is_published(endpoint: &Endpoint, service: &Service) -> bool {
    endpoint.conditions.ready != Some(false) || service.spec.publish_not_ready_addresses
}

fn parsed(endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> + '_ {
    endpoint.addresses.iter().filter_map(|a| a.parse().ok())
}

fn endpoint_label(endpoint: &Endpoint, address: IpAddr) -> String {
    if endpoint.hostname.is_empty() {
        address.to_string().replace(['.', ':'], "-")
    } else {
        endpoint.hostname.to_string()
    }
}

/// The address of an `in-addr.arpa` or `ip6.arpa` name.
fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(rest) = name.strip_suffix(".in-addr.arpa") {
        let parts: Vec<u8> = rest.split('.').rev().map(str::parse).collect::<Result<_, _>>().ok()?;
        return Some(IpAddr::from(<[u8; 4]>::try_from(parts).ok()?));
    }
    let rest = name.strip_suffix(".ip6.arpa")?;
    let digits: Vec<u8> =
        rest.split('.').rev().map(|d| u8::from_str_radix(d, 16)).collect::<Result<_, _>>().ok()?;
    let bytes: Vec<u8> =
        digits.chunks(2).map(|d| d[0] << 4 | d.get(1).copied().unwrap_or_default()).collect();
    Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok().filter(|_| digits.len() == 32)?))
}

#[cfg(test)]
mod tests;
