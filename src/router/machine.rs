//! Which addresses are this machine's own: a member's unix socket is within reach only where the member is.
//!
//! The kernel is asked; nothing is sent. What follows from the answer is not decided here.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use trunkline_core::Moment;
use trunkline_io::clock;

/// How long an answer is good for: addresses move between machines, though not often.
const AGAIN: Duration = Duration::from_secs(30);

/// The addresses that were asked for, and whether they are ours.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    known: BTreeMap<IpAddr, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    is_ours: bool,
    due: Moment,
}

impl Machine {
    /// Whether `ip` is one of this machine's. An answer that cannot be had now (no descriptors) is the last one.
    pub(crate) fn has(&mut self, ip: IpAddr) -> bool {
        let now = clock::now();
        let had = self.known.get(&ip).copied();
        if let Some(had) = had.filter(|had| now < had.due) {
            return had.is_ours;
        }
        // Members come and go: what is not asked for any more is not kept for ever.
        self.known.retain(|_, known| now < known.due.after(AGAIN));
        let is_ours = match is_ours(ip) {
            Ok(is_ours) => is_ours,
            Err(error) => {
                tracing::debug!(%ip, "asking whether an address is this machine's failed: {error}");
                had.is_some_and(|had| had.is_ours)
            }
        };
        if had.is_none_or(|had| had.is_ours != is_ours) {
            tracing::info!(%ip, is_ours, "a member with a unix socket: whether it is on this machine");
        }
        let due = now.after(AGAIN);
        self.known.insert(ip, Known { is_ours, due });
        is_ours
    }
}

/// The kernel speaks to an address of its own from that very address.
fn is_ours(ip: IpAddr) -> io::Result<bool> {
    if ip.is_loopback() {
        return Ok(true);
    }
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    // Port 9 is "discard"; a UDP socket that is connected has sent nothing.
    match socket.connect(SocketAddr::new(ip, 9)) {
        Ok(()) => Ok(socket.local_addr()?.ip() == ip),
        Err(error) if error.kind() == io::ErrorKind::NetworkUnreachable => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_ours_and_an_address_for_documents_is_not() {
        let mut machine = Machine::default();
        assert!(machine.has(Ipv4Addr::new(127, 3, 2, 1).into()));
        assert!(machine.has(Ipv6Addr::LOCALHOST.into()));
        assert!(!machine.has(Ipv4Addr::new(203, 0, 113, 7).into()));
    }
}
