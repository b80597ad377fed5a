//! How the values of the configuration are spelled, for reading and for showing alike.

use std::fmt;
use std::net::IpAddr;

use super::{Balance, Bind, BindAddr, Endpoint, LogFormat, LogLevel, OnLeave, To, WhenUnproven};
use crate::config::value::Word;

macro_rules! words {
    ($type:ident { $($word:literal => $variant:ident),+ $(,)? }) => {
        impl Word for $type {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
        }

        impl $type {
            /// The word for it in the configuration.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(To {
    "primary" => Primary,
    "replicas" => Replicas,
    "sync" => Sync,
    "any" => Any,
    "standby-leader" => StandbyLeader,
});
words!(Balance {
    "leastconn" => LeastConn,
    "roundrobin" => RoundRobin,
    "random" => Random,
    "source" => Source,
});
words!(OnLeave {
    "kill" => Kill,
    "drain" => Drain,
    "keep" => Keep,
});
words!(WhenUnproven {
    "kill" => Kill,
    "keep" => Keep,
});
words!(LogLevel {
    "error" => Error,
    "warn" => Warn,
    "info" => Info,
    "debug" => Debug,
    "trace" => Trace,
});
words!(LogFormat {
    "text" => Text,
    "json" => Json,
});

impl fmt::Display for Bind {
    /// As it is written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { addr, port } => write!(f, "{addr}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for BindAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Endpoint {
    /// As a URL: `https://10.1.0.10:2379`, `http://[::1]:2379`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}
