//! What a request asks for: the method, the first segment of its path, and the parameters behind it (contract 2.1).

use super::reply::Reply;
use crate::wire::url::percent_decoded;

/// A request's first line, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, as it was written, without parameters.
    pub path: String,
    /// The parameters; of several with one name the first. Empty ones are as if they were not there.
    pub query: Vec<(String, String)>,
}

/// How something is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// Tell.
    Get,
    /// Health, without a body.
    Head,
    /// The same.
    Options,
    /// Do.
    Post,
    /// Change in part.
    Patch,
    /// Replace.
    Put,
    /// Take back.
    Delete,
    /// Nothing that is known.
    Other(String),
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A health check with a body.
    Health,
    /// A health check of which only the status line counts.
    BareHealth,
    /// `GET /patroni`.
    Status,
    /// `GET /liveness`.
    Liveness,
    /// `GET /readiness`.
    Readiness,
    /// `GET /cluster`.
    Cluster,
    /// `GET /history`.
    History,
    /// `GET /config`.
    Config,
    /// `GET /failsafe`.
    Failsafe,
    /// `GET /metrics`.
    Metrics,
    /// Something that changes the cluster or this node: access is checked, and there may be a body.
    Change(Change),
    /// Nothing here.
    Nothing(String),
}

/// What changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// `POST /switchover`.
    Switchover,
    /// `POST /failover`.
    Failover,
    /// `DELETE /switchover`.
    CancelSwitchover,
    /// `POST /reload`.
    Reload,
    /// `POST /failsafe`.
    Failsafe,
}

impl Request {
    /// Takes the first line's parts; `target` is a path with parameters, or a whole URL.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        let target = target.split_once('#').map_or(target, |(before, _)| before);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        // A proxy asks with the whole URL.
        let path = match path.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("", |slash| &rest[slash..]),
            None => path,
        };
        // What Python does to a path: parameters of its last segment are cut off, slashes it begins with are one.
        let last = path.rfind('/').unwrap_or(0);
        let end = path[last..].find(';').map_or(path.len(), |at| last + at);
        let path = &path[..end];
        let doubled = path.len() - path.trim_start_matches('/').len();
        Self {
            method: Method::of(method),
            path: path[doubled.saturating_sub(1)..].to_owned(),
            query: parameters(query),
        }
    }

    /// The value of a parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut named = self.query.iter().filter(|(key, _)| key == name);
        named.next().map(|(_, value)| value.as_str())
    }

    /// What it asks for: the method and the first segment decide.
    #[must_use]
    pub fn target(&self) -> Target {
        let segment = self.path.trim_start_matches('/').split('/').next();
        let segment = segment.unwrap_or_default();
        let changes = |found: Option<Change>| {
            found.map_or_else(
                || Target::Nothing(self.method.as_str().to_owned()),
                Target::Change,
            )
        };
        match &self.method {
            Method::Get => match segment {
                "patroni" => Target::Status,
                "liveness" => Target::Liveness,
                "readiness" => Target::Readiness,
                "cluster" => Target::Cluster,
                "history" => Target::History,
                "config" => Target::Config,
                "failsafe" => Target::Failsafe,
                "metrics" => Target::Metrics,
                _ => Target::Health,
            },
            Method::Head | Method::Options => Target::BareHealth,
            Method::Post => changes(match segment {
                "switchover" => Some(Change::Switchover),
                "failover" => Some(Change::Failover),
                "reload" => Some(Change::Reload),
                "failsafe" => Some(Change::Failsafe),
                _ => None,
            }),
            Method::Delete => {
                changes((segment == "switchover").then_some(Change::CancelSwitchover))
            }
            Method::Put | Method::Patch | Method::Other(_) => changes(None),
        }
    }
}

impl Change {
    /// Whether it comes with a body.
    #[must_use]
    pub const fn has_body(self) -> bool {
        match self {
            Self::Switchover | Self::Failover | Self::Failsafe => true,
            Self::CancelSwitchover | Self::Reload => false,
        }
    }

    /// Whether members' own addresses count where an allowlist includes them. A leader that asks by failsafe cannot
    /// be looked up: etcd does not answer.
    #[must_use]
    pub const fn admits_members(self) -> bool {
        match self {
            Self::Failsafe => false,
            Self::Switchover | Self::Failover | Self::CancelSwitchover | Self::Reload => true,
        }
    }
}

impl Method {
    fn of(text: &str) -> Self {
        match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "POST" => Self::Post,
            "PATCH" => Self::Patch,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The method as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Other(text) => text,
        }
    }
}

/// Reads the body of a request that must bring one: an object that says something.
///
/// # Errors
/// The page to answer with.
pub fn body(bytes: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>, Reply> {
    match serde_json::from_slice(bytes) {
        Ok(serde_json::Value::Object(fields)) if !fields.is_empty() => Ok(fields),
        Ok(_) | Err(_) => Err(Reply::page(400)),
    }
}

fn parameters(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

/// Text out of a query: `+` is a space, `%41` an A; what is no escape leaves all of it as it is.
fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decoded(&spaced).unwrap_or(spaced)
}
