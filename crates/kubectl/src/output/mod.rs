//! What `-o` says, and the printing of objects by it. Tables of the server are in [`table`].

pub mod columns;
pub mod json;
pub mod table;
pub mod template;

use api::Value;
pub use api::yaml;

use self::template::Template;
use crate::args::Flags;
use crate::error::{Error, Result};
use crate::mapper::Mapper;

pub const FLAGS: &str = "output,o= show-managed-fields template= allow-missing-template-keys";

/// One value of `-o`.
#[derive(Debug)]
pub enum Format {
    /// The server's table; all columns.
    Table {
        wide: bool,
    },
    Json,
    Yaml,
    Name,
    JsonPath(Template),
    Columns(columns::Columns),
}

const KNOWN: &str = "custom-columns,json,jsonpath,name,wide,yaml";

impl Format {
    pub fn of(flags: &Flags) -> Result<Self> {
        let text = flags.text("output");
        let (name, argument) = text.split_once('=').map_or((text, None), |(n, a)| (n, Some(a)));
        let argument = argument.or(flags.given("template").then(|| flags.text("template")));
        match name {
            "" => Ok(Self::Table { wide: false }),
            "wide" => Ok(Self::Table { wide: true }),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "name" => Ok(Self::Name),
            "jsonpath" | "jsonpath-as-json" => match argument {
                Some(path) if name == "jsonpath" => Template::parse(path).map(Self::JsonPath),
                Some(_) => Err(Error::not_built("-o jsonpath-as-json")),
                None => Err(Error::plain("template format specified but no template given")),
            },
            "jsonpath-file" => {
                let path = argument
                    .ok_or_else(|| Error::plain("template format specified but no template given"))?;
                Template::parse(std::fs::read_to_string(path)?.trim_end_matches('\n')).map(Self::JsonPath)
            }
            "custom-columns" => match argument {
                Some(text) => columns::Columns::parse(text, flags.on("no-headers")).map(Self::Columns),
                None => Err(Error::plain("custom-columns format specified but no custom columns given")),
            },
            "go-template"
            | "go-template-file"
            | "template"
            | "templatefile"
            | "custom-columns-file"
            | "kyaml" => Err(Error::not_built(format!("-o {name}"))),
            other => Err(Error::Plain(format!(
                "unable to match a printer suitable for the output format {other:?}, allowed formats are: {KNOWN}"
            ))),
        }
    }

    pub fn is_table(&self) -> bool {
        matches!(self, Self::Table { .. })
    }

    /// Prints one object, or a List.
    pub fn print(&self, object: &Value, mapper: &Mapper, managed: bool) -> Result<()> {
        let stripped;
        let object = if managed {
            object
        } else {
            stripped = without_managed_fields(object);
            &stripped
        };
        let text = match self {
            Self::Table { .. } | Self::Name => names(object, mapper),
            Self::Json => json::pretty(object) + "\n",
            Self::Yaml => yaml::to_string(object),
            Self::JsonPath(template) => template.fill(object)?,
            Self::Columns(columns) => columns.text(object),
        };
        write(&text);
        Ok(())
    }
}

/// To stdout; a closed pipe is no error.
pub fn write(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// One line to stdout.
pub fn say(line: impl std::fmt::Display) {
    write(&format!("{line}\n"));
}

fn without_managed_fields(object: &Value) -> Value {
    let mut object = object.clone();
    object.remove_at(&["metadata", "managedFields"]);
    if let Some(items) = object.get_mut("items").and_then(Value::as_list_mut) {
        for item in items {
            item.remove_at(&["metadata", "managedFields"]);
        }
    }
    object
}

fn names(object: &Value, mapper: &Mapper) -> String {
    if object.str_at(&["kind"]).ends_with("List") && object.get("items").is_some() {
        return object.list_at(&["items"]).iter().map(|i| name_line(i, mapper)).collect();
    }
    name_line(object, mapper)
}

fn name_line(object: &Value, mapper: &Mapper) -> String {
    format!("{}\n", display(object, mapper))
}

/// `deployment.apps/x`.
pub fn display(object: &Value, mapper: &Mapper) -> String {
    let (api_version, kind) = (object.str_at(&["apiVersion"]), object.str_at(&["kind"]));
    let of = mapper.kind(api_version, kind).map_or_else(
        || match api_version.split_once('/') {
            Some((group, _)) => format!("{}.{group}", kind.to_lowercase()),
            None => kind.to_lowercase(),
        },
        |r| r.display(),
    );
    format!("{of}/{}", object.str_at(&["metadata", "name"]))
}

/// A List as kubectl makes one of what it has got.
pub fn list_of(items: Vec<Value>) -> Value {
    let mut list = api::value!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}});
    list.set_at(&["items"], Value::List(items));
    list
}
