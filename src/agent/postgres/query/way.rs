//! The ways in which PostgreSQL is asked: over a socket, over TCP in clear, over TCP with TLS. Which one comes first, and
//! whether another one follows, is decided in core.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::spawn_blocking;
use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation};
use tokio_postgres::tls::{self, MakeTlsConnect, TlsConnect};
use tokio_postgres::{Config, Error};
use trunkline_core::postgres::Silence;
use trunkline_core::postgres::encryption::{self, Encryption, SYSTEM, Trust, Way};
use trunkline_io::tls::{Checks, Files, Material, Names, Refusal, Tls, TlsStream, end_point};

use super::{Place, Target, silence};

/// Where libpq looks for files that are not written, in the user's own directory.
const OWN_FOLDER: &str = ".postgresql";
/// What PostgreSQL is told at once where TLS is not asked for first.
const PROTOCOL: &str = "postgresql";

/// The ways to ask one PostgreSQL, one after the other until one is let in.
#[derive(Debug)]
pub(super) struct Ways<'a> {
    target: &'a Target,
    encryption: Encryption,
    left: std::slice::Iter<'static, Way>,
    /// What is asked now.
    way: Way,
    /// What it is checked against, for messages.
    authorities: String,
    /// Why earlier ways were none.
    refused: Option<Silence>,
}

impl<'a> Ways<'a> {
    /// How to ask this one.
    pub(super) fn to(target: &'a Target) -> Result<Self, Silence> {
        let encryption = match target.place {
            Place::Socket(_) => Encryption {
                mode: encryption::SslMode::Disable,
                ..Encryption::default()
            },
            Place::Host(_) => Encryption::read(&target.options)
                .map_err(|unknown| Silence::Failed(format!("{}.{unknown}", target.section())))?,
        };
        Ok(Self {
            target,
            left: encryption.ways().iter(),
            encryption,
            way: Way::Clear,
            authorities: String::new(),
            refused: None,
        })
    }

    /// The next way: what to connect with, nothing for clear. An error if there is none. Files are read on a thread of
    /// their own: a disk that hangs must not hang whoever keeps the lock.
    pub(super) async fn next(&mut self, config: &mut Config) -> Result<Option<Connector>, Silence> {
        config.channel_binding(match self.encryption.bound {
            None => ChannelBinding::Prefer,
            // A socket is not bound to anything, to libpq neither.
            Some(true) => ChannelBinding::Require,
            Some(false) => ChannelBinding::Disable,
        });
        while let Some(way) = self.left.next() {
            self.way = *way;
            match way {
                Way::Clear => {
                    config.ssl_mode(SslMode::Disable);
                    return Ok(None);
                }
                Way::Encrypted => match self.connector().await {
                    Ok((connector, authorities)) => {
                        self.authorities = authorities;
                        self.encrypt(config);
                        return Ok(Some(connector));
                    }
                    Err(words) => {
                        self.refused = Some(Silence::Failed(self.over_tls(&words)));
                    }
                },
            }
        }
        Err(self.refused.take().unwrap_or(Silence::NotAsked))
    }

    async fn connector(&self) -> Result<(Connector, String), String> {
        let (target, encryption) = (self.target.clone(), self.encryption.clone());
        let reads = spawn_blocking(move || Connector::of(&target, &encryption));
        reads.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn encrypt(&self, config: &mut Config) {
        let weak = self.encryption.ways().len() > 1;
        config.ssl_mode(if weak {
            SslMode::Prefer
        } else {
            SslMode::Require
        });
        if self.encryption.direct && !weak {
            config.ssl_negotiation(SslNegotiation::Direct);
        }
    }

    /// The way was none. An error if no other one would be.
    pub(super) fn refused(&mut self, error: &Error) -> Result<(), Silence> {
        let silence = silence(error);
        let said = error.as_db_error().map(|said| said.code().code());
        let refusal = Refusal::of(error);
        let is_tls = refusal.is_some() || error.to_string().contains("TLS");
        let silence = match (said, self.way) {
            (Some(sqlstate), _) if !Encryption::goes_on(sqlstate) => return Err(silence),
            (Some(_), Way::Clear) => silence,
            (Some(_), Way::Encrypted) => Silence::Failed(self.over_tls(&silence.to_string())),
            (None, Way::Encrypted) if is_tls => {
                let words = format!("{silence}{}", self.remedy(refusal));
                Silence::Failed(self.over_tls(&words))
            }
            (None, Way::Clear | Way::Encrypted) => return Err(silence),
        };
        tracing::debug!("{silence}");
        self.refused = Some(match self.refused.take() {
            None => silence,
            // Nobody knows which of both was to be let in.
            Some(earlier) => Silence::Failed(format!("{silence}; {earlier}")),
        });
        Ok(())
    }

    /// What was being done when TLS did not come about.
    fn over_tls(&self, words: &str) -> String {
        let (host, port) = (self.target.host(), self.target.port);
        let mode = self.encryption.mode;
        format!("asking {host}:{port} over TLS (sslmode {mode}): {words}")
    }

    /// What an operator can do about it.
    fn remedy(&self, refusal: Option<Refusal>) -> String {
        let (section, host) = (self.target.section(), self.target.host());
        let authorities = &self.authorities;
        match refusal {
            Some(Refusal::Authority) => format!(
                "; {authorities} (sslrootcert under {section}) must hold the authority that signed PostgreSQL's certificate"
            ),
            Some(Refusal::Name) => format!(
                "; PostgreSQL's certificate must have {host} among its subjectAltNames, or write sslmode: verify-ca under \
                 {section}"
            ),
            Some(Refusal::Date) => {
                "; PostgreSQL needs another certificate (ssl_cert_file), or this machine's clock is wrong".to_owned()
            }
            Some(Refusal::Ours) => format!(
                "; sslcert and sslkey under {section} must name a certificate that PostgreSQL's ssl_ca_file has signed"
            ),
            Some(Refusal::Other) => String::new(),
            None => format!(
                "; switch ssl on in PostgreSQL, or write another sslmode under {section}"
            ),
        }
    }
}

/// A file of an option: as written, or where libpq looks for it if it is there.
fn file_of(target: &Target, option: &str, own: &str) -> Option<PathBuf> {
    let written = target.options.get(option).filter(|path| !path.is_empty());
    written.map(PathBuf::from).or_else(|| {
        let path = std::env::home_dir()?.join(OWN_FOLDER).join(own);
        path.exists().then_some(path)
    })
}

/// Speaks TLS with one PostgreSQL. Made for each connection: files that have changed are read again, and who needs no TLS
/// has none in memory.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    material: Material,
    host: String,
}

impl Connector {
    /// For this server, and which file it is checked against.
    fn of(target: &Target, encryption: &Encryption) -> Result<(Self, String), String> {
        let section = target.section();
        let authorities = file_of(target, "sslrootcert", "root.crt");
        let trust = encryption.trust(authorities.is_some());
        let told = match &authorities {
            None => {
                let words = "sslrootcert: is not written, and there is no ~/.postgresql/root.crt; write the file of the \
                             authority that signed PostgreSQL's certificate (system: those of the system)";
                if trust != Trust::Anybody {
                    return Err(format!("{section}.{words}"));
                }
                String::new()
            }
            Some(path) => path.display().to_string(),
        };
        let cert = file_of(target, "sslcert", "postgresql.crt");
        let key = cert
            .as_ref()
            .and_then(|_cert| file_of(target, "sslkey", "postgresql.key"));
        let files = Files {
            section,
            cacert: authorities.filter(|path| path.as_os_str() != SYSTEM),
            cert,
            key,
            checks: match trust {
                Trust::Anybody => Checks::Nothing,
                Trust::Signed => Checks::Authority,
                Trust::SignedByName => Checks::Everything,
            },
            names: Names::LIBPQ,
        };
        let material = Tls::load(files).map_err(|unusable| unusable.to_string())?;
        let material = material.material();
        let connector = Self {
            material: if encryption.direct {
                material.speaking(PROTOCOL)
            } else {
                material
            },
            host: target.host(),
        };
        Ok((connector, told))
    }
}

impl<S> MakeTlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type TlsConnect = Self;
    type Error = std::convert::Infallible;

    fn make_tls_connect(&mut self, _host: &str) -> Result<Self, Self::Error> {
        Ok(self.clone())
    }
}

impl<S> TlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let stream = self.material.connect(&self.host, stream).await?;
            Ok(Encrypted(Box::new(stream)))
        })
    }
}

/// A connection that speaks TLS.
pub(super) struct Encrypted<S>(Box<TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> tls::TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> tls::ChannelBinding {
        let bound = end_point(&self.0);
        bound.map_or_else(
            tls::ChannelBinding::none,
            tls::ChannelBinding::tls_server_end_point,
        )
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
