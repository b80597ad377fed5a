//! A disk so small that a test can fill it: a file system in memory, mounted inside a [`crate::workdir::WorkDir`].
//!
//! Whatever a test leaves mounted the janitor takes out, once nobody runs there any more.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::parts::Account;

/// What fills it.
const FILLER: &str = ".filler";
const CHUNK: usize = 1 << 16;

/// The disk.
#[derive(Debug)]
pub struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Mounts an empty one of `mib` MiB on the directory `place`, for `owner` alone (or for us, where we are not root).
    pub fn mount(place: &Path, mib: u32, owner: Option<&Account>) -> Result<Self> {
        let owner = owner.map_or_else(String::new, |owner| {
            format!(",uid={},gid={}", owner.uid, owner.gid)
        });
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={mib}m,mode=0700{owner}"))
            .arg("trunkline-small-disk")
            .arg(place);
        succeed(&mut command)?;
        Ok(Self {
            place: place.to_owned(),
        })
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) -> Result<()> {
        let path = self.place.join(FILLER);
        let writing = || format!("filling {}", path.display());
        let mut file = File::create(&path).with_context(writing)?;
        let chunk = [b'x'; CHUNK];
        let mut length = CHUNK;
        while length > 0 {
            match file.write(&chunk[..length]) {
                Ok(written) => ensure!(written > 0, "{} takes nothing", path.display()),
                Err(error) if error.kind() == ErrorKind::StorageFull => length /= 2,
                Err(error) => bail!("{}: {error}", writing()),
            }
        }
        Ok(())
    }

    /// Makes room again.
    pub fn make_room(&self) -> Result<()> {
        let path = self.place.join(FILLER);
        std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
    }

    /// Takes the disk out; what was there before is there again.
    pub fn unmount(self) -> Result<()> {
        succeed(Command::new("umount").arg(&self.place))
    }
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("running {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?}: {said} (mounting needs root, in a container CAP_SYS_ADMIN)"
    );
    Ok(())
}
