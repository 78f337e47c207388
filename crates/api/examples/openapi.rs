//! Prints OpenAPI documents of the built-in resources, all versions: `openapi apis/apps/v1` (v3), `openapi v2`,
//! `openapi v2.pb`. A second argument `default` leaves out what is not served by default.

use std::io::Write;

use api::openapi::{Entry, Format, Info, Published, whole};
use api::resources::builtin;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (document, which) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let rows = builtin().iter().filter(|r| which != "default" || r.by_default);
    let published = Published::new(rows.map(|row| Entry { row, custom: None, returns_deleted: false }));
    let info = Info::server("v1.37.0");
    let out = match document.as_str() {
        "" => published.documents().map(|d| format!("{d}\n")).collect::<String>().into_bytes(),
        "v2" => whole(Format::V2, &info, |sink| published.v2_builtin(sink)),
        "v2.pb" => whole(Format::V2Protobuf, &info, |sink| published.v2_builtin(sink)),
        document => whole(Format::V3, &info, |sink| {
            let _ = published.v3(document, sink);
        }),
    };
    std::io::stdout().write_all(&out)
}
