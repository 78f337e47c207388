//! `kubectl auth can-i` and `auth whoami`.

use api::{Value, value};
use http::Method;

use crate::Context;
use crate::args::Flags;
use crate::error::{Error, Result};
use crate::output::table::Writer;
use crate::output::{self, Format};
use crate::server::{Ask, JSON};

const FLAGS: &str = "all-namespaces,A list quiet,q subresource= no-headers";

const KNOWN_VERBS: &[&str] = &[
    "use",
    "bind",
    "impersonate",
    "*",
    "approve",
    "sign",
    "escalate",
    "attest",
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "proxy",
];

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("auth", &[FLAGS, output::FLAGS].join(" "), arguments)?;
    let words: Vec<&str> = flags.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["can-i"] if flags.on("list") => rules(&Context::new(&flags).await?, &flags).await,
        ["can-i", words @ ..] => can(&Context::new(&flags).await?, &flags, words).await,
        ["whoami"] => whoami(&Context::new(&flags).await?, &flags).await,
        ["reconcile", ..] => Err(Error::not_built("the subcommand \"auth reconcile\"")),
        [] => Err(Error::plain("auth needs a subcommand: can-i or whoami")),
        [other, ..] => Err(Error::Plain(format!("unknown command {other:?} for \"kubectl auth\""))),
    }
}

async fn ask(context: &Context, plural: &str, group: &str, review: Value) -> Result<Value> {
    let path = format!("/apis/{group}/v1/{plural}");
    context.server.value(&Ask::new(Method::POST, path).sending(api::json::to_vec(&review), JSON)).await
}

async fn can(context: &Context, flags: &Flags, words: &[&str]) -> Result<()> {
    let [verb, what] = words else {
        return Err(Error::plain(
            "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i -h' for help and examples.",
        ));
    };
    if !KNOWN_VERBS.contains(verb) {
        eprintln!("Warning: verb '{verb}' is not a known verb\n");
    }
    let spec = if what.starts_with('/') {
        value!({"nonResourceAttributes": {"verb": (*verb), "path": (*what)}})
    } else {
        let (kind, name) = what.split_once('/').unwrap_or((what, ""));
        let found = context.mapper.resource(kind);
        if let (Err(_), false) = (&found, kind == "*") {
            eprintln!("Warning: the server doesn't have a resource type '{kind}'\n");
        }
        let (group, plural) = match &found {
            Ok(r) => (r.group.clone(), r.plural.clone()),
            Err(_) => (String::new(), kind.to_owned()),
        };
        let namespaced = found.as_ref().map_or(true, |r| r.namespaced);
        if !namespaced && !flags.on("all-namespaces") {
            eprintln!(
                "Warning: resource '{plural}' is not namespace scoped{}\n",
                if group.is_empty() { String::new() } else { format!(" in group '{group}'") }
            );
        }
        let namespace = if flags.on("all-namespaces") || !namespaced {
            ""
        } else {
            context.server.settings.namespace.as_str()
        };
        value!({"resourceAttributes": {"verb": (*verb), "group": (group), "resource": (plural), "namespace": (namespace),
            "name": (name), "subresource": (flags.text("subresource"))}})
    };
    let review =
        value!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": (spec)});
    let answer = ask(context, "selfsubjectaccessreviews", "authorization.k8s.io", review).await?;
    let allowed = answer.at(&["status", "allowed"]).and_then(Value::as_bool) == Some(true);
    if !flags.on("quiet") {
        let mut text = if allowed { "yes" } else { "no" }.to_owned();
        for (key, before) in [("reason", ""), ("evaluationError", "")] {
            let said = answer.str_at(&["status", key]);
            if !allowed && !said.is_empty() {
                text += &format!(" - {before}{said}");
            }
        }
        output::say(text);
    }
    if allowed { Ok(()) } else { Err(Error::Exit(1)) }
}

async fn rules(context: &Context, flags: &Flags) -> Result<()> {
    let review = value!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": (context.server.settings.namespace.as_str())}});
    let answer = ask(context, "selfsubjectrulesreviews", "authorization.k8s.io", review).await?;
    let mut writer = Writer::default();
    if !flags.on("no-headers") {
        writer.row(["Resources", "Non-Resource URLs", "Resource Names", "Verbs"].map(str::to_owned).to_vec());
    }
    let list = |rule: &Value, key: &str| -> Vec<String> {
        rule.list_at(&[key]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let shown = |items: Vec<String>| format!("[{}]", items.join(" "));
    let mut rows = Vec::new();
    for rule in answer.list_at(&["status", "resourceRules"]) {
        let verbs = shown(list(rule, "verbs"));
        for group in list(rule, "apiGroups") {
            for resource in list(rule, "resources") {
                let name = match (group.as_str(), resource.as_str()) {
                    ("", r) => r.to_owned(),
                    (g, r) => match r.split_once('/') {
                        Some((r, sub)) => format!("{r}.{g}/{sub}"),
                        None => format!("{r}.{g}"),
                    },
                };
                rows.push(vec![name, "[]".into(), shown(list(rule, "resourceNames")), verbs.clone()]);
            }
        }
    }
    rows.sort_by_cached_key(|row: &Vec<String>| {
        let (name, group) = row[0].split_once('.').unwrap_or((&row[0], ""));
        (group.to_owned(), name.to_owned())
    });
    let mut urls = Vec::new();
    for rule in answer.list_at(&["status", "nonResourceRules"]) {
        let verbs = shown(list(rule, "verbs"));
        urls.extend(
            list(rule, "nonResourceURLs")
                .into_iter()
                .map(|u| vec![String::new(), format!("[{u}]"), "[]".into(), verbs.clone()]),
        );
    }
    urls.sort();
    rows.into_iter().chain(urls).for_each(|row| writer.row(row));
    output::write(&writer.flush());
    Ok(())
}

async fn whoami(context: &Context, flags: &Flags) -> Result<()> {
    let review = value!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = ask(context, "selfsubjectreviews", "authentication.k8s.io", review).await?;
    if flags.given("output") {
        return Format::of(flags)?.print(&answer, &context.mapper, true);
    }
    let info = |key: &str| answer.at(&["status", "userInfo", key]);
    let texts = |v: &Value| {
        let list: Vec<&str> = v.as_list().unwrap_or_default().iter().filter_map(Value::as_str).collect();
        format!("[{}]", list.join(" "))
    };
    let mut writer = Writer::default();
    writer.row(vec!["ATTRIBUTE".into(), "VALUE".into()]);
    for (title, key) in [("Username", "username"), ("UID", "uid")] {
        if let Some(text) = info(key).and_then(Value::as_str).filter(|t| !t.is_empty()) {
            writer.row(vec![title.into(), text.into()]);
        }
    }
    if let Some(groups) = info("groups").filter(|g| !g.is_null()) {
        writer.row(vec!["Groups".into(), texts(groups)]);
    }
    for (key, value) in info("extra").and_then(Value::as_map).into_iter().flat_map(|m| m.iter()) {
        writer.row(vec![format!("Extra: {key}"), texts(value)]);
    }
    output::write(&writer.flush());
    Ok(())
}
