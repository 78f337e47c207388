//! Takes the descriptions of types and fields out of the sources of the k8s-openapi crate, which every build of this
//! project has anyway, into one compressed blob for OpenAPI documents. No prose is in this repository.
//!
//! Where the sources are not found the blob is empty, a warning says so, and the next build tries again.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const VERSION: &str = "v1_37";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default()).join("descriptions.z");
    let mut texts = BTreeMap::new();
    match source() {
        Some(dir) => {
            println!("cargo::rerun-if-changed={}", dir.join("Cargo.toml").display());
            walk(&dir.join("src").join(VERSION), &mut texts);
        }
        None => {
            println!("cargo::rerun-if-changed=sources-of-k8s-openapi-were-not-found");
            println!(
                "cargo::warning=no sources of k8s-openapi found: OpenAPI documents will have no descriptions"
            );
        }
    }
    let mut plain = String::new();
    for (of, text) in texts {
        plain.push_str(&format!(
            "{of}\t{}\n",
            text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t")
        ));
    }
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let packed = encoder.write_all(plain.as_bytes()).and_then(|()| encoder.finish());
    match packed.and_then(|bytes| fs::write(&out, bytes)) {
        Ok(()) => {}
        Err(e) => println!("cargo::error=descriptions: {e}"),
    }
}

/// The crate's folder: vendored, in cargo's registry, or wherever cargo says.
fn source() -> Option<PathBuf> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").ok()?).join("../..");
    let version = locked_version(&fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default())?;
    let names = [format!("k8s-openapi-{version}"), "k8s-openapi".to_owned()];
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let mut folders = vec![root.join("vendor")];
    let registries = home.map(|h| h.join("registry/src")).and_then(|d| fs::read_dir(d).ok());
    folders.extend(registries.into_iter().flatten().flatten().map(|e| e.path()));
    let found = folders
        .iter()
        .flat_map(|f| names.iter().map(move |n| f.join(n)))
        .find(|d| d.join("src").join(VERSION).is_dir());
    found.or_else(|| asked(&root))
}

fn locked_version(lock: &str) -> Option<String> {
    let at = lock.find("name = \"k8s-openapi\"")?;
    let rest = lock[at..].split_once("version = \"")?.1;
    rest.split('"').next().map(str::to_owned)
}

fn asked(root: &Path) -> Option<PathBuf> {
    let cargo = env::var_os("CARGO")?;
    let arguments =
        ["metadata", "--offline", "--format-version=1", "--filter-platform", &env::var("TARGET").ok()?];
    let answer = Command::new(cargo).args(arguments).current_dir(root).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let of = text.split("\"manifest_path\":\"").skip(1).filter_map(|part| part.split('"').next());
    let manifest = of.map(PathBuf::from).find(|p| p.to_string_lossy().contains("k8s-openapi"))?;
    manifest.parent().map(Path::to_path_buf)
}

fn walk(dir: &Path, texts: &mut BTreeMap<String, String>) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    for path in entries {
        if path.is_dir() {
            walk(&path, texts);
        } else if path.extension().is_some_and(|e| e == "rs") {
            read(&fs::read_to_string(&path).unwrap_or_default(), texts);
        }
    }
}

/// The JSON schema that a generated file holds: its name, then descriptions by depth of indentation.
fn read(text: &str, texts: &mut BTreeMap<String, String>) {
    let (mut of, mut field) = (None::<String>, None::<String>);
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim_start();
        if let Some(name) =
            line.strip_suffix("\".into()").and_then(|l| l.strip_prefix('"')).filter(|_| indent == 8)
        {
            (of, field) = (Some(name.to_owned()), None);
        } else if indent == 16 && line.starts_with('"') {
            field = line[1..].split_once('"').map(|(name, _)| name.to_owned());
        } else if let (Some(of), Some(text)) = (&of, description(line)) {
            match (indent, &field) {
                (12, None) => drop(texts.insert(of.clone(), text)),
                (20, Some(field)) => drop(texts.entry(format!("{of}\t{field}")).or_insert(text)),
                _ => {}
            }
        }
    }
}

fn description(line: &str) -> Option<String> {
    if let Some(rest) = line.strip_prefix("\"description\": \"") {
        return unescaped(rest);
    }
    unescaped(line.split_once(".insert(\"description\".into(), \"")?.1)
}

/// A Rust string literal up to its closing quote.
fn unescaped(literal: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = literal.chars();
    loop {
        match chars.next()? {
            '"' => return Some(out),
            '\\' => match chars.next()? {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                'u' => {
                    let code: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    out.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
                }
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
}
