//! Files and directories as they are put on a disk: whole at any moment, there after a power cut, readable by those who may
//! read PostgreSQL's own. It does not know what is in them.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A configuration file may be this long: 16 MiB.
const LONGEST: u64 = 1 << 24;

/// What to do about what a system refuses.
const ADVICE: [(io::ErrorKind, &str); 6] = [
    (io::ErrorKind::PermissionDenied, OWN_IT),
    (io::ErrorKind::ReadOnlyFilesystem, OWN_IT),
    (io::ErrorKind::StorageFull, MAKE_ROOM),
    (io::ErrorKind::QuotaExceeded, MAKE_ROOM),
    (io::ErrorKind::NotFound, "its directory must exist"),
    (
        io::ErrorKind::ResourceBusy,
        "it cannot be replaced where it is a mount of its own: mount its directory instead",
    ),
];
const OWN_IT: &str = "the agent's user must own it and its directory";
const MAKE_ROOM: &str = "make room on this file system; nothing was changed";

/// What could not be done with a file, and what to do about it.
#[derive(Debug, Error)]
pub enum FilesError {
    /// The system refused.
    #[error("{doing} {}: {source}; {advice}", path.display())]
    System {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// What is there, or would be, is not right.
    #[error("{}: {words}; {advice}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        words: String,
        /// What to do.
        advice: &'static str,
    },
    /// A program that had to be asked gave no answer.
    #[error(transparent)]
    Program(#[from] super::answer::AnswerError),
}

impl FilesError {
    pub(super) fn system(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let known = ADVICE.iter().find(|(kind, _)| *kind == source.kind());
        let advice = known.map_or("what was there before is still there", |(_, advice)| advice);
        Self::System {
            doing,
            path: path.to_owned(),
            source,
            advice,
        }
    }

    pub(super) fn content(path: &Path, words: impl Into<String>, advice: &'static str) -> Self {
        Self::Content {
            path: path.to_owned(),
            words: words.into(),
            advice,
        }
    }
}

/// Whether a file is another one than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Changed {
    /// It is.
    Yes,
    /// It was so already.
    No,
}

impl Changed {
    /// Whether any of two is.
    pub const fn or(self, other: Self) -> Self {
        match self {
            Self::Yes => Self::Yes,
            Self::No => other,
        }
    }
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Exactly these bits.
    Exactly(u32),
    /// As it was, or as the process makes files.
    Usual,
}

impl Rights {
    /// The rights of a file at `path`: inside of the data directory those of PostgreSQL's own, 0600, or 0640 where the
    /// group may read it; elsewhere the usual ones.
    #[must_use]
    pub fn beside(data: &Path, path: &Path) -> Self {
        if !path.starts_with(data) {
            return Self::Usual;
        }
        let group_reads =
            fs::metadata(data).is_ok_and(|data| data.permissions().mode() & 0o050 == 0o050);
        Self::Exactly(if group_reads { 0o640 } else { 0o600 })
    }
}

/// What is in a file; `None` if there is none.
///
/// # Errors
///
/// As the system says; also if it is no ordinary file, or longer than 16 MiB.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FilesError> {
    let refused = |error| FilesError::system("reading", path, error);
    let file = match trunkline_io::files::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(error)),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(refused)?;
    if bytes.len() as u64 > LONGEST {
        return Err(FilesError::content(
            path,
            "it is longer than 16 MiB",
            "a configuration file is shorter",
        ));
    }
    Ok(Some(bytes))
}

/// What is in a file, as text: bytes that are none become `\u{FFFD}`.
///
/// # Errors
///
/// As [`read`].
pub fn read_text(path: &Path) -> Result<Option<String>, FilesError> {
    Ok(read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Puts `bytes` in the place of the file at `path`, unless they are there already. Where `path` is a symbolic link, what it
/// leads to is replaced.
///
/// # Errors
///
/// As the system says; what was there before is still there then.
pub fn put(path: &Path, bytes: &[u8], rights: Rights) -> Result<Changed, FilesError> {
    if read(path)?.as_deref() == Some(bytes) {
        return Ok(Changed::No);
    }
    // A link that leads nowhere yet is followed all the same.
    let target = fs::canonicalize(path)
        .or_else(|_| fs::read_link(path).map(|to| parent(path).join(to)))
        .unwrap_or_else(|_| path.to_owned());
    replace(&target, bytes, rights).map_err(|error| FilesError::system("writing", path, error))?;
    Ok(Changed::Yes)
}

/// Creates an empty file where there is none.
///
/// # Errors
///
/// As the system says.
pub fn touch(path: &Path, rights: Rights) -> Result<Changed, FilesError> {
    match path.try_exists() {
        Ok(true) => Ok(Changed::No),
        Ok(false) => put(path, b"", rights),
        Err(error) => Err(FilesError::system("looking for", path, error)),
    }
}

/// Removes a file, if there is one.
///
/// # Errors
///
/// As the system says.
pub fn remove(path: &Path) -> Result<Changed, FilesError> {
    match fs::remove_file(path).and_then(|()| sync(parent(path))) {
        Ok(()) => Ok(Changed::Yes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Changed::No),
        Err(error) => Err(FilesError::system("removing", path, error)),
    }
}

/// Copies a file to where none is yet, with its rights.
///
/// # Errors
///
/// As the system says.
pub fn copy(from: &Path, to: &Path) -> Result<(), FilesError> {
    let Some(bytes) = read(from)? else {
        return Ok(());
    };
    let rights = fs::metadata(from).map_or(Rights::Usual, |file| {
        Rights::Exactly(file.permissions().mode() & 0o7777)
    });
    let _ = put(to, &bytes, rights)?;
    Ok(())
}

/// The name of a file that is being written, beside the one it will be: a dot file, which does not keep a data directory
/// from being an empty one.
pub(super) fn beside(path: &Path, purpose: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".trunkline-");
    name.push(purpose);
    parent(path).join(name)
}

fn replace(path: &Path, bytes: &[u8], rights: Rights) -> io::Result<()> {
    let temporary = beside(path, "new");
    // One that was left half written may have other rights.
    let _ = fs::remove_file(&temporary);
    let written = write_new(&temporary, path, bytes, rights)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync(parent(path)));
    if written.is_err() {
        // On a full disk half a file would be in the way. After the rename it is not there.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(temporary: &Path, path: &Path, bytes: &[u8], rights: Rights) -> io::Result<()> {
    let before = match rights {
        Rights::Exactly(mode) => Some(mode),
        Rights::Usual => fs::metadata(path)
            .ok()
            .map(|old| old.permissions().mode() & 0o7777),
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(before.unwrap_or(0o666))
        .open(temporary)?;
    if let Some(mode) = before {
        // Whatever the process takes away from what it makes.
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}
