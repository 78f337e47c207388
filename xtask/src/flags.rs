//! `cargo xtask flags`: `docs/flags.md` out of the lists of flags that are known and not built.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const COMPONENTS: &[(&str, &str)] = &[
    ("kube-apiserver", "crates/kube-apiserver/src/options/unbuilt.rs"),
    ("kube-controller-manager", "crates/kube-controller-manager/src/options.rs"),
    ("kube-scheduler", "crates/kube-scheduler/src/config/options.rs"),
    ("kubelet", "crates/kubelet/src/options.rs"),
    ("kube-proxy", "crates/kube-proxy/src/config.rs"),
];

const HEAD: &str = "# Flags\nEvery component takes upstream's flags; an unknown one is an error. These are known \
and not built: refused where ignoring one would weaken security or lose data, warned of at the start elsewhere. \
Written by `cargo xtask flags`.\n";

/// Writes the page.
pub fn run(root: &Path) -> std::io::Result<()> {
    let mut page = HEAD.to_owned();
    for (component, file) in COMPONENTS {
        let text = fs::read_to_string(root.join(file))?;
        let mut flags = unbuilt(&text);
        flags.sort();
        flags.dedup();
        let _ = write!(page, "\n## {component}\n| flag | then |\n|---|---|\n");
        for (name, then) in flags {
            let _ = writeln!(page, "| `--{name}` | {then} |");
        }
    }
    fs::write(page_path(root), page)
}

fn page_path(root: &Path) -> PathBuf {
    root.join("docs/flags.md")
}

/// Names in calls such as `warn("name")` and `refuse("name")`, and in literals `name: "name" ... Unbuilt::Refuse`.
fn unbuilt(text: &str) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    for (call, then) in [("refuse(\"", "refused"), ("warn(\"", "warned of"), ("warn_bool(\"", "warned of")] {
        let parts = text.split(call).skip(1).filter_map(|part| part.split('"').next());
        found.extend(parts.map(|name| (name.to_owned(), then)));
    }
    for part in text.split("UnbuiltFlag { name: \"").skip(1) {
        let name = part.split('"').next().unwrap_or_default();
        let refused = part.split('}').next().is_some_and(|literal| literal.contains("Refuse"));
        found.push((name.to_owned(), if refused { "refused" } else { "warned of" }));
    }
    found
}
