//! A certificate authority for tests: certificates for servers and clients, good ones and every bad kind.

use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::parts::Account;

const DAY: Duration = Duration::from_secs(86_400);

/// An authority, its certificate written as `NAME.crt`. What it signs is written beside it.
#[derive(Debug)]
pub struct Ca {
    folder: PathBuf,
    certificate: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

/// What a server that speaks TLS needs, and its clients' way in.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The authority both sides trust.
    pub ca: PathBuf,
    /// What the server shows.
    pub server: Pair,
    /// What its clients show; the server refuses those that show nothing this authority signed.
    pub client: Pair,
}

impl Ca {
    /// A new authority; two of the same name trust each other's certificates no more than strangers.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = write(
            folder,
            &format!("{name}.crt"),
            &params.self_signed(&key)?.pem(),
        )?;
        Ok(Self {
            folder: folder.to_owned(),
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// Its own certificate, PEM: the bundle that others check against.
    #[must_use]
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// A certificate for a server at these addresses, which may also be shown to other servers.
    pub fn server(&self, name: &str, addresses: &[IpAddr]) -> Result<Pair> {
        let addresses = addresses.iter().map(ToString::to_string).collect();
        self.sign(name, addresses, SystemTime::now() + 365 * DAY)
    }

    /// A certificate for a client called `name`.
    pub fn client(&self, name: &str) -> Result<Pair> {
        self.client_for(name, 365 * DAY)
    }

    /// The same, valid for no longer than `time` from now.
    pub fn client_for(&self, name: &str, time: Duration) -> Result<Pair> {
        self.sign(name, Vec::new(), SystemTime::now() + time)
    }

    /// A server certificate for these addresses that was valid until yesterday.
    pub fn expired_server(&self, name: &str, addresses: &[IpAddr]) -> Result<Pair> {
        let addresses = addresses.iter().map(ToString::to_string).collect();
        self.sign(name, addresses, SystemTime::now() - DAY)
    }

    /// Everything for servers at these addresses and a client called `client`.
    pub fn both_sides(&self, addresses: &[IpAddr], client: &str) -> Result<Tls> {
        Ok(Tls {
            ca: self.certificate.clone(),
            server: self.server(&format!("{client}-server"), addresses)?,
            client: self.client(client)?,
        })
    }

    fn sign(&self, name: &str, addresses: Vec<String>, end: SystemTime) -> Result<Pair> {
        let mut params = CertificateParams::new(addresses)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.not_before = (SystemTime::now() - 400 * DAY).into();
        params.not_after = end.into();
        let key = KeyPair::generate()?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("signing a certificate for {name}"))?;
        Ok(Pair {
            certificate: write(&self.folder, &format!("{name}.crt"), &certificate.pem())?,
            key: write(&self.folder, &format!("{name}.key"), &key.serialize_pem())?,
        })
    }
}

impl Pair {
    /// Puts this pair in the place of `other`, the certificate first: for a moment the two do not fit.
    pub fn replace(&self, other: &Self) -> Result<()> {
        for (from, to) in [
            (&self.certificate, &other.certificate),
            (&self.key, &other.key),
        ] {
            std::fs::copy(from, to)
                .with_context(|| format!("putting {} in place", from.display()))?;
        }
        Ok(())
    }

    /// A copy in `folder` that belongs to `owner` alone.
    pub fn for_owner(&self, folder: &Path, owner: Option<&Account>) -> Result<Self> {
        Ok(Self {
            certificate: hand_over(&self.certificate, folder, owner)?,
            key: hand_over(&self.key, folder, owner)?,
        })
    }
}

impl Tls {
    /// What a client of this authority connects with.
    pub fn connector(&self) -> Result<TlsConnector> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca)?)?;
        let own = CertificateDer::from_pem_file(&self.client.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.client.key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![own], key)?;
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// What a server of this authority accepts with: clients without its certificate are refused.
    pub fn acceptor(&self) -> Result<TlsAcceptor> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca)?)?;
        let own = CertificateDer::from_pem_file(&self.server.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.server.key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![own], key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// A copy in `folder` that belongs to `owner` alone.
    pub fn for_owner(&self, folder: &Path, owner: Option<&Account>) -> Result<Self> {
        Ok(Self {
            ca: hand_over(&self.ca, folder, owner)?,
            server: self.server.for_owner(folder, owner)?,
            client: self.client.for_owner(folder, owner)?,
        })
    }
}

fn hand_over(file: &Path, folder: &Path, owner: Option<&Account>) -> Result<PathBuf> {
    let name = file.file_name().context("a file without a name")?;
    let to = folder.join(name);
    let copied = || {
        std::fs::copy(file, &to)?;
        std::fs::set_permissions(&to, PermissionsExt::from_mode(0o600))?;
        owner.map_or(Ok(()), |owner| chown(&to, Some(owner.uid), Some(owner.gid)))
    };
    copied().with_context(|| format!("copying {} to {}", file.display(), to.display()))?;
    Ok(to)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))
        .with_context(|| format!("closing {} to others", path.display()))?;
    Ok(path)
}
