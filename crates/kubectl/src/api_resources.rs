//! `kubectl api-resources` and `api-versions`

use crate::Context;
use crate::args::Flags;
use crate::error::{Error, Result};
use crate::mapper::Resource;
use crate::output;
use crate::output::table::Writer;

const FLAGS: &str =
    "output,o= namespaced api-group= verbs= categories= no-headers sort-by= cached show-verbs";

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("api-resources", FLAGS, arguments)?;
    let Context { mapper, .. } = Context::new(&flags).await?;
    let mut shown: Vec<&Resource> = Vec::new();
    for resource in mapper.resources.iter().map(|r| &**r).filter(|r| fits(r, &flags)) {
        let newer = |r: &&Resource| r.group == resource.group && r.plural == resource.plural;
        if !shown.iter().any(newer) {
            shown.push(resource);
        }
    }
    shown.sort_by(|a, b| match flags.text("sort-by") {
        "name" => a.plural.cmp(&b.plural),
        "kind" => a.kind.cmp(&b.kind),
        _ => (&a.group, &a.plural).cmp(&(&b.group, &b.plural)),
    });
    match flags.text("output") {
        "name" => shown.iter().for_each(|r| output::say(full_name(r))),
        wide @ ("" | "wide") => output::write(&table(&shown, wide == "wide", flags.on("no-headers"))),
        other => return Err(Error::Plain(format!("--output {other} is not available"))),
    }
    Ok(())
}

fn fits(resource: &Resource, flags: &Flags) -> bool {
    let all = |wanted: Vec<String>, has: &[String]| wanted.iter().all(|w| has.contains(w));
    (!flags.given("namespaced") || resource.namespaced == flags.on("namespaced"))
        && (!flags.given("api-group") || resource.group == flags.text("api-group"))
        && all(flags.list("verbs"), &resource.verbs)
        && all(flags.list("categories"), &resource.categories)
        && !resource.verbs.is_empty()
}

fn full_name(r: &Resource) -> String {
    if r.group.is_empty() { r.plural.clone() } else { format!("{}.{}", r.plural, r.group) }
}

fn table(resources: &[&Resource], wide: bool, no_headers: bool) -> String {
    let mut writer = Writer::default();
    let row = |mut cells: Vec<String>, more: [String; 2]| {
        if wide {
            cells.extend(more);
        }
        cells
    };
    if !no_headers {
        let head = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"].map(str::to_owned).to_vec();
        writer.row(row(head, ["VERBS".into(), "CATEGORIES".into()]));
    }
    for r in resources {
        let cells = vec![
            r.plural.clone(),
            r.short.join(","),
            r.api_version(),
            r.namespaced.to_string(),
            r.kind.clone(),
        ];
        writer.row(row(cells, [r.verbs.join(","), r.categories.join(",")]));
    }
    writer.flush()
}

pub async fn versions(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("api-versions", "", arguments)?;
    let Context { mapper, .. } = Context::new(&flags).await?;
    let mut versions: Vec<String> = mapper.resources.iter().map(|r| r.api_version()).collect();
    versions.sort();
    versions.dedup();
    versions.iter().for_each(output::say);
    Ok(())
}
