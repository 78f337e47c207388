//! ConfigMaps, Secrets, ServiceAccounts, and Bindings' cousins without behaviour.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use jiff::Timestamp;

use crate::strategies::fields::{Fields, map_at, of};
use crate::strategies::kind::{Kind, PLAIN};
use crate::strategies::{cells, names, validation};

/// Bytes that a ConfigMap or a Secret may hold.
const MAX: usize = 1024 * 1024;

pub const CONFIG_MAP: Kind = Kind {
    validate: config_map,
    validate_update: |object, old, errors| frozen(object, old, &["data", "binaryData"], errors),
    cells: Some(|o, now| row(o, now, None)),
    ..PLAIN
};

pub const SECRET: Kind = Kind {
    defaults: |o| {
        o.default("type", "Opaque");
        take_string_data(o);
    },
    create: |_, o| take_string_data(o),
    update: |_, o, old| {
        take_string_data(o);
        // A client that does not know the type means to keep it.
        if o.text("type").is_empty() {
            o.copy_from(old, "type");
        }
    },
    validate: secret,
    validate_update: |object, old, errors| {
        errors.extend(validation::immutable(object, old, &["type"]));
        frozen(object, old, &["data"], errors);
    },
    cells: Some(|o, now| row(o, now, Some(o.str_at(&["type"]).into()))),
    ..PLAIN
};

pub const SERVICE_ACCOUNT: Kind =
    Kind { cells: Some(|o, now| vec![cells::name(o), cells::age(o, now)]), returns_deleted: true, ..PLAIN };

fn row(o: &Value, now: Timestamp, kind: Option<Value>) -> Vec<Value> {
    let count = map_at(o, &["data"]).len() + map_at(o, &["binaryData"]).len();
    let mut row = vec![cells::name(o)];
    row.extend(kind);
    row.extend([Value::Int(count as i64), cells::age(o, now)]);
    row
}

fn keys<'a>(object: &'a Value, part: &str, errors: &mut ErrorList) -> impl Iterator<Item = usize> + use<'a> {
    let map = map_at(object, &[part]);
    for key in map.keys() {
        for why in names::config_key(key) {
            errors.push(Error::invalid(&Path::new(part).key(key), key.as_str(), why));
        }
    }
    map.values().map(|v| v.as_str().unwrap_or_default().len())
}

fn config_map(object: &Value, errors: &mut ErrorList) {
    let mut total: usize = keys(object, "data", errors).sum();
    total += keys(object, "binaryData", errors).map(|n| n / 4 * 3).sum::<usize>();
    for key in map_at(object, &["data"]).keys() {
        if map_at(object, &["binaryData"]).contains_key(key) {
            let why = "duplicate of key present in binaryData";
            errors.push(Error::invalid(&Path::new("data").key(key), key.as_str(), why));
        }
    }
    if total > MAX {
        // Upstream names no field here, and this is how that shows.
        errors.push(Error::too_long(&Path::default().key(""), MAX));
    }
}

/// What an immutable object may not change, the mark itself included.
fn frozen(object: &Value, old: &Value, parts: &[&str], errors: &mut ErrorList) {
    if !of(old).flag("immutable") {
        return;
    }
    let why = "field is immutable when `immutable` is set";
    if !of(object).flag("immutable") {
        errors.push(Error::forbidden(&Path::new("immutable"), why));
    }
    for part in parts {
        if !of(object).same(of(old), part) {
            errors.push(Error::forbidden(&Path::new(part), why));
        }
    }
}

/// `stringData` is `data` for writers who do not want to encode it.
fn take_string_data(object: &mut Map) {
    use base64::Engine as _;
    let Some(Value::Map(plain)) = object.remove("stringData") else { return };
    let data = object.map_mut("data");
    for (key, value) in plain {
        let text = value.as_str().unwrap_or_default();
        data.insert(key, base64::engine::general_purpose::STANDARD.encode(text));
    }
}

fn secret(object: &Value, errors: &mut ErrorList) {
    let total: usize = keys(object, "data", errors).map(|n| n / 4 * 3).sum();
    if total > MAX {
        errors.push(Error::too_long(&Path::new("data"), MAX));
    }
    let data = map_at(object, &["data"]);
    let needs = |key: &str, errors: &mut ErrorList| {
        if !data.contains_key(key) {
            errors.push(Error::required(&Path::new("data").key(key), ""));
        }
    };
    match object.str_at(&["type"]) {
        "kubernetes.io/service-account-token" => {
            let at = Path::new("metadata").child("annotations").key("kubernetes.io/service-account.name");
            if map_at(object, &["metadata", "annotations"])
                .text("kubernetes.io/service-account.name")
                .is_empty()
            {
                errors.push(Error::required(&at, ""));
            }
        }
        "kubernetes.io/dockercfg" => needs(".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => needs(".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if !data.contains_key("username") && !data.contains_key("password") => {
            needs("username", errors);
            needs("password", errors);
        }
        "kubernetes.io/ssh-auth" => needs("ssh-privatekey", errors),
        "kubernetes.io/tls" => {
            needs("tls.crt", errors);
            needs("tls.key", errors);
        }
        _ => {}
    }
}
