//! The way of every request, from the wire or from memory: request info, panic and timeout guards, authentication,
//! impersonation, limits, authorization, then the handlers.
//!
//! Deliberately absent: CORS, API priority and fairness (its objects are served; requests are limited
//! by number alone).

pub mod body;
pub mod gzip;
mod impersonate;
pub mod info;
mod memory;
pub mod metrics;
pub mod negotiate;
pub mod respond;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use apimachinery::{GroupResource, Status};
use component_base::health::Health;
use futures::FutureExt;
use http::{HeaderMap, Request, Response, header};

use crate::audit::{Auditor, Incoming, Record};
use crate::auth::{self, Authenticator, Authorizer, Decision, Peer};
use crate::endpoint::{Body, Endpoint, Query};
use crate::form::Media;
use crate::handlers;
use crate::registry::Registry;
use crate::request::{RequestContext, RequestInfo, UserInfo, Warnings};
use crate::server::{Options, ServerBuilder};

pub use memory::InMemory;

/// A body that only one task polls, as the server's body type wants it.
pub(crate) fn memory_shared<B>(body: B) -> memory::Shared<B> {
    memory::Shared::new(body)
}

/// All that a request needs.
pub struct Chain {
    pub registry: Arc<Registry>,
    pub options: Options,
    pub health: Health,
    pub(crate) paths: Vec<(String, Arc<dyn Endpoint>)>,
    pub(crate) discovery: handlers::discovery::Cache,
    pub(crate) openapi: Arc<handlers::openapi::Documents>,
    audit: Option<Auditor>,
    authenticators: Vec<Arc<dyn Authenticator>>,
    authorizer: Option<Arc<dyn Authorizer>>,
    in_flight: AtomicUsize,
    stopping: Arc<AtomicBool>,
}

/// One request at work.
pub(crate) struct InFlight<'a> {
    chain: &'a Chain,
    gauge: component_base::metrics::Gauge,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.chain.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.gauge.dec();
    }
}

/// What a request said that its answer depends on, kept while the request itself is handed on.
struct Said {
    method: http::Method,
    media: Media,
    pretty: bool,
    dry_run: bool,
    audit_id: String,
    /// Where the policy asks for it.
    audit: OnceLock<Record>,
}

impl Chain {
    pub(crate) fn new(builder: ServerBuilder) -> Arc<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (registry, stop) = (Arc::downgrade(&builder.registry), stopping.clone());
        let synced = AtomicBool::new(false);
        builder.health.add_ready("informer-sync", move || match registry.upgrade().map(|r| r.unready()) {
            // A custom resource that comes later does not make the server unready again.
            Some(list) if list.is_empty() || synced.load(Ordering::Acquire) => {
                synced.store(true, Ordering::Release);
                Ok(())
            }
            Some(list) => Err(format!("{} caches not started yet: {list:?}", list.len())),
            None => Err("the server is gone".into()),
        });
        builder.health.add_ready("shutdown", move || match stop.load(Ordering::Acquire) {
            true => Err("process is shutting down".into()),
            false => Ok(()),
        });
        Arc::new(Self {
            registry: builder.registry,
            options: builder.options,
            health: builder.health,
            paths: builder.paths,
            discovery: handlers::discovery::Cache::default(),
            openapi: Arc::default(),
            audit: builder.audit,
            authenticators: builder.authenticators,
            authorizer: builder.authorizer,
            in_flight: AtomicUsize::new(0),
            stopping,
        })
    }

    pub(crate) fn not_ready(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Answers one request. Never fails: errors are answers.
    pub async fn handle(self: Arc<Self>, request: Request<Body>, peer: Peer) -> Response<Body> {
        let started = Instant::now();
        let query = info::parse_query(request.uri().query());
        let info = info::request_info(request.method(), request.uri().path(), &query);
        let said = said(&request, &query);
        let warnings = Arc::new(Warnings::default());
        let (parts, body) = request.into_parts();
        let (body, lender) = if http_body::Body::is_end_stream(&body) || peer.address.is_none() {
            (body, None)
        } else {
            let (body, lender) = body::lend(body);
            (body, Some(lender))
        };
        let request = Request::from_parts(parts, body);
        let work = self.clone().guarded(request, peer, info.clone(), query, &said, warnings.clone());
        let outcome = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::error!(path = %info.path, verb = %info.verb, "a handler panicked");
                said.audit.get().into_iter().for_each(Record::panicked);
                Err(Status::internal("the server panicked while it served this request"))
            }
        };
        if let (Err(_), Some(lender)) = (&outcome, lender) {
            lender.drain().await;
        }
        let refused = outcome.as_ref().err().filter(|_| said.audit.get().is_some()).cloned();
        let mut answer = outcome.unwrap_or_else(|status| respond::error(&status, said.media, said.pretty));
        if let Some(record) = said.audit.get() {
            answer = record.answered(answer, refused.as_ref()).await;
        }
        respond::warn(&mut answer, warnings.take());
        if let Ok(id) = said.audit_id.parse() {
            answer.headers_mut().insert("audit-id", id);
        }
        if said.method == http::Method::HEAD.as_str() {
            *answer.body_mut() = body::empty();
        }
        let seconds = started.elapsed().as_secs_f64();
        metrics::answered(&info, &said.method, said.dry_run, answer.status(), seconds);
        answer
    }

    async fn guarded(
        self: Arc<Self>,
        request: Request<Body>,
        peer: Peer,
        info: RequestInfo,
        query: Query,
        said: &Said,
        warnings: Arc<Warnings>,
    ) -> Result<Response<Body>, Status> {
        if is_long_running(&info, &query) {
            return self.served(request, peer, info, query, said, warnings).await;
        }
        check_timeout(&query)?;
        let limit = self.options.request_timeout;
        let work = self.served(request, peer, info, query, said, warnings);
        match tokio::time::timeout(limit, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Status::timeout("request did not complete within the allotted timeout", 0)),
        }
    }

    async fn served(
        self: Arc<Self>,
        request: Request<Body>,
        peer: Peer,
        info: RequestInfo,
        query: Query,
        said: &Said,
        warnings: Arc<Warnings>,
    ) -> Result<Response<Body>, Status> {
        let (mut parts, body) = request.into_parts();
        let long = is_long_running(&info, &query);
        let user = self.authenticate(&parts, &peer).await;
        let record = self.audit_begins(&parts, &peer, &info, &user, said, long);
        let user = user?;
        parts.headers.remove(header::AUTHORIZATION);
        let user = impersonate::resolve(&self, &mut parts.headers, user).await?;
        record.into_iter().for_each(|r| r.impersonated(&user));
        let _working = if long { None } else { Some(self.admit_one(&info)?) };
        let decision = self.decide(&user, &info).await;
        record.into_iter().for_each(|r| r.decided(&decision));
        allowed(decision, &user, &info)?;
        let mut request = Request::from_parts(parts, body);
        if let Some(record) = record {
            let table = self.registry.catalog.table();
            request = record.read(request, &info, &table, self.options.max_body).await?;
        }
        let agent = header_text(request.headers(), header::USER_AGENT.as_str());
        let cx = RequestContext {
            dry_run: said.dry_run,
            field_manager: field_manager(&query, &agent),
            user_agent: agent,
            audit_id: said.audit_id.clone(),
            now: jiff::Timestamp::now(),
            warnings: Warnings::default(),
            user,
            info,
        };
        let outcome = handlers::serve(&self, &cx, &query, request, peer).await;
        cx.warnings.take().into_iter().for_each(|w| warnings.add(w));
        outcome
    }

    async fn authenticate(&self, parts: &http::request::Parts, peer: &Peer) -> Result<Arc<UserInfo>, Status> {
        // A component in this process may still act as somebody else, by a token of his.
        if let Some(user) = &peer.in_process
            && !parts.headers.contains_key(header::AUTHORIZATION)
        {
            return Ok(user.clone());
        }
        let mut refused = false;
        for authenticator in &self.authenticators {
            match authenticator.authenticate(parts, peer).await {
                Ok(Some(found)) => return Ok(with_group(found.user, "system:authenticated")),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "credentials were refused");
                    refused = true;
                }
            }
        }
        if refused || parts.headers.contains_key(header::AUTHORIZATION) && !self.authenticators.is_empty() {
            return Err(Status::unauthorized());
        }
        Ok(Arc::new(UserInfo {
            name: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
            ..UserInfo::default()
        }))
    }

    fn admit_one(&self, info: &RequestInfo) -> Result<InFlight<'_>, Status> {
        let kind =
            if matches!(info.verb.as_str(), "get" | "list" | "watch") { "readOnly" } else { "mutating" };
        let now = self.in_flight.fetch_add(1, Ordering::AcqRel);
        let gauge = metrics::METRICS.in_flight.with(&[kind]);
        gauge.inc();
        let guard = InFlight { chain: self, gauge };
        if now >= self.options.max_in_flight {
            return Err(Status::too_many_requests("Too many requests, please try again later.", 1));
        }
        Ok(guard)
    }

    /// Begins the record of a request that the audit policy asks for; of one that was not let in it is all.
    fn audit_begins<'a>(
        &self,
        parts: &http::request::Parts,
        peer: &Peer,
        info: &RequestInfo,
        user: &Result<Arc<UserInfo>, Status>,
        said: &'a Said,
        is_long: bool,
    ) -> Option<&'a Record> {
        let auditor = self.audit.as_ref()?;
        let nobody = UserInfo::default();
        let (uri, headers) = (&parts.uri, &parts.headers);
        let who = user.as_deref().unwrap_or(&nobody);
        let asked = Incoming { id: &said.audit_id, uri, headers, peer, info, user: who, is_long };
        match user {
            Err(status) => {
                auditor.refused(&asked, status);
                None
            }
            Ok(_) => auditor.received(&asked).map(|record| said.audit.get_or_init(|| record)),
        }
    }

    /// 403 in upstream's words unless the authorizer allows.
    pub async fn authorize(&self, user: &UserInfo, info: &RequestInfo) -> Result<(), Status> {
        allowed(self.decide(user, info).await, user, info)
    }

    async fn decide(&self, user: &UserInfo, info: &RequestInfo) -> Decision {
        let Some(authorizer) = &self.authorizer else { return Decision::Allow(String::new()) };
        let asked = auth::Attributes {
            user,
            verb: &info.verb,
            is_resource: info.is_resource,
            path: &info.path,
            group: &info.group,
            version: &info.version,
            resource: &info.resource,
            subresource: &info.subresource,
            namespace: &info.namespace,
            name: &info.name,
            label_selector: &info.label_selector,
            field_selector: &info.field_selector,
        };
        authorizer.authorize(&asked).await
    }
}

fn allowed(decision: Decision, user: &UserInfo, info: &RequestInfo) -> Result<(), Status> {
    match decision {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(why) | Decision::NoOpinion(why) => Err(forbidden(user, info, &why)),
    }
}

fn said(request: &Request<Body>, query: &Query) -> Said {
    let wanted = negotiate::wanted(request.headers(), query, negotiate::Offer::PLAIN);
    let given = header_text(request.headers(), "audit-id");
    Said {
        method: request.method().clone(),
        media: wanted.as_ref().map_or(Media::Json, |w| w.media),
        pretty: wanted.is_ok_and(|w| w.pretty),
        dry_run: query.all("dryRun").any(|v| v == "All"),
        audit_id: if given.is_empty() || given.len() > 64 { audit_id() } else { given },
        audit: OnceLock::new(),
    }
}

/// A random identity (RFC 9562, version 4), without a system call a request.
fn audit_id() -> String {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
}

fn header_text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

fn with_group(user: Arc<UserInfo>, group: &str) -> Arc<UserInfo> {
    let special = ["system:authenticated", "system:unauthenticated"];
    if user.groups.iter().any(|g| special.contains(&g.as_str())) {
        return user;
    }
    let mut user = UserInfo::clone(&user);
    user.groups.push(group.into());
    Arc::new(user)
}

/// The request's field manager, or the first word of its user agent.
fn field_manager(query: &Query, agent: &str) -> String {
    match query.get("fieldManager") {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => {
            let prefix: String =
                agent.split('/').next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
            let end = (0..=128.min(prefix.len())).rev().find(|at| prefix.is_char_boundary(*at)).unwrap_or(0);
            prefix[..end].to_owned()
        }
    }
}

/// `timeout` is a duration; what it says beyond that is the client's own patience.
fn check_timeout(query: &Query) -> Result<(), Status> {
    let Some(text) = query.get("timeout").filter(|t| !t.is_empty()) else { return Ok(()) };
    let units = ["ns", "us", "µs", "ms", "s", "m", "h"];
    let parts = text.trim_start_matches(['-', '+']);
    let mut rest = parts;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let unit = number.trim_start_matches(|c: char| c.is_alphabetic());
        let known = units.contains(&&number[..number.len() - unit.len()]);
        if number.len() == rest.len() || !known {
            break;
        }
        rest = unit;
    }
    if parts == "0" || rest.is_empty() && !parts.is_empty() {
        return Ok(());
    }
    let why = format!("invalid timeout specified in the request URL - time: invalid duration {text:?}");
    Err(Status::bad_request(why))
}

/// Watches, logs and streams: no timeout, no limit.
fn is_long_running(info: &RequestInfo, query: &Query) -> bool {
    if !info.is_resource {
        return info.path.starts_with("/debug/pprof");
    }
    matches!(info.verb.as_str(), "watch" | "proxy")
        || matches!(info.subresource.as_str(), "attach" | "exec" | "proxy" | "log" | "portforward")
        || (info.verb == "list" && query.flag("watch"))
}

fn forbidden(user: &UserInfo, info: &RequestInfo, why: &str) -> Status {
    let tail = if why.is_empty() { String::new() } else { format!(": {why}") };
    if !info.is_resource {
        let message = format!("User {:?} cannot {} path {:?}{tail}", user.name, info.verb, info.path);
        return Status::forbidden(&GroupResource::new("", ""), "", message);
    }
    let resource = match info.subresource.as_str() {
        "" => info.resource.clone(),
        sub => format!("{}/{sub}", info.resource),
    };
    let place = if info.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", info.namespace)
    };
    let message = format!(
        "User {:?} cannot {} resource {resource:?} in API group {:?} {place}{tail}",
        user.name, info.verb, info.group
    );
    Status::forbidden(&GroupResource::new(info.group.as_str(), info.resource.as_str()), &info.name, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_as_upstream() {
        let user = UserInfo { name: "x".into(), ..UserInfo::default() };
        let query = Query::default();
        for (path, words) in [
            (
                "/api/v1/namespaces/y/pods",
                r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "y""#,
            ),
            (
                "/apis/apps/v1/deployments",
                r#"deployments.apps is forbidden: User "x" cannot list resource "deployments" in API group "apps" at the cluster scope"#,
            ),
            (
                "/api/v1/nodes/n/status",
                r#"nodes "n" is forbidden: User "x" cannot get resource "nodes/status" in API group "" at the cluster scope"#,
            ),
            ("/metrics", r#"forbidden: User "x" cannot get path "/metrics""#),
        ] {
            let info = info::request_info(&http::Method::GET, path, &query);
            assert_eq!(forbidden(&user, &info, "").message, words);
        }
    }

    #[test]
    fn field_managers() {
        let named = Query(vec![("fieldManager".into(), "me".into())]);
        assert_eq!(field_manager(&named, "curl/7"), "me");
        assert_eq!(field_manager(&Query::default(), "kubectl-create/v1.37 (linux)"), "kubectl-create");
        assert_eq!(field_manager(&Query::default(), ""), "");
    }
}
