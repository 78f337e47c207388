//! From options to a running server: what is made in which order.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use apiserver::auth::Authorizer;
use apiserver::catalog::Catalog;
use apiserver::resource::Objects;
use apiserver::server::{Server, ServerBuilder};
use component_base::health::Health;
use etcd::SharedStore;
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use super::{Error, certificates, compaction, files, health, resources, store};
use crate::aggregator::resolve::Resolver;
use crate::aggregator::{self, Aggregator};
use crate::allocators::ips::{Family, Ips, Range};
use crate::allocators::ports::Ports;
use crate::allocators::{ServiceAllocator, repair};
use crate::authn::service_account::{Issuer, Keys, ServiceAccounts, SigningKey};
use crate::authn::{self, Authentication, x509};
use crate::authz::{self, Authorization};
use crate::bootstrap::{Bootstrap, LocalGroup, Settings};
use crate::endpoints::{binding, component_status, connect, eviction, reviews, token};
use crate::options::Options;
use crate::strategies::Needs;
use crate::{admission, crd, webhook};

pub async fn start(options: Options, stop: CancellationToken) -> Result<(Server, SharedStore), Error> {
    component_base::kubeconfig::install_crypto();
    let network = Network::of(&options)?;
    let store = store::open(&options.store).await?;
    let builder = ServerBuilder::new(store.clone(), server_options(&options));
    let objects = builder.objects();
    let authentication = Arc::new(authentication(&options, objects.clone())?);
    let modes = authz::parse_modes(&options.authorization.authorization_mode)?;
    let authorization = Authorization::new(&modes, &objects);
    let services = Services::new(&options, &network, &store, &objects)?;
    let needs = Needs { services: Some(services.allocator.clone()) };
    let issuer = issuer(&options)?;
    let mut endpoints = endpoints(&objects, &store, issuer);
    for (group, resource, endpoint) in reviews::endpoints(&authentication, &authorization) {
        endpoints.add(group, resource, endpoint);
    }
    connect_endpoints(&mut endpoints, &options, &objects, &authorization)?;
    let enabled = resources::Enabled::parse(&options.features.runtime_config.0)?;
    let mut local_groups = Vec::new();
    for row in api::resources::builtin().iter().filter(|r| enabled.serves(r)) {
        if let Some(serve) = resources::serve(row, &needs, &endpoints) {
            builder.serve(serve)?;
            remember_group(&mut local_groups, row);
        }
    }
    let plugins = plugins(&options, &objects, &authorization)?;
    let health = builder.health();
    health::store(&health, store.clone(), options.store.etcd_healthcheck_timeout.0, stop.clone());
    let builder = plugins.into_iter().fold(builder, ServerBuilder::plugin);
    let builder = builder.authenticator(authentication).authorizer(authorization);
    let builder = builder.audit(crate::audit::auditor(&options.audit)?);
    let builder = openid(builder, &options, &network)?;
    let builder = listen(builder, &options, &network)?;
    let catalog = builder.catalog();
    let resolver =
        Resolver { objects: objects.clone(), to_endpoints: options.features.enable_aggregator_routing };
    let custom = crd::Controller::start(builder.registry(), objects.clone(), resolver, stop.clone());
    catalog.set_filling(true);
    let (told_aggregated, aggregated) = tokio::sync::watch::channel(false);
    tokio::spawn(filled(catalog.clone(), [custom.clone(), aggregated], health.clone()));
    health.add_ready(
        "crd-informer-synced",
        move || if *custom.borrow() { Ok(()) } else { Err("not synced".into()) },
    );
    let server = builder.start().await?;
    let aggregator = Arc::new(aggregator(&options, &objects, catalog)?);
    tokio::spawn(aggregator::run(aggregator, told_aggregated, stop.clone()));
    let settings = settings(&options, &network, local_groups)?;
    Bootstrap {
        objects: objects.clone(),
        store: store.clone(),
        settings: Arc::new(settings),
        stop: stop.clone(),
    }
    .start(&health);
    tokio::spawn(compaction::run(store.clone(), options.store.etcd_compaction_interval.0, stop.clone()));
    tokio::spawn(repair::run(objects, services.ips, services.ports, stop));
    Ok((server, store))
}

/// Until the custom and the aggregated kinds of the store are served, an unknown one is no 404.
async fn filled(catalog: Arc<Catalog>, parts: [tokio::sync::watch::Receiver<bool>; 2], health: Health) {
    for mut part in parts {
        let _ = part.wait_for(|synced| *synced).await;
    }
    catalog.set_filling(false);
    health.touch();
}

fn server_options(options: &Options) -> apiserver::server::Options {
    apiserver::server::Options {
        etcd_prefix: options.store.etcd_prefix.clone(),
        request_timeout: options.limits.request_timeout.0,
        min_request_timeout: Duration::from_secs(options.limits.min_request_timeout),
        max_in_flight: options.limits.max_requests_inflight + options.limits.max_mutating_requests_inflight,
        shutdown_delay: options.serving.shutdown_delay_duration.0,
        event_ttl: Some(options.store.event_ttl.0),
        gates: options.features.feature_gates.clone(),
        ..apiserver::server::Options::default()
    }
}

/// Addresses of the server and of Services.
struct Network {
    advertise: IpAddr,
    service_cidrs: Vec<IpNet>,
    node_ports: (u16, u16),
}

impl Network {
    fn of(options: &Options) -> Result<Self, Error> {
        let bad = |what: &str, value: &str| Error::Option(format!("--{what}={value} is not valid"));
        let text = &options.services.service_cluster_ip_range;
        let parts = text.split(',').filter(|p| !p.is_empty());
        let service_cidrs: Vec<IpNet> = parts
            .map(|p| {
                p.trim()
                    .parse::<IpNet>()
                    .map(|n| n.trunc())
                    .map_err(|_| bad("service-cluster-ip-range", text))
            })
            .collect::<Result<_, _>>()?;
        let dual = service_cidrs.len() == 2
            && service_cidrs[0].addr().is_ipv4() != service_cidrs[1].addr().is_ipv4();
        if service_cidrs.is_empty() || (service_cidrs.len() > 1 && !dual) {
            return Err(bad("service-cluster-ip-range", text));
        }
        let ports = &options.services.service_node_port_range;
        let node_ports = port_range(ports).ok_or_else(|| bad("service-node-port-range", ports))?;
        let bind = options.serving.bind_address;
        let advertise = match options.serving.advertise_address {
            Some(ip) => ip,
            None if !bind.is_unspecified() && !bind.is_loopback() => bind,
            None => default_route().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)),
        };
        Ok(Self { advertise, service_cidrs, node_ports })
    }
}

/// `30000-32767` or `30000+2767`: base and size.
fn port_range(text: &str) -> Option<(u16, u16)> {
    if let Some((base, more)) = text.split_once('+') {
        let (base, more): (u16, u16) = (base.trim().parse().ok()?, more.trim().parse().ok()?);
        return base.checked_add(more).map(|_| (base, more + 1));
    }
    let (first, last) = text.split_once('-')?;
    let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then(|| (first, last - first + 1))
}

/// The address of this machine towards the rest of the world; no packet is sent.
fn default_route() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

/// What gives Services their addresses and ports.
struct Services {
    allocator: Arc<ServiceAllocator>,
    ips: Arc<Ips>,
    ports: Arc<Ports>,
}

impl Services {
    fn new(
        options: &Options,
        network: &Network,
        store: &SharedStore,
        objects: &Arc<dyn Objects>,
    ) -> Result<Self, Error> {
        let ips = Arc::new(Ips::new(objects.clone(), network.service_cidrs.clone()));
        let key = format!("{}/ranges/servicenodeports", options.store.etcd_prefix);
        let (base, size) = network.node_ports;
        let ports = Arc::new(Ports::new(store.clone(), key, base, size));
        let families = network.service_cidrs.iter().map(|n| Family::of(n.addr())).collect();
        let allocator = Arc::new(ServiceAllocator::new(ips.clone(), ports.clone(), families));
        Ok(Self { allocator, ips, ports })
    }
}

fn api_audiences(options: &Options) -> Vec<String> {
    let given = &options.authentication.api_audiences;
    if given.is_empty() {
        options.authentication.service_account_issuer.iter().take(1).cloned().collect()
    } else {
        given.clone()
    }
}

fn keys(options: &Options) -> Result<Keys, Error> {
    let a = &options.authentication;
    let mut all = Keys::default();
    let files: Vec<&String> = match a.service_account_key_file.is_empty() {
        true => Some(&a.service_account_signing_key_file).filter(|f| !f.is_empty()).into_iter().collect(),
        false => a.service_account_key_file.iter().collect(),
    };
    for file in files {
        let read = Keys::from_pem(&files::read(file)?);
        all.0.extend(read.map_err(|source| Error::Key { path: file.clone(), source })?.0);
    }
    Ok(all)
}

fn issuer(options: &Options) -> Result<Option<Arc<Issuer>>, Error> {
    let a = &options.authentication;
    let (Some(issuer), false) =
        (a.service_account_issuer.first(), a.service_account_signing_key_file.is_empty())
    else {
        return Ok(None);
    };
    let max = a.service_account_max_token_expiration.0.as_secs() as i64;
    let file = &a.service_account_signing_key_file;
    let key = SigningKey::from_pem(&files::read(file)?);
    Ok(Some(Arc::new(Issuer {
        issuer: issuer.clone(),
        audiences: api_audiences(options),
        key: key.map_err(|source| Error::Key { path: file.clone(), source })?,
        max_expiration: (max > 0).then_some(max),
        extend: a.service_account_extend_token_expiration,
    })))
}

fn authentication(options: &Options, objects: Arc<dyn Objects>) -> Result<Authentication, Error> {
    let a = &options.authentication;
    let pool = |file: &str| -> Result<Option<x509::CaPool>, Error> {
        Ok(files::read_optional(file)?.map(|pem| x509::CaPool::from_pem(&pem)).transpose()?)
    };
    let or = |given: &[String], otherwise: &[&str]| -> Vec<String> {
        if given.is_empty() { otherwise.iter().map(|s| (*s).to_owned()).collect() } else { given.to_vec() }
    };
    let request_header =
        pool(&a.requestheader_client_ca_file)?.map(|pool| authn::request_header::RequestHeader {
            pool,
            allowed_names: a.requestheader_allowed_names.clone(),
            username_headers: or(&a.requestheader_username_headers, &["x-remote-user"]),
            uid_headers: a.requestheader_uid_headers.clone(),
            group_headers: or(&a.requestheader_group_headers, &["x-remote-group"]),
            extra_prefixes: or(&a.requestheader_extra_headers_prefix, &["x-remote-extra-"]),
        });
    let tokens = files::read_optional(&a.token_auth_file)?;
    let accounts = match a.service_account_issuer.is_empty() {
        true => None,
        false => Some(ServiceAccounts::new(
            a.service_account_issuer.clone(),
            keys(options)?,
            api_audiences(options),
            a.service_account_lookup,
            objects.clone(),
        )),
    };
    let config = authn::Config {
        client_ca: pool(&a.client_ca_file)?,
        request_header,
        tokens: tokens.map(|csv| authn::token_file::TokenFile::parse(&csv)).transpose()?,
        bootstrap_tokens: a.enable_bootstrap_token_auth,
        service_accounts: accounts,
        api_audiences: api_audiences(options),
        anonymous: a.anonymous_auth,
    };
    Ok(Authentication::new(config, objects))
}

fn plugins(
    options: &Options,
    objects: &Arc<dyn Objects>,
    authorization: &Arc<Authorization>,
) -> Result<Vec<Arc<dyn apiserver::admission::Plugin>>, Error> {
    let o = &options.authorization;
    let names = admission::choose(&o.enable_admission_plugins, &o.disable_admission_plugins)?;
    let to_endpoints = options.features.enable_aggregator_routing;
    let webhooks = webhook::Webhooks::new(objects.clone()).to_endpoints(to_endpoints);
    let webhooks = Arc::new(webhooks.with_authorization(authorization.clone()));
    webhooks.start();
    let context =
        admission::Context { objects: objects.clone(), authorization: authorization.clone(), webhooks };
    Ok(admission::plugins(&names, &context))
}

fn aggregator(
    options: &Options,
    objects: &Arc<dyn Objects>,
    catalog: Arc<Catalog>,
) -> Result<Aggregator, Error> {
    let f = &options.features;
    let identity = match (
        files::read_optional(&f.proxy_client_cert_file)?,
        files::read_optional(&f.proxy_client_key_file)?,
    ) {
        (Some(certificate), Some(key)) => Some(aggregator::Identity { certificate, key }),
        _ => None,
    };
    Ok(Aggregator { objects: objects.clone(), catalog, identity, to_endpoints: f.enable_aggregator_routing })
}

fn endpoints(
    objects: &Arc<dyn Objects>,
    store: &SharedStore,
    issuer: Option<Arc<Issuer>>,
) -> resources::Endpoints {
    let mut all = resources::Endpoints::default();
    let bind: Arc<binding::Binding> = Arc::new(binding::Binding { objects: objects.clone() });
    all.add("", "bindings", bind.clone());
    all.add("", "pods/binding", bind);
    all.add("", "pods/eviction", Arc::new(eviction::Eviction { objects: objects.clone() }));
    all.add("", "componentstatuses", Arc::new(component_status::ComponentStatuses { store: store.clone() }));
    if let Some(issuer) = issuer {
        all.add("", "serviceaccounts/token", Arc::new(token::Token { objects: objects.clone(), issuer }));
    }
    all
}

/// Logs, exec, attach, port-forward and the proxies.
fn connect_endpoints(
    all: &mut resources::Endpoints,
    options: &Options,
    objects: &Arc<dyn Objects>,
    authorization: &Arc<Authorization>,
) -> Result<(), Error> {
    use connect::{KubeletClient, log, proxy, stream};
    let k = &options.kubelet;
    let ca = files::read_optional(&k.kubelet_certificate_authority)?;
    let identity =
        (files::read_optional(&k.kubelet_client_certificate)?, files::read_optional(&k.kubelet_client_key)?);
    let identity = match &identity {
        (Some(certificate), Some(key)) => Some((certificate.as_str(), key.as_str())),
        _ => None,
    };
    let kubelets = Arc::new(KubeletClient::new(
        objects.clone(),
        k.kubelet_preferred_address_types.clone(),
        ca,
        identity,
    )?);
    let shared = || (objects.clone(), kubelets.clone());
    for (name, kind) in [
        ("exec", stream::Kind::Exec),
        ("attach", stream::Kind::Attach),
        ("portforward", stream::Kind::PortForward),
    ] {
        let (objects, kubelets) = shared();
        let authorizer: Option<Arc<dyn Authorizer>> = Some(authorization.clone());
        all.add(
            "",
            &format!("pods/{name}"),
            Arc::new(stream::Stream { kind, objects, kubelets, authorizer }),
        );
    }
    let (o, kubelets_of_logs) = shared();
    all.add("", "pods/log", Arc::new(log::Log { objects: o, kubelets: kubelets_of_logs }));
    for (path, kind) in [
        ("pods/proxy", proxy::Kind::Pod),
        ("services/proxy", proxy::Kind::Service),
        ("nodes/proxy", proxy::Kind::Node),
    ] {
        let (objects, kubelets) = shared();
        all.add("", path, Arc::new(proxy::Proxy::new(kind, objects, kubelets)?));
    }
    Ok(())
}

/// The documents by which others verify tokens, where the issuer is a URL.
fn openid(builder: ServerBuilder, options: &Options, network: &Network) -> Result<ServerBuilder, Error> {
    use crate::authn::service_account::discovery::{CONFIGURATION_PATH, Documents, JWKS_PATH};
    let a = &options.authentication;
    let Some(issuer) = a.service_account_issuer.first() else { return Ok(builder) };
    let uri = match (a.service_account_jwks_uri.as_str(), options.serving.external_hostname.as_str()) {
        ("", "") => {
            format!("https://{}{JWKS_PATH}", SocketAddr::new(network.advertise, options.serving.secure_port))
        }
        ("", host) => format!("https://{host}{JWKS_PATH}"),
        (uri, _) => uri.to_owned(),
    };
    let Some(documents) = Documents::new(issuer, &uri, &keys(options)?) else { return Ok(builder) };
    let endpoint = Arc::new(crate::endpoints::openid::OpenId { documents });
    Ok(builder.path(CONFIGURATION_PATH, endpoint.clone()).path(JWKS_PATH, endpoint))
}

fn listen(builder: ServerBuilder, options: &Options, network: &Network) -> Result<ServerBuilder, Error> {
    if options.serving.secure_port == 0 {
        // Only in memory.
        return Ok(builder);
    }
    let service = network.service_cidrs.first().map(|net| Range::new(*net).address(0));
    let tls = certificates::tls(&options.serving, &certificates::names(network.advertise, service))?;
    Ok(builder.listen(SocketAddr::new(options.serving.bind_address, options.serving.secure_port), Some(tls)))
}

fn remember_group(groups: &mut Vec<LocalGroup>, row: &api::resources::Resource) {
    let known = groups.iter().any(|g| *g.group == *row.group && *g.version == *row.version);
    if let (false, Some((group, version))) = (known, row.priority) {
        groups.push(LocalGroup {
            group: row.group.to_string(),
            version: row.version.to_string(),
            group_priority: group.into(),
            version_priority: version.into(),
        });
    }
}

fn settings(options: &Options, network: &Network, local_groups: Vec<LocalGroup>) -> Result<Settings, Error> {
    let a = &options.authentication;
    let mut authentication = Vec::new();
    if let Some(pem) = files::read_optional(&a.client_ca_file)? {
        authentication.push(("client-ca-file".to_owned(), pem));
    }
    if let Some(pem) = files::read_optional(&a.requestheader_client_ca_file)? {
        authentication.push(("requestheader-client-ca-file".to_owned(), pem));
        for (key, list) in [
            ("requestheader-allowed-names", &a.requestheader_allowed_names),
            ("requestheader-extra-headers-prefix", &a.requestheader_extra_headers_prefix),
            ("requestheader-group-headers", &a.requestheader_group_headers),
            ("requestheader-uid-headers", &a.requestheader_uid_headers),
            ("requestheader-username-headers", &a.requestheader_username_headers),
        ] {
            if !(list.is_empty() && key == "requestheader-uid-headers") {
                authentication.push((key.to_owned(), serde_json::json!(list).to_string()));
            }
        }
    }
    let reconcile_endpoints = match options.services.endpoint_reconciler_type.as_str() {
        "lease" => true,
        "none" => false,
        other => {
            return Err(Error::Option(format!(
                "--endpoint-reconciler-type={other} is not supported: lease or none"
            )));
        }
    };
    Ok(Settings {
        advertise: network.advertise,
        secure_port: options.serving.secure_port,
        node_port: options.services.kubernetes_service_node_port,
        service_cidrs: network.service_cidrs.clone(),
        etcd_prefix: options.store.etcd_prefix.clone(),
        reconcile_endpoints: reconcile_endpoints && options.serving.secure_port != 0,
        authentication,
        local_groups,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges() {
        assert_eq!(port_range("30000-32767"), Some((30000, 2768)));
        assert_eq!(port_range("30000+10"), Some((30000, 11)));
        assert_eq!(port_range("5-1"), None);
        assert_eq!(port_range("x"), None);
    }
}
