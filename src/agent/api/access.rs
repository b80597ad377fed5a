//! Who may change something (contract 2.6): by address, then by password.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use subtle::ConstantTimeEq as _;
use tokio::net::lookup_host;
use tokio::time::timeout;
use trunkline_core::config::agent::Rest;
use trunkline_core::rest::request::Change;
use trunkline_core::rest::{Kind, Reply, Told};

/// How long the names of an allowlist may take to be resolved, all of them.
const LOOKUP: Duration = Duration::from_secs(1);

/// What a request that may not be made is answered with; `None` if it may.
pub(super) async fn refusal(
    change: Change,
    client: IpAddr,
    authorization: Option<&[u8]>,
    rest: &Rest,
    told: &Told,
) -> Option<Reply> {
    if !is_allowed(change, client, rest, told).await {
        return Some(Reply::sentence(403, "Access is denied"));
    }
    let (user, password) = rest.authentication.as_ref()?;
    let Some(header) = authorization else {
        return Some(unauthorized("no auth header received"));
    };
    let wanted = BASE64_STANDARD.encode(format!("{user}:{}", password.reveal()));
    let given = header.strip_prefix(b"Basic ");
    let right = given.is_some_and(|given| bool::from(given.ct_eq(wanted.as_bytes())));
    (!right).then(|| unauthorized("not authenticated"))
}

fn unauthorized(words: &str) -> Reply {
    Reply::Text {
        code: 401,
        kind: Kind::Html,
        header: Some(("WWW-Authenticate", "Basic realm=\"Patroni\"".to_owned())),
        body: words.to_owned(),
    }
}

async fn is_allowed(change: Change, client: IpAddr, rest: &Rest, told: &Told) -> bool {
    let members_too = rest.allowlist_include_members && change.admits_members();
    let listed = rest.allowlist.as_deref().unwrap_or_default();
    if listed.is_empty() && !members_too {
        return true;
    }
    let client = client.to_canonical();
    if listed.iter().any(|entry| contains(entry, client)) {
        return true;
    }
    let members: Vec<String> = if members_too { hosts(told) } else { Vec::new() };
    if members.iter().any(|entry| contains(entry, client)) {
        return true;
    }
    let names = listed.iter().chain(&members);
    let names = names.filter(|entry| entry.parse::<IpAddr>().is_err() && !entry.contains('/'));
    let names: Vec<&String> = names.collect();
    timeout(LOOKUP, is_one_of(&names, client))
        .await
        .unwrap_or(false)
}

/// The hosts of the REST APIs members publish.
fn hosts(told: &Told) -> Vec<String> {
    let members = told.view.value().map(|view| view.members.values());
    let members = members.into_iter().flatten();
    members
        .filter_map(|member| member.api.as_ref())
        .map(|api| api.host.to_string())
        .collect()
}

async fn is_one_of(names: &[&String], client: IpAddr) -> bool {
    for name in names {
        if let Ok(mut found) = lookup_host((name.as_str(), 0)).await
            && found.any(|address| address.ip().to_canonical() == client)
        {
            return true;
        }
    }
    false
}

/// Whether an entry is this address, or a network it is in: `10.0.0.0/8`.
fn contains(entry: &str, client: IpAddr) -> bool {
    let (network, bits) = match entry.split_once('/') {
        None => (entry, None),
        Some((network, bits)) => match bits.parse::<u32>() {
            Ok(bits) => (network, Some(bits)),
            Err(_) => return false,
        },
    };
    let Ok(network) = network.parse::<IpAddr>() else {
        return false;
    };
    let (network, client, width) = match (network.to_canonical(), client) {
        (IpAddr::V4(network), IpAddr::V4(client)) => {
            (u128::from(network.to_bits()), client.to_bits().into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(client)) => (network.to_bits(), client.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let Some(free) = u32::checked_sub(width, bits.unwrap_or(width)) else {
        return false;
    };
    // A shift by all bits there are is none.
    (network ^ client).checked_shr(free).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_an_address_or_a_network() {
        let inside = |entry: &str, client: &str| contains(entry, client.parse().unwrap());
        for (entry, client, expected) in [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.0.0.0/8", "10.200.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "11.0.0.1", true),
            ("10.1.2.3/32", "10.1.2.3", true),
            ("10.1.2.3/33", "10.1.2.3", false),
            ("10.1.2.3/x", "10.1.2.3", false),
            ("::/0", "fe80::1", true),
            ("fe80::/10", "fe80::1", true),
            ("fe80::/10", "10.0.0.1", false),
            ("::ffff:10.1.2.3", "10.1.2.3", true),
            ("localhost", "127.0.0.1", false),
        ] {
            assert_eq!(inside(entry, client), expected, "{entry} {client}");
        }
    }
}
