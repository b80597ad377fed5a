//! Reading files that people write, and keeping small ones of our own.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// A file may be this long.
const LONGEST: u64 = 1 << 20;

/// Reads a file of text: a configuration, or one of our own.
///
/// # Errors
/// As the system says; also if the file is larger than 1 MiB or no UTF-8.
pub fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(LONGEST + 1)
        .read_to_string(&mut text)?;
    if read as u64 > LONGEST {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than 1 MiB",
        ));
    }
    Ok(text)
}

/// Puts `text` in the place of the file at `path`, which is whole at any moment: the old one or the new one.
///
/// # Errors
/// As the system says.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}
