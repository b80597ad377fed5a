//! The addresses members publish: where their PostgreSQL and their REST API listen.
//!
//! Credentials in a URL are dropped on reading; nothing here resolves a name.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::Why;

/// Where something listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name to be looked up.
    Name(String),
    /// The directory of a Unix socket.
    Socket(String),
}

/// Where a PostgreSQL listens: `postgres://127.0.0.1:5432/postgres`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnUrl {
    /// Its host.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// The database Patroni connects to.
    pub database: Option<String>,
}

/// Where a REST API listens: `http://127.0.0.1:8008/patroni`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiUrl {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Its host.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// The path of its status document, from the slash on.
    pub path: String,
}

impl Host {
    /// A host as a configuration names it, without brackets: an address, a directory, or else a name.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match text.parse() {
            Ok(address) => Self::Ip(address),
            Err(_) if text.starts_with('/') => Self::Socket(text.to_owned()),
            Err(_) => Self::Name(text.to_owned()),
        }
    }
}

impl ConnUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// If it is none of PostgreSQL's.
    pub fn parse(text: &str) -> Result<Self, Why> {
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or(Why::NotAUrl("it does not begin with postgres://"))?;
        let (authority, path) = split_authority(rest);
        let (path, query) = split_query(path);
        let (host, port) = host_and_port(authority).or_else(|why| {
            // As libpq has it for whoever keeps the address out of the authority: a socket's directory, mostly.
            let own_port = authority.rsplit('@').next().unwrap_or("");
            let (Some(host), "") = (
                parameter(query, "host"),
                own_port.split(':').next().unwrap_or(""),
            ) else {
                return Err(why);
            };
            let port = own_port.strip_prefix(':').filter(|port| !port.is_empty());
            let port = port.or_else(|| parameter(query, "port"));
            Ok((plain_host(host)?, port.map(port_number).transpose()?))
        })?;
        let database = percent_decoded(path.strip_prefix('/').unwrap_or(""))?;
        Ok(Self {
            host,
            port: port.unwrap_or(5432),
            database: Some(database).filter(|name| !name.is_empty()),
        })
    }
}

impl ApiUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// If it is none of HTTP's.
    pub fn parse(text: &str) -> Result<Self, Why> {
        let (tls, rest) = if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else {
            return Err(Why::NotAUrl("it does not begin with http:// or https://"));
        };
        let (authority, path) = split_authority(rest);
        // What goes into a request line must not be able to end it.
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Why::NotAUrl("its path holds more than printable ASCII"));
        }
        let (host, port) = host_and_port(authority)?;
        let port_of_scheme = if tls { 443 } else { 80 };
        Ok(Self {
            tls,
            host,
            port: port.unwrap_or(port_of_scheme),
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for ConnUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}:{}", InUrl(&self.host), self.port)?;
        match &self.database {
            Some(database) => {
                // As it is, as Patroni writes it, but for what would be read as something else.
                let escaped = database.replace('%', "%25").replace('?', "%3F");
                write!(f, "/{}", escaped.replace('#', "%23"))
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(
            f,
            "{scheme}://{}:{}{}",
            InUrl(&self.host),
            self.port,
            self.path
        )
    }
}

impl fmt::Display for Host {
    /// The bare address, name or directory.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name(text) | Self::Socket(text) => f.write_str(text),
        }
    }
}

/// A host as it stands in a URL: in brackets where it holds colons, a directory's slashes escaped.
struct InUrl<'a>(&'a Host);

impl fmt::Display for InUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Host::Ip(IpAddr::V4(address)) => address.fmt(f),
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Host::Name(name) if name.contains(':') => write!(f, "[{name}]"),
            Host::Name(name) => f.write_str(name),
            Host::Socket(path) => percent_encoded(path, f),
        }
    }
}

/// Splits `user:password@host:port/path` before the path.
fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

/// Splits `/path?query#fragment` after the path, the fragment dropped.
fn split_query(rest: &str) -> (&str, &str) {
    let (rest, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
    rest.split_once('?').unwrap_or((rest, ""))
}

/// A parameter of a query as it stands there; of several the last, as in libpq.
fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut found = pairs.filter(|(key, _)| *key == name);
    found.next_back().map(|(_, value)| value)
}

fn host_and_port(authority: &str) -> Result<(Host, Option<u16>), Why> {
    let address = authority
        .rsplit_once('@')
        .map_or(authority, |(_credentials, address)| address);
    let (host, port) = match address.strip_prefix('[') {
        Some(bracketed) => {
            let (inside, after) = bracketed
                .split_once(']')
                .ok_or(Why::NotAUrl("a bracket is not closed"))?;
            (
                inside_brackets(inside)?,
                after
                    .strip_prefix(':')
                    .or_else(|| after.is_empty().then_some("")),
            )
        }
        None => match address.split_once(':') {
            Some((host, port)) => (plain_host(host)?, Some(port)),
            None => (plain_host(address)?, Some("")),
        },
    };
    match port {
        Some("") => Ok((host, None)),
        Some(port) => Ok((host, Some(port_number(port)?))),
        None => Err(Why::NotAUrl("something stands between host and port")),
    }
}

fn port_number(text: &str) -> Result<u16, Why> {
    // `parse` alone would take a plus sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Why::NotAUrl("its port is no number"));
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(Why::NotAUrl("its port is not between 1 and 65535")),
        Ok(port) => Ok(port),
    }
}

fn inside_brackets(text: &str) -> Result<Host, Why> {
    match text.parse::<Ipv6Addr>() {
        Ok(address) => Ok(Host::Ip(address.into())),
        // An address with a zone (`fe80::1%eth0`): the zone is the resolver's business.
        Err(_) if text.contains(':') => name(text.to_owned()),
        Err(_) => Err(Why::NotAUrl("what stands in brackets is no IPv6 address")),
    }
}

fn plain_host(text: &str) -> Result<Host, Why> {
    let host = percent_decoded(text)?;
    if let Ok(address) = host.parse() {
        Ok(Host::Ip(address))
    } else if !host.starts_with('/') {
        if host.contains([':', '%']) {
            return Err(Why::NotAUrl(FOREIGN));
        }
        name(host)
    } else if host.contains(char::is_control) {
        Err(Why::NotAUrl(FOREIGN))
    } else {
        Ok(Host::Socket(host))
    }
}

fn name(text: String) -> Result<Host, Why> {
    let is_foreign = |c: char| c.is_control() || c.is_whitespace() || "/?#@[]\\<>\"'".contains(c);
    if text.is_empty() {
        Err(Why::NotAUrl("it names no host"))
    } else if text.contains(is_foreign) {
        Err(Why::NotAUrl(FOREIGN))
    } else {
        Ok(Host::Name(text))
    }
}

const FOREIGN: &str = "its host holds characters no host has";

/// `%2Fvar` as `/var`. A percent sign that begins no escape stands for itself, as in Python.
pub(crate) fn percent_decoded(text: &str) -> Result<String, Why> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'%', [high, low, beyond @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                decoded.push(hex(*high) << 4 | hex(*low));
                rest = beyond;
            }
            (byte, _) => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(decoded).map_err(|_| Why::NotAUrl("its escapes are not UTF-8"))
}

/// The worth of a byte that is known to be a hexadecimal digit.
const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

fn percent_encoded(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_patroni_publishes_is_written_as_it_was_read() {
        for text in [
            "postgres://127.0.0.1:20431/postgres",
            "postgres://[::1]:5432/postgres",
            "postgres://db-1.example.org:5432/app",
            "postgres://[fe80::1%eth0]:5432/postgres",
            "postgres://%2Fvar%2Frun%2Fpostgresql:5432/postgres",
        ] {
            assert_eq!(ConnUrl::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "http://127.0.0.1:20081/patroni",
            "https://[2001:db8::7]:8008/patroni",
        ] {
            assert_eq!(ApiUrl::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_written_has_a_default_and_credentials_are_dropped() {
        let url = ConnUrl::parse("postgresql://u:p@ss@host/db%31?sslmode=require").unwrap();
        assert_eq!(url.to_string(), "postgres://host:5432/db1");
        let url = ConnUrl::parse("postgres://host:").unwrap();
        assert_eq!((url.port, url.database), (5432, None));
        assert_eq!(ApiUrl::parse("http://host/patroni").unwrap().port, 80);
        assert_eq!(ApiUrl::parse("https://host").unwrap().port, 443);
    }

    #[test]
    fn an_address_in_the_query_counts_where_the_authority_names_no_host() {
        let read = |text| ConnUrl::parse(text).unwrap().to_string();
        let socket = "postgres://%2Frun%2Fpg:5433/postgres";
        for text in [
            "postgres:///postgres?host=/run/pg&port=5433",
            "postgresql://me:secret@/postgres?sslmode=require&host=%2Frun%2Fpg&port=5433",
            "postgres://:5433/postgres?host=/run/pg",
            "postgres:///postgres?host=/run/else&port=1&host=/run/pg&port=5433#there",
        ] {
            assert_eq!(read(text), socket, "{text}");
        }
        assert_eq!(
            read("postgres:///postgres?host=/run/pg"),
            "postgres://%2Frun%2Fpg:5432/postgres"
        );
        assert_eq!(
            read("postgres://db-1:5433/x?host=/run/pg&port=1"),
            "postgres://db-1:5433/x"
        );
    }

    #[test]
    fn each_kind_of_host_is_told_apart() {
        let host = |text| ConnUrl::parse(text).unwrap().host;
        assert_eq!(
            host("postgres://[::1]:1/x"),
            Host::Ip(Ipv6Addr::LOCALHOST.into())
        );
        assert_eq!(
            host("postgres://%2ftmp:1/x"),
            Host::Socket("/tmp".to_owned())
        );
        assert_eq!(
            host("postgres://%31.2.3.4:1/x"),
            Host::Ip([1, 2, 3, 4].into())
        );
        assert_eq!(host("postgres://tmp:1/x"), Host::Name("tmp".to_owned()));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "host:5432",
            "mysql://host:1/x",
            "postgres://",
            "postgres:///db",
            "postgres://:5432/db",
            "postgres:///db?host=&port=5432",
            "postgres:///db?host=/run/pg&port=0",
            "postgres://:0/db?host=/run/pg",
            "postgres://a b/db?host=/run/pg",
            "postgres://host:0/db",
            "postgres://host:65536/db",
            "postgres://host:+1/db",
            "postgres://host:x/db",
            "postgres://::1:5432/db",
            "postgres://[::1/db",
            "postgres://[::1]5432/db",
            "postgres://[host]:5432/db",
            "postgres://a b:5432/db",
            "postgres://a%3Ab:5432/db",
            "postgres://a%25b:5432/db",
            "postgres://%ff:5432/db",
            "postgres://%2Ftmp%00:5432/db",
        ] {
            assert!(ConnUrl::parse(bad).is_err(), "{bad:?}");
        }
        for bad in [
            "",
            "ftp://host/",
            "http://",
            "http://h/a b",
            "http://h/a\r\nHost: x",
        ] {
            assert!(ApiUrl::parse(bad).is_err(), "{bad:?}");
        }
    }
}
