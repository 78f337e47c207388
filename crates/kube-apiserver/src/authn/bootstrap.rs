//! Bootstrap tokens: `id.secret` held by a Secret of kube-system, with which a new node joins.

use std::sync::Arc;

use api::Value;
use apimachinery::GroupResource;
use apiserver::request::UserInfo;
use apiserver::resource::Objects;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

/// Splits a token of the right shape.
pub fn parse(token: &str) -> Option<(&str, &str)> {
    let lower = |s: &str| s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let (id, secret) = token.split_once('.')?;
    (id.len() == 6 && secret.len() == 16 && lower(id) && lower(secret)).then_some((id, secret))
}

/// The user that a token stands for, if a usable Secret holds it.
pub fn authenticate(objects: &dyn Objects, token: &str, now: jiff::Timestamp) -> Option<Arc<UserInfo>> {
    let (id, secret) = parse(token)?;
    let found =
        objects.get(&GroupResource::new("", "secrets"), "kube-system", &format!("bootstrap-token-{id}"))?;
    user_of(&found.value, id, secret, now).map(Arc::new)
}

fn user_of(object: &Value, id: &str, secret: &str, now: jiff::Timestamp) -> Option<UserInfo> {
    let data = |key: &str| {
        let text = object.str_at(&["data", key]);
        STANDARD.decode(text).ok().and_then(|b| String::from_utf8(b).ok()).unwrap_or_default()
    };
    let usable = object.at(&["metadata", "deletionTimestamp"]).is_none()
        && object.str_at(&["type"]) == SECRET_TYPE
        && equal(&data("token-secret"), secret)
        && data("token-id") == id
        && !expired(&data("expiration"), now)
        && data("usage-bootstrap-authentication") == "true";
    let groups = usable.then(|| groups(&data("auth-extra-groups"))).flatten()?;
    Some(UserInfo { name: format!("system:bootstrap:{id}"), groups, ..UserInfo::default() })
}

/// In time that does not depend on where the texts differ.
fn equal(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

fn expired(expiration: &str, now: jiff::Timestamp) -> bool {
    // An unreadable time counts as past.
    !expiration.is_empty() && expiration.parse::<jiff::Timestamp>().map_or(true, |t| t <= now)
}

/// The default group first; None if an extra group lacks the prefix.
fn groups(extra: &str) -> Option<Vec<String>> {
    let mut groups = vec![GROUP.to_owned()];
    for group in extra.split(',').map(str::trim).filter(|g| !g.is_empty()) {
        if group.strip_prefix("system:bootstrappers:").is_none_or(str::is_empty) {
            return None;
        }
        groups.push(group.to_owned());
    }
    groups[1..].sort();
    groups.dedup();
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(fields: &[(&str, &str)]) -> Value {
        let mut object = Value::map();
        object.set_at(&["type"], SECRET_TYPE);
        let base = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
        ];
        for (key, value) in base.iter().chain(fields) {
            object.set_at(&["data", key], STANDARD.encode(value));
        }
        object
    }

    #[test]
    fn which_secrets_count() {
        let now: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let user = |fields: &[(&str, &str)]| user_of(&secret(fields), "abcdef", "0123456789abcdef", now);
        assert_eq!(user(&[]).unwrap().name, "system:bootstrap:abcdef");
        assert_eq!(
            user(&[("auth-extra-groups", "system:bootstrappers:b,system:bootstrappers:a")]).unwrap().groups,
            ["system:bootstrappers", "system:bootstrappers:a", "system:bootstrappers:b"]
        );
        assert!(user(&[("auth-extra-groups", "system:masters")]).is_none());
        assert!(user(&[("usage-bootstrap-authentication", "false")]).is_none());
        assert!(user(&[("expiration", "2025-12-31T00:00:00Z")]).is_none());
        assert!(user(&[("expiration", "2026-12-31T00:00:00Z")]).is_some());
        assert!(user(&[("token-secret", "0123456789abcdee")]).is_none());
    }

    #[test]
    fn shape() {
        assert!(parse("abcdef.0123456789abcdef").is_some());
        assert!(parse("ABCDEF.0123456789abcdef").is_none());
        assert!(parse("abcdef.0123456789abcde").is_none());
    }
}
