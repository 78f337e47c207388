//! Service addresses as IPAddress objects: who creates the object has the address. The ranges are the ServiceCIDR
//! objects that are not being deleted.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use api::Value;
use apimachinery::{GroupResource, Reason, Status};
use apiserver::resource::{Objects, Preconditions};
use ipnet::IpNet;
use rand::RngExt as _;

use super::context;
use crate::strategies::fields::{Fields, map, map_at};

/// Addresses that one random search tries before it goes through the range in order.
const RANDOM_TRIES: usize = 32;

pub const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
pub const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
pub const CONTROLLER: &str = "ipallocator.k8s.io";

pub fn ip_addresses() -> &'static GroupResource {
    static R: OnceLock<GroupResource> = OnceLock::new();
    R.get_or_init(|| GroupResource::new("networking.k8s.io", "ipaddresses"))
}

pub fn service_cidrs() -> &'static GroupResource {
    static R: OnceLock<GroupResource> = OnceLock::new();
    R.get_or_init(|| GroupResource::new("networking.k8s.io", "servicecidrs"))
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("provided IP is already allocated")]
    Allocated,
    /// In the words of upstream's dry run.
    #[error("the provided IP ({0}) is not in the valid range. The range of valid IPs is {1}")]
    NotIn(IpAddr, String),
    #[error("the provided network does not match the current range")]
    OutOfRange,
    #[error("range is full")]
    Full,
    #[error("{0}")]
    Api(Status),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "IPv4" => Some(Self::V4),
            "IPv6" => Some(Self::V6),
            _ => None,
        }
    }
}

/// A range of addresses by offsets: 0 is the network's own, the last (of IPv4) its broadcast; neither is handed out.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    net: IpNet,
    first: u128,
    size: u128,
}

impl Range {
    pub fn new(net: IpNet) -> Self {
        let bits = u32::from(net.max_prefix_len() - net.prefix_len());
        let all = 1u128.checked_shl(bits).unwrap_or(u128::MAX);
        // Beyond 2^32 addresses a range is cut; upstream does the same beyond 2^64.
        let usable = all.saturating_sub(if net.addr().is_ipv4() { 2 } else { 1 }).min(1 << 32);
        let first = match net.network() {
            IpAddr::V4(a) => u128::from(u32::from(a)),
            IpAddr::V6(a) => u128::from(a),
        };
        Self { net, first, size: usable }
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        self.net.contains(&ip) && ip != self.net.network() && (ip != self.net.broadcast() || ip.is_ipv6())
    }

    /// `offset` from 0 to `size - 1`.
    pub fn address(&self, offset: u128) -> IpAddr {
        let number = self.first + 1 + offset;
        match self.net.addr() {
            IpAddr::V4(_) => IpAddr::V4((number as u32).into()),
            IpAddr::V6(_) => IpAddr::V6(number.into()),
        }
    }

    /// The lower part, for addresses that are chosen by hand: between 16 and 256 of them.
    pub fn reserved_for_static(&self) -> u128 {
        if self.size < 16 { 0 } else { (self.size / 16).clamp(16, 256) }
    }

    /// Offsets in the order in which they are tried: random ones of the upper part, then the upper part in a ring,
    /// then the lower one.
    fn order(&self) -> impl Iterator<Item = u128> + use<> {
        let (low, size) = (self.reserved_for_static(), self.size);
        let upper = size - low;
        let mut rng = rand::rng();
        let tries: Vec<u128> =
            (0..RANDOM_TRIES).filter(|_| upper > 0).map(|_| low + rng.random_range(0..upper)).collect();
        let start = if upper > 0 { rng.random_range(0..upper) } else { 0 };
        tries.into_iter().chain((0..upper).map(move |i| low + (start + i) % upper)).chain(0..low)
    }
}

/// Whose address it is.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
}

pub struct Ips {
    objects: Arc<dyn Objects>,
    /// Of the flags; they count until the ServiceCIDR that the server makes of them is seen.
    configured: Vec<IpNet>,
}

impl Ips {
    pub fn new(objects: Arc<dyn Objects>, configured: Vec<IpNet>) -> Self {
        Self { objects, configured }
    }

    /// The ranges of a family that may be allocated from.
    fn ranges(&self, family: Family) -> Vec<Range> {
        let all = self.objects.list(service_cidrs(), "");
        let usable = all.iter().filter(|o| !map_at(&o.value, &["metadata"]).has("deletionTimestamp"));
        let nets = usable.flat_map(|o| map_at(&o.value, &["spec"]).list("cidrs").to_vec());
        let mut nets: Vec<IpNet> = nets.filter_map(|c| c.as_str().and_then(|c| c.parse().ok())).collect();
        if all.is_empty() {
            nets.clone_from(&self.configured);
        }
        nets.into_iter().filter(|net| Family::of(net.addr()) == family).map(Range::new).collect()
    }

    fn in_range(&self, ip: IpAddr) -> Result<(), Error> {
        let ranges = self.ranges(Family::of(ip));
        if ranges.iter().any(|r| r.contains(ip)) {
            return Ok(());
        }
        Err(Error::OutOfRange)
    }

    fn is_taken(&self, ip: IpAddr) -> bool {
        self.objects.get(ip_addresses(), "", &ip.to_string()).is_some()
    }

    /// Takes this address.
    pub async fn take(&self, ip: IpAddr, owner: Owner<'_>, dry_run: bool) -> Result<(), Error> {
        let range = self.in_range(ip);
        if let (Err(_), true, Some(first)) = (&range, dry_run, self.ranges(Family::of(ip)).first()) {
            return Err(Error::NotIn(ip, first.net.to_string()));
        }
        range?;
        // Upstream's dry run does not look who has it.
        if dry_run {
            return Ok(());
        }
        self.create(ip, owner).await
    }

    /// Takes any free address of a family.
    pub async fn take_any(&self, family: Family, owner: Owner<'_>, dry_run: bool) -> Result<IpAddr, Error> {
        for range in self.ranges(family) {
            for offset in range.order() {
                let ip = range.address(offset);
                if self.is_taken(ip) {
                    continue;
                }
                if dry_run {
                    return Ok(ip);
                }
                match self.create(ip, owner).await {
                    Ok(()) => return Ok(ip),
                    Err(Error::Allocated) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Err(Error::Full)
    }

    pub async fn create(&self, ip: IpAddr, owner: Owner<'_>) -> Result<(), Error> {
        let name = ip.to_string();
        let cx = context::own("create", ip_addresses(), "v1", "", "");
        let object = ip_object(ip, owner);
        match self.objects.create(&cx, ip_addresses(), "", object).await {
            Ok(_) => Ok(()),
            Err(status) if status.is(Reason::AlreadyExists) => Err(Error::Allocated),
            Err(status) => {
                tracing::warn!(ip = name, error = %status, "an address cannot be taken");
                Err(Error::Api(status))
            }
        }
    }

    pub async fn release(&self, ip: &str) {
        let cx = context::own("delete", ip_addresses(), "v1", "", ip);
        let gone = self.objects.delete(&cx, ip_addresses(), "", ip, None, Preconditions::default()).await;
        if let Err(status) = gone
            && !status.is(Reason::NotFound)
        {
            tracing::warn!(ip, error = %status, "an address cannot be released; the repair will try again");
        }
    }
}

/// The IPAddress object of a Service's address.
pub fn ip_object(ip: IpAddr, owner: Owner<'_>) -> Value {
    let labels = map([(FAMILY, Family::of(ip).name().into()), (MANAGED_BY, CONTROLLER.into())]);
    let metadata = map([("name", ip.to_string().into()), ("labels", labels.into())]);
    let parent = map([
        ("group", "".into()),
        ("resource", "services".into()),
        ("namespace", owner.namespace.into()),
        ("name", owner.name.into()),
    ]);
    let spec = map([("parentRef", parent.into())]);
    Value::Map(map([
        ("apiVersion", "networking.k8s.io/v1".into()),
        ("kind", "IPAddress".into()),
        ("metadata", metadata.into()),
        ("spec", spec.into()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_leave_out_their_ends() {
        let range = Range::new("10.96.0.0/24".parse().unwrap());
        assert_eq!(range.size, 254);
        assert_eq!(range.address(0).to_string(), "10.96.0.1");
        assert_eq!(range.address(253).to_string(), "10.96.0.254");
        assert!(
            !range.contains("10.96.0.0".parse().unwrap()) && !range.contains("10.96.0.255".parse().unwrap())
        );
        assert_eq!(range.reserved_for_static(), 16);
        assert_eq!(Range::new("10.96.0.0/16".parse().unwrap()).reserved_for_static(), 256);
        let mut all: Vec<u128> = range.order().skip(RANDOM_TRIES).collect();
        assert!(all[0] >= 16);
        all.sort_unstable();
        assert_eq!(all, (0..254).collect::<Vec<_>>());
    }
}
