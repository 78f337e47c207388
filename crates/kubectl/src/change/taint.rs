//! `kubectl taint`.

use api::{Value, value};

use super::How;
use crate::args::Flags;
use crate::error::{Error, Result};
use crate::{Context, output};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// `key=value:Effect`, `key:Effect`; with `-` behind it is taken away, then also by `key` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Taint {
    key: String,
    value: String,
    /// "" for all, only where it is taken away.
    effect: String,
    remove: bool,
}

impl Taint {
    fn parse(word: &str) -> Result<Self> {
        let invalid = || {
            Error::Plain(format!("invalid taint spec: {word}\nSee 'kubectl taint -h' for help and examples"))
        };
        let (text, remove) = word.strip_suffix('-').map_or((word, false), |t| (t, true));
        let (pair, effect) = text.split_once(':').unwrap_or((text, ""));
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key.is_empty() || (effect.is_empty() && !remove) {
            return Err(invalid());
        }
        if !effect.is_empty() && !EFFECTS.contains(&effect) {
            return Err(Error::Plain(format!(
                "invalid taint effect: {effect}, unsupported taint effect\nSee 'kubectl taint -h' for help and examples"
            )));
        }
        Ok(Self { key: key.into(), value: value.into(), effect: effect.into(), remove })
    }

    fn names(&self, taint: &Value) -> bool {
        taint.str_at(&["key"]) == self.key
            && (self.effect.is_empty() || taint.str_at(&["effect"]) == self.effect)
    }
}

pub async fn run(arguments: &[String]) -> Result<()> {
    let declared = ["validate?strict", super::FLAGS, output::FLAGS].join(" ");
    let flags = Flags::parse("taint", &declared, arguments)?;
    let is_taint = |w: &String| w.contains('=') || w.contains(':') || w.ends_with('-');
    let at = flags.words.iter().position(is_taint).unwrap_or(flags.words.len());
    let (resources, taints) = flags.words.split_at(at);
    if resources.is_empty() {
        return Err(Error::plain(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>",
        ));
    }
    if taints.is_empty() {
        return Err(Error::plain("at least one taint update is required"));
    }
    let taints = taints.iter().map(|t| Taint::parse(t)).collect::<Result<Vec<_>>>()?;
    let how = How::of(&flags, "kubectl-taint")?;
    let context = Context::new(&flags).await?;
    for (target, before) in super::objects(&context, &flags, resources).await? {
        if target.resource.kind != "Node" {
            return Err(Error::Plain(format!(
                "invalid resource type {}, only node(s) is supported",
                target.resource.plural
            )));
        }
        let mut after = before.clone();
        let verb = apply(&mut after, &taints, flags.on("overwrite"))?;
        how.send(&context, &target, &before, after, verb).await?;
    }
    Ok(())
}

fn apply(node: &mut Value, taints: &[Taint], overwrite: bool) -> Result<&'static str> {
    let name = node.str_at(&["metadata", "name"]).to_owned();
    let mut list = node.list_at(&["spec", "taints"]).to_vec();
    let (adds, removes) = (taints.iter().any(|t| !t.remove), taints.iter().any(|t| t.remove));
    let clashes = |t: &Taint| !t.remove && list.iter().any(|there| t.names(there));
    if !overwrite && taints.iter().any(clashes) {
        return Err(Error::Plain(format!(
            "node {name} already has {} taint(s) with same effect(s) and --overwrite is false",
            taints.iter().filter(|t| clashes(t)).map(|t| t.key.as_str()).collect::<Vec<_>>().join(",")
        )));
    }
    for taint in taints {
        let before = list.len();
        list.retain(|there| !taint.names(there));
        if taint.remove && list.len() == before {
            return Err(Error::Plain(format!("taint {:?} not found", word(taint))));
        }
        if !taint.remove {
            let mut new = value!({"key": (taint.key.as_str()), "effect": (taint.effect.as_str())});
            if !taint.value.is_empty() {
                new.set_at(&["value"], taint.value.as_str());
            }
            list.push(new);
        }
    }
    if list.is_empty() {
        node.remove_at(&["spec", "taints"]);
    } else {
        node.set_at(&["spec", "taints"], Value::List(list));
    }
    Ok(match (adds, removes) {
        _ if overwrite => "modified",
        (true, true) => "modified",
        (false, _) => "untainted",
        _ => "tainted",
    })
}

fn word(taint: &Taint) -> String {
    if taint.effect.is_empty() { taint.key.clone() } else { format!("{}:{}", taint.key, taint.effect) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(words: &[&str], overwrite: bool) -> std::result::Result<(&'static str, String), String> {
        let mut node = value!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "value": "1", "effect": "NoSchedule"}]}});
        let taints: Vec<Taint> = words.iter().map(|w| Taint::parse(w).unwrap()).collect();
        let verb = apply(&mut node, &taints, overwrite).map_err(|e| e.to_string())?;
        let shown =
            |t: &Value| format!("{}={}:{}", t.str_at(&["key"]), t.str_at(&["value"]), t.str_at(&["effect"]));
        Ok((verb, node.list_at(&["spec", "taints"]).iter().map(shown).collect::<Vec<_>>().join(" ")))
    }

    #[test]
    fn taints_come_change_and_go() {
        assert_eq!(
            applied(&["b:NoExecute"], false).unwrap(),
            ("tainted", "a=1:NoSchedule b=:NoExecute".into())
        );
        assert_eq!(applied(&["a-"], false).unwrap(), ("untainted", String::new()));
        assert_eq!(applied(&["a=2:NoSchedule"], true).unwrap(), ("modified", "a=2:NoSchedule".into()));
        assert_eq!(applied(&["b:NoExecute", "a:NoSchedule-"], false).unwrap().0, "modified");
        let refused = applied(&["a=2:NoSchedule"], false).unwrap_err();
        assert_eq!(refused, "node n already has a taint(s) with same effect(s) and --overwrite is false");
        assert_eq!(applied(&["z-"], false).unwrap_err(), "taint \"z\" not found");
        assert!(Taint::parse("a").is_err() && Taint::parse("a=b:Nope").is_err());
    }
}
