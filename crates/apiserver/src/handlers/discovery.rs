//! Discovery: `/api`, `/apis` and below, plain and aggregated, kept until the table of what is served changes.

use std::collections::HashMap;
use std::sync::Arc;

use api::Value;
use api::discovery::{self, Group};
use api::resources::Resource;
use apimachinery::{GroupVersion, Status};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{Asked, represent};
use crate::catalog::Table;
use crate::endpoint::Body;
use crate::form::Media;
use crate::http::negotiate::{As, Offer, Wanted, wanted};
use crate::http::{Chain, body, respond};

/// What was made of one state of the table.
#[derive(Default)]
pub(crate) struct Cache(Mutex<(u64, HashMap<String, Bytes>)>);

impl Cache {
    /// The bytes under `key`, made anew when the table has changed.
    pub fn get(&self, revision: u64, key: &str, make: impl FnOnce() -> Vec<u8>) -> Bytes {
        {
            let mut cache = self.0.lock();
            if cache.0 != revision {
                *cache = (revision, HashMap::new());
            }
            if let Some(found) = cache.1.get(key) {
                return found.clone();
            }
        }
        let made = Bytes::from(make());
        let mut cache = self.0.lock();
        if cache.0 == revision {
            cache.1.insert(key.into(), made.clone());
        }
        made
    }
}

/// Rows of what is served, in the versions' order of the table's priorities.
pub(super) fn groups(table: &Table) -> Vec<Group> {
    let rows = table.resources.values().map(|served| {
        let mut row = served.row.clone();
        if row.priority.is_none()
            && let Some(priority) = table.priorities.get(&served.gv)
        {
            let mut own = Resource::clone(&row);
            let clamp = |n: i64| i32::try_from(n).unwrap_or(i32::MAX);
            own.priority = Some((clamp(priority.group), clamp(priority.version)));
            row = Arc::new(own);
        }
        row
    });
    let delegated = table.delegates.iter().flat_map(|(gv, to)| {
        let list = to.resources().and_then(|bytes| api::json::parse(&bytes).ok()).unwrap_or_default();
        rows_of(gv, &list, table)
    });
    let mut groups = discovery::groups(rows.chain(delegated));
    for gv in table.delegates.keys() {
        let known = |g: &&mut Group| g.name == gv.group;
        let version = discovery::Version { name: gv.version.clone(), resources: Vec::new() };
        match groups.iter_mut().find(known) {
            Some(group) if group.versions.iter().any(|v| v.name == gv.version) => {}
            Some(group) => group.versions.push(version),
            None => groups.push(Group { name: gv.group.clone(), versions: vec![version] }),
        }
    }
    groups
}

/// The resources that another server says it serves (APIResourceList), as rows.
fn rows_of(gv: &GroupVersion, list: &Value, table: &Table) -> Vec<Arc<Resource>> {
    let entries = list.list_at(&["resources"]);
    let texts = |entry: &Value, key: &str| -> Vec<Arc<str>> {
        entry.list_at(&[key]).iter().filter_map(Value::as_str).map(Arc::from).collect()
    };
    let text = |entry: &Value, key: &str| -> Arc<str> { entry.str_at(&[key]).into() };
    let clamp = |n: i64| i32::try_from(n).unwrap_or(i32::MAX);
    let priority = table.priorities.get(gv).map(|p| (clamp(p.group), clamp(p.version)));
    let subresources = |name: &str| {
        let prefix = format!("{name}/");
        let of = entries.iter().filter_map(|e| Some((e.str_at(&["name"]).strip_prefix(&prefix)?, e)));
        of.map(|(sub, e)| api::resources::Subresource {
            name: sub.into(),
            kind: text(e, "kind"),
            group: text(e, "group"),
            version: text(e, "version"),
            verbs: texts(e, "verbs"),
        })
        .collect()
    };
    let whole = entries.iter().filter(|e| !e.str_at(&["name"]).contains('/'));
    whole
        .map(|e| {
            Arc::new(Resource {
                group: gv.group.clone(),
                version: gv.version.clone(),
                resource: text(e, "name"),
                kind: text(e, "kind"),
                list_kind: "".into(),
                singular: text(e, "singularName"),
                namespaced: e.bool_at(&["namespaced"]).unwrap_or(false),
                verbs: texts(e, "verbs"),
                short_names: texts(e, "shortNames"),
                categories: texts(e, "categories"),
                subresources: subresources(e.str_at(&["name"])),
                field_labels: Vec::new(),
                priority,
                storage_version_hash: text(e, "storageVersionHash"),
                by_default: true,
                storage: api::resources::Storage::default(),
                columns: None,
            })
        })
        .collect()
}

fn json(value: &Value) -> Vec<u8> {
    let mut out = api::json::to_vec(value);
    out.push(b'\n');
    out
}

/// None: the path is not one of discovery.
pub(super) fn serve(asked: &Asked<'_>) -> Option<Result<Response<Body>, Status>> {
    let path = asked.cx.info.path.trim_end_matches('/');
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["api" | "apis"] => Some(root(asked, parts[0])),
        ["api", version] => Some(resources(asked, "", version)),
        ["apis", group] => Some(group_of(asked, group)),
        ["apis", group, version] => Some(resources(asked, group, version)),
        _ => None,
    }
}

fn root(asked: &Asked<'_>, prefix: &str) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, Offer::DISCOVERY)?;
    let table = asked.chain.registry.catalog.table();
    let legacy = prefix == "api";
    if let As::Discovery(version) = &offer.shape {
        return aggregated(asked, &table, prefix, version, &offer);
    }
    let bytes = asked.chain.discovery.get(table.revision, prefix, || match legacy {
        true => json(&discovery::api_versions(&address(asked))),
        false => json(&discovery::group_list(&groups(&table))),
    });
    send(&offer, bytes)
}

fn address(asked: &Asked<'_>) -> String {
    let host = asked.request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
    let authority = || asked.request.uri().authority().map(http::uri::Authority::as_str);
    host.or_else(authority).unwrap_or_default().to_owned()
}

/// A plain document, in any encoding.
fn send(offer: &Wanted, bytes: Bytes) -> Result<Response<Body>, Status> {
    if offer.media == Media::Json && !offer.pretty {
        return Ok(respond::bytes(200, Media::Json.content_type(), bytes));
    }
    if offer.media == Media::Protobuf {
        let value = api::json::parse(&bytes).map_err(Status::internal)?;
        let typed = with_type(value);
        return represent::answer_value(offer, &typed, 200);
    }
    Ok(respond::document(200, offer, bytes.to_vec()))
}

/// Discovery's kinds are of every group; some are written without apiVersion.
fn with_type(mut value: Value) -> Value {
    if value.api_version().is_empty() {
        value.set_at(&["apiVersion"], "v1");
    }
    value
}

fn aggregated(
    asked: &Asked<'_>,
    table: &Table,
    prefix: &str,
    version: &str,
    offer: &Wanted,
) -> Result<Response<Body>, Status> {
    let key = format!("{prefix} aggregated {version}");
    let bytes = asked.chain.discovery.get(table.revision, &key, || {
        let legacy = prefix == "api";
        let chosen: Vec<Group> = groups(table).into_iter().filter(|g| g.name.is_empty() == legacy).collect();
        let mut value = discovery::aggregated(&chosen);
        super::delegated::merge(&mut value, table);
        value.set_at(&["apiVersion"], format!("apidiscovery.k8s.io/{version}"));
        json(&value)
    });
    let etag = format!("\"{}\"", hex(&Sha256::digest(&bytes)).to_uppercase());
    let same = asked.request.headers().get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok())
        == Some(etag.as_str());
    let content_type = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    let mut answer = match (same, offer.media) {
        (true, _) => {
            let mut answer = Response::new(body::empty());
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            answer
        }
        (false, Media::Protobuf) => {
            let value = api::json::parse(&bytes).map_err(Status::internal)?;
            represent::answer_value(offer, &value, 200)?
        }
        (false, _) if offer.gzip && bytes.len() as u64 >= respond::GZIP_FROM => {
            let key = format!("{key} gzip");
            let zipped = asked
                .chain
                .discovery
                .get(table.revision, &key, || respond::gzip([&bytes].into_iter()).to_vec());
            respond::compressed(200, &content_type, zipped)
        }
        (false, _) => respond::bytes(200, &content_type, bytes),
    };
    let headers = answer.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    Ok(answer)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn group_of(asked: &Asked<'_>, name: &str) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, Offer::PLAIN)?;
    let table = asked.chain.registry.catalog.table();
    let groups = groups(&table);
    let Some(group) = groups.iter().find(|g| *g.name == *name && !name.is_empty()) else {
        return Ok(respond::not_found_text());
    };
    send(&offer, json(&discovery::api_group(group)).into())
}

fn resources(asked: &Asked<'_>, group: &str, version: &str) -> Result<Response<Body>, Status> {
    let offer = wanted(asked.request.headers(), asked.query, Offer::PLAIN)?;
    let table = asked.chain.registry.catalog.table();
    if let Some(delegate) = table.delegates.get(&GroupVersion::new(group, version)) {
        let bytes = delegate.resources().ok_or_else(|| Status::unavailable("service unavailable"))?;
        return send(&offer, bytes);
    }
    let groups = groups(&table);
    if !groups.iter().any(|g| *g.name == *group) {
        return Ok(respond::not_found_text());
    }
    let found = groups
        .iter()
        .find(|g| *g.name == *group)
        .and_then(|g| g.versions.iter().find(|v| *v.name == *version));
    let found = found.ok_or_else(Status::no_route)?;
    let key = format!("{group}/{version}");
    let bytes =
        asked.chain.discovery.get(table.revision, &key, || json(&discovery::resource_list(group, found)));
    send(&offer, bytes)
}

/// All paths that `/` lists.
pub(super) fn paths(chain: &Chain) -> Vec<String> {
    let table = chain.registry.catalog.table();
    let mut paths: Vec<String> = vec!["/api".into(), "/apis".into(), "/apis/".into()];
    for group in groups(&table) {
        if !group.name.is_empty() {
            paths.push(format!("/apis/{}", group.name));
        }
        paths.extend(group.versions.iter().map(|v| match group.name.is_empty() {
            true => format!("/api/{}", v.name),
            false => format!("/apis/{}/{}", group.name, v.name),
        }));
    }
    paths
}
