//! Loopback addresses and ports that no two clusters share, in one process or in several.
//!
//! Each cluster leases a whole 127.x.y.0/24. The lease is a listening socket inside it, which the
//! kernel gives to one process only and takes back however that process ends.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail};

const LEASE_PORT: u16 = 17_017;
const LEASE_HOST: u8 = 254;
const NETWORKS: u16 = 16_000;

/// A leased 127.x.y.0/24, given back on drop.
#[derive(Debug)]
pub struct Loopback {
    second: u8,
    third: u8,
    _lease: TcpListener,
}

impl Loopback {
    /// Leases a network nobody else holds.
    pub fn lease() -> Result<Self> {
        // Starting somewhere else in each process keeps a new cluster away from the addresses
        // that a cluster which just ended may still be letting go of.
        let start = u16::try_from(std::process::id() % u32::from(NETWORKS))?;
        for step in 0..NETWORKS {
            let number = (start + step) % NETWORKS;
            // 127.64.1.0 to 127.127.250.0: far from what people use by hand.
            let second = 64 + u8::try_from(number / 250)?;
            let third = 1 + u8::try_from(number % 250)?;
            let address = Ipv4Addr::new(127, second, third, LEASE_HOST);
            if let Ok(lease) = TcpListener::bind((address, LEASE_PORT)) {
                return Ok(Self {
                    second,
                    third,
                    _lease: lease,
                });
            }
        }
        bail!("no network between 127.64.1.0/24 and 127.127.250.0/24 could be leased")
    }

    /// The network's address with `host` as its last number.
    #[must_use]
    pub fn host(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.second, self.third, host)
    }

    /// A free port of `host`: `preferred`, or the next one above it that nobody listens on (a
    /// server on 0.0.0.0 takes a port of every loopback address).
    pub fn free(&self, host: u8, preferred: u16) -> Result<SocketAddr> {
        let address = self.host(host);
        (preferred..preferred.saturating_add(200))
            .map(|port| SocketAddr::from((address, port)))
            .find(|candidate| TcpListener::bind(candidate).is_ok())
            .with_context(|| format!("no free port on {address} from {preferred} up"))
    }
}

/// Who listens on `port` of 127.0.0.1 or of every address, as "NAME (pid N)"; nobody if it cannot
/// be seen, as with another user's process.
#[must_use]
pub fn listener(port: u16) -> Option<String> {
    let inode = listening_inode(port)?;
    let socket = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes.map(|process| process.path()).find_map(|process| {
        // Besides the processes there are names, like `self`, that lead to one of them.
        let pid: u32 = process.file_name()?.to_str()?.parse().ok()?;
        let files = std::fs::read_dir(process.join("fd"))
            .ok()?
            .filter_map(Result::ok);
        let mut links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        links.find(|link| link.as_os_str() == socket.as_str())?;
        let name = std::fs::read_to_string(process.join("comm")).ok()?;
        Some(format!("{} (pid {pid})", name.trim()))
    })
}

/// The inode of the listening socket, from the kernel's table: address and port in hexadecimal in
/// the second field, the state (0A is LISTEN) in the fourth, the inode in the tenth.
fn listening_inode(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let text: String = tables
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .collect();
    let ending = format!(":{port:04X}");
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let everywhere =
            local.trim_start_matches('0').starts_with(':') || local.starts_with("0100007F");
        (local.ends_with(&ending) && everywhere && *state == "0A").then(|| (*inode).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leases_never_share_a_network() {
        let (one, other) = (Loopback::lease().unwrap(), Loopback::lease().unwrap());
        assert_ne!(one.host(1), other.host(1));
    }

    #[test]
    fn the_process_that_listens_on_a_port_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let who = listener(taken.local_addr().unwrap().port()).unwrap();
        assert!(
            who.ends_with(&format!("(pid {})", std::process::id())),
            "{who}"
        );
    }

    #[test]
    fn a_port_somebody_listens_on_is_passed_over() {
        let network = Loopback::lease().unwrap();
        let first = network.free(1, 5432).unwrap();
        let _taken = TcpListener::bind(first).unwrap();
        let second = network.free(1, first.port()).unwrap();
        assert!(second.port() > first.port());
    }
}
