//! Prints the OpenAPI v3 document of a built-in group-version: `openapi apps v1`, `openapi "" v1`.

use std::io::Write;

use api::openapi::{Entry, document};
use api::resources::builtin;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (group, version) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let rows = builtin().iter().filter(|r| *r.group == *group && *r.version == *version);
    let entries: Vec<Entry<'_>> =
        rows.filter_map(|row| Some(Entry { row, of: row.object_type()?, custom: None })).collect();
    std::io::stdout().write_all(&document(&group, &version, &entries))
}
