//! `kubectl replace`, `diff` and `edit`: an object as a whole against the one that is there.
//!
//! Deliberately absent: `replace --force`, subresources.

use std::path::Path;
use std::process::Command;

use api::Value;
use http::Method;

use crate::apply::{self, DryRun, LAST_APPLIED};
use crate::args::Flags;
use crate::change::{self, How};
use crate::error::{Error, Result};
use crate::manifests::{self, Manifest};
use crate::output::{self, Format, yaml};
use crate::server::{Ask, JSON};
use crate::targets::{self, Target};
use crate::{Context, three_way};

const REPLACE: &str = "dry-run?unchanged validate?strict field-manager= save-config force cascade?background \
    grace-period= timeout= wait subresource= raw=";

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("replace", &[REPLACE, output::FLAGS, manifests::FLAGS].join(" "), arguments)?;
    for name in ["force", "raw", "subresource"] {
        if flags.given(name) {
            return Err(Error::not_built(format!("replace --{name}")));
        }
    }
    if !flags.given("filename") {
        return Err(Error::plain("must specify one of -f and -k"));
    }
    let manifests = manifests::read(&flags)?;
    let context = Context::new(&flags).await?;
    let (known, mut errors) = targets::of_manifests(&context.mapper, manifests, &context.server);
    for (target, manifest) in known {
        errors.extend(one(&context, &flags, &target, manifest).await.err());
    }
    Error::collect(errors)
}

async fn one(context: &Context, flags: &Flags, target: &Target, manifest: Manifest) -> Result<()> {
    let Manifest { source, mut object } = manifest;
    let dry_run = DryRun::of(flags)?;
    // As upstream: an object that was applied once goes on to carry what was last given.
    // What is not there or cannot be read: the server says what it thinks of the replacement.
    let live = context.server.value(&Ask::get(target.path())).await.unwrap_or_default();
    let version = live.str_at(&["metadata", "resourceVersion"]);
    if object.str_at(&["metadata", "resourceVersion"]).is_empty() && !version.is_empty() {
        object.set_at(&["metadata", "resourceVersion"], version);
    }
    if flags.on("save-config") || live.at(&["metadata", "annotations", LAST_APPLIED]).is_some() {
        object = apply::with_last_applied(object);
    }
    let manager = if flags.given("field-manager") { flags.text("field-manager") } else { "kubectl-replace" };
    let answer = if dry_run == DryRun::Client {
        object
    } else {
        let ask = Ask::new(Method::PUT, target.path())
            .with("fieldManager", manager)
            .with("fieldValidation", apply::validation(flags)?)
            .sending(api::json::to_vec(&object), JSON);
        let answer = context.server.value(&dry_run.on(ask)).await;
        answer.map_err(|e| e.about(format!("error when replacing {source:?}")))?
    };
    if flags.given("output") {
        return Format::of(flags)?.print(&answer, &context.mapper, flags.on("show-managed-fields"));
    }
    output::say(format!("{} replaced{}", target.display(), dry_run.suffix()));
    Ok(())
}

const DIFF: &str =
    "server-side force-conflicts field-manager= selector,l= prune show-managed-fields concurrency=";

/// What an apply would change, by the program in KUBECTL_EXTERNAL_DIFF or `diff -u -N`. Ends with its code.
pub async fn diff(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("diff", &[DIFF, manifests::FLAGS].join(" "), arguments)?;
    if flags.on("prune") {
        return Err(Error::not_built("diff --prune"));
    }
    if !flags.given("filename") {
        return Err(Error::plain("must specify one of -f and -k"));
    }
    let manifests = manifests::read(&flags)?;
    let context = Context::new(&flags).await?;
    let (known, errors) = targets::of_manifests(&context.mapper, manifests, &context.server);
    Error::collect(errors)?;
    let folder = Folder::new("diff")?;
    for side in ["LIVE", "MERGED"] {
        std::fs::create_dir(folder.0.join(side))?;
    }
    for (target, manifest) in known {
        let (live, merged) = both(&context, &flags, &target, manifest.object).await?;
        let resource = &target.resource;
        let name = format!(
            "{}.{}.{}.{}",
            resource.api_version().replace('/', "."),
            resource.kind,
            target.namespace,
            target.name
        );
        for (side, object) in [("LIVE", live), ("MERGED", Some(merged))] {
            let Some(mut object) = object else { continue };
            if !flags.on("show-managed-fields") {
                object.remove_at(&["metadata", "managedFields"]);
            }
            std::fs::write(folder.0.join(side).join(&name), yaml::to_string(&object))?;
        }
    }
    let external = std::env::var("KUBECTL_EXTERNAL_DIFF").unwrap_or_default();
    let mut words = external.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("diff"));
    if external.is_empty() {
        command.args(["-u", "-N"]);
    }
    let status = command.args(words).arg(folder.0.join("LIVE")).arg(folder.0.join("MERGED")).status();
    match status.map_err(|e| Error::Plain(format!("failed to run \"diff\": {e}")))?.code() {
        Some(0) => Ok(()),
        Some(1) => Err(Error::Exit(1)),
        code => Err(Error::Plain(format!("exit status {}", code.unwrap_or(-1)))),
    }
}

/// What is there, if anything, and what an apply would make of it.
async fn both(
    context: &Context,
    flags: &Flags,
    target: &Target,
    object: Value,
) -> Result<(Option<Value>, Value)> {
    let server = &context.server;
    let live = match server.value(&Ask::get(target.path())).await {
        Ok(live) => Some(live),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let ask = if flags.on("server-side") {
        Ask::new(Method::PATCH, target.path())
            .with(
                "fieldManager",
                if flags.given("field-manager") { flags.text("field-manager") } else { "kubectl" },
            )
            .with("force", if flags.on("force-conflicts") { "true" } else { "" })
            .sending(api::json::to_vec(&object), "application/apply-patch+yaml")
    } else {
        let object = apply::with_last_applied(object);
        match &live {
            None => Ask::new(Method::POST, target.resource.path(&target.namespace, ""))
                .sending(api::json::to_vec(&object), JSON),
            Some(live) => {
                let last = live.str_at(&["metadata", "annotations", LAST_APPLIED]);
                let original = api::json::parse(last.as_bytes()).unwrap_or_else(|_| Value::map());
                let (patch, content) = patch_of(target, &original, &object, live);
                Ask::new(Method::PATCH, target.path()).sending(api::json::to_vec(&patch), content)
            }
        }
    };
    let mut merged = server.value(&ask.with("dryRun", "All")).await?;
    let mut live = live;
    if flags.on("server-side") {
        return Ok((live, merged));
    }
    // Nobody wants to see the annotation, which holds the whole manifest once more.
    for object in live.iter_mut().chain([&mut merged]) {
        object.remove_at(&["metadata", "annotations", LAST_APPLIED]);
        if object.at(&["metadata", "annotations"]).and_then(Value::as_map).is_some_and(api::Map::is_empty) {
            object.remove_at(&["metadata", "annotations"]);
        }
    }
    Ok((live, merged))
}

fn patch_of(target: &Target, original: &Value, modified: &Value, live: &Value) -> (Value, &'static str) {
    let resource = &target.resource;
    let of = api::schema::by_gvk(&resource.group, &resource.version, &resource.kind);
    let content = match of {
        Some(_) => "application/strategic-merge-patch+json",
        None => "application/merge-patch+json",
    };
    (three_way::patch(of.as_deref(), original, modified, live), content)
}

const EDIT: &str = "windows-line-endings save-config validate?strict subresource= output-patch";
const HEAD: &str = "# Lines that begin with '#' are left out. An empty file ends the edit.\n#\n";

/// The object in the user's editor, and what was changed as a patch.
pub async fn edit(arguments: &[String]) -> Result<()> {
    let declared = [EDIT, change::FLAGS, output::FLAGS, manifests::FLAGS].join(" ");
    let flags = Flags::parse("edit", &declared, arguments)?;
    for name in ["subresource", "output-patch", "output"] {
        if flags.given(name) {
            return Err(Error::not_built(format!("edit --{name}")));
        }
    }
    let how = How::of(&flags, "kubectl-edit")?;
    let context = Context::new(&flags).await?;
    let folder = Folder::new("edit")?;
    for (target, before) in change::objects(&context, &flags, &flags.words).await? {
        let mut shown = before.clone();
        shown.remove_at(&["metadata", "managedFields"]);
        let file = folder.0.join(format!("{}.yaml", target.name));
        let text = format!("{HEAD}{}", yaml::to_string(&shown));
        std::fs::write(&file, &text)?;
        open(&file)?;
        let edited = std::fs::read_to_string(&file)?;
        if edited == text || edited.lines().all(|l| l.trim().is_empty() || l.starts_with('#')) {
            output::say("Edit cancelled, no changes made.");
            continue;
        }
        let after =
            api::yaml::parse(edited.as_bytes()).map_err(|e| Error::Plain(format!("the edited file: {e}")))?;
        for key in ["kind", "apiVersion"] {
            if after.get(key) != shown.get(key) {
                return Err(Error::Plain(format!("{key} of {} must not be changed", target.display())));
            }
        }
        if after == shown {
            output::say("Edit cancelled, no changes made.");
            continue;
        }
        how.send(&context, &target, &shown, after, "edited").await?;
    }
    Ok(())
}

fn open(file: &Path) -> Result<()> {
    let named =
        ["KUBE_EDITOR", "EDITOR"].iter().filter_map(|n| std::env::var(n).ok()).find(|e| !e.is_empty());
    let editor = named.unwrap_or_else(|| "vi".into());
    // By the shell, as an editor may be named with its arguments.
    let status = Command::new("sh").args(["-c", &format!("{editor} \"$0\"")]).arg(file).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::Plain(format!("there was a problem with the editor {editor:?}: {status}"))),
        Err(error) => Err(Error::Plain(format!("unable to launch the editor {editor:?}: {error}"))),
    }
}

/// A folder of this process that goes with the value.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(what: &str) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("kubectl-{what}-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
