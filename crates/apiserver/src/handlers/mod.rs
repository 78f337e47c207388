//! From an authorized request to its answer: which handler, and what all of them share.
//!
//! Deliberately absent: how objects are written (see `registry`).

mod admit;
pub mod decode;
mod delegated;
mod delete;
pub mod discovery;
pub mod list;
mod nonresource;
pub(crate) mod openapi;
mod patch;
pub mod represent;
mod scale;
mod sub;
mod table;
mod watch;
mod write;

use std::sync::Arc;

use apimachinery::field::{Error, Path};
use apimachinery::{GroupKind, Reason, Status, status::Details};
use http::{Method, Request, Response};

use crate::auth::Peer;
use crate::catalog::Served;
use crate::endpoint::{Body, Query};
use crate::http::Chain;
use crate::request::RequestContext;

/// A request at its handler.
pub(crate) struct Asked<'a> {
    pub chain: &'a Arc<Chain>,
    pub cx: &'a RequestContext,
    pub query: &'a Query,
    pub request: Request<Body>,
    pub peer: Peer,
}

impl Asked<'_> {
    /// Reads the body, up to the server's limit.
    pub async fn body(&mut self) -> Result<bytes::Bytes, Status> {
        let body = std::mem::replace(self.request.body_mut(), crate::http::body::empty());
        crate::http::body::read(body, self.chain.options.max_body).await
    }
}

/// The 405 of a path that knows no such method.
pub(crate) fn wrong_method() -> Status {
    Status::new(
        405,
        Reason::MethodNotAllowed,
        "the server does not allow this method on the requested resource",
    )
    .with_details(Details::default())
}

pub(crate) async fn serve(
    chain: &Arc<Chain>,
    cx: &RequestContext,
    query: &Query,
    request: Request<Body>,
    peer: Peer,
) -> Result<Response<Body>, Status> {
    let asked = Asked { chain, cx, query, request, peer };
    if !cx.info.is_resource {
        return nonresource::serve(asked).await;
    }
    let info = &cx.info;
    let table = chain.registry.catalog.table();
    let gv = apimachinery::GroupVersion::new(info.group.as_str(), info.version.as_str());
    if let Some(delegate) = table.delegates.get(&gv) {
        return Ok(delegate.forward(cx, asked.request, asked.peer).await);
    }
    // Asked before the look-up: what comes in between is found by it.
    let filling = chain.registry.catalog.is_filling();
    let Some(served) = chain.registry.catalog.find(&info.group, &info.version, &info.resource) else {
        if filling {
            return Err(still_filling());
        }
        let known = table.resources.keys().any(|r| *r.group == *info.group);
        return if known { Err(Status::no_route()) } else { Ok(crate::http::respond::not_found_text()) };
    };
    let group_prefix = if info.group.is_empty() { "api" } else { "apis" };
    if info.prefix != group_prefix || !place_fits(&served, cx) {
        return Err(Status::no_route());
    }
    drop(table);
    let there = info.subresource.is_empty() || served.subresources.contains_key(&info.subresource);
    served.strategy.deprecation().filter(|_| there).into_iter().for_each(|w| cx.warnings.add(w));
    check_dry_run(cx, query)?;
    check_manager(cx, query)?;
    if !info.subresource.is_empty() {
        return sub::serve(asked, served).await;
    }
    resource(asked, served).await
}

/// The answer for what may be a resource whose definition is not read yet.
pub(crate) fn still_filling() -> Status {
    let details = apimachinery::status::Details { retry_after_seconds: 1, ..Default::default() };
    Status::unavailable("the server is starting and does not know all its resources yet, please try again")
        .with_details(details)
}

/// Whether the path has a namespace where the resource needs one, and none where it has none.
fn place_fits(served: &Served, cx: &RequestContext) -> bool {
    let info = &cx.info;
    let collection = info.parts.len() < 2;
    let is_namespaces = info.group.is_empty() && info.resource == "namespaces";
    match (served.row.namespaced, info.namespace.is_empty()) {
        (true, true) => collection,
        (false, false) => is_namespaces && !collection,
        _ => true,
    }
}

/// HEAD is not served for objects, only passed on to what a proxy or another server answers.
fn refuse_head(asked: &Asked<'_>) -> Result<(), Status> {
    if *asked.request.method() == Method::HEAD { Err(wrong_method()) } else { Ok(()) }
}

async fn resource(asked: Asked<'_>, served: Arc<Served>) -> Result<Response<Body>, Status> {
    refuse_head(&asked)?;
    let info = &asked.cx.info;
    let verb = info.verb.as_str();
    let named = info.parts.len() > 1;
    let is_of_collection = matches!(verb, "create" | "list" | "deletecollection");
    if served.row.namespaced && info.namespace.is_empty() && !matches!(verb, "list" | "watch") {
        return Err(wrong_method());
    }
    let has_objects = ["get", "update", "patch", "delete"].iter().any(|v| served.row.has_verb(v));
    if named && !has_objects {
        return Err(Status::no_route());
    }
    if !served.row.has_verb(verb) || verb != "watch" && named == is_of_collection {
        return Err(wrong_method());
    }
    if served.endpoint.is_some() {
        return sub::endpoint(asked, served).await;
    }
    match verb {
        "get" => represent::get(asked, &served).await,
        "list" => list::list(asked, served).await,
        "watch" => watch::watch(asked, served).await,
        "create" => write::create(asked, served).await,
        "update" => write::update(asked, served, "").await,
        "patch" => patch::patch(asked, served, "").await,
        "delete" => delete::delete(asked, served).await,
        "deletecollection" => delete::collection(asked, served).await,
        _ => Err(wrong_method()),
    }
}

fn options_kind(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "create" => "CreateOptions",
        "patch" => "PatchOptions",
        "update" => "UpdateOptions",
        "delete" | "deletecollection" => "DeleteOptions",
        _ => return None,
    })
}

fn bad_options(kind: &str, error: Error) -> Status {
    Status::invalid(&GroupKind { group: "meta.k8s.io".into(), kind: kind.into() }, "", &[error])
}

/// `dryRun` knows one value.
fn check_dry_run(cx: &RequestContext, query: &Query) -> Result<(), Status> {
    let bad: Vec<&str> = query.all("dryRun").filter(|v| *v != "All").collect();
    let (Some(first), Some(kind)) = (bad.first(), options_kind(&cx.info.verb)) else { return Ok(()) };
    let mut error = Error::not_supported(&Path::new("dryRun"), *first, &["All"]);
    error.value = Some(format!("[{}]", bad.iter().map(|b| format!("{b:?}")).collect::<Vec<_>>().join(",")));
    Err(bad_options(kind, error))
}

/// A field manager's name is short and printable.
fn check_manager(cx: &RequestContext, query: &Query) -> Result<(), Status> {
    const MAX: usize = 128;
    let (Some(name), Some(kind)) = (query.get("fieldManager"), options_kind(&cx.info.verb)) else {
        return Ok(());
    };
    let field = Path::new("fieldManager");
    if name.len() > MAX {
        return Err(bad_options(kind, Error::too_long(&field, MAX)));
    }
    let Some((at, bad)) = name.char_indices().find(|(_, c)| c.is_control()) else { return Ok(()) };
    let shown: String = name.chars().map(go_quoted).collect();
    let why = format!("invalid character U+{:04X} (at position {at})", u32::from(bad));
    Err(bad_options(kind, Error { value: Some(format!("\"{shown}\"")), ..Error::invalid(&field, "", why) }))
}

/// A character as Go quotes it.
fn go_quoted(c: char) -> String {
    match c {
        '\n' | '\t' | '\r' | '"' | '\\' => c.escape_default().to_string(),
        c if c.is_control() => format!("\\x{:02x}", u32::from(c)),
        c => c.into(),
    }
}

/// The lower-case method as upstream's verbs of endpoints.
pub(crate) fn endpoint_verb(method: &Method) -> Option<crate::endpoint::Verb> {
    use crate::endpoint::Verb;
    match *method {
        Method::GET | Method::HEAD => Some(Verb::Get),
        Method::POST => Some(Verb::Create),
        Method::PUT | Method::PATCH => Some(Verb::Update),
        Method::DELETE => Some(Verb::Delete),
        _ => None,
    }
}
