//! `Impersonate-*` headers: the caller acts as somebody else, if the authorizer lets it impersonate each part.

use std::sync::Arc;

use apimachinery::Status;
use http::HeaderMap;

use super::Chain;
use super::info::decode;
use crate::request::{RequestInfo, UserInfo};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Who the request acts as. The headers are taken away.
pub(super) async fn resolve(
    chain: &Chain,
    headers: &mut HeaderMap,
    user: Arc<UserInfo>,
) -> Result<Arc<UserInfo>, Status> {
    let names: Vec<_> = headers.keys().filter(|n| n.as_str().starts_with("impersonate-")).cloned().collect();
    if names.is_empty() {
        return Ok(user);
    }
    let wanted = read(headers)?;
    for (resource, namespace, name, group) in checks(&wanted) {
        let info = RequestInfo {
            is_resource: true,
            verb: "impersonate".into(),
            group: group.into(),
            version: "v1".into(),
            resource,
            namespace,
            name,
            ..RequestInfo::default()
        };
        let (base, sub) = info.resource.split_once('/').unwrap_or((&info.resource, ""));
        let info = RequestInfo { resource: base.to_owned(), subresource: sub.to_owned(), ..info.clone() };
        chain.authorize(&user, &info).await?;
    }
    names.iter().for_each(|n| drop(headers.remove(n)));
    Ok(Arc::new(complete(wanted)))
}

fn read(headers: &HeaderMap) -> Result<UserInfo, Status> {
    let mut wanted = UserInfo::default();
    for (name, value) in headers {
        let value = value.to_str().unwrap_or_default().to_owned();
        match name.as_str() {
            USER => wanted.name = value,
            UID => wanted.uid = value,
            GROUP => wanted.groups.push(value),
            other => {
                if let Some(key) = other.strip_prefix(EXTRA) {
                    wanted.extra.entry(decode(key, false)).or_default().push(value);
                }
            }
        }
    }
    if wanted.name.is_empty() {
        return Err(Status::internal("requested impersonation without impersonating a user"));
    }
    Ok(wanted)
}

/// (resource, namespace, name, group) of each thing to be allowed.
fn checks(wanted: &UserInfo) -> Vec<(String, String, String, &'static str)> {
    let mut list = Vec::new();
    match service_account(&wanted.name) {
        Some((namespace, name)) => list.push(("serviceaccounts".into(), namespace.into(), name.into(), "")),
        None => list.push(("users".into(), String::new(), wanted.name.clone(), "")),
    }
    list.extend(wanted.groups.iter().map(|g| ("groups".into(), String::new(), g.clone(), "")));
    if !wanted.uid.is_empty() {
        list.push(("uids".into(), String::new(), wanted.uid.clone(), "authentication.k8s.io"));
    }
    for (key, values) in &wanted.extra {
        let resource = format!("userextras/{key}");
        list.extend(
            values.iter().map(|v| (resource.clone(), String::new(), v.clone(), "authentication.k8s.io")),
        );
    }
    list
}

fn service_account(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')
}

/// Adds the groups that such a user always has.
fn complete(mut wanted: UserInfo) -> UserInfo {
    if wanted.groups.is_empty()
        && let Some((namespace, _)) = service_account(&wanted.name)
    {
        let of_namespace = format!("system:serviceaccounts:{namespace}");
        wanted.groups = vec!["system:serviceaccounts".into(), of_namespace];
    }
    let special =
        if wanted.name == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !wanted.groups.iter().any(|g| g == "system:authenticated" || g == "system:unauthenticated") {
        wanted.groups.push(special.into());
    }
    wanted
}
