//! Objects out of files, folders and stdin: YAML and JSON, several documents, `List`s taken apart.
//!
//! Deliberately absent: URLs and kustomizations.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use api::Value;

use crate::args::Flags;
use crate::error::{Error, Result};

/// The flags of every command that takes files.
pub const FLAGS: &str = "filename,f= recursive,R kustomize,k=";

const EXTENSIONS: &[&str] = &["json", "yaml", "yml"];

/// One object and where it stands.
pub struct Manifest {
    pub source: String,
    pub object: Value,
}

/// Every object of `-f`. Empty where no file was given.
pub fn read(flags: &Flags) -> Result<Vec<Manifest>> {
    if flags.given("kustomize") {
        return Err(Error::not_built("--kustomize"));
    }
    let mut manifests = Vec::new();
    for name in flags.list("filename") {
        if name == "-" {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text)?;
            documents(&text, "STDIN", &mut manifests)?;
        } else if name.starts_with("http://") || name.starts_with("https://") {
            return Err(Error::not_built("a URL for -f"));
        } else {
            let path = Path::new(&name);
            for file in files(path, flags.on("recursive"))? {
                documents(&std::fs::read(&file)?, &file.display().to_string(), &mut manifests)?;
            }
        }
    }
    if flags.given("filename") && manifests.is_empty() {
        return Err(Error::plain("no objects passed to this command"));
    }
    Ok(manifests)
}

/// The file itself, or the manifests of a folder by name.
fn files(path: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let about = path
        .metadata()
        .map_err(|_| Error::Plain(format!("the path {:?} does not exist", path.display().to_string())))?;
    if !about.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<std::io::Result<_>>()?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let named = entry.extension().and_then(|e| e.to_str()).is_some_and(|e| EXTENSIONS.contains(&e));
        if entry.is_dir() {
            if recursive {
                found.extend(files(&entry, true)?);
            }
        } else if named {
            found.push(entry);
        }
    }
    Ok(found)
}

/// The documents of one text.
fn documents(text: &[u8], source: &str, out: &mut Vec<Manifest>) -> Result<()> {
    let wrong = |e: &dyn std::fmt::Display| Error::Plain(format!("error parsing {source}: {e}"));
    let start = text.iter().find(|b| !b.is_ascii_whitespace());
    if start == Some(&b'{') {
        return json_documents(text, source, out);
    }
    let text = std::str::from_utf8(text).map_err(|e| wrong(&e))?;
    for document in split(text) {
        let object = api::yaml::parse(document.as_bytes()).map_err(|e| wrong(&e))?;
        take_apart(object, source, out)?;
    }
    Ok(())
}

fn json_documents(text: &[u8], source: &str, out: &mut Vec<Manifest>) -> Result<()> {
    for document in serde_json::Deserializer::from_slice(text).into_iter::<Box<serde_json::value::RawValue>>()
    {
        let wrong = |e: &dyn std::fmt::Display| Error::Plain(format!("error parsing {source}: {e}"));
        let document = document.map_err(|e| wrong(&e))?;
        let object = api::json::parse(document.get().as_bytes()).map_err(|e| wrong(&e))?;
        take_apart(object, source, out)?;
    }
    Ok(())
}

/// The documents between `---` lines that hold more than comments.
fn split(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        match line.strip_prefix("---") {
            Some(rest) if rest.is_empty() || rest.starts_with([' ', '\t', '#']) => {
                documents.push(String::new())
            }
            _ => {
                if let Some(last) = documents.last_mut() {
                    last.push_str(line);
                    last.push('\n');
                }
            }
        }
    }
    let empty = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    documents.retain(|d| !d.lines().all(empty));
    documents
}

fn take_apart(mut object: Value, source: &str, out: &mut Vec<Manifest>) -> Result<()> {
    if object.is_null() {
        return Ok(());
    }
    let wrong = |what: &str| Error::Plain(format!("unable to decode {source:?}: Object '{what}' is missing"));
    if object.str_at(&["kind"]).is_empty() {
        return Err(wrong("Kind"));
    }
    if object.str_at(&["apiVersion"]).is_empty() {
        return Err(wrong("apiVersion"));
    }
    if object.str_at(&["kind"]).ends_with("List")
        && let Some(items) = object.get_mut("items").and_then(Value::as_list_mut)
    {
        return std::mem::take(items).into_iter().try_for_each(|item| take_apart(item, source, out));
    }
    out.push(Manifest { source: source.into(), object });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        documents(text.as_bytes(), "x", &mut out).unwrap();
        out.iter().map(|m| m.object.str_at(&["metadata", "name"]).to_owned()).collect()
    }

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let one = |n: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {n}\n");
        assert_eq!(names(&format!("# only a comment\n---\n{}--- \n{}---\n", one("a"), one("b"))), ["a", "b"]);
        let json = r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"A","metadata":{"name":"c"}}]}"#;
        assert_eq!(names(&format!("{json}\n{json}")), ["c", "c"]);
        assert_eq!(names("apiVersion: v1\nkind: A\nmetadata: {name: d}\ntext: |\n  --- no end\n"), ["d"]);
    }

    #[test]
    fn an_object_without_a_kind_is_refused() {
        let error = documents(b"apiVersion: v1\n", "f.yaml", &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "unable to decode \"f.yaml\": Object 'Kind' is missing");
    }
}
