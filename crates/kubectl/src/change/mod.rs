//! Commands that read an object, change it here, and send the difference: `label`, `annotate`, `taint`, `cordon`,
//! `set image`, `rollout pause` and their like.

pub mod image;
pub mod metadata;
pub mod taint;

use api::Value;
use http::Method;

use crate::Context;
use crate::apply::DryRun;
use crate::args::Flags;
use crate::error::{Error, Result};
use crate::output::{self, Format};
use crate::server::{Ask, Server};
use crate::targets::{self, Target};
use crate::three_way;

/// The flags that all of them have.
pub const FLAGS: &str =
    "dry-run?unchanged field-manager= local selector,l= field-selector= all all-namespaces,A overwrite";

/// How the difference is sent and told.
pub struct How {
    dry_run: DryRun,
    manager: String,
    format: Option<Format>,
    managed: bool,
}

impl How {
    pub fn of(flags: &Flags, manager: &str) -> Result<Self> {
        if flags.on("local") {
            return Err(Error::not_built("--local"));
        }
        let manager = if flags.given("field-manager") { flags.text("field-manager") } else { manager };
        Ok(Self {
            dry_run: DryRun::of(flags)?,
            manager: manager.to_owned(),
            format: if flags.given("output") { Some(Format::of(flags)?) } else { None },
            managed: flags.on("show-managed-fields"),
        })
    }

    /// Sends what differs between the two, and says `pod/x VERB`.
    pub async fn send(
        &self,
        context: &Context,
        target: &Target,
        before: &Value,
        after: Value,
        verb: &str,
    ) -> Result<()> {
        let answer = match self.dry_run {
            DryRun::Client => after,
            _ => patch(&context.server, target, before, &after, self).await?,
        };
        match &self.format {
            Some(format) => format.print(&answer, &context.mapper, self.managed),
            None => {
                output::say(format!("{} {verb}{}", target.display(), self.dry_run.suffix()));
                Ok(())
            }
        }
    }
}

async fn patch(server: &Server, target: &Target, before: &Value, after: &Value, how: &How) -> Result<Value> {
    let resource = &target.resource;
    let of = api::schema::by_gvk(&resource.group, &resource.version, &resource.kind);
    let patch = three_way::patch(of.as_deref(), before, after, before);
    if patch.as_map().is_some_and(api::Map::is_empty) {
        return Ok(before.clone());
    }
    let content = match of {
        Some(_) => "application/strategic-merge-patch+json",
        None => "application/merge-patch+json",
    };
    let ask = Ask::new(Method::PATCH, target.path())
        .with("fieldManager", &how.manager)
        .sending(api::json::to_vec(&patch), content);
    server.value(&how.dry_run.on(ask)).await
}

/// The objects that words, files and selectors name; a collection needs `--all` or a selector.
pub async fn objects(context: &Context, flags: &Flags, words: &[String]) -> Result<Vec<(Target, Value)>> {
    let targets = targets::of_flags(&context.mapper, flags, &context.server, words)?;
    if targets.is_empty() {
        return Err(Error::plain(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>",
        ));
    }
    let selective = flags.on("all") || flags.given("selector") || flags.given("field-selector");
    let mut found = Vec::new();
    for target in targets {
        if target.name.is_empty() && !selective && !flags.on("all-namespaces") {
            return Err(Error::plain("resource(s) were provided, but no name was specified"));
        }
        found.extend(targets::objects(&context.server, &target, flags).await?);
    }
    Ok(found)
}

/// Parts words into resources and changes (`key=value`, `key-`); a change is followed by changes alone.
pub fn resources_and_changes<'w>(words: &'w [String], what: &str) -> Result<(&'w [String], &'w [String])> {
    let is_change = |w: &String| w.contains('=') || w.ends_with('-') && !w.starts_with('-');
    let at = words.iter().position(is_change).unwrap_or(words.len());
    let (resources, changes) = words.split_at(at);
    match changes.iter().find(|w| !is_change(w)) {
        Some(word) => {
            Err(Error::Plain(format!("all resources must be specified before {what} changes: {word}")))
        }
        None => Ok((resources, changes)),
    }
}
