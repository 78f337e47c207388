//! ConfigMaps in kube-system by which others learn how to authenticate against this server.

use api::{Map, Value};
use apimachinery::{GroupResource, Status};

use super::Bootstrap;
use crate::strategies::fields::{Fields, map, map_at};

const NAMESPACE: &str = "kube-system";

fn config_map(name: &str, data: Map) -> Value {
    Value::Map(map([
        ("apiVersion", "v1".into()),
        ("kind", "ConfigMap".into()),
        ("metadata", map([("name", name.into()), ("namespace", NAMESPACE.into())]).into()),
        ("data", data.into()),
    ]))
}

/// `extension-apiserver-authentication`: the authorities of clients and of front proxies.
pub async fn authentication(b: &Bootstrap) -> Result<(), Status> {
    let resource = GroupResource::new("", "configmaps");
    let data: Map =
        b.settings.authentication.iter().map(|(k, v)| (k.as_str().into(), Value::from(v.as_str()))).collect();
    let wanted = config_map("extension-apiserver-authentication", data);
    let Some(there) = b.find(&resource, NAMESPACE, "extension-apiserver-authentication").await? else {
        return b.ensure(&resource, wanted).await;
    };
    let (has, wants) = (map_at(&there, &["data"]), map_at(&wanted, &["data"]));
    if wants.iter().all(|(k, v)| has.get(k) == Some(v)) {
        return Ok(());
    }
    let change = |o: &mut Value| {
        let data = o.as_map_or_make().map_mut("data");
        map_at(&wanted, &["data"]).iter().for_each(|(k, v)| merge(data, k, v));
        Ok(())
    };
    b.update(&resource, "v1", "", &wanted, &change).await
}

/// Several masters with different authorities: all of them count.
fn merge(data: &mut Map, key: &str, value: &Value) {
    let (old, new) = (data.text(key).to_owned(), value.as_str().unwrap_or_default());
    let both =
        if key.ends_with("client-ca-file") && !old.is_empty() && !old.contains(new.trim()) && !new.is_empty()
        {
            format!("{old}{new}")
        } else if key.ends_with("client-ca-file") && old.contains(new.trim()) && !new.is_empty() {
            old
        } else {
            new.to_owned()
        };
    data.insert(key, both);
}

/// Since when tokens out of Secrets are tracked.
pub async fn token_tracking(b: &Bootstrap) -> Result<(), Status> {
    let since = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let data = map([("since", since.into())]);
    b.ensure(
        &GroupResource::new("", "configmaps"),
        config_map("kube-apiserver-legacy-service-account-token-tracking", data),
    )
    .await
}
