//! `kubectl patch`

use api::Value;
use http::Method;

use crate::apply::DryRun;
use crate::args::Flags;
use crate::error::{Error, Result};
use crate::output::{self, Format};
use crate::server::Ask;
use crate::targets::Target;
use crate::{Context, manifests, targets};

const FLAGS: &str = "patch,p= patch-file= type= subresource= dry-run?unchanged field-manager= local";

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("patch", &[FLAGS, output::FLAGS, manifests::FLAGS].join(" "), arguments)?;
    if flags.on("local") {
        return Err(Error::not_built("patch --local"));
    }
    let patch = text(&flags)?;
    let context = Context::new(&flags).await?;
    let targets = targets::of_flags(&context.mapper, &flags, &context.server, &flags.words)?;
    if targets.iter().any(|t| t.name.is_empty()) || targets.is_empty() {
        return Err(Error::plain("resource(s) were provided, but no name was specified"));
    }
    for target in &targets {
        one(&context, &flags, target, &patch).await?;
    }
    Ok(())
}

/// The patch as JSON.
fn text(flags: &Flags) -> Result<Value> {
    let file = flags.text("patch-file");
    let text = match (flags.text("patch"), file) {
        ("", "") => {
            return Err(Error::plain(
                "must specify --patch or --patch-file containing the contents of the patch",
            ));
        }
        ("", file) => std::fs::read_to_string(file)?,
        (text, _) => text.to_owned(),
    };
    api::yaml::parse(text.as_bytes()).map_err(|e| Error::Plain(format!("unable to parse {text:?}: {e}")))
}

async fn one(context: &Context, flags: &Flags, target: &Target, patch: &Value) -> Result<()> {
    let content = match flags.text("type") {
        "" | "strategic" => "application/strategic-merge-patch+json",
        "merge" => "application/merge-patch+json",
        "json" => "application/json-patch+json",
        other => {
            return Err(Error::Plain(format!("--type must be one of [json merge strategic], not {other:?}")));
        }
    };
    let dry_run = DryRun::of(flags)?;
    if dry_run == DryRun::Client {
        return Err(Error::not_built("patch --dry-run=client"));
    }
    let sub = flags.text("subresource");
    let path = if sub.is_empty() { target.path() } else { format!("{}/{sub}", target.path()) };
    let before = context.server.value(&Ask::get(&path)).await?;
    let manager = if flags.given("field-manager") { flags.text("field-manager") } else { "kubectl-patch" };
    let ask = Ask::new(Method::PATCH, path)
        .with("fieldManager", manager)
        .sending(api::json::to_vec(patch), content);
    let after = context.server.value(&dry_run.on(ask)).await?;
    if flags.given("output") {
        return Format::of(flags)?.print(&after, &context.mapper, flags.on("show-managed-fields"));
    }
    let version = |o: &Value| o.str_at(&["metadata", "resourceVersion"]).to_owned();
    let same = version(&before) == version(&after) && dry_run == DryRun::No;
    output::say(format!(
        "{} patched{}{}",
        target.display(),
        if same { " (no change)" } else { "" },
        dry_run.suffix()
    ));
    Ok(())
}
