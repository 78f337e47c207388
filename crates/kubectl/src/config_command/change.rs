//! What changes the kubeconfig: the file that holds the entry, or the first one that there is.

use std::path::{Path, PathBuf};

use api::{Value, value};

use crate::args::Flags;
use crate::config;
use crate::error::{Error, Result};
use crate::output::{self, yaml};

/// A file and what is in it.
struct File {
    path: PathBuf,
    tree: Value,
}

fn files(flags: &Flags) -> Result<Vec<File>> {
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let wrong =
            |e: &dyn std::fmt::Display| Error::Plain(format!("error loading config file {path:?}: {e}"));
        let tree = match text.trim() {
            "" => value!({"apiVersion": "v1", "kind": "Config"}),
            text => api::yaml::parse(text.as_bytes()).map_err(|e| wrong(&e))?,
        };
        Ok(File { path, tree })
    };
    config::files(flags).into_iter().map(read).collect()
}

/// The place of the file with that entry.
fn holder(files: &[File], list: &str, name: &str) -> Option<usize> {
    files.iter().position(|f| f.tree.list_at(&[list]).iter().any(|i| i.str_at(&["name"]) == name))
}

fn save(path: &Path, tree: &Value) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let mut file =
        std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(yaml::to_string(tree).as_bytes())?;
    file.sync_data()?;
    Ok(std::fs::rename(&part, path)?)
}

/// The current context is that of the first file which names one, else the first file's.
fn current_file(files: &[File]) -> Option<usize> {
    let named = files.iter().position(|f| !f.tree.str_at(&["current-context"]).is_empty());
    named.or(if files.is_empty() { None } else { Some(0) })
}

fn no_files() -> Error {
    Error::plain("there is no kubeconfig")
}

pub fn use_context(flags: &Flags, name: &str) -> Result<()> {
    let mut files = files(flags)?;
    if holder(&files, "contexts", name).is_none() {
        return Err(Error::Plain(format!("no context exists with the name: {name:?}")));
    }
    let at = current_file(&files).ok_or_else(no_files)?;
    files[at].tree.set_at(&["current-context"], name);
    save(&files[at].path, &files[at].tree)?;
    output::say(format!("Switched to context {name:?}."));
    Ok(())
}

/// `--cluster`, `--user` and `--namespace` into a context, a new one where there is none of that name.
pub fn set_context(flags: &Flags, name: Option<&str>) -> Result<()> {
    let mut files = files(flags)?;
    let current = current_file(&files).map(|at| files[at].tree.str_at(&["current-context"]).to_owned());
    let name = match (name, flags.on("current")) {
        (Some(name), false) => name.to_owned(),
        (None, true) => {
            current.filter(|c| !c.is_empty()).ok_or_else(|| Error::plain("no current context is set"))?
        }
        _ => return Err(Error::plain("you must specify a non-empty context name or --current")),
    };
    let found = holder(&files, "contexts", &name);
    let at = found.or_else(|| current_file(&files)).ok_or_else(no_files)?;
    let tree = &mut files[at].tree;
    if found.is_none() {
        let mut list = tree.list_at(&["contexts"]).to_vec();
        list.push(value!({"name": (name.as_str()), "context": {}}));
        tree.set_at(&["contexts"], Value::List(list));
    }
    for item in super::items(tree, "contexts").filter(|i| i.str_at(&["name"]) == name) {
        for flag in ["cluster", "user", "namespace"].into_iter().filter(|f| flags.given(f)) {
            item.set_at(&["context", flag], flags.text(flag));
        }
    }
    save(&files[at].path, &files[at].tree)?;
    output::say(format!("Context {name:?} {}.", if found.is_some() { "modified" } else { "created" }));
    Ok(())
}

pub fn rename_context(flags: &Flags, old: &str, new: &str) -> Result<()> {
    let mut files = files(flags)?;
    if holder(&files, "contexts", new).is_some() {
        return Err(Error::Plain(format!(
            "cannot rename the context {old:?}, the context {new:?} already exists"
        )));
    }
    let at = holder(&files, "contexts", old).ok_or_else(|| {
        Error::Plain(format!("cannot rename the context {old:?}, it's not in the kubeconfig"))
    })?;
    for item in super::items(&mut files[at].tree, "contexts").filter(|i| i.str_at(&["name"]) == old) {
        item.set_at(&["name"], new);
    }
    for file in files.iter_mut() {
        if file.tree.str_at(&["current-context"]) == old {
            file.tree.set_at(&["current-context"], new);
            save(&file.path, &file.tree)?;
        }
    }
    save(&files[at].path, &files[at].tree)?;
    output::say(format!("Context {old:?} renamed to {new:?}."));
    Ok(())
}

/// Takes an entry away; what refers to it stays.
pub fn delete(flags: &Flags, list: &str, name: &str) -> Result<()> {
    let mut files = files(flags)?;
    let what = list.trim_end_matches('s');
    let at = holder(&files, list, name).ok_or_else(|| {
        let path = current_file(&files).map(|at| files[at].path.display().to_string()).unwrap_or_default();
        Error::Plain(format!("cannot delete {what} {name}, not in {path}"))
    })?;
    let File { path, tree } = &mut files[at];
    if let Some(items) = tree.get_mut(list).and_then(Value::as_list_mut) {
        items.retain(|i| i.str_at(&["name"]) != name);
    }
    if list == "contexts" && tree.str_at(&["current-context"]) == name {
        eprintln!(
            "warning: this removed your active context, use \"kubectl config use-context\" to select a different one"
        );
    }
    save(path, tree)?;
    output::say(format!("deleted {what} {name} from {}", path.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_made_used_renamed_and_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::fs::write(&file, "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n- name: a\n  context: {cluster: c, user: u}\n").unwrap();
        let flags = |more: &[&str]| {
            let first = format!("--kubeconfig={}", file.display());
            let words: Vec<String> =
                [first].into_iter().chain(more.iter().map(|w| (*w).to_owned())).collect();
            Flags::parse("config", "current", &words).unwrap()
        };
        let tree = || files(&flags(&[])).unwrap().remove(0).tree;
        set_context(&flags(&["--current", "--namespace=x"]), None).unwrap();
        assert_eq!(tree().list_at(&["contexts"])[0].str_at(&["context", "namespace"]), "x");
        set_context(&flags(&["--cluster=d"]), Some("b")).unwrap();
        use_context(&flags(&[]), "b").unwrap();
        rename_context(&flags(&[]), "b", "z").unwrap();
        assert_eq!(tree().str_at(&["current-context"]), "z");
        assert!(use_context(&flags(&[]), "b").is_err());
        delete(&flags(&[]), "contexts", "z").unwrap();
        assert_eq!(tree().list_at(&["contexts"]).len(), 1);
    }
}
