//! hostPath volumes: the checks and creations that their types ask for.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// Checks that `path` is of the wanted type; the `OrCreate` types make what is missing.
///
/// # Errors
/// Upstream's sentence.
pub fn check(path: &Path, kind: &str) -> Result<(), String> {
    let shown = path.display();
    let found = fs::metadata(path).ok().map(|metadata| metadata.file_type());
    let create = |result: std::io::Result<()>| result.map_err(|error| error.to_string());
    let wants: (&str, fn(&fs::FileType) -> bool) = match kind {
        "" => return Ok(()),
        "DirectoryOrCreate" if found.is_none() => {
            create(fs::create_dir_all(path))?;
            return create(fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
        }
        "FileOrCreate" if found.is_none() => {
            create(fs::File::create(path).map(drop))?;
            return create(fs::set_permissions(path, fs::Permissions::from_mode(0o644)));
        }
        "Directory" | "DirectoryOrCreate" => ("directory", fs::FileType::is_dir),
        "File" | "FileOrCreate" => ("file", fs::FileType::is_file),
        "Socket" => ("socket file", FileTypeExt::is_socket),
        "CharDevice" => ("character device", FileTypeExt::is_char_device),
        "BlockDevice" => ("block device", FileTypeExt::is_block_device),
        other => return Err(format!("{other} is an invalid volume type")),
    };
    if found.is_some_and(|found| wants.1(&found)) {
        Ok(())
    } else {
        Err(format!("hostPath type check failed: {shown} is not a {}", wants.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_and_creates() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        check(&at("d"), "DirectoryOrCreate").unwrap();
        check(&at("d"), "Directory").unwrap();
        check(&at("f"), "FileOrCreate").unwrap();
        check(&at("anything"), "").unwrap();
        assert!(check(&at("f"), "Directory").unwrap_err().ends_with("f is not a directory"));
        assert!(check(&at("none"), "Socket").unwrap_err().contains("is not a socket file"));
        assert!(check(&at("d"), "File").is_err());
        check(Path::new("/dev/null"), "CharDevice").unwrap();
    }
}
