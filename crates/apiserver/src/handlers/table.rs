//! meta.k8s.io Table: columns of the row (or of a custom resource's definition), cells of the strategy.

use std::sync::Arc;

use api::Value;
use api::resources::Column;
use apimachinery::{Status, time};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::{Asked, represent};
use crate::cache::Entry;
use crate::catalog::Served;
use crate::form::{Form, Media, Projection};

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

/// The row of an object up to its `"object"`, kept with it while it is hot: what does not change with time as it is,
/// the object's age as a mark. Laid out as number of cells, time of creation, text.
#[derive(Clone)]
pub struct Row(Bytes);

/// Cannot be in JSON.
const AGE: u8 = 0;
const HEAD: usize = 9;

impl Row {
    /// As it is at one moment: without marks.
    fn at(cells: &[Value], conditions: Option<&Value>) -> Self {
        let mut out = Self::begin(cells, None);
        for (n, cell) in cells.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            api::json::write_value(&mut out, cell);
        }
        Self::end(out, conditions)
    }

    /// For all times. None: a cell changes with time and is not the object's age.
    fn of(
        now: &[Value],
        later: &[Value],
        conditions: Option<&Value>,
        created: Option<Timestamp>,
        at: (Timestamp, Timestamp),
    ) -> Option<Self> {
        let age = |at: Timestamp| Some(Value::from(time::human(at.as_second() - created?.as_second())));
        let mut out = Self::begin(now, created);
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
        Some(Self::end(out, conditions))
    }

    fn begin(cells: &[Value], created: Option<Timestamp>) -> Vec<u8> {
        let mut out = Vec::with_capacity(192);
        out.push(u8::try_from(cells.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&created.map_or(0, Timestamp::as_second).to_be_bytes());
        out.extend_from_slice(b"{\"cells\":[");
        out
    }

    fn end(mut out: Vec<u8>, conditions: Option<&Value>) -> Self {
        out.push(b']');
        if let Some(conditions) = conditions {
            out.extend_from_slice(b",\"conditions\":");
            api::json::write_value(&mut out, conditions);
        }
        out.extend_from_slice(b",\"object\":");
        Self(out.into())
    }

    /// The number of cells.
    pub fn count(&self) -> usize {
        usize::from(self.0[0])
    }

    /// Writes it as it is now, up to the object.
    pub fn write(&self, now: Timestamp, out: &mut Vec<u8>) {
        let created = self.0[1..HEAD].try_into().map_or(0, i64::from_be_bytes);
        let mut rest = &self.0[HEAD..];
        while let Some(at) = rest.iter().position(|b| *b == AGE) {
            out.extend_from_slice(&rest[..at]);
            out.push(b'"');
            out.extend_from_slice(time::human(now.as_second() - created).as_bytes());
            out.push(b'"');
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
    }
}

/// Far enough away that every age has changed.
const LATER: SignedDuration = SignedDuration::from_hours(400 * 24);

/// What the rows of one request have in common.
pub struct Rows<'a> {
    served: &'a Served,
    version: &'a str,
    now: Timestamp,
    include: Include,
    form: Form,
    /// Where entries have `status.phase`.
    phase: Option<usize>,
}

impl<'a> Rows<'a> {
    pub fn new(served: &'a Served, version: &'a str, now: Timestamp, include: Include) -> Self {
        let stored = served.stored.as_ref();
        let phase = stored.and_then(|s| s.label_position("status.phase", &served.gv));
        let form = represent::form(served, Media::Json, Projection::Cells);
        Self { served, version, now, include, form, phase }
    }

    /// The row of an object, made or found.
    pub async fn row(&self, entry: &Entry) -> Result<Row, Status> {
        if let Some(row) = entry.form(&self.form) {
            return Ok(Row(row));
        }
        let (served, now) = (self.served, self.now);
        let stored = served.stored.as_ref().ok_or_else(Status::no_route)?;
        let object = if served.table.is_some() {
            represent::tree(served, entry).await?
        } else {
            stored.tree_once(entry)
        };
        let conditions = self.conditions(entry);
        let then = now + LATER;
        let (cells, later) = (cells(served, &object, now), cells(served, &object, then));
        let created = time::parse(object.meta().creation_timestamp());
        let row = Row::of(&cells, &later, conditions.as_ref(), created, (now, then));
        if let Some(row) = &row {
            entry.keep_form(self.form.clone(), row.0.clone());
        }
        Ok(row.unwrap_or_else(|| Row::at(&cells, conditions.as_ref())))
    }

    /// Of kinds that end (`status.phase` is a field label of theirs): the label tells without decoding whether there is
    /// anything to say.
    fn conditions(&self, entry: &Entry) -> Option<Value> {
        let stored = self.served.stored.as_ref()?;
        let at = self.phase?;
        let ended = ["Succeeded", "Failed"].iter().any(|phase| entry.field_is(at, phase) == Some(true));
        if ended { self.served.strategy.row_conditions(&stored.tree(entry)) } else { None }
    }

    /// Writes `{"cells":[...],"object":...}`; the number of cells.
    pub async fn write(&self, entry: &Entry, out: &mut Vec<u8>) -> Result<usize, Status> {
        let row = self.row(entry).await?;
        row.write(self.now, out);
        match self.include {
            Include::None => out.extend_from_slice(b"null"),
            Include::Metadata => represent::write_metadata(out, entry, self.version),
            Include::Object => out.extend_from_slice(&represent::json(self.served, entry).await?.concat()),
        }
        out.push(b'}');
        Ok(row.count())
    }
}

/// A Table up to its rows. `definitions` None: a later event of a watch.
pub fn head(version: &str, metadata: &[u8], definitions: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(2048);
    out.extend_from_slice(b"{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/");
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(b"\",\"metadata\":");
    out.extend_from_slice(metadata);
    out.extend_from_slice(b",\"columnDefinitions\":");
    out.extend_from_slice(definitions.unwrap_or(b"null"));
    out.extend_from_slice(b",\"rows\":[");
    out
}

/// What follows the rows.
pub const TAIL: &[u8] = b"]}\n";

/// A Table around rows that are written already, commas between them.
pub fn document(version: &str, metadata: &[u8], definitions: Option<&[u8]>, rows: &[u8]) -> Vec<u8> {
    [&head(version, metadata, definitions), rows, TAIL].concat()
}

/// What each item of a list is, in a Table that is written while it is sent.
pub enum Item {
    Alone(Row),
    With(Row, Arc<Entry>),
    Whole(Row, represent::Json),
}

impl Item {
    pub fn row(&self) -> &Row {
        match self {
            Self::Alone(row) | Self::With(row, _) | Self::Whole(row, _) => row,
        }
    }

    pub fn write(&self, version: &str, now: Timestamp, out: &mut Vec<u8>) {
        self.row().write(now, out);
        match self {
            Self::Alone(_) => out.extend_from_slice(b"null"),
            Self::With(_, entry) => represent::write_metadata(out, entry, version),
            Self::Whole(_, json) => json.write(out),
        }
        out.push(b'}');
    }
}

impl Rows<'_> {
    /// Everything that has to be waited for before an item is written.
    pub async fn item(&self, entry: &Arc<Entry>) -> Result<Item, Status> {
        let row = self.row(entry).await?;
        Ok(match self.include {
            Include::None => Item::Alone(row),
            Include::Metadata => Item::With(row, entry.clone()),
            Include::Object => Item::Whole(row, represent::json(self.served, entry).await?),
        })
    }
}

pub(super) async fn of_one(
    asked: &Asked<'_>,
    served: &Served,
    entry: &Entry,
    version: &str,
) -> Result<Vec<u8>, Status> {
    let include = include(asked.query)?;
    let mut row = Vec::new();
    let count = Rows::new(served, version, asked.cx.now, include).write(entry, &mut row).await?;
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
        let conditions = api::value!([{"type": "Completed"}]);
        let of =
            |one: &[Value], two: &[Value]| Row::of(one, two, Some(&conditions), Some(created), (now, then));
        let kept = of(&cells(now, "y"), &cells(then, "y")).unwrap();
        for later in [now, at(1000 + 7200), at(1000 + 86_400 * 9)] {
            let (mut by_kept, mut anew) = (Vec::new(), Vec::new());
            kept.write(later, &mut by_kept);
            Row::at(&cells(later, "y"), Some(&conditions)).write(later, &mut anew);
            assert_eq!(String::from_utf8(by_kept), String::from_utf8(anew));
        }
        assert_eq!(kept.count(), 3);
        assert!(of(&cells(now, "1 (5s ago)"), &cells(then, "1 (9d ago)")).is_none());
    }
}
