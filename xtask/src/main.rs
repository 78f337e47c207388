//! The project's own chores: `cargo xtask tidy | lines | schema`.

mod tidy;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(root) = Path::new(env!("CARGO_MANIFEST_DIR")).parent() else {
        eprintln!("xtask: the workspace's folder is not above xtask's");
        return ExitCode::FAILURE;
    };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("tidy") => tidy::run(root),
        Some("lines") => tidy::lines(root),
        _ => {
            eprintln!("usage: cargo xtask tidy | lines");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
