//! Where a node's kubelet is, and the credentials that it gets.

use std::sync::Arc;

use api::Value;
use apimachinery::{GroupResource, Status};
use apiserver::resource::Objects;
use rustls::ClientConfig;

use crate::authn::Error;
use crate::webhook::outgoing::{self, Address, Trust};

const DEFAULT_PORT: u16 = 10250;

/// `--kubelet-*`.
pub struct KubeletClient {
    objects: Arc<dyn Objects>,
    address_types: Vec<String>,
    verified: Arc<ClientConfig>,
    unverified: Arc<ClientConfig>,
}

/// A kubelet's address.
#[derive(Clone)]
pub struct Kubelet {
    pub host: String,
    pub port: u16,
    pub address: Address,
}

impl KubeletClient {
    /// `ca`, `certificate`, `key`: PEM texts. Without a CA kubelets are not verified, as upstream has it.
    pub fn new(
        objects: Arc<dyn Objects>,
        address_types: Vec<String>,
        ca: Option<String>,
        identity: Option<(&str, &str)>,
    ) -> Result<Self, Error> {
        let trust = ca.map_or(Trust::Anybody, Trust::Pool);
        Ok(Self {
            objects,
            address_types,
            verified: outgoing::tls(&trust, identity)?,
            unverified: outgoing::tls(&Trust::Anybody, identity)?,
        })
    }

    /// The kubelet of a node. `verify`: false for logs with insecureSkipTLSVerifyBackend.
    pub async fn of_node(&self, node: &str, verify: bool) -> Result<Kubelet, Status> {
        let object = self.objects.get_latest(&GroupResource::new("", "nodes"), "", node).await?.value;
        let Some(host) = preferred_address(&object, &self.address_types) else {
            let known = object.list_at(&["status", "addresses"]).iter();
            let known: Vec<String> =
                known.map(|a| format!("{{{} {}}}", a.str_at(&["type"]), a.str_at(&["address"]))).collect();
            let why = format!("no preferred addresses found; known addresses: [{}]", known.join(" "));
            return Err(Status::new(500, apimachinery::Reason::Unknown, why));
        };
        let port = object.int_at(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"]);
        let port = port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0).unwrap_or(DEFAULT_PORT);
        let tls = if verify { &self.verified } else { &self.unverified };
        let address = Address::secure(&host, port, tls.clone(), None).map_err(Status::internal)?;
        Ok(Kubelet { host, port, address })
    }
}

fn preferred_address(node: &Value, types: &[String]) -> Option<String> {
    let addresses = node.list_at(&["status", "addresses"]);
    let of = |wanted: &String| addresses.iter().find(|a| a.str_at(&["type"]) == wanted);
    types.iter().find_map(of).map(|a| a.str_at(&["address"]).to_owned()).filter(|a| !a.is_empty())
}
