//! `kubectl apply`: client-side with the manifest last applied in an annotation and a three-way patch, or
//! server-side.
//!
//! Deliberately absent: --prune, --force, subcommands.

use api::Value;
use http::Method;

use crate::args::Flags;
use crate::error::{Error, Result};
use crate::manifests::{self, Manifest};
use crate::output::{self, Format, json};
use crate::server::{Ask, JSON, Server};
use crate::targets::{self, Target};
use crate::{Context, three_way};

pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

const FLAGS: &str = "server-side field-manager= force-conflicts dry-run?unchanged validate?strict overwrite wait \
    timeout= grace-period= cascade?background force prune all selector,l= prune-allowlist= openapi-patch applyset=";

const CLIENT_MANAGER: &str = "kubectl-client-side-apply";
const SERVER_MANAGER: &str = "kubectl";
const RETRIES: usize = 5;

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("apply", &[FLAGS, output::FLAGS, manifests::FLAGS].join(" "), arguments)?;
    if let Some(word) = flags.words.first() {
        return Err(match word.as_str() {
            "edit-last-applied" | "set-last-applied" | "view-last-applied" => {
                Error::not_built(format!("the subcommand \"apply {word}\""))
            }
            _ => Error::Plain(format!(
                "Unexpected args: {:?}\nSee 'kubectl apply -h' for help and examples",
                flags.words
            )),
        });
    }
    for name in ["prune", "force", "applyset", "selector"] {
        if flags.given(name) {
            return Err(Error::not_built(format!("apply --{name}")));
        }
    }
    if !flags.given("filename") && !flags.given("kustomize") {
        return Err(Error::plain("must specify one of -f and -k"));
    }
    if flags.on("force-conflicts") && !flags.on("server-side") {
        return Err(Error::plain("--force-conflicts only works with --server-side"));
    }
    let how = How::of(&flags)?;
    let manifests = manifests::read(&flags)?;
    let context = Context::new(&flags).await?;
    let (known, mut errors) = targets::of_manifests(&context.mapper, manifests, &context.server);
    for (target, manifest) in known {
        if let Err(error) = one(&context, &how, &target, manifest).await {
            errors.push(error);
        }
    }
    Error::collect(errors)
}

/// Where a dry run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DryRun {
    No,
    Client,
    Server,
}

impl DryRun {
    pub fn of(flags: &Flags) -> Result<Self> {
        match flags.text("dry-run") {
            "" | "none" => Ok(Self::No),
            "client" => Ok(Self::Client),
            "server" => Ok(Self::Server),
            "unchanged" => Err(Error::plain("--dry-run needs a value: none, server or client")),
            other => Err(Error::Plain(format!(
                "Invalid dry-run value ({other}). Must be \"none\", \"server\", or \"client\"."
            ))),
        }
    }

    pub fn suffix(self) -> &'static str {
        match self {
            Self::No => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }

    /// The parameter of the request.
    pub fn on(self, ask: Ask) -> Ask {
        ask.with("dryRun", if self == Self::Server { "All" } else { "" })
    }
}

/// The value of `fieldValidation` for `--validate`.
pub fn validation(flags: &Flags) -> Result<&'static str> {
    match flags.text("validate") {
        "" | "true" | "strict" => Ok("Strict"),
        "warn" => Ok("Warn"),
        "false" | "ignore" => Ok("Ignore"),
        other => Err(Error::Plain(format!(
            "invalid - validate option {other:?}; must be one of: strict (or true), warn, ignore (or false)"
        ))),
    }
}

struct How {
    server_side: bool,
    force_conflicts: bool,
    manager: String,
    dry_run: DryRun,
    validation: &'static str,
    format: Option<Format>,
    managed: bool,
}

impl How {
    fn of(flags: &Flags) -> Result<Self> {
        let server_side = flags.on("server-side");
        let default = if server_side { SERVER_MANAGER } else { CLIENT_MANAGER };
        let manager = if flags.given("field-manager") { flags.text("field-manager") } else { default };
        Ok(Self {
            server_side,
            force_conflicts: flags.on("force-conflicts"),
            manager: manager.to_owned(),
            dry_run: DryRun::of(flags)?,
            validation: validation(flags)?,
            format: if flags.given("output") { Some(Format::of(flags)?) } else { None },
            managed: flags.on("show-managed-fields"),
        })
    }

    fn write(&self, method: Method, path: String, body: &Value, content: &'static str) -> Ask {
        let ask = Ask::new(method, path)
            .with("fieldManager", &self.manager)
            .with("fieldValidation", self.validation)
            .sending(api::json::to_vec(body), content);
        self.dry_run.on(ask)
    }
}

async fn one(context: &Context, how: &How, target: &Target, manifest: Manifest) -> Result<()> {
    let Manifest { source, object } = manifest;
    if target.name.is_empty() {
        return Err(Error::Plain(format!(
            "error when retrieving current configuration of {source:?}: resource name may not be empty"
        )));
    }
    let (answer, what) = if how.server_side {
        (server_side(&context.server, how, target, &object).await?, "serverside-applied")
    } else {
        client_side(&context.server, how, target, object, &source).await?
    };
    match &how.format {
        Some(format) => format.print(&answer, &context.mapper, how.managed),
        None => {
            output::say(format!("{} {what}{}", target.display(), how.dry_run.suffix()));
            Ok(())
        }
    }
}

async fn server_side(server: &Server, how: &How, target: &Target, object: &Value) -> Result<Value> {
    let force = if how.force_conflicts { "true" } else { "" };
    let ask =
        how.write(Method::PATCH, target.path(), object, "application/apply-patch+yaml").with("force", force);
    server.value(&ask).await.map_err(|error| match error {
        Error::Server(refusal) if refusal.reason == "Conflict" => Error::Plain(format!(
            "{}\nThe fields above belong to other managers. Leave them out of the manifest, set them to the values \
             that they have, or take them over with --force-conflicts.",
            refusal.message
        )),
        other => other,
    })
}

/// The manifest with itself in its annotation, and that annotation's text.
pub fn with_last_applied(mut object: Value) -> Value {
    if let Some(annotations) = object.at_mut(&["metadata", "annotations"]).and_then(Value::as_map_mut) {
        annotations.remove(LAST_APPLIED);
    } else {
        object.set_at(&["metadata", "annotations"], Value::map());
    }
    let text = json::compact(&object) + "\n";
    object.set_at(&["metadata", "annotations", LAST_APPLIED], text);
    object
}

async fn client_side(
    server: &Server,
    how: &How,
    target: &Target,
    object: Value,
    source: &str,
) -> Result<(Value, &'static str)> {
    let modified = with_last_applied(object);
    for attempt in 0.. {
        let live = match server.value(&Ask::get(target.path())).await {
            Ok(live) => live,
            Err(error) if error.is_not_found() => {
                let created = create(server, how, target, &modified).await;
                return created
                    .map(|c| (c, "created"))
                    .map_err(|e| e.about(format!("error when creating {source:?}")));
            }
            Err(error) => {
                return Err(
                    error.about(format!("error when retrieving current configuration from {source:?}"))
                );
            }
        };
        match update(server, how, target, &modified, live).await {
            Err(error) if error.is_reason("Conflict") && attempt < RETRIES => {}
            done => return done.map_err(|e| e.about(format!("error when patching {source:?}"))),
        }
    }
    unreachable!("the loop ends by its return")
}

async fn create(server: &Server, how: &How, target: &Target, object: &Value) -> Result<Value> {
    if how.dry_run == DryRun::Client {
        return Ok(object.clone());
    }
    let collection = target.resource.path(&target.namespace, "");
    server.value(&how.write(Method::POST, collection, object, JSON)).await
}

async fn update(
    server: &Server,
    how: &How,
    target: &Target,
    modified: &Value,
    live: Value,
) -> Result<(Value, &'static str)> {
    let last = live.str_at(&["metadata", "annotations", LAST_APPLIED]);
    if last.is_empty() {
        eprintln!(
            "Warning: {}/{} has no {LAST_APPLIED} annotation; it was not made by apply or create --save-config. It gets one now.",
            target.resource.plural, target.name
        );
    }
    let original = api::json::parse(last.as_bytes()).unwrap_or_else(|_| Value::map());
    let resource = &target.resource;
    let of = api::schema::by_gvk(&resource.group, &resource.version, &resource.kind);
    let patch = three_way::patch(of.as_deref(), &original, modified, &live);
    if patch.as_map().is_some_and(api::Map::is_empty) {
        return Ok((live, "unchanged"));
    }
    if how.dry_run == DryRun::Client {
        return Ok((live, "configured"));
    }
    let content = match of {
        Some(_) => "application/strategic-merge-patch+json",
        None => "application/merge-patch+json",
    };
    let answer = server.value(&how.write(Method::PATCH, target.path(), &patch, content)).await?;
    Ok((answer, "configured"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    #[test]
    fn the_annotation_holds_the_manifest_without_itself() {
        let object =
            value!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"x": "<"}});
        let with = with_last_applied(object);
        let want = "{\"apiVersion\":\"v1\",\"data\":{\"x\":\"\\u003c\"},\"kind\":\"ConfigMap\",\"metadata\":{\"annotations\":{},\"name\":\"a\"}}\n";
        assert_eq!(with.str_at(&["metadata", "annotations", LAST_APPLIED]), want);
        assert_eq!(with_last_applied(with.clone()), with);
    }
}
