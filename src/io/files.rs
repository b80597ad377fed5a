//! Reading files that people write, and keeping small ones of our own.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// A file may be this long.
const LONGEST: u64 = 1 << 20;

/// Opens an ordinary file to be read, and nothing else: a pipe would keep whoever reads it waiting for a writer.
///
/// # Errors
/// As the system says; also if it is no ordinary file.
pub fn open(path: &Path) -> io::Result<File> {
    // To open a pipe in this way does not wait, and an ordinary file is read as ever.
    let unwaiting = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(unwaiting)
        .open(path)?;
    let kind = file.metadata()?;
    if kind.is_dir() {
        return Err(Errno::ISDIR.into());
    }
    if !kind.is_file() {
        let words = "it is no ordinary file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
    }
    Ok(file)
}

/// Reads an ordinary file of no more than `longest` bytes.
///
/// # Errors
/// As the system says; also if it is no ordinary file, or longer.
pub fn read(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(longest + 1).read_to_end(&mut bytes)?;
    if read as u64 > longest {
        let words = format!("longer than {longest} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
    }
    Ok(bytes)
}

/// Reads a file of text: a configuration, or one of our own.
///
/// # Errors
/// As the system says; also if it is no ordinary file, larger than 1 MiB or no UTF-8.
pub fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if read as u64 > LONGEST {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than 1 MiB",
        ));
    }
    Ok(text)
}

/// Puts `text` in the place of the file at `path`, which is whole at any moment: the old one or the new one. Nobody else may
/// read it.
///
/// # Errors
/// As the system says.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    // One that was left half written may have other rights.
    let _ = std::fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_kept_is_for_nobody_else_whatever_was_there_before() {
        let folder = std::env::temp_dir().join(format!("trunkline-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("kept.json");
        for left in [folder.join("kept.json.new"), path.clone()] {
            std::fs::write(&left, "left").unwrap();
            std::fs::set_permissions(&left, PermissionsExt::from_mode(0o666)).unwrap();
        }
        replace(&path, "kept").unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        let text = read_small(&path).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((text.as_str(), mode & 0o777), ("kept", 0o600));
    }
}
