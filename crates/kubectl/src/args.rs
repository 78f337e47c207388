//! Flags as spf13/pflag reads them: `--name value`, `--name=value`, `-nvalue`, grouped single letters, flags
//! anywhere among the words, `--` ends them. A command declares its flags as words: `all,A` is a switch, `output,o=`
//! takes a value, `cascade?background` takes one only after `=`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Result};

/// The flags of every command.
const GLOBAL: &str = "kubeconfig= context= cluster= user= namespace,n= server,s= token= as= as-group= as-uid= \
    certificate-authority= client-certificate= client-key= tls-server-name= insecure-skip-tls-verify \
    request-timeout= cache-dir= v,v= match-server-version warnings-as-errors disable-compression \
    username= password= profile= profile-output= log-flush-frequency= vmodule= kuberc= help,h";

/// Global flags that change what is done and that are not built.
const REFUSED: &[&str] = &["kuberc", "warnings-as-errors", "match-server-version"];

#[derive(Clone, Copy)]
enum Takes<'a> {
    Nothing,
    Value,
    Default(&'a str),
}

struct Spec<'a> {
    name: &'a str,
    short: Option<char>,
    takes: Takes<'a>,
}

impl<'a> Spec<'a> {
    fn read(word: &'a str) -> Self {
        let (names, takes) = match word.find(['=', '?']) {
            Some(at) if word.as_bytes()[at] == b'=' => (&word[..at], Takes::Value),
            Some(at) => (&word[..at], Takes::Default(&word[at + 1..])),
            None => (word, Takes::Nothing),
        };
        let (name, short) = names.split_once(',').unwrap_or((names, ""));
        Self { name, short: short.chars().next(), takes }
    }
}

/// What was given.
#[derive(Debug, Default)]
pub struct Flags {
    values: BTreeMap<String, Vec<String>>,
    /// The words that are no flags.
    pub words: Vec<String>,
    /// How many of them came before `--`.
    pub dash: Option<usize>,
}

impl Flags {
    /// Reads `arguments` (without the command's name) by the flags of `command` and the global ones.
    pub fn parse(command: &str, declared: &str, arguments: &[String]) -> Result<Self> {
        let specs: Vec<Spec<'_>> =
            declared.split_whitespace().chain(GLOBAL.split_whitespace()).map(Spec::read).collect();
        let mut flags = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let read = if argument == "--" {
                flags.dash = Some(flags.words.len());
                flags.words.extend(rest.by_ref().cloned());
                Ok(())
            } else if let Some(long) = argument.strip_prefix("--") {
                flags.long(&specs, long, &mut rest)
            } else if argument.len() > 1 && argument.starts_with('-') {
                flags.short(&specs, &argument[1..], &mut rest)
            } else {
                flags.words.push(argument.clone());
                Ok(())
            };
            read.map_err(|why| Error::Plain(format!("{why}\nSee 'kubectl {command} --help' for usage.")))?;
        }
        match REFUSED.iter().find(|name| flags.given(name)) {
            Some(name) => Err(Error::not_built(format!("--{name}"))),
            None => Ok(flags),
        }
    }

    fn long<'s>(
        &mut self,
        specs: &[Spec<'_>],
        text: &str,
        rest: &mut impl Iterator<Item = &'s String>,
    ) -> std::result::Result<(), String> {
        let (name, given) = text.split_once('=').map_or((text, None), |(n, v)| (n, Some(v.to_owned())));
        let spec = specs.iter().find(|s| s.name == name).ok_or_else(|| format!("unknown flag: --{name}"))?;
        let value = match (spec.takes, given) {
            (Takes::Nothing, given) => switch(name, given)?,
            (_, Some(value)) => value,
            (Takes::Default(value), None) => value.to_owned(),
            (Takes::Value, None) => {
                rest.next().cloned().ok_or_else(|| format!("flag needs an argument: --{name}"))?
            }
        };
        self.values.entry(name.to_owned()).or_default().push(value);
        Ok(())
    }

    fn short<'s>(
        &mut self,
        specs: &[Spec<'_>],
        group: &str,
        rest: &mut impl Iterator<Item = &'s String>,
    ) -> std::result::Result<(), String> {
        let mut letters = group.chars();
        while let Some(letter) = letters.next() {
            let unknown = || format!("unknown shorthand flag: {letter:?} in -{group}");
            let spec = specs.iter().find(|s| s.short == Some(letter)).ok_or_else(unknown)?;
            let after = letters.as_str();
            let value = match spec.takes {
                Takes::Nothing if !after.starts_with('=') => "true".to_owned(),
                Takes::Default(value) if !after.starts_with('=') => value.to_owned(),
                Takes::Value if after.is_empty() => rest
                    .next()
                    .cloned()
                    .ok_or_else(|| format!("flag needs an argument: {letter:?} in -{group}"))?,
                takes => {
                    letters = "".chars();
                    let value = after.strip_prefix('=').unwrap_or(after).to_owned();
                    if matches!(takes, Takes::Nothing) { switch(spec.name, Some(value))? } else { value }
                }
            };
            self.values.entry(spec.name.to_owned()).or_default().push(value);
        }
        Ok(())
    }

    pub fn given(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The last value given; "" for none.
    pub fn text(&self, name: &str) -> &str {
        self.values.get(name).and_then(|v| v.last()).map_or("", String::as_str)
    }

    /// Every value given.
    pub fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// Every value given, split at commas.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.all(name)
            .iter()
            .flat_map(|v| v.split(','))
            .filter(|v| !v.is_empty())
            .map(str::to_owned)
            .collect()
    }

    pub fn on(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// A switch that is on unless turned off.
    pub fn on_by_default(&self, name: &str) -> bool {
        self.text(name) != "false"
    }

    pub fn int(&self, name: &str, default: i64) -> Result<i64> {
        match self.text(name) {
            "" => Ok(default),
            text => text.parse().map_err(|_| {
                Error::Plain(format!("invalid argument {text:?} for \"--{name}\" flag: strconv.ParseInt: parsing {text:?}: invalid syntax"))
            }),
        }
    }

    /// A duration in Go's form, or seconds; a negative one means a week, as `wait` has it.
    pub fn duration(&self, name: &str, default: Duration) -> Result<Duration> {
        const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
        let text = self.text(name);
        if text.is_empty() {
            return Ok(default);
        }
        if text.starts_with('-') {
            return Ok(WEEK);
        }
        if let Ok(seconds) = text.parse() {
            return Ok(Duration::from_secs(seconds));
        }
        apimachinery::time::duration(text).ok_or_else(|| {
            Error::Plain(format!(
                "invalid argument {text:?} for \"--{name}\" flag: time: invalid duration {text:?}"
            ))
        })
    }
}

fn switch(name: &str, given: Option<String>) -> std::result::Result<String, String> {
    match given.as_deref() {
        None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok("true".into()),
        Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok("false".into()),
        Some(other) => Err(format!(
            "invalid argument {other:?} for \"--{name}\" flag: strconv.ParseBool: parsing {other:?}: invalid syntax"
        )),
    }
}

/// Where the command's name stands: global flags may come before it.
pub fn command_at(arguments: &[String]) -> Option<usize> {
    let specs: Vec<Spec<'_>> = GLOBAL.split_whitespace().map(Spec::read).collect();
    let mut at = 0;
    while let Some(argument) = arguments.get(at) {
        if !argument.starts_with('-') {
            return Some(at);
        }
        let long = argument.strip_prefix("--").map(|name| specs.iter().find(|s| s.name == name));
        let short = || specs.iter().find(|s| s.short == argument.chars().nth(1) && argument.len() == 2);
        let takes = long.unwrap_or_else(short).is_some_and(|s| matches!(s.takes, Takes::Value));
        at += if takes { 2 } else { 1 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn flags_stand_anywhere_in_every_form() {
        let declared = "output,o= watch,w all-namespaces,A cascade?background stdin,i tty,t filename,f=";
        let flags = Flags::parse(
            "get",
            declared,
            &words("pods -ojson -n kube-system -it x --cascade -f a,b -f=c -- -w"),
        )
        .unwrap();
        assert_eq!(flags.words, ["pods", "x", "-w"]);
        assert_eq!(flags.dash, Some(2));
        assert_eq!(
            (flags.text("output"), flags.text("namespace"), flags.text("cascade")),
            ("json", "kube-system", "background")
        );
        assert!(flags.on("stdin") && flags.on("tty") && !flags.on("watch"));
        assert_eq!(flags.list("filename"), ["a", "b", "c"]);
    }

    #[test]
    fn wrong_flags_are_named() {
        let error = |text: &str| Flags::parse("get", "watch,w", &words(text)).unwrap_err().to_string();
        assert_eq!(error("--nope"), "unknown flag: --nope\nSee 'kubectl get --help' for usage.");
        assert!(error("-wx").starts_with("unknown shorthand flag: 'x' in -wx"));
        assert!(error("-n").starts_with("flag needs an argument: 'n' in -n"));
        assert!(error("--watch=maybe").contains("strconv.ParseBool"));
    }

    #[test]
    fn the_command_is_found_behind_global_flags() {
        assert_eq!(command_at(&words("--kubeconfig x -n y get pods")), Some(4));
        assert_eq!(command_at(&words("--server=z --v=2 get")), Some(2));
        assert_eq!(command_at(&words("--help")), None);
    }
}
