//! The project's own chores: `cargo xtask tidy | lines | schema | flags`.

mod flags;
mod schema;
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
        Some("tidy") if !tidy::run(root) => return ExitCode::FAILURE,
        Some("tidy") => {}
        Some("lines") => tidy::lines(root),
        Some("schema") => {
            if let Err(error) = schema::run(&arguments[1..]) {
                eprintln!("xtask: {error}");
                return ExitCode::FAILURE;
            }
        }
        Some("flags") => {
            if let Err(error) = flags::run(root) {
                eprintln!("xtask: {error}");
                return ExitCode::FAILURE;
            }
        }
        _ => {
            eprintln!("usage: cargo xtask tidy | lines | flags | schema [DIR]");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
