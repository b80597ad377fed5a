//! Emptying a data directory, and putting one aside. Whether that is allowed is known to whoever asks for it (A5).
//!
//! The directory itself stays: it may be a mount point, or in a folder the agent cannot write to. What its symbolic
//! links for WAL and tablespaces lead to is emptied with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a data directory is not as it is to be.
#[derive(Debug, Error)]
#[error("{what} {}: {source}", path.display())]
pub struct WipeError {
    /// What was being done.
    pub what: &'static str,
    /// With which path.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// Whether a data directory is missing, or has nothing at all in it.
///
/// # Errors
/// When it cannot be read, or is no directory.
pub fn is_empty(data: &Path) -> Result<bool, WipeError> {
    match fs::read_dir(data) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(failed("reading the directory", data, source)),
    }
}

/// Removes everything in a data directory, and in what it keeps elsewhere. A missing one is empty already.
///
/// # Errors
/// When something of it cannot be removed; the rest is gone then.
pub fn wipe(data: &Path) -> Result<(), WipeError> {
    for elsewhere in linked(data) {
        empty(&elsewhere)?;
    }
    empty(data)
}

/// Renames a data directory, and what it keeps elsewhere, to `<name>.failed`. An older one of that name is removed.
///
/// # Errors
/// When it cannot be renamed: a mount point cannot.
pub fn put_aside(data: &Path) -> Result<PathBuf, WipeError> {
    let links = links(data);
    let aside = rename_aside(data)?;
    for link in links {
        let Ok(target) = fs::canonicalize(aside.join(&link)) else {
            continue;
        };
        let moved = rename_aside(&target)?;
        // So that what was put aside is whole.
        let place = aside.join(&link);
        fs::remove_file(&place)
            .and_then(|()| std::os::unix::fs::symlink(&moved, &place))
            .map_err(|source| failed("leading the link elsewhere:", &place, source))?;
    }
    Ok(aside)
}

fn rename_aside(path: &Path) -> Result<PathBuf, WipeError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".failed");
    let aside = PathBuf::from(name);
    if aside.is_dir() {
        fs::remove_dir_all(&aside).map_err(|source| failed("removing", &aside, source))?;
    }
    fs::rename(path, &aside).map_err(|source| failed("putting aside", path, source))?;
    Ok(aside)
}

/// The links of a data directory that lead to directories, relative to it: for WAL and for tablespaces.
fn links(data: &Path) -> Vec<PathBuf> {
    let mut links = vec![PathBuf::from("pg_wal")];
    let tablespaces = fs::read_dir(data.join("pg_tblspc")).into_iter().flatten();
    links.extend(
        tablespaces
            .flatten()
            .map(|entry| Path::new("pg_tblspc").join(entry.file_name())),
    );
    links.retain(|link| {
        let path = data.join(link);
        path.is_symlink() && path.is_dir()
    });
    links
}

fn linked(data: &Path) -> Vec<PathBuf> {
    let targets = links(data)
        .into_iter()
        .map(|link| fs::canonicalize(data.join(link)));
    targets.flatten().collect()
}

fn empty(directory: &Path) -> Result<(), WipeError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("reading the directory", directory, source)),
    };
    for entry in entries {
        let entry = entry.map_err(|source| failed("reading the directory", directory, source))?;
        let path = entry.path();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_directory {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(|source| failed("removing", &path, source))?,
        }
    }
    Ok(())
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> WipeError {
    WipeError {
        what,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory whose WAL and whose one tablespace are elsewhere.
    fn directory() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        for made in ["data/pg_tblspc", "data/base/1", "wal", "space"] {
            fs::create_dir_all(folder.path().join(made)).unwrap();
            fs::write(folder.path().join(made).join("file"), "x").unwrap();
        }
        std::os::unix::fs::symlink(folder.path().join("wal"), data.join("pg_wal")).unwrap();
        let space = data.join("pg_tblspc/16384");
        std::os::unix::fs::symlink(folder.path().join("space"), space).unwrap();
        (folder, data)
    }

    #[test]
    fn what_is_kept_elsewhere_is_emptied_and_the_directories_stay() {
        let (folder, data) = directory();
        fs::write(folder.path().join("innocent"), "x").unwrap();
        std::os::unix::fs::symlink(folder.path().join("innocent"), data.join("link")).unwrap();
        wipe(&data).unwrap();
        for emptied in [data, folder.path().join("wal"), folder.path().join("space")] {
            assert!(
                emptied.is_dir() && is_empty(&emptied).unwrap(),
                "{emptied:?}"
            );
        }
        assert!(folder.path().join("innocent").exists());
    }

    #[test]
    fn what_is_put_aside_is_whole_and_out_of_the_way() {
        let (folder, data) = directory();
        fs::create_dir(folder.path().join("data.failed")).unwrap();
        let aside = put_aside(&data).unwrap();
        assert_eq!(aside, folder.path().join("data.failed"));
        assert!(!data.exists() && !folder.path().join("wal").exists());
        for kept in ["base/1/file", "pg_wal/file", "pg_tblspc/16384/file"] {
            assert!(aside.join(kept).is_file(), "{kept}");
        }
        assert!(is_empty(&data).unwrap());
    }
}
