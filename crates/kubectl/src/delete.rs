//! `kubectl delete`, which waits until the objects are gone.

use std::time::Duration;

use api::{Value, value};
use http::Method;

use crate::apply::DryRun;
use crate::args::Flags;
use crate::error::{Error, Result};
use crate::server::{Ask, JSON, Server};
use crate::targets::{self, Target};
use crate::{Context, manifests, output, watching};

const FLAGS: &str = "all all-namespaces,A selector,l= field-selector= wait grace-period= force now cascade?background \
    ignore-not-found timeout= dry-run?unchanged output,o= raw= interactive,i";

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("delete", &[FLAGS, manifests::FLAGS].join(" "), arguments)?;
    let how = How::of(&flags)?;
    let context = Context::new(&flags).await?;
    let mut targets = targets::of_words(
        &context.mapper,
        &flags.words,
        &context.server.settings.namespace,
        flags.on("all-namespaces"),
    )?;
    let (known, unknown) = targets::of_manifests(&context.mapper, manifests::read(&flags)?, &context.server);
    Error::collect(unknown)?;
    let sources: Vec<(Target, String)> = known.into_iter().map(|(t, m)| (t, m.source)).collect();
    targets.extend(sources.iter().map(|(t, _)| t.clone()));
    check(&flags, &targets)?;
    let (mut gone, mut errors) = (Vec::new(), Vec::new());
    let mut found = 0;
    for target in &targets {
        for object in named(&context.server, target, &flags).await? {
            match one(&context.server, &how, &object).await {
                Ok(uid) => gone.push((object, uid)),
                Err(error) if error.is_not_found() && how.ignore_not_found => continue,
                Err(error) => errors.push(of_file(error, &sources, target)),
            }
            found += 1;
        }
    }
    if found == 0 && !flags.on("ignore-not-found") {
        output::say("No resources found");
    }
    if how.wait {
        for (target, uid) in &gone {
            await_gone(&context.server, &how, target, uid).await.unwrap_or_else(|e| errors.push(e));
        }
    }
    Error::collect(errors)
}

/// The error with the file that named the object, if one did.
fn of_file(error: Error, sources: &[(Target, String)], target: &Target) -> Error {
    match sources.iter().find(|(t, _)| t.path() == target.path()) {
        Some((_, source)) => error.about(format!("error when deleting {source:?}")),
        None => error,
    }
}

fn check(flags: &Flags, targets: &[Target]) -> Result<()> {
    let selective = flags.given("selector") || flags.given("field-selector");
    if targets.is_empty() {
        return Err(Error::plain(
            "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'",
        ));
    }
    if flags.on("all") && flags.given("selector") {
        return Err(Error::plain("cannot set --all and --selector at the same time"));
    }
    let unnamed = targets.iter().any(|t| t.name.is_empty());
    if unnamed && !selective && !flags.on("all") {
        return Err(Error::plain("resource(s) were provided, but no name was specified"));
    }
    if !unnamed && selective {
        return Err(Error::plain("name cannot be provided when a selector is specified"));
    }
    Ok(())
}

struct How {
    options: Value,
    force: bool,
    wait: bool,
    timeout: Duration,
    ignore_not_found: bool,
    dry_run: DryRun,
    name_only: bool,
}

impl How {
    fn of(flags: &Flags) -> Result<Self> {
        for name in ["raw", "interactive"] {
            if flags.given(name) {
                return Err(Error::not_built(format!("delete --{name}")));
            }
        }
        let mut grace = flags.int("grace-period", -1)?;
        if flags.on("now") {
            if grace != -1 {
                return Err(Error::plain("--now and --grace-period cannot be specified together"));
            }
            grace = 1;
        }
        let force = flags.on("force");
        if grace == 0 && !force {
            // Without --force the object is let go as soon as it can be.
            grace = 1;
        } else if force && grace < 0 {
            grace = 0;
        } else if force && grace > 0 {
            return Err(Error::plain(
                "--force and --grace-period greater than 0 cannot be specified together",
            ));
        }
        let policy = match flags.text("cascade") {
            "" | "background" | "true" => "Background",
            "foreground" => "Foreground",
            "orphan" | "false" => "Orphan",
            other => {
                return Err(Error::Plain(format!(
                    "invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""
                )));
            }
        };
        let mut options = value!({"propagationPolicy": (policy)});
        if grace >= 0 {
            options.set_at(&["gracePeriodSeconds"], grace);
        }
        let dry_run = DryRun::of(flags)?;
        if force {
            eprintln!(
                "Warning: a forced deletion does not wait until the object has ended; it may go on running."
            );
        }
        Ok(Self {
            options,
            force: force && grace == 0,
            wait: flags.on_by_default("wait") && dry_run == DryRun::No,
            timeout: flags.duration("timeout", WEEK).map(|t| if t.is_zero() { WEEK } else { t })?,
            ignore_not_found: flags.on("ignore-not-found")
                || (flags.on("all") && !flags.given("ignore-not-found")),
            dry_run,
            name_only: flags.text("output") == "name",
        })
    }
}

async fn named(server: &Server, target: &Target, flags: &Flags) -> Result<Vec<Target>> {
    if !target.name.is_empty() {
        return Ok(vec![target.clone()]);
    }
    Ok(targets::objects(server, target, flags).await?.into_iter().map(|(t, _)| t).collect())
}

/// Deletes one; the uid of what goes.
async fn one(server: &Server, how: &How, target: &Target) -> Result<String> {
    let mut uid = String::new();
    if how.dry_run != DryRun::Client {
        let ask = Ask::new(Method::DELETE, target.path()).sending(api::json::to_vec(&how.options), JSON);
        let answer = server.value(&how.dry_run.on(ask)).await?;
        let of_status = answer.str_at(&["details", "uid"]);
        uid = if of_status.is_empty() { answer.str_at(&["metadata", "uid"]) } else { of_status }.to_owned();
    }
    if how.name_only {
        output::say(target.display());
        return Ok(uid);
    }
    let verb = if how.force { "force deleted" } else { "deleted" };
    let place = if target.namespace.is_empty() {
        String::new()
    } else {
        format!(" from {} namespace", target.namespace)
    };
    output::say(format!("{} {verb}{place}{}", target.quoted(), how.dry_run.suffix()));
    Ok(uid)
}

async fn await_gone(server: &Server, how: &How, target: &Target, uid: &str) -> Result<()> {
    if !target.resource.has_verb("watch") {
        return Ok(());
    }
    let gone = |object: Option<&Value>| {
        Ok(object.is_none_or(|o| !uid.is_empty() && o.str_at(&["metadata", "uid"]) != uid))
    };
    match watching::until(server, target, how.timeout, gone).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Plain(format!(
            "timed out waiting for the condition on {}/{}",
            target.resource.plural, target.name
        ))),
        // What may be deleted may be forbidden to be watched.
        Err(error) if error.is_reason("Forbidden") || error.is_reason("MethodNotAllowed") => Ok(()),
        Err(error) => Err(error),
    }
}
