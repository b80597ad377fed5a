//! A wire whose machines are whole ones: each node of PostgreSQL has a member of etcd beside it.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;

use super::Wire;
use crate::network::{Network, Place};

/// How many members of etcd there are at most; their hosts' numbers begin at 1.
const MEMBERS: u8 = 9;
/// From an etcd member's number to that of the node beside it.
const BESIDE: u8 = 10;

/// A wire where the first member of etcd lives on the first node's machine, and so on: who cuts that off cuts off
/// both.
#[derive(Debug, Clone)]
pub struct Machines(Wire);

impl From<Wire> for Machines {
    fn from(wire: Wire) -> Self {
        Self(wire)
    }
}

impl Network for Machines {
    fn host(&self, host: u8) -> Ipv4Addr {
        self.0.host(machine(host))
    }

    fn free(&self, host: u8, preferred: u16) -> Result<SocketAddr> {
        self.0.free(machine(host), preferred)
    }

    fn place(&self, host: u8) -> Result<Place> {
        self.0.place(machine(host))
    }

    fn range(&self) -> &'static str {
        self.0.range()
    }
}

const fn machine(host: u8) -> u8 {
    match host {
        1..=MEMBERS => host + BESIDE,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::HUB;

    #[test]
    fn a_member_of_etcd_has_the_address_of_the_node_beside_it() {
        let machines = Machines::from(Wire::lay().unwrap());
        assert_eq!(machines.host(1), machines.host(11));
        assert_eq!(machines.host(3), machines.host(13));
        assert_ne!(machines.host(1), machines.host(2));
        assert_eq!(machines.host(HUB), Wire::lay().unwrap().host(HUB));
    }
}
