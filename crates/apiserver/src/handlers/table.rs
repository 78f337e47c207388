//! meta.k8s.io Table: columns of the row (or of a custom resource's definition), cells of the strategy.

use api::Value;
use api::resources::Column;
use apimachinery::{Status, time};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::{Asked, represent};
use crate::cache::Entry;
use crate::catalog::Served;
use crate::form::{Media, Projection};

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
        other => Err(Status::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
        ))),
    }
}

/// Columns whose cells the table itself knows: name and creation time.
fn default_columns() -> Vec<Column> {
    api::columns::default_columns()
}

/// `columnDefinitions`, as JSON. `cells`: how many each row has, where there is one.
pub fn definitions(served: &Served, cells: Option<usize>) -> Vec<u8> {
    let list = match (&served.table, &served.row.columns) {
        (Some(table), _) => Value::List(table.definitions()),
        (None, Some(columns)) if cells.is_none_or(|c| c >= columns.len()) => {
            api::columns::definitions(columns)
        }
        _ => api::columns::definitions(&default_columns()),
    };
    api::json::to_vec(&list)
}

/// The cells of one object.
fn cells(served: &Served, object: &Value, now: Timestamp) -> Vec<Value> {
    if let Some(table) = &served.table {
        return table.cells(object, now);
    }
    let own = served.strategy.cells(object, now);
    own.unwrap_or_else(|| vec![object.name().into(), object.meta().creation_timestamp().into()])
}

/// The cells of an object as JSON, kept with it while they are hot: those that do not change with time as they are,
/// its age as a mark. Laid out as count, time of creation, text.
struct Template(Bytes);

/// Cannot be in JSON.
const AGE: u8 = 0;
const HEAD: usize = 9;

impl Template {
    /// None: a cell changes with time and is not the object's age.
    fn of(
        now: &[Value],
        later: &[Value],
        created: Option<Timestamp>,
        at: (Timestamp, Timestamp),
    ) -> Option<Self> {
        let age = |at: Timestamp| Some(Value::from(time::human(at.as_second() - created?.as_second())));
        let mut out = vec![u8::try_from(now.len()).ok()?];
        out.extend_from_slice(&created.map_or(0, Timestamp::as_second).to_be_bytes());
        for (n, (a, b)) in now.iter().zip(later).enumerate() {
            if n > 0 {
                out.push(b',');
            }
            match a == b {
                true => api::json::write_value(&mut out, a),
                false if age(at.0).as_ref() == Some(a) && age(at.1).as_ref() == Some(b) => out.push(AGE),
                false => return None,
            }
        }
        Some(Self(out.into()))
    }

    fn write(&self, now: Timestamp, out: &mut Vec<u8>) -> usize {
        let created = self.0[1..HEAD].try_into().map_or(0, i64::from_be_bytes);
        let mut parts = self.0[HEAD..].split(|b| *b == AGE);
        out.extend_from_slice(parts.next().unwrap_or_default());
        for part in parts {
            out.push(b'"');
            out.extend_from_slice(time::human(now.as_second() - created).as_bytes());
            out.push(b'"');
            out.extend_from_slice(part);
        }
        usize::from(self.0[0])
    }
}

/// Far enough away that every age has changed.
const LATER: SignedDuration = SignedDuration::from_hours(400 * 24);

async fn write_cells(
    served: &Served,
    entry: &Entry,
    now: Timestamp,
    out: &mut Vec<u8>,
) -> Result<usize, Status> {
    let form = represent::form(served, Media::Json, Projection::Cells);
    if let Some(template) = entry.form(&form) {
        return Ok(Template(template).write(now, out));
    }
    let stored = served.stored.as_ref().ok_or_else(Status::no_route)?;
    let object =
        if served.table.is_some() { represent::tree(served, entry).await? } else { stored.tree(entry) };
    let then = now + LATER;
    let (cells, later) = (cells(served, &object, now), cells(served, &object, then));
    let created = time::parse(object.meta().creation_timestamp());
    if let Some(template) = Template::of(&cells, &later, created, (now, then)) {
        entry.keep_form(form, template.0.clone());
        return Ok(template.write(now, out));
    }
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        api::json::write_value(out, cell);
    }
    Ok(cells.len())
}

/// Of kinds that end (`status.phase` is a field label of theirs): the label tells without decoding whether there is
/// anything to say.
fn conditions(served: &Served, entry: &Entry) -> Option<Value> {
    let stored = served.stored.as_ref()?;
    let at = stored.label_position("status.phase", &served.gv)?;
    let ended = ["Succeeded", "Failed"].iter().any(|phase| entry.field_is(at, phase) == Some(true));
    if ended { served.strategy.row_conditions(&stored.tree(entry)) } else { None }
}

/// Writes `{"cells":[...],"object":...}`; the number of cells.
pub async fn row(
    (now, include): (Timestamp, Include),
    served: &Served,
    entry: &Entry,
    version: &str,
    out: &mut Vec<u8>,
) -> Result<usize, Status> {
    out.extend_from_slice(b"{\"cells\":[");
    let count = write_cells(served, entry, now, out).await?;
    out.push(b']');
    if let Some(conditions) = conditions(served, entry) {
        out.extend_from_slice(b",\"conditions\":");
        api::json::write_value(out, &conditions);
    }
    out.extend_from_slice(b",\"object\":");
    match include {
        Include::None => out.extend_from_slice(b"null"),
        Include::Metadata => out.extend_from_slice(&represent::metadata_json(entry, version)),
        Include::Object => out.extend_from_slice(&represent::json(served, entry).await?.concat()),
    }
    out.push(b'}');
    Ok(count)
}

/// A Table around rows that are written already, commas between them. `definitions` None: a later event of a watch.
pub fn document(version: &str, metadata: &[u8], definitions: Option<&[u8]>, rows: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() + 2048);
    out.extend_from_slice(b"{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/");
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(b"\",\"metadata\":");
    out.extend_from_slice(metadata);
    out.extend_from_slice(b",\"columnDefinitions\":");
    out.extend_from_slice(definitions.unwrap_or(b"null"));
    out.extend_from_slice(b",\"rows\":[");
    out.extend_from_slice(rows);
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
    let mut row = Vec::new();
    let count = self::row((asked.cx.now, include), served, entry, version, &mut row).await?;
    let metadata = format!("{{\"resourceVersion\":\"{}\"}}", entry.revision);
    Ok(document(version, metadata.as_bytes(), Some(&definitions(served, Some(count))), &row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_marks_and_other_times_are_not_kept() {
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        let (created, now, then) = (at(1000), at(1090), at(1090) + LATER);
        let cells = |now: Timestamp, other: &str| {
            vec![Value::from("x"), Value::from(time::human(now.as_second() - 1000)), Value::from(other)]
        };
        let kept = Template::of(&cells(now, "y"), &cells(then, "y"), Some(created), (now, then)).unwrap();
        let mut out = Vec::new();
        assert_eq!(kept.write(at(1000 + 7200), &mut out), 3);
        assert_eq!(out, br#""x","120m","y""#);
        assert!(
            Template::of(&cells(now, "1 (5s ago)"), &cells(then, "1 (9d ago)"), Some(created), (now, then))
                .is_none()
        );
    }
}
