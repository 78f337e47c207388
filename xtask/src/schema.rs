//! `cargo xtask schema [DIR]`: writes the compact table that `api` embeds (`crates/api/table/`), and the test
//! data of `kube-apiserver`, out of the facts in DIR (`../shared/reference`).
//!
//! Deterministic: sorted input gives the same bytes from run to run. It judges nothing: what the facts say is
//! written down, only shorter (see `crates/api/src/schema/load.rs` for the form of each line).

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Rows = Vec<Value>;

pub fn run(args: &[String]) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let from = args.first().map_or_else(|| root.join("../shared/reference"), |a| a.into());
    let table = root.join("crates/api/table");
    fs::create_dir_all(&table)?;
    let read = |name: &str| rows(&from.join(name));
    let (types, rules) = (read("types.jsonl")?, read("rules.jsonl")?);
    fs::write(table.join("types.txt"), types_text(&types))?;
    fs::write(table.join("rules.txt"), rules_text(&types, &rules))?;
    let resources = resource_rows(read("resources.jsonl")?, &read("storage.jsonl")?, &read("columns.jsonl")?);
    fs::write(table.join("resources.jsonl"), lines(&resources))?;
    fs::write(table.join("gates.txt"), gates_text(&read("gates.jsonl")?))?;
    fs::write(table.join("bootstrap.jsonl"), lines(&bootstrap(&from.join("bootstrap.json"))?))?;
    let data = root.join("crates/kube-apiserver/tests/data");
    fs::create_dir_all(&data)?;
    fs::write(data.join("minimal.jsonl"), fs::read(from.join("minimal.jsonl"))?)?;
    Ok(())
}

fn rows(path: &Path) -> Result<Rows> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

fn bootstrap(path: &Path) -> Result<Rows> {
    match serde_json::from_str(&fs::read_to_string(path)?)? {
        Value::Array(list) => Ok(list),
        _ => Err("bootstrap.json is no list".into()),
    }
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

fn fields(row: &Value) -> impl Iterator<Item = (&String, &Value)> {
    row["fields"].as_object().into_iter().flatten()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

// ---- types.txt ----------------------------------------------------------------------------------------------

/// Named list types (ExtraValue, Verbs): protobuf has a message of their own.
fn message_lists(types: &[Value]) -> BTreeSet<&str> {
    let lists = types.iter().filter(|t| text(t, "go").starts_with("[]"));
    lists.filter_map(|t| text(t, "type").rsplit('.').next()).collect()
}

fn types_text(types: &[Value]) -> String {
    let lists = message_lists(types);
    let mut rows: Vec<&Value> = types.iter().filter(|t| t.get("go").is_none()).collect();
    rows.sort_by_key(|t| text(t, "type"));
    let mut out = String::new();
    for t in rows {
        type_lines(&mut out, t, &lists);
    }
    out
}

fn type_lines(out: &mut String, t: &Value, lists: &BTreeSet<&str>) {
    let name = text(t, "type");
    let flag = |key: &str, sign: &'static str| if t.get(key).is_some() { sign } else { "" };
    let flags = [flag("noProto", "P"), flag("noOpenapi", "O"), flag("everyGroup", "G"), flag("special", "S")]
        .concat();
    let _ = writeln!(out, "T\t{name}\t{flags}");
    for kind in t["gvk"].as_array().into_iter().flatten() {
        let _ =
            writeln!(out, "K\t{}\t{}\t{}", text(kind, "group"), text(kind, "version"), text(kind, "kind"));
    }
    if let Some(map_type) = t["mapType"].as_str() {
        let _ = writeln!(out, "M\t{map_type}");
    }
    for union in t["unions"].as_array().into_iter().flatten() {
        let members = union["fields-to-discriminateBy"].as_object().into_iter().flatten();
        let members: Vec<String> =
            members.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
        let _ = writeln!(out, "U\t{}\t{}", text(union, "discriminator"), members.join(","));
    }
    for (key, e) in t["embeds"].as_object().into_iter().flatten() {
        let tag = e["proto"][0].as_u64().unwrap_or(0);
        let _ = writeln!(out, "E\t{key}\t{tag}\t{}", short_ref(text(e, "ref"), name));
    }
    let mut list: Vec<_> = fields(t).collect();
    list.sort_by_key(|(_, f)| f["n"].as_u64());
    for (key, f) in list {
        field_line(out, name, key, f, lists);
    }
}

/// A reference within the package of the type is written `.Name`.
fn short_ref(name: &str, of: &str) -> String {
    let package = of.rsplit_once('.').map_or("", |(p, _)| p);
    match name.rsplit_once('.') {
        Some((p, last)) if p == package => format!(".{last}"),
        _ => name.to_owned(),
    }
}

/// Go's shape without the names of named types; `!` after a list that is a message of its own.
fn shape(f: &Value, lists: &BTreeSet<&str>) -> String {
    let go = text(f, "go");
    let (shape, flags) = go.split_once(',').unwrap_or((go, ""));
    let (map, rest) = match shape.strip_prefix("map[").and_then(|s| s.split_once(']')) {
        Some((_, value)) => ("map[string]", value),
        None => ("", shape),
    };
    let plain = rest.split(':').next().unwrap_or_default();
    let wire = f["proto"][1].as_str().unwrap_or_default();
    let message = plain == "[]string" && (lists.contains(wire) || !map.is_empty());
    let flags = if flags.is_empty() { String::new() } else { format!(",{flags}") };
    format!("{map}{plain}{}{flags}", if message { "!" } else { "" })
}

fn reference(f: &Value) -> &str {
    let inner = |key: &str| f[key]["ref"].as_str().or_else(|| f[key]["items"]["ref"].as_str());
    f["ref"].as_str().or_else(|| inner("items")).or_else(|| inner("values")).unwrap_or_default()
}

fn field_line(out: &mut String, of: &str, key: &str, f: &Value, lists: &BTreeSet<&str>) {
    let tag = f["proto"][0].as_u64().unwrap_or(0);
    let _ = write!(out, "F\t{key}\t{}\t{tag}\t{}", shape(f, lists), short_ref(reference(f), of));
    for (from, to) in [
        ("in", "in"),
        ("listType", "lt"),
        ("mapType", "mt"),
        ("patchMergeKey", "pk"),
        ("patchStrategy", "ps"),
        ("format", "f"),
    ] {
        if let Some(value) = f[from].as_str() {
            let _ = write!(out, "\t{to}={value}");
        }
    }
    let keys = strings(&f["listMapKeys"]);
    if !keys.is_empty() {
        let _ = write!(out, "\tlk={}", keys.join(","));
    }
    for (from, to) in [(&f["enum"], "en"), (&f["items"]["enum"], "ie"), (&f["values"]["enum"], "ie")] {
        let values = strings(from);
        if !values.is_empty() {
            let _ = write!(out, "\t{to}={}", values.join(","));
        }
    }
    if f["openapiRequired"] == true {
        out.push_str("\tr");
    }
    if let Some(default) = f.get("default") {
        let _ = write!(out, "\td={default}");
    }
    out.push('\n');
}

// ---- rules.txt ----------------------------------------------------------------------------------------------

/// The rules of `rules`, of `beta` (these with a `~`), and of `alpha` (with a `^`): never enforced, but
/// what is required or optional there still decides whether the other rules are looked at.
fn enforced(row: &Value) -> Vec<String> {
    let plain = strings(&row["rules"]).into_iter().map(str::to_owned);
    let beta = strings(&row["beta"]).into_iter().map(|r| format!("~{r}"));
    let alpha = strings(&row["alpha"]).into_iter().filter(|r| *r == "required" || *r == "optional");
    plain.chain(beta).chain(alpha.map(|r| format!("^{r}"))).collect()
}

/// Named string types that are checked as enums: name -> the rule.
fn enums(rules: &[Value]) -> BTreeMap<&str, String> {
    let mut out = BTreeMap::new();
    for row in rules {
        if let Some(rule) = enforced(row).iter().find(|r| r.trim_start_matches('~') == "enum") {
            let values = strings(&row["values"]).join(",");
            out.insert(text(row, "type"), rule.replace("enum", &format!("enum={values}")));
        }
    }
    out
}

/// The enum rule of a field's named type, below `eachVal` for lists and maps.
fn enum_rule(of: &str, f: &Value, enums: &BTreeMap<&str, String>) -> Option<String> {
    let go = text(f, "go").split(',').next()?;
    let (shape, name) = go.rsplit_once("string:")?;
    let name = name.split(']').next()?;
    let package = of.rsplit_once('.')?.0;
    let full = if name.contains('.') { format!("io.k8s.{name}") } else { format!("{package}.{name}") };
    let documented = [&f["enum"], &f["items"]["enum"], &f["values"]["enum"]].map(strings).concat().join(",");
    let rule = enums.get(full.as_str())?;
    let rule = if rule.ends_with('=') { &format!("{rule}{documented}") } else { rule };
    if shape.contains('[') && !rule.is_empty() {
        let (beta, bare) = rule.strip_prefix('~').map_or(("", rule.as_str()), |b| ("~", b));
        return Some(format!("{beta}eachVal > {bare}"));
    }
    Some(rule.clone())
}

fn rules_text(types: &[Value], rules: &[Value]) -> String {
    let enums = enums(rules);
    let shapes: BTreeMap<&str, &Value> = types.iter().map(|t| (text(t, "type"), t)).collect();
    let by_type: BTreeMap<&str, &Value> = rules.iter().map(|r| (text(r, "type"), r)).collect();
    let mut out = String::new();
    for (name, t) in &shapes {
        let empty = Value::Null;
        let row = by_type.get(name).copied().unwrap_or(&empty);
        let body = rule_lines(name, t, row, &enums);
        if !body.is_empty() {
            let _ = write!(out, "T\t{name}\n{body}");
        }
    }
    out
}

fn rule_lines(name: &str, t: &Value, row: &Value, enums: &BTreeMap<&str, String>) -> String {
    let mut out = String::new();
    let own = enforced(row);
    if !own.is_empty() {
        let _ = writeln!(out, "R\t{}", own.join("\t"));
    }
    if let Some(l) = row.get("lifecycle") {
        let part = |key: &str| match &l[key] {
            Value::String(s) => s.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let _ = writeln!(
            out,
            "L\t{}\t{}\t{}\t{}",
            part("introduced"),
            part("deprecated"),
            part("removed"),
            part("replacement")
        );
    }
    for (key, f) in fields(t) {
        let marks = &row["fields"][key];
        let mut list = enforced(marks);
        list.extend(enum_rule(name, f, enums));
        let gates =
            strings(&marks["marks"]).into_iter().filter(|m| m.starts_with("featureGate=")).map(str::to_owned);
        list.extend(gates);
        if !list.is_empty() {
            let _ = writeln!(out, "F\t{key}\t{}", list.join("\t"));
        }
    }
    out
}

// ---- resources.jsonl, gates.txt -----------------------------------------------------------------------------

/// Each resource with its columns and how it is stored, in one row.
fn resource_rows(resources: Rows, storage: &[Value], columns: &[Value]) -> Rows {
    let same = |a: &Value, b: &Value, keys: &[&str]| keys.iter().all(|k| a[*k] == b[*k]);
    let mut out: Rows = Vec::new();
    for mut row in resources {
        let exact = storage.iter().find(|s| same(s, &row, &["group", "resource", "version"]));
        let any = storage.iter().find(|s| same(s, &row, &["group", "resource"]));
        let shown = columns.iter().find(|c| same(c, &row, &["group", "resource", "version"]));
        let stored = exact.or(any).map_or(json!({"stored": false}), stored_as);
        let shown = shown.map_or(Value::Null, |c| c["columns"].clone());
        if let Some(map) = row.as_object_mut() {
            map.insert("storage".into(), stored);
            map.insert("columns".into(), shown);
        }
        out.push(row);
    }
    out
}

fn stored_as(row: &Value) -> Value {
    let keys = ["key", "media", "apiVersion", "kind", "leaseSeconds", "stored"];
    let kept = keys.iter().filter_map(|k| Some(((*k).to_owned(), row.get(*k)?.clone())));
    Value::Object(kept.collect::<Map<_, _>>())
}

fn gates_text(gates: &[Value]) -> String {
    let line = |g: &Value| format!("{}\t{}\t{}\n", text(g, "gate"), g["default"] == true, text(g, "stage"));
    gates.iter().map(line).collect()
}
