//! meta.k8s.io Table: columns of the row (or of a custom resource's definition), cells of the strategy.

use api::Value;
use api::resources::Column;
use apimachinery::Status;

use super::{Asked, represent};
use crate::cache::Entry;
use crate::catalog::Served;

/// `includeObject` of the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    None,
    Metadata,
    Object,
}

pub fn include(query: &crate::endpoint::Query) -> Result<Include, Status> {
    match query.get("includeObject").unwrap_or_default() {
        "None" => Ok(Include::None),
        "" | "Metadata" => Ok(Include::Metadata),
        "Object" => Ok(Include::Object),
        other => Err(Status::bad_request(format!("unrecognized includeObject value: {other:?}"))),
    }
}

/// Columns whose cells the table itself knows: name and creation time.
fn default_columns() -> Vec<Column> {
    api::columns::default_columns()
}

/// `columnDefinitions`, as JSON.
pub fn definitions(served: &Served, cells: Option<&[Value]>) -> Vec<u8> {
    let list = match (&served.table, &served.row.columns) {
        (Some(table), _) => Value::List(table.definitions()),
        (None, Some(columns)) if cells.is_none_or(|c| c.len() == columns.len()) => {
            api::columns::definitions(columns)
        }
        _ => api::columns::definitions(&default_columns()),
    };
    api::json::to_vec(&list)
}

/// The cells of one object.
pub async fn cells(served: &Served, entry: &Entry, now: jiff::Timestamp) -> Result<Vec<Value>, Status> {
    let stored = served.stored.as_ref().ok_or_else(Status::no_route)?;
    if let Some(table) = &served.table {
        return Ok(table.cells(&*represent::tree(served, entry).await?, now));
    }
    let value = stored.tree(entry);
    Ok(served
        .strategy
        .cells(&value, now)
        .unwrap_or_else(|| vec![value.name().into(), value.meta().creation_timestamp().into()]))
}

/// `{"cells":[...],"object":...}`
pub async fn row(
    asked: (&crate::request::RequestContext, Include),
    served: &Served,
    entry: &Entry,
    version: &str,
) -> Result<(Vec<u8>, Vec<Value>), Status> {
    let (cx, include) = asked;
    let cells = cells(served, entry, cx.now).await?;
    let mut out = b"{\"cells\":[".to_vec();
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        api::json::write_value(&mut out, cell);
    }
    out.extend_from_slice(b"],\"object\":");
    match include {
        Include::None => out.extend_from_slice(b"null"),
        Include::Metadata => out.extend_from_slice(&represent::metadata_json(entry, version)),
        Include::Object => out.extend_from_slice(&represent::json(served, entry).await?.concat()),
    }
    out.push(b'}');
    Ok((out, cells))
}

/// A Table around rows that are written already. `definitions` None: a later event of a watch.
pub fn document(version: &str, metadata: &[u8], definitions: Option<&[u8]>, rows: &[Vec<u8>]) -> Vec<u8> {
    let size: usize = rows.iter().map(Vec::len).sum();
    let mut out = Vec::with_capacity(size + 1024);
    out.extend_from_slice(b"{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/");
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(b"\",\"metadata\":");
    out.extend_from_slice(metadata);
    out.extend_from_slice(b",\"columnDefinitions\":");
    out.extend_from_slice(definitions.unwrap_or(b"null"));
    out.extend_from_slice(b",\"rows\":[");
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(row);
    }
    out.extend_from_slice(b"]}\n");
    out
}

pub(super) async fn of_one(
    asked: &Asked<'_>,
    served: &Served,
    entry: &Entry,
    version: &str,
) -> Result<Vec<u8>, Status> {
    let include = include(asked.query)?;
    let (row, cells) = row((asked.cx, include), served, entry, version).await?;
    let metadata = format!("{{\"resourceVersion\":\"{}\"}}", entry.revision);
    Ok(document(version, metadata.as_bytes(), Some(&definitions(served, Some(&cells))), &[row]))
}
