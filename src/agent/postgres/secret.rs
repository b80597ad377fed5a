//! A small file with a password, for nobody else to read, gone with its value. libpq and initdb want one; the password
//! file of patroni.yml is a running standby's, and left alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use thiserror::Error;

/// Why it could not be written.
#[derive(Debug, Error)]
#[error("writing a password for a moment to {}: {source}; the directory (TMPDIR) must be writable", path.display())]
pub struct SecretError {
    path: PathBuf,
    source: io::Error,
}

/// The file.
#[derive(Debug)]
pub struct SecretFile(PathBuf);

impl SecretFile {
    /// Writes it.
    ///
    /// # Errors
    /// As the system says.
    pub fn write(text: &str) -> Result<Self, SecretError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let (stamp, number) = (
            trunkline_io::clock::wall().as_nanosecond(),
            NUMBER.fetch_add(1, Ordering::Relaxed),
        );
        let name = format!("trunkline-{}-{stamp}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let failed = |source| SecretError {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let kept = Self(path.clone());
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(kept)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        // It may be gone; if it cannot be removed nobody else can read it.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_for_nobody_else_and_gone_with_its_value() {
        let file = SecretFile::write("s3cret").unwrap();
        let path = file.path().to_owned();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "s3cret");
        drop(file);
        assert!(!path.exists());
    }
}
