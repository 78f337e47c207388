//! `kubectl wait --for=condition=...|jsonpath=...|delete|create`

use std::time::Duration;

use api::Value;
use api::jsonpath::JsonPath;
use futures::future::join_all;

use crate::args::Flags;
use crate::error::{Error, Result};
use crate::output::template;
use crate::targets::{self, Target};
use crate::{Context, manifests, output, watching};

const FLAGS: &str = "for= timeout= all all-namespaces,A selector,l= field-selector= local output,o=";

/// What is waited for.
#[derive(Debug)]
enum Until {
    Deleted,
    Created,
    /// Type and status, both in lower case.
    Condition(String, String),
    /// None: any value.
    Path(JsonPath, Option<String>),
}

impl Until {
    fn parse(text: &str) -> Result<Self> {
        match text.to_lowercase().as_str() {
            "delete" => return Ok(Self::Deleted),
            "create" => return Ok(Self::Created),
            _ => {}
        }
        if let Some(condition) = text.strip_prefix("condition=") {
            let (name, status) = condition.split_once('=').unwrap_or((condition, "true"));
            return Ok(Self::Condition(name.to_lowercase(), status.to_lowercase()));
        }
        if text.is_empty() {
            return Err(Error::plain("unrecognized condition: []"));
        }
        let Some(path) = text.strip_prefix("jsonpath=") else {
            return Err(Error::Plain(format!("unrecognized condition: {text:?}")));
        };
        let (path, value) = match path.rfind('}') {
            Some(end) => (&path[..=end], path[end + 1..].strip_prefix('=')),
            None => path.split_once('=').map_or((path, None), |(p, v)| (p, Some(v))),
        };
        let value = value.map(|v| v.trim_matches(['\'', '"']).to_owned());
        let path = path.trim_start_matches('{').trim_end_matches('}');
        Ok(Self::Path(JsonPath::parse(path).map_err(|e| Error::Plain(e.to_string()))?, value))
    }

    fn is_met(&self, uid: &str, object: Option<&Value>) -> Result<bool> {
        match (self, object) {
            (Self::Deleted, object) => Ok(object.is_none_or(|o| o.str_at(&["metadata", "uid"]) != uid)),
            (Self::Created, object) => Ok(object.is_some()),
            (_, None) => Ok(false),
            (Self::Condition(name, status), Some(object)) => Ok(condition(object, name, status)),
            (Self::Path(path, wanted), Some(object)) => {
                let found = path.find(object);
                Ok(match wanted {
                    None => !found.is_empty(),
                    Some(wanted) => found.iter().any(|v| template::text(v) == *wanted),
                })
            }
        }
    }
}

/// A condition of an older generation says nothing.
fn condition(object: &Value, name: &str, status: &str) -> bool {
    let generation = object.int_at(&["metadata", "generation"]).unwrap_or(0);
    let seen = object.int_at(&["status", "observedGeneration"]);
    object.list_at(&["status", "conditions"]).iter().any(|c| {
        let of = c.int_at(&["observedGeneration"]).or(seen).unwrap_or(generation);
        c.str_at(&["type"]).to_lowercase() == name
            && c.str_at(&["status"]).to_lowercase() == status
            && of >= generation
    })
}

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("wait", &[FLAGS, manifests::FLAGS].join(" "), arguments)?;
    if flags.on("local") {
        return Err(Error::not_built("wait --local"));
    }
    let until = Until::parse(flags.text("for"))?;
    let timeout = flags.duration("timeout", Duration::from_secs(30))?;
    let context = Context::new(&flags).await?;
    let mut objects = Vec::new();
    for target in targets::of_flags(&context.mapper, &flags, &context.server, &flags.words)? {
        objects.extend(found(&context, target, &flags, &until).await?);
    }
    if objects.is_empty() {
        if matches!(until, Until::Deleted) {
            return Ok(());
        }
        return Err(Error::plain("no matching resources found"));
    }
    let waits = objects.iter().map(|(target, uid)| one(&context, &flags, &until, target, uid, timeout));
    Error::collect(join_all(waits).await.into_iter().filter_map(Result::err).collect())
}

/// The objects with their uids. What is waited for to come or to go may be absent.
async fn found(
    context: &Context,
    target: Target,
    flags: &Flags,
    until: &Until,
) -> Result<Vec<(Target, String)>> {
    if target.name.is_empty()
        && !flags.on("all")
        && !flags.given("selector")
        && !flags.given("field-selector")
    {
        return Err(Error::plain("resource(s) were provided, but no name was specified"));
    }
    if matches!(until, Until::Created) && !target.name.is_empty() {
        return Ok(vec![(target, String::new())]);
    }
    match targets::objects(&context.server, &target, flags).await {
        Ok(objects) => {
            Ok(objects.into_iter().map(|(t, o)| (t, o.str_at(&["metadata", "uid"]).to_owned())).collect())
        }
        Err(error) if error.is_not_found() && matches!(until, Until::Deleted) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

async fn one(
    context: &Context,
    flags: &Flags,
    until: &Until,
    target: &Target,
    uid: &str,
    timeout: Duration,
) -> Result<()> {
    let mut before = false;
    let met = watching::until(&context.server, target, timeout, |object| {
        if before && object.is_none() && !matches!(until, Until::Deleted | Until::Created) {
            return Err(Error::Server(Box::new(crate::error::Refusal {
                code: 404,
                reason: "NotFound".into(),
                message: format!("{} {:?} not found", target.resource.plural, target.name),
                ..Default::default()
            })));
        }
        before |= object.is_some();
        until.is_met(uid, object)
    });
    let met = if timeout.is_zero() {
        let object = context.server.value(&crate::server::Ask::get(target.path())).await;
        until.is_met(uid, object.ok().as_ref())?
    } else {
        met.await?
    };
    if !met {
        return Err(Error::Plain(format!(
            "timed out waiting for the condition on {}/{}",
            target.resource.plural, target.name
        )));
    }
    output::say(if flags.text("output") == "name" {
        target.display()
    } else {
        format!("{} condition met", target.display())
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    #[test]
    fn conditions_and_paths() {
        let object = value!({"metadata": {"uid": "u", "generation": 2}, "status": {"phase": "Running", "observedGeneration": 2,
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "True", "observedGeneration": 1}]}});
        for (text, want) in [
            ("condition=Ready", true),
            ("condition=ready=false", false),
            ("condition=old", false),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath='{.status.phase}'=Running", false),
            ("jsonpath={.status.phase}=Pending", false),
            ("jsonpath={.status.phase}", true),
            ("jsonpath=.status.phase=Running", true),
            ("delete", false),
            ("create", true),
        ] {
            let met = Until::parse(text).and_then(|u| u.is_met("u", Some(&object)));
            assert_eq!(met.unwrap_or(false), want, "{text}");
        }
        assert!(Until::Deleted.is_met("u", None).unwrap());
        assert_eq!(Until::parse("x").unwrap_err().to_string(), "unrecognized condition: \"x\"");
    }
}
