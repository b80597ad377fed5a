//! How etcd is entered: TCP, TLS, user and password; and what to tell people whom it keeps out.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions, Error};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::Endpoint;
use tower::service_fn;
use trunkline_core::follow::Trouble;
use trunkline_core::keys::Prefix;

use super::Access;

/// HTTP/2 keepalive while a watch is open. etcd hangs up on clients that ping more often than every five seconds
/// (`--grpc-keepalive-min-time`); a frozen endpoint is noticed sooner, by the proof read of every second.
const KEEPALIVE: Duration = Duration::from_secs(6);
/// How long a keepalive may go unanswered.
const KEEPALIVE_DEADLINE: Duration = Duration::from_secs(2);

/// `https://host:port`, as etcd's own tools take it.
pub(super) fn url(access: &Access) -> String {
    let scheme = if access.tls.is_some() {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{}", place(access))
}

/// Connects, and logs in where there is a user. The caller has the deadline.
pub(super) async fn connect(access: &Access) -> Result<Client, Error> {
    let channel = channel(access).await?;
    let options = ConnectOptions::new()
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    let Some((user, password)) = &access.user else {
        return Client::from_channel(Channel::Tonic(channel), Some(options)).await;
    };
    let as_user = options.clone().with_user(user, password);
    match Client::from_channel(Channel::Tonic(channel.clone()), Some(as_user)).await {
        // As Patroni does it: an etcd that asks nobody for a password is entered without one.
        Err(error) if says(&error, "authentication is not enabled") => {
            Client::from_channel(Channel::Tonic(channel), Some(options)).await
        }
        outcome => outcome,
    }
}

async fn channel(access: &Access) -> Result<tonic::transport::Channel, Error> {
    // tonic speaks TLS by itself only with material of its own kind; for it, this is a plain connection whose
    // requests happen to say https.
    let origin = url(access).parse().map_err(Error::InvalidUri)?;
    let endpoint = Endpoint::from_shared(format!("http://{}", place(access)))?
        .origin(origin)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_DEADLINE)
        .keep_alive_while_idle(false);
    let material = access.tls.as_ref().map(|tls| tls.material().speaking("h2"));
    let (host, port) = (Arc::<str>::from(access.host.as_str()), access.port);
    let connected = endpoint.connect_with_connector(service_fn(move |_| {
        let (material, host) = (material.clone(), Arc::clone(&host));
        async move {
            let stream = TcpStream::connect((&*host, port)).await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn Stream> = match material {
                None => Box::new(stream),
                Some(material) => Box::new(material.connect(&host, stream).await?),
            };
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    }));
    Ok(connected.await?)
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}

fn place(access: &Access) -> String {
    let Access { host, port, .. } = access;
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Whether etcd wants another token than the one it gave us: signed ones (JWT) age with every change of users and
/// roles. Simple ones that it forgot are renewed by etcd-client.
pub(super) fn is_outdated(error: &Error) -> bool {
    says(error, "revision of auth store is old")
}

/// Whether the lease that a key was to hang on, or that was to be revoked, is gone.
pub(super) fn is_lease_gone(error: &Error) -> bool {
    says(error, "requested lease not found")
}

fn says(error: &Error, words: &str) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().contains(words))
}

/// What an error of etcd's means for whoever has to do something about it; `permission` is what was needed.
pub(super) fn trouble(
    error: &Error,
    access: &Access,
    prefix: &Prefix,
    permission: &str,
) -> Trouble {
    let user = access.user.as_ref().map(|(user, _)| user.as_str());
    let whoever = user.map_or_else(
        || "nobody (no username)".to_owned(),
        |it| format!("user {it}"),
    );
    let says = |words| says(error, words);
    let denied =
        matches!(error, Error::GRpcStatus(status) if status.code() == Code::PermissionDenied);
    let remedy = if denied || says("permission denied") {
        format!(
            "{whoever} may not {permission} {prefix}*: etcdctl role grant-permission ROLE {permission} --prefix {prefix}, \
             then etcdctl user grant-role USER ROLE",
            prefix = prefix.as_str()
        )
    } else if says("user name is empty") {
        "etcd wants a user: write username: and password: under etcd3".to_owned()
    } else if says("authentication failed") {
        format!(
            "etcd does not take the password of {whoever}: see username: and password: under etcd3"
        )
    } else {
        return Trouble::Failed(words(error));
    };
    Trouble::Failed(format!("{}; {remedy}", words(error)))
}

/// An error with what caused it: tonic's own words name no cause.
pub(super) fn words(error: &Error) -> String {
    if let Error::GRpcStatus(status) = error {
        return format!("{}: {}", status.code(), status.message());
    }
    let Error::TransportError(error) = error else {
        return error.to_string();
    };
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.ends_with(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = error.source();
    }
    words
}
