//! `kubectl label` and `kubectl annotate`.

use api::Value;

use super::How;
use crate::args::Flags;
use crate::error::{Error, Result};
use crate::{Context, manifests, output};

const FLAGS: &str = "list resource-version=";

/// What tells the two commands apart.
pub struct What {
    command: &'static str,
    /// The key below `metadata`.
    field: &'static str,
    done: &'static str,
}

pub const LABEL: What = What { command: "label", field: "labels", done: "labeled" };
pub const ANNOTATE: What = What { command: "annotate", field: "annotations", done: "annotated" };

pub async fn run(arguments: &[String], what: &What) -> Result<()> {
    let declared = [FLAGS, super::FLAGS, output::FLAGS, manifests::FLAGS].join(" ");
    let flags = Flags::parse(what.command, &declared, arguments)?;
    let noun = if what.field == "labels" { "label" } else { "annotation" };
    let (resources, changes) = super::resources_and_changes(&flags.words, noun)?;
    if resources.is_empty() && !flags.given("filename") {
        return Err(Error::plain(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>",
        ));
    }
    if changes.is_empty() && !flags.on("list") {
        return Err(Error::Plain(format!("at least one {noun} update is required")));
    }
    let changes = changes.iter().map(|w| Change::parse(w, noun)).collect::<Result<Vec<_>>>()?;
    let how = How::of(&flags, &format!("kubectl-{}", what.command))?;
    let context = Context::new(&flags).await?;
    let mut errors = Vec::new();
    for (target, before) in super::objects(&context, &flags, resources).await? {
        if flags.on("list") {
            list(&before, what.field);
            continue;
        }
        let mut after = before.clone();
        let sent = match apply(&mut after, &changes, &flags, what) {
            Ok(verb) => how.send(&context, &target, &before, after, verb).await,
            Err(error) => Err(error),
        };
        errors.extend(sent.err());
    }
    Error::collect(errors)
}

fn list(object: &Value, field: &str) {
    let map = object.at(&["metadata", field]).and_then(Value::as_map);
    let mut lines: Vec<String> = map
        .map(|m| m.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect())
        .unwrap_or_default();
    lines.sort();
    lines.iter().for_each(output::say);
}

/// One change; None takes the key away.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    key: String,
    value: Option<String>,
}

impl Change {
    fn parse(word: &str, noun: &str) -> Result<Self> {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (word.trim_end_matches('-'), None),
        };
        if key.is_empty() {
            return Err(Error::Plain(format!("invalid {noun} spec: {word}")));
        }
        Ok(Self { key: key.to_owned(), value })
    }
}

/// Makes the changes; the word for what was done.
fn apply(object: &mut Value, changes: &[Change], flags: &Flags, what: &What) -> Result<&'static str> {
    let there = |object: &Value, key: &str| {
        object.at(&["metadata", what.field, key]).and_then(Value::as_str).map(str::to_owned)
    };
    let overwrite = flags.on("overwrite");
    if !overwrite {
        let taken = |c: &&Change| {
            c.value.is_some() && there(object, &c.key).is_some_and(|v| Some(&v) != c.value.as_ref())
        };
        let taken: Vec<String> = changes
            .iter()
            .filter(taken)
            .map(|c| (c.key.as_str(), there(object, &c.key).unwrap_or_default()))
            .map(|(key, value)| format!("'{key}' already has a value ({value})"))
            .collect();
        match (taken.as_slice(), what.field) {
            ([], _) => {}
            (taken, "labels") => {
                return Err(Error::Plain(format!("{}, and --overwrite is false", taken.join(" "))));
            }
            (taken, _) => {
                return Err(Error::Plain(format!(
                    "--overwrite is false but found the following declared annotation(s): {}",
                    taken.join("; ")
                )));
            }
        }
    }
    let before = object.at(&["metadata", what.field]).cloned();
    for change in changes {
        match &change.value {
            Some(value) => object.set_at(&["metadata", what.field, &change.key], value.as_str()),
            None if there(object, &change.key).is_none() => {
                if what.field == "labels" {
                    output::say(format!("label {:?} not found.", change.key));
                }
            }
            None => drop(object.remove_at(&["metadata", what.field, &change.key])),
        }
    }
    if !flags.text("resource-version").is_empty() {
        object.set_at(&["metadata", "resourceVersion"], flags.text("resource-version"));
    }
    let after = object.at(&["metadata", what.field]);
    let count = |v: Option<&Value>| v.and_then(Value::as_map).map_or(0, |m| m.iter().count());
    Ok(if what.field != "labels" {
        what.done
    } else if before.as_ref() == after || count(before.as_ref()) + count(after) == 0 {
        "not labeled"
    } else if !overwrite && count(after) < count(before.as_ref()) {
        "unlabeled"
    } else {
        what.done
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    fn done(
        words: &[&str],
        flags: &[&str],
        what: &What,
    ) -> std::result::Result<(&'static str, Value), String> {
        let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
        let flags = Flags::parse("label", super::super::FLAGS, &flags).unwrap();
        let mut object =
            value!({"metadata": {"name": "x", "labels": {"app": "web"}, "annotations": {"a": "b"}}});
        let changes: Vec<Change> = words.iter().map(|w| Change::parse(w, "label").unwrap()).collect();
        let verb = apply(&mut object, &changes, &flags, what).map_err(|e| e.to_string())?;
        Ok((verb, object.at(&["metadata", what.field]).cloned().unwrap_or_default()))
    }

    #[test]
    fn labels_are_set_kept_and_taken() {
        let (verb, labels) = done(&["tier=a"], &[], &LABEL).unwrap();
        assert_eq!((verb, labels.str_at(&["tier"])), ("labeled", "a"));
        assert_eq!(done(&["app=web"], &[], &LABEL).unwrap().0, "not labeled");
        assert_eq!(done(&["app-"], &[], &LABEL).unwrap().0, "unlabeled");
        assert_eq!(done(&["app=db"], &["--overwrite"], &LABEL).unwrap().1.str_at(&["app"]), "db");
        let refused = done(&["app=db"], &[], &LABEL).unwrap_err();
        assert_eq!(refused, "'app' already has a value (web), and --overwrite is false");
    }

    #[test]
    fn annotations_have_their_own_words() {
        assert_eq!(done(&["c=d"], &[], &ANNOTATE).unwrap().0, "annotated");
        let refused = done(&["a=c"], &[], &ANNOTATE).unwrap_err();
        assert!(refused.ends_with("annotation(s): 'a' already has a value (b)"), "{refused}");
    }

    #[test]
    fn changes_come_after_resources() {
        let words: Vec<String> = ["pod", "x", "a=b", "c-"].map(str::to_owned).to_vec();
        let (resources, changes) = super::super::resources_and_changes(&words, "label").unwrap();
        assert_eq!((resources.len(), changes.len()), (2, 2));
        let words: Vec<String> = ["pod", "a=b", "x"].map(str::to_owned).to_vec();
        assert!(super::super::resources_and_changes(&words, "label").is_err());
    }
}
