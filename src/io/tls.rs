//! TLS material: certificates and keys from files, fresh whenever the files change.
//!
//! Both etcd and the members' REST APIs are met with it. A connection keeps what it was made with; whoever makes
//! a new one asks here again. Files that became unusable change nothing: what was read last stays in force.
//! Nothing here knows who is met.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
pub use tokio_rustls::client::TlsStream;

use crate::files;

mod authority;
mod insecure;
mod refusal;

pub use refusal::{Refusal, end_point};

/// How long before its end an own certificate is worth a warning.
const NOTICE: Duration = Duration::from_secs(14 * 86_400);

/// Which files, and under which keys they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The section they stand in, for messages: `cluster demo: etcd3`.
    pub section: String,
    /// The bundle servers are checked against; the system's if `None`.
    pub cacert: Option<PathBuf>,
    /// Our own certificate.
    pub cert: Option<PathBuf>,
    /// Its key, where that is not in the same file.
    pub key: Option<PathBuf>,
    /// What is checked of a server's certificate.
    pub checks: Checks,
    /// How the keys are called.
    pub names: Names,
}

/// What is checked of a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// Who signed it, and that it is for the name that is asked for.
    Everything,
    /// Who signed it.
    Authority,
    /// Nothing: any is taken.
    Nothing,
}

/// How the keys are called that name the files, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// That of the bundle.
    pub cacert: &'static str,
    /// That of our own certificate.
    pub cert: &'static str,
    /// That of its key.
    pub key: &'static str,
}

impl Names {
    /// As etcd's section has them.
    pub const ETCD: Self = Self::of("cacert", "cert", "key");
    /// As Patroni's `ctl` has them.
    pub const CTL: Self = Self::of("cacert", "certfile", "keyfile");
    /// As libpq has them.
    pub const LIBPQ: Self = Self::of("sslrootcert", "sslcert", "sslkey");

    const fn of(cacert: &'static str, cert: &'static str, key: &'static str) -> Self {
        Self { cacert, cert, key }
    }
}

/// Why files are of no use. Each says where it is written and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error("{key}: cannot read {path}: {cause}; name a PEM file that trunkline's user may read")]
    Unreadable {
        /// Where it is written.
        key: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// It has none of what is sought.
    #[error("{key}: {path}: {what}; {remedy}")]
    Garbled {
        /// Where it is written.
        key: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Certificate and key are not a pair.
    #[error(
        "{name}: {cert} and {key} do not fit together: {cause}; name the certificate's own key"
    )]
    Mismatch {
        /// Where the certificate is written.
        name: String,
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        cause: Box<rustls::Error>,
    },
    /// No `cacert`, and the system has no authorities either.
    #[error("{key}: is not written, and the system trusts no authority: {cause}; write it")]
    NoRoots {
        /// Where it would be written.
        key: String,
        /// What was found instead.
        cause: String,
    },
    /// The crypto library refused.
    #[error("{section}: TLS cannot be set up: {cause}")]
    Library {
        /// The section.
        section: String,
        /// What rustls says.
        cause: Box<rustls::Error>,
    },
}

/// What a look at the files showed.
#[derive(Debug)]
#[must_use]
pub enum Look {
    /// What was known before.
    Same,
    /// Other files, now in force.
    Changed,
    /// Other files that cannot be used: the old ones stay in force. Said once.
    Refused(Unusable),
}

/// Material in force.
#[derive(Clone, Debug)]
pub struct Material {
    /// Grows with every change.
    pub generation: u64,
    config: Arc<ClientConfig>,
    /// When our own certificate ends.
    pub ends: Option<SystemTime>,
}

/// Material that follows its files.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    material: Material,
    /// The contents in force.
    contents: Contents,
    /// Contents that were refused, and whether that was said.
    refused: Option<(Contents, bool)>,
    trouble: Option<String>,
}

/// Everything that was read, `None` where a file cannot be read. There is a private key in it: it is not shown.
#[derive(Clone, PartialEq, Eq)]
struct Contents([Option<String>; 3]);

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contents(…)")
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Unusable`], naming the key and the file.
    pub fn load(files: Files) -> Result<Self, Unusable> {
        let contents = files.contents();
        let material = files.material(1)?;
        Ok(Self {
            files,
            state: Mutex::new(State {
                material,
                contents,
                refused: None,
                trouble: None,
            }),
        })
    }

    /// What is in force now.
    #[must_use]
    pub fn material(&self) -> Material {
        self.state().material.clone()
    }

    /// What is wrong with the files as they are now, while older ones are in force.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }

    /// Where the files are written.
    #[must_use]
    pub fn section(&self) -> &str {
        &self.files.section
    }

    /// Looks at the files again. What cannot be used is refused at the second look that finds it: who replaces a
    /// certificate and its key writes one of them first.
    ///
    /// Blocks on the file system; whoever asks for the material meanwhile does not wait for it.
    pub fn look(&self) -> Look {
        let contents = self.files.contents();
        let generation = {
            let mut state = self.state();
            if contents == state.contents {
                (state.refused, state.trouble) = (None, None);
                return Look::Same;
            }
            state.material.generation + 1
        };
        let material = self.files.material(generation);
        let mut state = self.state();
        match material {
            Ok(material) => {
                *state = State {
                    material,
                    contents,
                    refused: None,
                    trouble: None,
                };
                Look::Changed
            }
            Err(unusable) => {
                let seen = state.refused.take().filter(|(it, _)| *it == contents);
                let again = seen.is_some();
                let said = seen.is_some_and(|(_, said)| said);
                state.refused = Some((contents, again));
                if !again || said {
                    return Look::Same;
                }
                state.trouble = Some(unusable.to_string());
                Look::Refused(unusable)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Material {
    /// Speaks TLS over `stream` with the server that is called `host`: a name, or an address without brackets. Has no
    /// deadline of its own.
    ///
    /// # Errors
    /// As rustls says, most of all when the server's certificate is not to be trusted.
    pub async fn connect<S>(&self, host: &str, stream: S) -> std::io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.config))
            .connect(name, stream)
            .await
    }

    /// The same, saying at once that this protocol is spoken (ALPN): `h2`, as gRPC wants it.
    #[must_use]
    pub fn speaking(&self, protocol: &str) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Self {
            config: Arc::new(config),
            ..self.clone()
        }
    }

    /// How long our own certificate is still valid, if that is less than two weeks; zero once it has ended.
    #[must_use]
    pub fn ends_soon(&self, now: SystemTime) -> Option<Duration> {
        let left = self.ends?.duration_since(now).unwrap_or_default();
        (left < NOTICE).then_some(left)
    }
}

impl Files {
    fn contents(&self) -> Contents {
        let read = |path: &Option<PathBuf>| path.as_ref().and_then(|it| files::read_small(it).ok());
        Contents([read(&self.cacert), read(&self.cert), read(&self.key)])
    }

    fn material(&self, generation: u64) -> Result<Material, Unusable> {
        let library = |cause| Unusable::Library {
            section: self.section.clone(),
            cause: Box::new(cause),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(library)?;
        let builder = builder.dangerous();
        let builder = match self.checks {
            Checks::Nothing => {
                builder.with_custom_certificate_verifier(Arc::new(insecure::Anybody(provider)))
            }
            Checks::Authority | Checks::Everything => {
                let roots = self.roots()?;
                let by_name = self.checks == Checks::Everything;
                let signed = authority::Signed::by(roots, by_name, provider).map_err(library)?;
                builder.with_custom_certificate_verifier(Arc::new(signed))
            }
        };
        let (config, ends) = match &self.cert {
            None => (builder.with_no_client_auth(), None),
            Some(cert) => {
                let chain = self.certificates(self.names.cert, cert)?;
                let ends = chain.first().and_then(end_of);
                let key = self.key.as_ref().unwrap_or(cert);
                let name = match &self.key {
                    Some(_) => self.names.key,
                    None => self.names.cert,
                };
                let own = self.private_key(name, key)?;
                let config = builder.with_client_auth_cert(chain, own);
                let config = config.map_err(|cause| Unusable::Mismatch {
                    name: format!("{}.{}", self.section, self.names.cert),
                    cert: cert.clone(),
                    key: key.clone(),
                    cause: Box::new(cause),
                })?;
                (config, ends)
            }
        };
        Ok(Material {
            generation,
            config: Arc::new(config),
            ends,
        })
    }

    /// Whom to trust, and where the operator has named them the certificates themselves.
    fn roots(&self) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Unusable> {
        let mut roots = RootCertStore::empty();
        let name = self.names.cacert;
        let Some(path) = &self.cacert else {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                let causes = found.errors.iter().map(ToString::to_string);
                return Err(Unusable::NoRoots {
                    key: format!("{}.{name}", self.section),
                    cause: causes.collect::<Vec<_>>().join(", "),
                });
            }
            return Ok((roots, Vec::new()));
        };
        let named = self.certificates(name, path)?;
        for certificate in &named {
            roots.add(certificate.clone()).map_err(|error| {
                let what = format!("a certificate in it cannot be used: {error}");
                self.garbled(name, path, what, "name a bundle of X.509 v3 authorities")
            })?;
        }
        Ok((roots, named))
    }

    fn certificates(
        &self,
        key: &str,
        path: &Path,
    ) -> Result<Vec<CertificateDer<'static>>, Unusable> {
        const REMEDY: &str = "name a PEM file with -----BEGIN CERTIFICATE----- in it";
        let text = self.read(key, path)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let found =
            found.map_err(|error| self.garbled(key, path, format!("no PEM: {error}"), REMEDY))?;
        if found.is_empty() {
            return Err(self.garbled(key, path, "there is no certificate in it".into(), REMEDY));
        }
        Ok(found)
    }

    fn private_key(&self, key: &str, path: &Path) -> Result<PrivateKeyDer<'static>, Unusable> {
        let text = self.read(key, path)?;
        PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| {
            let locked = text.contains("ENCRYPTED");
            let what = if locked {
                "the key in it has a password".to_owned()
            } else {
                format!("there is no private key in it: {error}")
            };
            self.garbled(
                key,
                path,
                what,
                "name a PEM file with a key without a password",
            )
        })
    }

    fn read(&self, key: &str, path: &Path) -> Result<String, Unusable> {
        files::read_small(path).map_err(|cause| Unusable::Unreadable {
            key: format!("{}.{key}", self.section),
            path: path.to_owned(),
            cause,
        })
    }

    fn garbled(&self, key: &str, path: &Path, what: String, remedy: &'static str) -> Unusable {
        Unusable::Garbled {
            key: format!("{}.{key}", self.section),
            path: path.to_owned(),
            what,
            remedy,
        }
    }
}

/// When a certificate ends; `None` if it says nothing that can be read.
fn end_of(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, read) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = u64::try_from(read.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
