//! `kubectl create -f`, and `create namespace`.
//!
//! Deliberately absent: the other generators.

use api::{Value, value};
use http::Method;

use crate::Context;
use crate::apply::{self, DryRun};
use crate::args::Flags;
use crate::error::{Error, Result};
use crate::manifests::{self, Manifest};
use crate::output::{self, Format};
use crate::server::{Ask, JSON};
use crate::targets::{self, Target};

const FLAGS: &str =
    "dry-run?unchanged validate?strict field-manager= save-config selector,l= edit raw= windows-line-endings";

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("create", &[FLAGS, output::FLAGS, manifests::FLAGS].join(" "), arguments)?;
    for name in ["edit", "raw", "selector"] {
        if flags.given(name) {
            return Err(Error::not_built(format!("create --{name}")));
        }
    }
    let manifests = match flags.words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["namespace" | "ns", name] => vec![Manifest { source: "arguments".into(), object: namespace(name) }],
        [] if flags.given("filename") || flags.given("kustomize") => manifests::read(&flags)?,
        [] => return Err(Error::plain("must specify one of -f and -k")),
        [generator, ..] => return Err(Error::not_built(format!("the subcommand \"create {generator}\""))),
    };
    let context = Context::new(&flags).await?;
    let (known, mut errors) = targets::of_manifests(&context.mapper, manifests, &context.server);
    for (target, manifest) in known {
        if let Err(error) = one(&context, &flags, target, manifest).await {
            errors.push(error);
        }
    }
    Error::collect(errors)
}

fn namespace(name: &str) -> Value {
    value!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": (name)}})
}

async fn one(context: &Context, flags: &Flags, mut target: Target, manifest: Manifest) -> Result<()> {
    let Manifest { source, mut object } = manifest;
    if flags.on("save-config") {
        object = apply::with_last_applied(object);
    }
    let dry_run = DryRun::of(flags)?;
    let manager = if flags.given("field-manager") { flags.text("field-manager") } else { "kubectl-create" };
    let answer = if dry_run == DryRun::Client {
        object
    } else {
        let ask = Ask::new(Method::POST, target.resource.path(&target.namespace, ""))
            .with("fieldManager", manager)
            .with("fieldValidation", apply::validation(flags)?)
            .sending(api::json::to_vec(&object), JSON);
        let answer = context.server.value(&dry_run.on(ask)).await;
        answer.map_err(|e| {
            if source == "arguments" { e } else { e.about(format!("error when creating {source:?}")) }
        })?
    };
    target.name = answer.str_at(&["metadata", "name"]).to_owned();
    if flags.given("output") {
        return Format::of(flags)?.print(&answer, &context.mapper, flags.on("show-managed-fields"));
    }
    output::say(format!("{} created{}", target.display(), dry_run.suffix()));
    Ok(())
}
