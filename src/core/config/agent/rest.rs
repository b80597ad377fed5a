//! The `restapi` and `ctl` sections: where the REST API listens, who may change something, how others are asked.

use super::super::node::{Key, Node, Value};
use super::super::read::Section;
use super::super::router::RestApi;
use super::super::value::{Wrong, path, text, whole};
use super::values::{address, is_wildcard, scalar, secret, switch};
use super::{Rest, ServerTokens};

/// Patroni's REST port.
const PORT: u16 = 8008;
/// How many connections may wait to be accepted unless told otherwise.
const BACKLOG: u32 = 5;

pub(super) fn rest(root: &mut Section<'_, '_>) -> Option<Rest> {
    let Some(mut section) = root.section("restapi") else {
        root.missing("restapi", "write restapi: with listen: (10.0.0.1:8008)");
        return None;
    };
    let listen = section.value("listen", address(PORT));
    if listen.is_none() && !section.has("listen") {
        section.missing("listen", "write host:port (10.0.0.1:8008)");
    }
    let connect = section.value("connect_address", address(PORT));
    if let (Some((host, _)), false) = (&listen, section.has("connect_address"))
        && is_wildcard(host)
    {
        let what = "is missing, and listen: names no address that other members could ask";
        section.warn(
            "connect_address",
            what,
            "write the host:port where others reach it",
        );
    }
    let authentication = authentication(&mut section);
    let allowlist = section.list("allowlist", scalar);
    let mut rest = Rest {
        connect: connect.or_else(|| listen.clone())?,
        listen: listen?,
        authentication,
        allowlist,
        allowlist_include_members: false,
        backlog: section
            .value("request_queue_size", whole(0..=4096))
            .unwrap_or(BACKLOG),
        extra_headers: headers(&mut section, "http_extra_headers"),
        server_tokens: ServerTokens::default(),
        honest_primary: false,
    };
    section.set(
        "allowlist_include_members",
        &mut rest.allowlist_include_members,
        switch,
    );
    section.set("server_tokens", &mut rest.server_tokens, server_tokens);
    section.set("honest_primary", &mut rest.honest_primary, switch);
    tls(&mut section);
    if section.take("thread_pool_size").is_some() {
        let what = "has no effect: the REST API has no pool of threads";
        section.warn("thread_pool_size", what, "leave it out");
    }
    section.finish();
    Some(rest)
}

/// What changes something is asked for under a name, if there is one.
fn authentication(section: &mut Section<'_, '_>) -> Option<(String, super::Secret)> {
    let mut login = section.section("authentication")?;
    let username = login.value("username", text);
    let password = login.value("password", secret);
    for (key, other) in [("username", "password"), ("password", "username")] {
        if !login.has(key) {
            let expected = format!("write both, or neither: {other}: alone protects nothing");
            login.missing(key, &expected);
        }
    }
    login.finish();
    username.zip(password)
}

/// TLS of the API itself is not there yet. Whoever asked for it must not get plain HTTP instead.
fn tls(section: &mut Section<'_, '_>) {
    const KEYS: [&str; 6] = [
        "keyfile",
        "keyfile_password",
        "cafile",
        "ciphers",
        "verify_client",
        "https_extra_headers",
    ];
    let certified = section.take("certfile").is_some();
    if certified {
        let what = "is not built yet: the REST API speaks no TLS";
        let expected = "leave it out where plain HTTP will do, or keep Patroni on this node";
        section.refuse("certfile", what, expected);
    }
    for key in KEYS {
        let written = section.take(key);
        let harmless = key == "cafile"
            || written.is_some_and(|node| node.value == Value::Text("none".to_owned()));
        if written.is_some() && !certified && !harmless {
            section.warn(key, "has no effect without certfile:", "leave it out");
        }
    }
}

fn headers(section: &mut Section<'_, '_>, key: &'static str) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, node) in section.names(key).unwrap_or_default() {
        let path = format!("{key}.{}", name.text);
        let read = |node: &Node| header(name, node);
        headers.extend(section.understood(&path, node, read));
    }
    headers
}

fn header(name: &Key, node: &Node) -> Result<(String, String), Wrong> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let value = scalar(node)?;
    if name.text.is_empty() || !name.text.chars().all(is_token) {
        return Err(Wrong::because(
            "is no name of a header",
            "write letters, digits and -",
        ));
    }
    if value.chars().any(|c| c.is_control() || !c.is_ascii()) {
        return Err(Wrong::no(
            "value of a header",
            node,
            "write plain characters in one line",
        ));
    }
    Ok((name.text.clone(), value))
}

fn server_tokens(node: &Node) -> Result<ServerTokens, Wrong> {
    match node.to_json().as_str().map(str::to_lowercase).as_deref() {
        Some("original") => Ok(ServerTokens::Original),
        Some("minimal") => Ok(ServerTokens::Minimal),
        Some("productonly") => Ok(ServerTokens::ProductOnly),
        Some(_) | None => {
            let expected = "write original, minimal or productonly";
            Err(Wrong::no("server token", node, expected))
        }
    }
}

/// How other members are asked: `ctl` first, then the node's own certificates.
pub(super) fn peers(root: &mut Section<'_, '_>) -> RestApi {
    let mut found = RestApi::default();
    let own = root.has("restapi");
    if let Some(mut ctl) = root.section("ctl") {
        found.cacert = ctl.value("cacert", path);
        found.cert = ctl.value("certfile", path);
        found.key = ctl.value("keyfile", path);
        ctl.set("insecure", &mut found.insecure, switch);
        if ctl.take("keyfile_password").is_some() {
            (found.cert, found.key) = (None, None);
            let what =
                "keys with a password are not built yet: members are asked without a certificate";
            ctl.warn("keyfile_password", what, "name a key without a password");
        }
        ctl.pass("authentication");
        ctl.finish();
    }
    if own && found.cacert.is_none() {
        let section = root.take("restapi").and_then(|node| node.get("cafile"));
        found.cacert = section.and_then(|node| path(node).ok());
    }
    found
}
