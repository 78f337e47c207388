//! What both servers wrote into their audit logs of the story `85-audit`: the events of each request, in their order.
//! Everything is compared but what differs from run to run.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::compare::Score;
use crate::documents::{judge, known, read, walk};
use crate::exchange::Answer;
use crate::{Error, Result, normal};

/// Files in the folder of a run.
pub const POLICY: &str = "audit-policy.yaml";

/// The log of a server.
pub fn log(server: &str) -> String {
    format!("audit-{server}.log")
}

/// (verb and URI, stages) of each request, in the order of their first events.
fn requests(text: &str) -> Result<Vec<(String, Vec<Value>)>> {
    let mut all: Vec<(String, String, Vec<Value>)> = Vec::new();
    for line in text.lines() {
        let event: Value =
            serde_json::from_str(line).map_err(|e| Error::Setup(format!("an audit event: {e}: {line}")))?;
        let of = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let (id, name) = (of("auditID"), format!("{} {}", of("verb"), of("requestURI")));
        match all.iter_mut().find(|r| r.0 == id) {
            Some(known) => known.2.push(event),
            None => all.push((id, name, vec![event])),
        }
    }
    Ok(all.into_iter().map(|(_, name, events)| (name, events)).collect())
}

fn comparable(events: Vec<Value>) -> Value {
    let body = json!({"stages": events}).to_string();
    let answer = Answer { code: 0, headers: Vec::new(), body: body.into() };
    let all = normal::of(&answer, "", &[]);
    let stages = all["body"]["stages"].as_array().cloned().unwrap_or_default();
    stages.into_iter().enumerate().map(|(at, event)| (at.to_string(), event)).collect()
}

/// Compares both logs; nothing is compared where nothing was written.
pub fn run(own: &Path, folder: &Path, verbose: bool) -> Result<Score> {
    let text = |server: &str| {
        let path = folder.join(log(server));
        fs::read_to_string(&path).map_err(|e| Error::File(path.display().to_string(), e))
    };
    let (there, here) = (requests(&text("upstream")?)?, requests(&text("ours")?)?);
    let mut known = known(&read(own, "known-audit.txt")?);
    let mut score = Score::default();
    let names = |all: &[(String, Vec<Value>)]| -> Value { all.iter().map(|(n, _)| json!(n)).collect() };
    let mut different = Vec::new();
    walk(&names(&there), &names(&here), "/requests".into(), &mut different);
    if !different.is_empty() {
        judge("all", different, &mut known, &mut score, verbose);
        return Ok(score);
    }
    for ((name, wanted), (_, got)) in there.into_iter().zip(here) {
        let mut different = Vec::new();
        walk(&comparable(wanted), &comparable(got), String::new(), &mut different);
        judge(&name, different, &mut known, &mut score, verbose);
    }
    if score.of("same") + score.of("known") > 0 {
        crate::documents::gone(&known, &mut score);
    }
    Ok(score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_by_request() {
        let event = |id: &str, stage: &str| json!({"auditID": id, "verb": "get", "requestURI": format!("/{id}"), "stage": stage});
        let text = [event("a", "x"), event("b", "x"), event("a", "y")].map(|e| e.to_string()).join("\n");
        let found: Vec<(String, usize)> =
            requests(&text).unwrap().into_iter().map(|(n, e)| (n, e.len())).collect();
        assert_eq!(found, [("get /a".into(), 2), ("get /b".into(), 1)]);
    }
}
