//! The etcd section, with exactly the keys that patroni.yml has for it.

use super::defaults::ETCD_PORT;
use super::{Endpoint, Etcd, Secret};
use crate::config::node::{Node, Value, quoted};
use crate::config::read::{Section, choice};
use crate::config::value::{Wrong, boolean, host_and_port, password, path, text, whole};

/// Reads `etcd3`, or else `etcd`, of the section it stands in.
pub(in crate::config) fn section(parent: &mut Section<'_, '_>, expected: &str) -> Option<Etcd> {
    let (v3, v2) = (parent.has("etcd3"), parent.has("etcd"));
    if v3 && v2 {
        let what = "has no effect: etcd3 is used";
        parent.warn("etcd", what, "leave one of them out");
    } else if !v3 && !v2 {
        parent.missing("etcd3", expected);
    }
    // Both are taken, so that neither counts as unknown.
    let (v3_node, v2_node) = (parent.take("etcd3"), parent.take("etcd"));
    let (key, node) = if v3 {
        ("etcd3", v3_node)
    } else {
        ("etcd", v2_node)
    };
    let mut section = parent.section_at(key, node?)?;
    let etcd = understand(&mut section);
    section.finish();
    etcd.map(|etcd| Etcd {
        version2_section: !v3,
        ..etcd
    })
}

/// What the scheme, the user and the password of a URL would override.
struct Place {
    endpoints: Vec<Endpoint>,
    user: Option<(String, String)>,
}

fn understand(section: &mut Section<'_, '_>) -> Option<Etcd> {
    let tls = section.value("protocol", protocol).unwrap_or(false);
    let place = place(section, tls);
    let mut etcd = Etcd {
        endpoints: Vec::new(),
        cacert: section.value("cacert", path),
        cert: section.value("cert", path),
        key: section.value("key", path),
        username: section.value("username", text),
        password: section.value("password", password).map(Secret::new),
        version2_section: false,
    };
    // Members are never taken from what etcd advertises: the hosts written are the hosts asked.
    let _ = section.value("use_proxies", boolean);
    let Place { endpoints, user } = place?;
    if let Some((name, password)) = user {
        etcd.username = Some(name);
        etcd.password = Some(Secret::new(password));
    }
    etcd.endpoints = endpoints;
    consistent(section, &etcd);
    Some(etcd)
}

/// What does not fit together, though each value by itself is fine.
fn consistent(section: &mut Section<'_, '_>, etcd: &Etcd) {
    if etcd.username.is_some() && etcd.password.is_none() {
        section.refuse("username", "has no password", "write password: beside it");
    }
    if etcd.username.is_none() && etcd.password.is_some() {
        section.refuse("password", "is nobody's", "write username: beside it");
    }
    if etcd.key.is_some() && etcd.cert.is_none() {
        section.refuse("key", "has no certificate", "write cert: beside it");
    }
    if !etcd.endpoints.iter().any(|endpoint| endpoint.tls) {
        for key in ["cacert", "cert"] {
            if section.has(key) {
                let what = "has no effect: etcd is asked without TLS";
                section.warn(key, what, "write protocol: https if etcd speaks TLS");
            }
        }
    }
}

/// Where etcd is, by the first of `proxy`, `url`, `hosts`, `host` that is written, as in Patroni.
fn place(section: &mut Section<'_, '_>, tls: bool) -> Option<Place> {
    const WAYS: [&str; 4] = ["proxy", "url", "hosts", "host"];
    let written: Vec<&str> = WAYS.into_iter().filter(|way| section.has(way)).collect();
    discovery(section, written.is_empty());
    for unused in written.iter().skip(1) {
        let what = format!("has no effect: {} is used", written[0]);
        section.warn(unused, &what, "leave one of them out");
    }
    let port = section.value("port", whole(1..=65_535));
    let port = port.and_then(|port| u16::try_from(port).ok());
    let proxy = section.take("proxy");
    let url = section.take("url");
    let hosts = section.take("hosts");
    let host = section.take("host");
    let from_url = |section: &mut Section<'_, '_>, key: &str, node: Option<&Node>| {
        section.understood(key, node?, read_url)
    };
    match written.first().copied() {
        Some("proxy") => from_url(section, "proxy", proxy),
        Some("url") => from_url(section, "url", url),
        Some("hosts") => {
            let endpoints = host_list(section, hosts, tls)?;
            Some(Place {
                endpoints,
                user: None,
            })
        }
        Some(_) => {
            let port = port.unwrap_or(ETCD_PORT);
            let endpoint =
                section.understood("host", host?, |node| endpoint(&text(node)?, tls, port));
            Some(Place {
                endpoints: vec![endpoint?],
                user: None,
            })
        }
        None => None,
    }
}

/// Discovery by SRV records is Patroni's; a router is told its hosts.
fn discovery(section: &mut Section<'_, '_>, alone: bool) {
    const KEYS: [&str; 4] = ["srv", "discovery_srv", "srv_domain", "srv_suffix"];
    let mut written = false;
    for key in KEYS {
        if section.take(key).is_none() {
            continue;
        }
        written = true;
        let what = "is not built yet: etcd is not looked up by SRV records";
        if alone {
            section.refuse(key, what, "write hosts: with every etcd member (host:port)");
        } else {
            section.warn(key, what, "the hosts written beside it are used");
        }
    }
    if alone && !written {
        section.missing("hosts", "write hosts: with every etcd member (host:port)");
    }
}

/// `hosts`: a list, or a text with commas.
fn host_list(
    section: &mut Section<'_, '_>,
    node: Option<&Node>,
    tls: bool,
) -> Option<Vec<Endpoint>> {
    let expected = "write every etcd member as host:port";
    let mut items: Vec<(String, Node)> = Vec::new();
    match node.map(|node| (node, &node.value)) {
        Some((_, Value::List(list))) => {
            for (at, item) in list.iter().enumerate() {
                items.push((format!("hosts[{at}]"), item.clone()));
            }
        }
        Some((node, Value::Text(text))) => {
            let parts = text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            items.extend(parts.map(|part| {
                let value = Value::Text(part.to_owned());
                ("hosts".to_owned(), Node { value, ..*node })
            }));
        }
        Some((node, _)) => items.push(("hosts".to_owned(), node.clone())),
        None => {}
    }
    if items.is_empty() {
        section.refuse("hosts", "is empty", expected);
        return None;
    }
    let wanted = items.len();
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut read = 0;
    for (key, item) in &items {
        let one = section.understood(key, item, |node| endpoint(&text(node)?, tls, ETCD_PORT));
        let Some(one) = one else { continue };
        read += 1;
        if endpoints.contains(&one) {
            let what = format!(
                "{} is named twice",
                quoted(&format!("{}:{}", one.host, one.port))
            );
            section.warn("hosts", &what, "name every etcd member once");
        } else {
            endpoints.push(one);
        }
    }
    (read == wanted).then_some(endpoints)
}

/// `host:port`, the port optional.
fn endpoint(text: &str, tls: bool, default_port: u16) -> Result<Endpoint, Wrong> {
    if text.contains("://") {
        return Err(Wrong::because(
            &format!("{} is a URL", quoted(text)),
            "write host:port here, and https under protocol:",
        ));
    }
    let (host, port) = host_and_port(text)?;
    Ok(Endpoint {
        tls,
        host,
        port: port.unwrap_or(default_port),
    })
}

/// One etcd as people give it on a command line: `host:port` or a URL without user.
pub(super) fn endpoint_or_url(written: &str) -> Result<Endpoint, Wrong> {
    match written.split_once("://") {
        Some((scheme, rest)) => {
            let rest = rest.trim_end_matches('/');
            endpoint(rest, scheme_is_tls(scheme, written)?, ETCD_PORT)
        }
        None => endpoint(written, false, ETCD_PORT),
    }
}

fn protocol(node: &Node) -> Result<bool, Wrong> {
    match &node.value {
        Value::Text(text) if text == "http" => Ok(false),
        Value::Text(text) if text == "https" => Ok(true),
        Value::Text(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::List(_)
        | Value::Map(_) => Err(Wrong::no(
            "protocol of etcd's",
            node,
            &format!("write {}", choice(&["http", "https"])),
        )),
    }
}

fn read_url(node: &Node) -> Result<Place, Wrong> {
    let written = text(node)?;
    let expected = "write a URL (https://host:2379)";
    let no_url = || Wrong::no("URL", node, expected);
    let (scheme, rest) = written.split_once("://").ok_or_else(no_url)?;
    let tls = scheme_is_tls(scheme, &written)?;
    let place = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let (user, place) = match place.rsplit_once('@') {
        Some((user, place)) => {
            let (name, password) = user.split_once(':').ok_or_else(|| {
                Wrong::because(
                    "names a user without a password",
                    "write user:password@host",
                )
            })?;
            (Some((unescaped(name), unescaped(password))), place)
        }
        None => (None, place),
    };
    let endpoint = endpoint(place, tls, ETCD_PORT)?;
    Ok(Place {
        endpoints: vec![endpoint],
        user,
    })
}

fn scheme_is_tls(scheme: &str, written: &str) -> Result<bool, Wrong> {
    match scheme {
        "http" => Ok(false),
        "https" => Ok(true),
        _ => Err(Wrong::because(
            &format!("{} has another scheme than etcd", quoted(written)),
            "write http://… or https://…",
        )),
    }
}

/// A part of a URL with its `%40` made `@` again; what is no such escape stays as it is.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escape = tail.get(..2).filter(|_| *first == b'%');
        let byte = escape
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
