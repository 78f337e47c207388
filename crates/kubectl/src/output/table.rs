//! The server's Table in aligned columns: at least six wide, three apart, widths remembered while one table grows
//! (a watch), as upstream's tab writer has it.

use api::Value;

use super::template;

/// Rows that wait to be aligned.
#[derive(Debug, Default)]
pub struct Writer {
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
}

const MIN_WIDTH: usize = 6;
const PADDING: usize = 3;

impl Writer {
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The text of the rows since the last flush. The last cell of a row is not padded.
    pub fn flush(&mut self) -> String {
        for row in &self.rows {
            for (at, cell) in row.iter().enumerate() {
                let width = (cell.chars().count() + PADDING).max(MIN_WIDTH);
                if at == self.widths.len() {
                    self.widths.push(width);
                } else if at + 1 < row.len() && width > self.widths[at] {
                    self.widths[at] = width;
                }
            }
        }
        let mut out = String::new();
        for row in self.rows.drain(..) {
            let last = row.len().saturating_sub(1);
            for (at, cell) in row.iter().enumerate() {
                out.push_str(cell);
                if at < last {
                    out.extend(std::iter::repeat_n(
                        ' ',
                        self.widths[at].saturating_sub(cell.chars().count()),
                    ));
                }
            }
            out.push('\n');
        }
        out
    }
}

/// Which columns are shown beside the server's own.
#[derive(Clone, Debug, Default)]
pub struct Look {
    pub wide: bool,
    pub no_headers: bool,
    pub namespaces: bool,
    pub labels: bool,
    pub label_columns: Vec<String>,
    /// `deployment.apps/` before names.
    pub prefix: String,
    /// A column for the kind of a watch's event.
    pub events: bool,
}

/// Prints the Tables of one resource.
#[derive(Debug, Default)]
pub struct Printer {
    look: Look,
    writer: Writer,
    /// Priority and name of each column; empty before the first Table.
    columns: Vec<(i64, String)>,
    headed: bool,
}

impl Printer {
    pub fn new(look: Look) -> Self {
        Self { look, ..Self::default() }
    }

    /// The text of a Table's rows, under headers if they are the first.
    pub fn table(&mut self, table: &Value, event: &str) -> String {
        self.add(table, event);
        self.flush()
    }

    /// The rows of a Table wait for more.
    pub fn add(&mut self, table: &Value, event: &str) {
        let columns = table.list_at(&["columnDefinitions"]);
        if !columns.is_empty() {
            let column = |c: &Value| (c.int_at(&["priority"]).unwrap_or(0), c.str_at(&["name"]).to_owned());
            self.columns = columns.iter().map(column).collect();
        }
        let rows = table.list_at(&["rows"]);
        if rows.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.headed, true) && !self.look.no_headers {
            self.writer.row(self.headers());
        }
        for row in rows {
            self.writer.row(self.cells(row, event));
        }
    }

    /// The text of the rows that waited.
    pub fn flush(&mut self) -> String {
        self.writer.flush()
    }

    fn headers(&self) -> Vec<String> {
        let mut row = Vec::new();
        if self.look.events {
            row.push("EVENT".to_owned());
        }
        if self.look.namespaces {
            row.push("NAMESPACE".to_owned());
        }
        row.extend(self.shown().map(|(_, name)| name.to_uppercase()));
        row.extend(self.look.label_columns.iter().map(|l| l.rsplit('/').next().unwrap_or(l).to_uppercase()));
        if self.look.labels {
            row.push("LABELS".to_owned());
        }
        row
    }

    fn shown(&self) -> impl Iterator<Item = (usize, &String)> {
        let wide = self.look.wide;
        self.columns.iter().enumerate().filter(move |(_, c)| wide || c.0 == 0).map(|(at, c)| (at, &c.1))
    }

    fn cells(&self, row: &Value, event: &str) -> Vec<String> {
        let cells = row.list_at(&["cells"]);
        let labels = row.at(&["object", "metadata", "labels"]);
        let mut out = Vec::new();
        if self.look.events {
            out.push(event.to_owned());
        }
        if self.look.namespaces {
            out.push(row.str_at(&["object", "metadata", "namespace"]).to_owned());
        }
        for (nth, (at, _)) in self.shown().enumerate() {
            let text = cell(cells.get(at));
            out.push(if nth == 0 { format!("{}{text}", self.look.prefix) } else { text });
        }
        let label = |key: &String| labels.map_or("", |l| l.str_at(&[key])).to_owned();
        out.extend(self.look.label_columns.iter().map(label));
        if self.look.labels {
            out.push(all_labels(labels));
        }
        out
    }
}

/// One line, whatever the server sent.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None => String::new(),
        Some(value) => template::text(value),
    };
    match text.find(['\n', '\r', '\u{c}']) {
        Some(at) => format!("{}...", &text[..at]),
        None => text,
    }
}

fn all_labels(labels: Option<&Value>) -> String {
    let mut pairs: Vec<String> = labels
        .and_then(Value::as_map)
        .map(|m| m.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect())
        .unwrap_or_default();
    pairs.sort();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    fn table() -> Value {
        value!({"columnDefinitions": [{"name": "Name"}, {"name": "Ready"}, {"name": "Age"}, {"name": "IP", "priority": 1}],
            "rows": [{"cells": ["web-5f", "1/1", "5s", "10.0.0.7"], "object": {"metadata": {"namespace": "default", "labels": {"b": "2", "a": "1"}}}}]})
    }

    #[test]
    fn looks() {
        let text = |look: Look| Printer::new(look).table(&table(), "ADDED");
        assert_eq!(text(Look::default()), "NAME     READY   AGE\nweb-5f   1/1     5s\n");
        let wide = Look { wide: true, namespaces: true, ..Look::default() };
        assert_eq!(
            text(wide),
            "NAMESPACE   NAME     READY   AGE   IP\ndefault     web-5f   1/1     5s    10.0.0.7\n"
        );
        let labels = Look {
            labels: true,
            no_headers: true,
            label_columns: vec!["x/a".into(), "a".into()],
            ..Look::default()
        };
        assert_eq!(text(labels), "web-5f   1/1   5s          1     a=1,b=2\n");
        let events = Look { events: true, prefix: "pod/".into(), ..Look::default() };
        assert_eq!(text(events), "EVENT   NAME         READY   AGE\nADDED   pod/web-5f   1/1     5s\n");
    }

    #[test]
    fn a_growing_table_keeps_its_widths() {
        let mut printer = Printer::new(Look::default());
        let first = printer.table(&table(), "");
        let row = value!({"rows": [{"cells": ["a", "0/1", "6s", ""]}]});
        assert!(first.starts_with("NAME     READY"));
        assert_eq!(printer.table(&row, ""), "a        0/1     6s\n");
    }
}
