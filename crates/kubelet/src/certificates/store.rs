//! Certificates on disk, in upstream's layout: `PREFIX-DATE.pem` with the chain and then the key, and the link
//! `PREFIX-current.pem` to the newest. Either kubelet goes on with the other's files.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::CertificateError;

/// The time in which a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its beginning.
    pub not_before: Timestamp,
    /// Its end.
    pub not_after: Timestamp,
}

impl Validity {
    /// Of the first certificate of a PEM text; `None` if there is none.
    #[must_use]
    pub fn of_pem(pem: &[u8]) -> Option<Self> {
        let leaf = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).ok()?;
        Some(Self {
            not_before: Timestamp::from_second(parsed.validity.not_before.timestamp()).ok()?,
            not_after: Timestamp::from_second(parsed.validity.not_after.timestamp()).ok()?,
        })
    }

    /// Whether it holds at a time.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

/// The files of one certificate and its predecessors.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    prefix: &'static str,
}

fn wrong(path: &Path, error: impl std::fmt::Display) -> CertificateError {
    CertificateError::File { path: path.display().to_string(), message: error.to_string() }
}

impl Store {
    /// Files of `prefix` (`kubelet-client`, `kubelet-server`) in `folder`.
    #[must_use]
    pub fn new(folder: &Path, prefix: &'static str) -> Self {
        Self { folder: folder.to_path_buf(), prefix }
    }

    /// The link to the newest.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("{}-current.pem", self.prefix))
    }

    /// When the newest holds; `None` if there is none, or it is over.
    #[must_use]
    pub fn current(&self) -> Option<Validity> {
        let pem = std::fs::read(self.path()).ok()?;
        Validity::of_pem(&pem).filter(|validity| validity.holds(Timestamp::now()))
    }

    /// Stores a new one, both PEM, and links it.
    ///
    /// # Errors
    /// If it is no certificate or a file cannot be written.
    pub fn update(&self, certificate: &str, key: &str, now: Timestamp) -> Result<Validity, CertificateError> {
        let file = self.folder.join(format!("{}-{}.pem", self.prefix, now.strftime("%Y-%m-%d-%H-%M-%S")));
        let validity = Validity::of_pem(certificate.as_bytes())
            .ok_or_else(|| wrong(&file, "what was issued is no certificate"))?;
        std::fs::create_dir_all(&self.folder).map_err(|error| wrong(&self.folder, error))?;
        let write = || {
            let mut out = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&file)?;
            writeln!(out, "{}", certificate.trim_end())?;
            out.write_all(key.as_bytes())?;
            out.sync_all()
        };
        write().map_err(|error| wrong(&file, error))?;
        let link = self.path();
        let fresh = self.folder.join(format!("{}-updated.pem", self.prefix));
        let _ = std::fs::remove_file(&fresh);
        symlink(&file, &fresh).map_err(|error| wrong(&fresh, error))?;
        std::fs::rename(&fresh, &link).map_err(|error| wrong(&link, error))?;
        Ok(validity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_linked() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path(), "kubelet-client");
        assert_eq!(store.current(), None);
        let made = rcgen::generate_simple_self_signed(["n".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        for second in [0, 61] {
            store.update(&certificate, &key, Timestamp::from_second(second).unwrap()).unwrap();
        }
        assert!(store.current().is_some());
        let target = std::fs::read_link(store.path()).unwrap();
        assert!(target.ends_with("kubelet-client-1970-01-01-00-01-01.pem"), "{target:?}");
        let pem = std::fs::read_to_string(target).unwrap();
        assert!(pem.starts_with("-----BEGIN CERTIFICATE") && pem.contains("PRIVATE KEY"), "{pem}");
        assert!(store.update("no certificate", &key, Timestamp::now()).is_err());
    }
}
