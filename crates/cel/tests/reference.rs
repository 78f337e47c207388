//! Expressions with what the reference implementation (cel-go in `k8s.io/apiserver` v1.37) makes of them: the value,
//! the failure or the faults, the type, what it costs and what it was judged to cost. `data/README.md` tells how the
//! table is made.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use api::Value as Tree;
use cel::{Budget, Environment, Opaque, Schema, Type, Value};

const TABLE: &str = include_str!("data/reference.jsonl");

/// A value in the table's notation.
fn show(value: &Value<'_>) -> String {
    match value {
        Value::String(s) => go_quoted(s),
        Value::Bytes(b) => format!("b{}", b.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        Value::Uint(n) => format!("{n}u"),
        Value::Double(n) => format!("{}.", Value::Double(*n)),
        Value::Timestamp(_) => format!("timestamp({value})"),
        Value::Duration(_) => format!("duration({value})"),
        Value::Optional(None) => "none".into(),
        Value::Optional(Some(value)) => format!("optional({})", show(value)),
        Value::Type(of) => format!("type({})", of.name()),
        Value::List(list) => {
            let items: Vec<String> = list.iter().map(|item| show(&item.unwrap())).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let entry =
                |key: Value<'_>| format!("{}: {}", show(&key), show(&map.find(&key).unwrap().unwrap()));
            let mut entries: Vec<String> = map.keys().map(entry).collect();
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Special(_)
            if matches!(value.type_of(), Type::Opaque(Opaque::Quantity | Opaque::Ip | Opaque::Cidr)) =>
        {
            format!("{value}")
        }
        Value::Special(_) | Value::Object(_) => value.type_of().name().to_owned(),
        other => other.to_string(),
    }
}

fn go_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\u{200b}' => out.push_str("\\u200b"),
            '\u{202f}' => out.push_str("\\u202f"),
            c if (c as u32) < 32 => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out + "\""
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    error: String,
    stage: String,
    of: String,
    value: String,
    failure: String,
    cost: i64,
}

/// What the table says.
fn expected(row: &Tree) -> Outcome {
    let text = |name: &str| row.str_at(&[name]).to_owned();
    Outcome {
        error: text("error"),
        stage: text("stage"),
        of: text("type"),
        value: text("value"),
        failure: text("failure"),
        cost: row.int_at(&["cost"]).unwrap_or(0),
    }
}

fn environment(row: &Tree) -> (Environment, Schema) {
    let schema = row.get("schema").and_then(|s| Schema::of_open_api(s, true)).map(|s| s.named("selfType"));
    let typed = schema.is_some();
    let schema = schema.unwrap_or_else(Schema::any);
    let mut builder = Environment::builder().variable("self", &schema);
    builder = if typed {
        builder.variable("oldSelf", &schema)
    } else {
        builder
            .variable("authorizer", Type::Opaque(Opaque::Authorizer))
            .variable("authorizer.requestResource", Type::Opaque(Opaque::ResourceCheck))
    };
    let source = row.str_at(&["expr"]);
    if ["Object{", "Object.", "JSONPatch", "jsonpatch"].iter().any(|word| source.contains(word)) {
        builder = builder.patches();
    }
    (builder.build(), schema)
}

fn outcome(row: &Tree) -> (Outcome, (u64, u64)) {
    let (environment, schema) = environment(row);
    let mut found = Outcome::default();
    let program = match environment.compile(row.str_at(&["expr"])) {
        Ok(program) => program,
        Err(errors) => {
            found.error = errors.to_string();
            found.stage = errors.stage.to_owned();
            return (found, (0, 0));
        }
    };
    found.of = program.result_type().to_string();
    let null = Tree::Null;
    let node = row.get("self").unwrap_or(&null);
    let value = Value::of(node, &schema).expect("data fit their schema");
    let variables = [("self", value.clone()), ("oldSelf", value)];
    let mut budget = Budget::default();
    match program.evaluate(&variables, &mut budget) {
        Ok(value) => found.value = show(&value),
        Err(error) => found.failure = error.to_string(),
    }
    found.cost = i64::try_from(budget.last).unwrap();
    let range = program.estimate();
    (found, (range.min, range.max))
}

/// Rows, and what differs in them.
fn compare(mut differs: impl FnMut(&Tree) -> Option<String>) -> (usize, Vec<String>) {
    // Another table, to look for differences in.
    let other = std::env::var("CEL_REFERENCE").ok().map(|path| std::fs::read_to_string(path).unwrap());
    let rows: Vec<Tree> = other
        .as_deref()
        .unwrap_or(TABLE)
        .lines()
        .map(|line| api::json::parse(line.as_bytes()).unwrap())
        .collect();
    let found: Vec<String> =
        rows.iter().filter_map(|row| Some(format!("{}\n{}", row.str_at(&["expr"]), differs(row)?))).collect();
    (rows.len(), found)
}

/// An instantiation tells the fault of a constant in the words of whatever Go function refused it.
fn is_close(expected: &Outcome, found: &Outcome) -> bool {
    expected.stage == "program instantiation failed" && expected.stage == found.stage
}

#[test]
fn values_failures_faults_types_and_costs_are_the_reference_ones() {
    let (rows, wrong) = compare(|row| {
        let (expected, (found, _)) = (expected(row), outcome(row));
        (expected != found && !is_close(&expected, &found))
            .then(|| format!("   expected {expected:?}\n   found    {found:?}"))
    });
    assert!(wrong.is_empty(), "{} of {rows} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn estimates_are_the_reference_ones() {
    let (rows, wrong) = compare(|row| {
        let (expected, (found, range)) = (expected(row), outcome(row));
        if !expected.error.is_empty() || !found.error.is_empty() {
            return None;
        }
        let end = |name: &str| match row.get(name) {
            Some(Tree::Int(n)) => u64::try_from(*n).unwrap(),
            // Beyond i64 the tree has but a float.
            _ => u64::MAX,
        };
        let same =
            |expected: u64, found: u64| expected == found || expected == u64::MAX && found > i64::MAX as u64;
        let wanted = (end("min"), end("max"));
        (!same(wanted.0, range.0) || !same(wanted.1, range.1))
            .then(|| format!("   expected {wanted:?}\n   found    {range:?}"))
    });
    assert!(wrong.is_empty(), "{} of {rows} differ:\n{}", wrong.len(), wrong.join("\n"));
}
