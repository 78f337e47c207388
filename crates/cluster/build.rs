//! Builds the pause program, which `src/pause_image.rs` embeds.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/pause/main.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("pause");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let target = std::env::var("TARGET").unwrap_or_default();
    let flags = [
        "--edition=2024",
        "--crate-type=bin",
        "-Copt-level=z",
        "-Cpanic=abort",
        "-Cstrip=symbols",
        "-Crelocation-model=static",
        "-Cdebuginfo=0",
        "-Coverflow-checks=off",
        "-Clink-arg=-nostartfiles",
        "-Clink-arg=-nostdlib",
        "-Clink-arg=-static",
        "-Clink-arg=-Wl,--build-id=none",
        "-Clink-arg=-no-pie",
    ];
    let status = Command::new(rustc)
        .args(flags)
        .arg("--target")
        .arg(target)
        .arg("-o")
        .arg(&out)
        .arg("src/pause/main.rs")
        .status();
    match status {
        Ok(status) if status.success() => {}
        other => panic!("the pause program does not build: {other:?}"),
    }
}
