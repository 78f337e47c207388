//! The image of a pod's sandbox: one file of about a kilobyte, put into an OCI archive here, so that a cluster
//! needs no registry to begin with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{During, Error};

/// The reference that containerd is told to use.
pub const REFERENCE: &str = "registry.k8s.io/pause:3.10.2";

const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));

/// Writes the program itself, as the first process of nodes.
pub fn write_program(path: &Path) -> Result<(), Error> {
    if fs::read(path).is_ok_and(|there| there == PROGRAM) {
        return Ok(());
    }
    crate::record::write_whole(path, PROGRAM, 0o755)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .during(format!("making {} executable", path.display()))
}

/// An OCI archive with the image under [`REFERENCE`].
pub fn archive() -> Vec<u8> {
    let layer = tar(&[("pause", PROGRAM, 0o755)]);
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    })
    .to_string()
    .into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(&layer), "size": layer.len()}],
    })
    .to_string()
    .into_bytes();
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(&manifest), "size": manifest.len(),
            "platform": {"architecture": architecture, "os": "linux"},
            "annotations": {"io.containerd.image.name": REFERENCE, "org.opencontainers.image.ref.name": REFERENCE},
        }],
    })
    .to_string()
    .into_bytes();
    let blob = |content: &[u8]| format!("blobs/sha256/{}", hex(content));
    tar(&[
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644),
        ("index.json", &index, 0o644),
        (&blob(&manifest), &manifest, 0o644),
        (&blob(&config), &config, 0o644),
        (&blob(&layer), &layer, 0o644),
    ])
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect()
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex(content))
}

/// A ustar archive of plain files (POSIX.1-1988), all of them root's and of the epoch, so that builds are equal.
fn tar(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content, mode) in files {
        let mut header = [0u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", content.len()));
        put(136, "00000000000");
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\u{0}00");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_names_what_it_holds() {
        let archive = archive();
        assert_eq!(archive.len() % 512, 0);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.tar");
        fs::write(&file, &archive).unwrap();
        let list = std::process::Command::new("tar").arg("-tf").arg(&file).output().unwrap();
        let names = String::from_utf8(list.stdout).unwrap();
        assert_eq!(names.lines().count(), 5, "{names}");
        let status = std::process::Command::new("tar")
            .arg("-xf")
            .arg(&file)
            .arg("-C")
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(status.success());
        for blob in fs::read_dir(dir.path().join("blobs/sha256")).unwrap().flatten() {
            assert_eq!(hex(&fs::read(blob.path()).unwrap()), blob.file_name().to_str().unwrap());
        }
    }
}
