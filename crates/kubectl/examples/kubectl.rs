//! `kubectl` alone, without the rest of keelson.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubectl::run(std::env::args().skip(1).collect())
}
