//! `kubectl scale`

use api::value;
use http::Method;

use crate::args::Flags;
use crate::error::{Error, Result};
use crate::server::Ask;
use crate::{Context, manifests, output, targets};

const FLAGS: &str =
    "replicas= current-replicas= resource-version= timeout= selector,l= all dry-run?unchanged output,o=";

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("scale", &[FLAGS, manifests::FLAGS].join(" "), arguments)?;
    if flags.given("dry-run") || flags.given("timeout") {
        return Err(Error::not_built("scale --dry-run and --timeout"));
    }
    if !flags.given("replicas") {
        return Err(Error::plain("required flag(s) \"replicas\" not set"));
    }
    let replicas = flags.int("replicas", -1)?;
    if replicas < 0 {
        return Err(Error::plain(
            "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0",
        ));
    }
    let current = flags.int("current-replicas", -1)?;
    let context = Context::new(&flags).await?;
    let mut scaled = 0;
    for target in targets::of_flags(&context.mapper, &flags, &context.server, &flags.words)? {
        if target.name.is_empty() && !flags.on("all") && !flags.given("selector") {
            return Err(Error::plain("resource(s) were provided, but no name was specified"));
        }
        for (target, _) in targets::objects(&context.server, &target, &flags).await? {
            let path = format!("{}/scale", target.path());
            let mut patch = value!({"spec": {"replicas": (replicas)}});
            if current >= 0 || flags.given("resource-version") {
                let scale = context.server.value(&Ask::get(&path)).await?;
                let is = scale.int_at(&["spec", "replicas"]).unwrap_or(0);
                if current >= 0 && is != current {
                    return Err(Error::Plain(format!("Expected replicas to be {current}, was {is}")));
                }
                let seen = scale.str_at(&["metadata", "resourceVersion"]);
                let wanted = flags.text("resource-version");
                if !wanted.is_empty() && seen != wanted {
                    return Err(Error::Plain(format!(
                        "Expected resource version to be {wanted}, was {seen}"
                    )));
                }
                patch.set_at(&["metadata", "resourceVersion"], seen);
            }
            let ask = Ask::new(Method::PATCH, path)
                .sending(api::json::to_vec(&patch), "application/merge-patch+json");
            context.server.value(&ask).await?;
            output::say(if flags.text("output") == "name" {
                target.display()
            } else {
                format!("{} scaled", target.display())
            });
            scaled += 1;
        }
    }
    if scaled == 0 { Err(Error::plain("no objects passed to scale")) } else { Ok(()) }
}
