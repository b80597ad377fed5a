//! One network namespace of Linux, alive for as long as it is held or a process runs in it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";

static MADE: AtomicU32 = AtomicU32::new(0);

/// A namespace without a name: nothing is left of it once this value is dropped and its processes have ended,
/// however that came about.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// Makes one. It has a name for the time of `while_named` only, which commands of `ip` need to put links in.
    pub(super) fn make(while_named: impl FnOnce(&Self, &str) -> Result<()>) -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "this test cuts network cables between namespaces, which needs root: run `make test` as root (in a \
             container: with CAP_NET_ADMIN and CAP_SYS_ADMIN)"
        );
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = Name::add(format!("trunkline-{}-{number}", std::process::id()))?;
        let path = PathBuf::from(NAMES).join(&name.0);
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let namespace = Self(file);
        namespace.run("ip link set lo up")?;
        while_named(&namespace, &name.0)?;
        Ok(namespace)
    }

    /// Moves the calling thread, and whatever it starts from now on, into the namespace.
    pub fn enter(&self) -> io::Result<()> {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }

    /// Starts a command inside.
    ///
    /// A process is born where the thread is that starts it; a thread of its own goes there for it.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let there = || {
            self.enter()?;
            command.spawn()
        };
        std::thread::scope(|scope| scope.spawn(there).join())
            .unwrap_or_else(|_panicked| Err(io::Error::other("the thread that starts it panicked")))
    }

    /// Sends `signal` to every process inside, those that are born meanwhile included; how many there were.
    pub(super) fn signal(&self, signal: Signal) -> Result<usize> {
        let mut told = BTreeSet::new();
        loop {
            let mut news = self.processes()?;
            news.retain(|pid| told.insert(pid.as_raw_nonzero()));
            if news.is_empty() {
                return Ok(told.len());
            }
            for pid in news {
                match kill_process(pid, signal) {
                    Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                    Err(error) => bail!("sending {signal:?} to {pid:?}: {error}"),
                }
            }
        }
    }

    /// Who lives inside. Namespaces are files to the kernel: the same one has the same number.
    fn processes(&self) -> Result<Vec<Pid>> {
        let own = self
            .0
            .metadata()
            .context("asking for a network namespace's number")?
            .ino();
        let listing = std::fs::read_dir("/proc").context("reading /proc")?;
        let mut found = Vec::new();
        for entry in listing {
            let path = entry.context("reading /proc")?.path();
            // Besides processes there are other files, and a process may end while it is looked at.
            let pid = path
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok())
                .and_then(Pid::from_raw);
            let inside =
                std::fs::metadata(path.join("ns/net")).is_ok_and(|there| there.ino() == own);
            if let Some(pid) = pid
                && inside
            {
                found.push(pid);
            }
        }
        Ok(found)
    }

    /// Runs a command inside to its end; its words are split at blanks.
    pub(super) fn run(&self, line: &str) -> Result<()> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().context("an empty command")?);
        command.args(words);
        self.spawn(piped(&mut command))
            .and_then(Child::wait_with_output)
            .map_err(anyhow::Error::from)
            .and_then(|output| succeeded(&output))
            .with_context(|| {
                format!("`{line}` (iproute2 and nftables are needed; `make test` installs them)")
            })
    }
}

/// A name among those of `ip netns`, taken back on drop.
struct Name(String);

impl Name {
    fn add(name: String) -> Result<Self> {
        let mut command = Command::new("ip");
        command.args(["netns", "add", &name]);
        let output = piped(&mut command)
            .output()
            .context("running `ip` (from iproute2; `make test` installs it)")?;
        succeeded(&output).with_context(|| format!("making the network namespace {name}"))?;
        Ok(Self(name))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // A name that stays behind is an empty namespace; there is nobody to tell.
        let _removed = Command::new("ip")
            .args(["netns", "delete", &self.0])
            .status();
    }
}

fn piped(command: &mut Command) -> &mut Command {
    use std::process::Stdio;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

fn succeeded(output: &std::process::Output) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}: {}",
        output.status,
        said.trim()
    );
    Ok(())
}
