//! `kubectl config`: `view`, `current-context`, `get-*`, `use-context`, `set-context`, and what takes entries away.
//! Deliberately absent: `set`, `unset`, `set-cluster`, `set-credentials`.

mod change;

use api::Value;

use crate::args::Flags;
use crate::config;
use crate::error::{Error, Result};
use crate::output::table::Writer;
use crate::output::template::Template;
use crate::output::{self, json, yaml};

pub fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse(
        "config",
        "raw flatten minify merge output,o= no-headers template= allow-missing-template-keys current",
        arguments,
    )?;
    let words: Vec<&str> = flags.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["current-context"] => current(&flags),
        ["view"] => view(&flags),
        ["get-contexts", names @ ..] => contexts(&flags, names),
        ["get-clusters"] => names(&flags, "clusters"),
        ["get-users"] => names(&flags, "users"),
        ["use-context" | "use", name] => change::use_context(&flags, name),
        ["set-context", rest @ ..] => change::set_context(&flags, rest.first().copied()),
        ["rename-context", old, new] => change::rename_context(&flags, old, new),
        ["delete-cluster", name] => change::delete(&flags, "clusters", name),
        ["delete-context", name] => change::delete(&flags, "contexts", name),
        ["delete-user", name] => change::delete(&flags, "users", name),
        ["set" | "set-cluster" | "set-credentials" | "unset", ..] => {
            Err(Error::not_built(format!("the subcommand \"config {}\"", words[0])))
        }
        [] => Err(Error::plain(
            "config needs a subcommand: view, current-context, get-contexts, use-context, ...",
        )),
        [other, ..] => Err(Error::Plain(format!("unknown command {other:?} for \"kubectl config\""))),
    }
}

fn tree(flags: &Flags) -> Result<Value> {
    let kubeconfig = config::kubeconfig(flags)?.unwrap_or_default();
    let mut tree = Value::of(&kubeconfig).map_err(|e| Error::Plain(e.to_string()))?;
    tree.set_at(&["kind"], "Config");
    tree.set_at(&["apiVersion"], "v1");
    let context = flags.text("context");
    if !context.is_empty() {
        tree.set_at(&["current-context"], context);
    }
    for list in ["clusters", "contexts", "users"] {
        if tree.get(list).is_none_or(Value::is_null) {
            tree.set_at(&[list], Value::Null);
        }
    }
    Ok(tree)
}

fn current(flags: &Flags) -> Result<()> {
    let tree = tree(flags)?;
    match tree.str_at(&["current-context"]) {
        "" => Err(Error::plain("current-context is not set")),
        name => {
            output::say(name);
            Ok(())
        }
    }
}

fn view(flags: &Flags) -> Result<()> {
    let mut tree = tree(flags)?;
    if flags.on("minify") {
        minify(&mut tree);
    }
    if !flags.on("raw") {
        redact(&mut tree);
    }
    drop_nulls(&mut tree);
    let text = match flags.text("output").split_once('=').unwrap_or((flags.text("output"), "")) {
        ("" | "yaml", _) => yaml::to_string(&tree),
        ("json", _) => json::pretty(&tree) + "\n",
        ("jsonpath", path) => Template::parse(path)?.fill(&tree)?,
        (other, _) => return Err(Error::not_built(format!("config view -o {other}"))),
    };
    output::write(&text);
    Ok(())
}

fn items<'v>(tree: &'v mut Value, list: &str) -> impl Iterator<Item = &'v mut Value> {
    tree.get_mut(list).and_then(Value::as_list_mut).into_iter().flatten()
}

/// What is secret or long, as stock hides it.
fn redact(tree: &mut Value) {
    const HIDDEN: &[(&str, &str, &str, &str)] = &[
        ("clusters", "cluster", "certificate-authority-data", "DATA+OMITTED"),
        ("users", "user", "client-certificate-data", "DATA+OMITTED"),
        ("users", "user", "client-key-data", "DATA+OMITTED"),
        ("users", "user", "token", "REDACTED"),
        ("users", "user", "password", "REDACTED"),
    ];
    for (list, part, key, text) in HIDDEN {
        for item in items(tree, list) {
            if let Some(value) = item.at_mut(&[part, key]).filter(|v| !v.is_null()) {
                *value = (*text).into();
            }
        }
    }
}

/// Only the current context, its cluster and its user.
fn minify(tree: &mut Value) {
    let current = tree.str_at(&["current-context"]).to_owned();
    let context = tree.list_at(&["contexts"]).iter().find(|c| c.str_at(&["name"]) == current);
    let part = |key: &str| context.map_or("", |c| c.str_at(&["context", key])).to_owned();
    let (cluster, user) = (part("cluster"), part("user"));
    for (list, name) in [("contexts", current), ("clusters", cluster), ("users", user)] {
        if let Some(items) = tree.get_mut(list).and_then(Value::as_list_mut) {
            items.retain(|i| i.str_at(&["name"]) == name);
        }
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Map(map) => {
            map.retain(|key, v| !v.is_null() || matches!(key.as_str(), "clusters" | "contexts" | "users"));
            map.values_mut().for_each(drop_nulls);
        }
        Value::List(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn names(flags: &Flags, list: &str) -> Result<()> {
    let tree = tree(flags)?;
    output::say("NAME");
    tree.list_at(&[list]).iter().for_each(|item| output::say(item.str_at(&["name"])));
    Ok(())
}

fn contexts(flags: &Flags, names: &[&str]) -> Result<()> {
    let tree = tree(flags)?;
    let current = tree.str_at(&["current-context"]);
    let mut writer = Writer::default();
    if !flags.on("no-headers") && flags.text("output") != "name" {
        writer.row(["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"].map(str::to_owned).to_vec());
    }
    for context in tree.list_at(&["contexts"]) {
        let name = context.str_at(&["name"]);
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        if flags.text("output") == "name" {
            output::say(name);
            continue;
        }
        let part = |key: &str| context.str_at(&["context", key]).to_owned();
        let mark = if name == current { "*" } else { "" };
        writer.row(vec![mark.to_owned(), name.to_owned(), part("cluster"), part("user"), part("namespace")]);
    }
    output::write(&writer.flush());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    #[test]
    fn secrets_are_hidden_and_the_rest_minified() {
        let mut tree = value!({"current-context": "a", "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}, {"name": "b"}],
            "clusters": [{"name": "c", "cluster": {"certificate-authority-data": "x"}}, {"name": "d"}],
            "users": [{"name": "u", "user": {"token": "t", "client-key-data": null}}]});
        minify(&mut tree);
        redact(&mut tree);
        drop_nulls(&mut tree);
        assert_eq!(
            tree,
            value!({"current-context": "a", "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"certificate-authority-data": "DATA+OMITTED"}}],
            "users": [{"name": "u", "user": {"token": "REDACTED"}}]})
        );
    }
}
