//! `-o custom-columns=HEADER:PATH,...`

use api::Value;
use api::jsonpath::JsonPath;

use super::table::Writer;
use super::template;
use crate::error::{Error, Result};

#[derive(Debug)]
pub struct Columns {
    columns: Vec<(String, JsonPath)>,
    headers: bool,
}

impl Columns {
    pub fn parse(text: &str, no_headers: bool) -> Result<Self> {
        let columns = text.split(',').map(|column| {
            let (header, path) = column.split_once(':').ok_or_else(|| {
                Error::Plain(format!(
                    "unexpected custom-columns spec: {column}, expected <header>:<json-path-expr>"
                ))
            })?;
            let path = path.trim().trim_start_matches('{').trim_end_matches('}');
            let path = JsonPath::parse(path).map_err(|e| Error::Plain(e.to_string()))?;
            Ok((header.to_owned(), path))
        });
        Ok(Self { columns: columns.collect::<Result<_>>()?, headers: !no_headers })
    }

    /// An object, or the items of a list, as a table.
    pub fn text(&self, object: &Value) -> String {
        let mut writer = Writer::default();
        if self.headers {
            writer.row(self.columns.iter().map(|(header, _)| header.clone()).collect());
        }
        match object.get("items").and_then(Value::as_list) {
            Some(items) => items.iter().for_each(|item| writer.row(self.cells(item))),
            None => writer.row(self.cells(object)),
        }
        writer.flush()
    }

    fn cells(&self, object: &Value) -> Vec<String> {
        let cell = |(_, path): &(String, JsonPath)| {
            let texts: Vec<String> = path.find(object).into_iter().map(template::text).collect();
            if texts.is_empty() { "<none>".to_owned() } else { texts.join(",") }
        };
        self.columns.iter().map(cell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_paths() {
        let list = api::value!({"items": [{"metadata": {"name": "a-long-name"}, "c": ["x", "y"]}, {"metadata": {"name": "b"}}]});
        let columns = Columns::parse("NAME:.metadata.name,C:.c[*]", false).unwrap();
        assert_eq!(columns.text(&list), "NAME          C\na-long-name   x,y\nb             <none>\n");
        assert!(Columns::parse("NAME", false).is_err());
    }
}
