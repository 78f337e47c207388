//! `cargo xtask tidy`: the structure of the project as a test. Fails on an edge between crates that is not
//! allowed, on a file above the line limit, on a module without `//!`, on a dependency that does not come from
//! `[workspace.dependencies]`, and on what must never be committed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 800;

/// What each crate may depend on, of our own. The order is that of `ARCHITECTURE.md`; nothing may look down.
const EDGES: &[(&str, &[&str])] = &[
    ("apimachinery", &[]),
    ("quota", &["apimachinery"]),
    ("api", &["apimachinery"]),
    ("cel", &["apimachinery", "api"]),
    ("policy", &["apimachinery", "api", "cel"]),
    ("etcd", &[]),
    ("streaming", &[]),
    ("component-base", &["apimachinery", "api"]),
    ("client", &["apimachinery", "api", "component-base"]),
    ("apiserver", &["apimachinery", "api", "cel", "etcd", "streaming", "component-base", "client"]),
    (
        "kube-apiserver",
        &[
            "apimachinery",
            "quota",
            "api",
            "cel",
            "policy",
            "etcd",
            "streaming",
            "component-base",
            "client",
            "apiserver",
        ],
    ),
    (
        "kube-controller-manager",
        &["apimachinery", "quota", "api", "cel", "policy", "component-base", "client"],
    ),
    ("kube-scheduler", &["apimachinery", "api", "component-base", "client"]),
    ("cri", &[]),
    ("kubelet", &["apimachinery", "api", "streaming", "component-base", "client", "cri"]),
    ("nftables", &[]),
    ("kube-proxy", &["apimachinery", "api", "component-base", "client", "nftables"]),
    ("flannel", &["apimachinery", "api", "component-base", "client", "nftables"]),
    ("coredns", &["apimachinery", "api", "component-base", "client"]),
    ("kubectl", &["apimachinery", "api", "streaming", "component-base", "client"]),
    ("dashboard", &["apimachinery", "api", "client"]),
];

/// `cluster` and `keelson` stand above all others, tests and tools beside them.
const ABOVE_ALL: &[&str] =
    &["cluster", "keelson", "differential-tests", "integration-tests", "robustness-tests", "xtask"];

/// Names that say nothing about what a crate is.
const NO_NAMES: &[&str] = &["common", "util", "utils", "core", "helpers", "shared"];

/// Runs every rule and prints each finding; false if there is one.
pub fn run(root: &Path) -> bool {
    let mut findings = Vec::new();
    for manifest in manifests(root) {
        check_manifest(root, &manifest, &mut findings);
    }
    let files = sources(root);
    for file in &files {
        check_source(root, file, &mut findings);
    }
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    if !findings.is_empty() {
        eprintln!("tidy: {} findings", findings.len());
        return false;
    }
    println!("tidy: {} files, nothing to say", files.len());
    true
}

/// Lines of Rust a crate, tests in their own files apart.
pub fn lines(root: &Path) {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for file in sources(root) {
        let shown = relative(root, &file);
        let name = shown.split('/').take(2).collect::<Vec<_>>().join("/");
        let count = fs::read_to_string(&file).unwrap_or_default().lines().count();
        let entry = counts.entry(name).or_default();
        if shown.contains("/tests") || shown.ends_with("tests.rs") {
            entry.1 += count;
        } else {
            entry.0 += count;
        }
    }
    let (mut code, mut tests) = (0, 0);
    for (name, (c, t)) in &counts {
        println!("{name:40} {c:7} {t:7}");
        code += c;
        tests += t;
    }
    println!("{:40} {code:7} {tests:7}", "all (code, tests in files of their own)");
}

fn manifests(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["crates", "tests"] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        found.extend(entries.flatten().map(|e| e.path().join("Cargo.toml")).filter(|p| p.exists()));
    }
    found.push(root.join("xtask/Cargo.toml"));
    found.sort();
    found
}

fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

fn check_manifest(root: &Path, manifest: &Path, findings: &mut Vec<String>) {
    let text = fs::read_to_string(manifest).unwrap_or_default();
    let shown = relative(root, manifest);
    let mut section = String::new();
    let mut name = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(head) = line.strip_prefix('[') {
            section = head.trim_end_matches(']').to_owned();
        } else if section == "package" && line.starts_with("name") {
            name = line.split('"').nth(1).unwrap_or_default().to_owned();
            if NO_NAMES.contains(&name.as_str()) {
                findings.push(format!("{shown}: a crate named {name} says nothing"));
            }
        } else if section.ends_with("dependencies") && line.contains('=') {
            check_dependency(&shown, &name, &section, line, findings);
        }
    }
}

fn check_dependency(shown: &str, name: &str, section: &str, line: &str, findings: &mut Vec<String>) {
    let dependency = line.split(['=', '.', ' ']).next().unwrap_or_default();
    if !line.contains("workspace = true") {
        findings.push(format!("{shown}: {dependency} does not come from [workspace.dependencies]"));
    }
    let ours = EDGES.iter().any(|(n, _)| *n == dependency) || ABOVE_ALL.contains(&dependency);
    if !ours || ABOVE_ALL.contains(&name) || section == "dev-dependencies" {
        return;
    }
    match EDGES.iter().find(|(n, _)| *n == name) {
        None => findings.push(format!("{shown}: {name} is not in the list of crates of xtask/src/tidy.rs")),
        Some((_, allowed)) if !allowed.contains(&dependency) => {
            findings.push(format!("{shown}: {name} may not depend on {dependency}"));
        }
        Some(_) => {}
    }
}

fn sources(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["crates", "tests", "xtask", "benches", "examples"] {
        walk(&root.join(folder), &mut found);
    }
    found.sort();
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() && path.file_name().is_none_or(|n| n != "target") {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn check_source(root: &Path, file: &Path, findings: &mut Vec<String>) {
    let text = fs::read_to_string(file).unwrap_or_default();
    let shown = relative(root, file);
    let count = text.lines().count();
    if count > MAX_LINES {
        findings.push(format!("{shown}: {count} lines, more than {MAX_LINES}"));
    }
    let first = text.lines().find(|l| !l.trim().is_empty() && !l.starts_with("#!"));
    if !first.is_some_and(|l| l.starts_with("//!")) {
        findings.push(format!("{shown}: does not begin with //!"));
    }
    for (number, line) in text.lines().enumerate() {
        for word in forbidden(line) {
            findings.push(format!("{shown}:{}: {word}", number + 1));
        }
    }
}

/// Unfinished marks and paths of one machine.
fn forbidden(line: &str) -> Vec<&'static str> {
    let marks = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("FIX", "ME"),
        concat!("/work", "/main"),
    ];
    marks.into_iter().filter(|m| line.contains(m)).collect()
}
