//! Reading files that people write.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A configuration may be this long.
const MAX_CONFIG: u64 = 1 << 20;

/// Reads a configuration file.
///
/// # Errors
/// As the system says; also if the file is larger than 1 MiB or no UTF-8.
pub fn read_config(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(MAX_CONFIG + 1)
        .read_to_string(&mut text)?;
    if read as u64 > MAX_CONFIG {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than 1 MiB",
        ));
    }
    Ok(text)
}
