//! The lease of this server in kube-system: who is a master.

use std::time::Duration;

use api::Value;
use apimachinery::{GroupResource, Status};
use sha2::{Digest as _, Sha256};

use super::Bootstrap;
use crate::strategies::fields::{self, map};

const NAMESPACE: &str = "kube-system";
const RENEW: Duration = Duration::from_secs(10);
const DURATION_SECONDS: i64 = 3600;

/// `apiserver-` and a hash of the host's name, so that a restart finds its own lease again.
pub fn identity(hostname: &str) -> String {
    let hash = Sha256::digest(hostname.as_bytes());
    format!("apiserver-{}", base32(&hash[..16]))
}

/// RFC 4648, lower case, without padding.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let (mut out, mut bits, mut count) = (String::new(), 0u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            out.push(char::from(ALPHABET[(bits >> count & 31) as usize]));
        }
    }
    if count > 0 {
        out.push(char::from(ALPHABET[(bits << (5 - count) & 31) as usize]));
    }
    out
}

pub async fn run(b: Bootstrap) {
    let hostname = component_base::hostname();
    let name = identity(&hostname);
    let holder = format!("{name}_{}", uuid::Uuid::new_v4());
    while !b.stop.is_cancelled() {
        if let Err(error) = renew(&b, &name, &holder, &hostname).await {
            tracing::info!(%error, "the server's own lease is not renewed");
        }
        b.pause(RENEW).await;
    }
}

async fn renew(b: &Bootstrap, name: &str, holder: &str, hostname: &str) -> Result<(), Status> {
    let resource = GroupResource::new("coordination.k8s.io", "leases");
    let now = fields::micro_time(jiff::Timestamp::now());
    let address = std::net::SocketAddr::new(b.settings.advertise, b.settings.secure_port);
    let wanted = lease(name, holder, hostname, &address.to_string(), now.clone());
    if b.find(&resource, NAMESPACE, name).await?.is_none() {
        return b.ensure(&resource, wanted).await;
    }
    let change = move |o: &mut Value| {
        o.set_at(&["spec", "renewTime"], now.clone());
        o.set_at(&["spec", "holderIdentity"], holder);
        o.set_at(&["spec", "leaseDurationSeconds"], DURATION_SECONDS);
        Ok(())
    };
    b.update(&resource, "v1", "", &wanted, &change).await
}

fn lease(name: &str, holder: &str, hostname: &str, address: &str, now: Value) -> Value {
    let metadata = map([
        ("name", name.into()),
        ("namespace", NAMESPACE.into()),
        (
            "labels",
            map([
                ("apiserver.kubernetes.io/identity", "kube-apiserver".into()),
                ("kubernetes.io/hostname", hostname.into()),
            ])
            .into(),
        ),
        ("annotations", map([("kubernetes.io/peer-advertise-address", address.into())]).into()),
    ]);
    let spec = map([
        ("holderIdentity", holder.into()),
        ("leaseDurationSeconds", DURATION_SECONDS.into()),
        ("renewTime", now),
    ]);
    Value::Map(map([
        ("apiVersion", "coordination.k8s.io/v1".into()),
        ("kind", "Lease".into()),
        ("metadata", metadata.into()),
        ("spec", spec.into()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_as_rfc_4648() {
        assert_eq!(base32(b"foobar"), "mzxw6ytboi");
        assert_eq!(base32(b"f"), "my");
        assert_eq!(identity("h").len(), "apiserver-".len() + 26);
    }
}
