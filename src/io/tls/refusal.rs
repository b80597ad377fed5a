//! What a connection over TLS tells beside its bytes: why it did not come about, and what binds a login to it.

use std::error::Error;
use std::io;

use rustls::server::ParsedCertificate;
use rustls::{AlertDescription, CertificateError};
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio_rustls::client::TlsStream;

/// Why a connection did not come about, as far as somebody can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No authority that we trust signed the server's certificate.
    Authority,
    /// The server's certificate is for another name.
    Name,
    /// The server's certificate is not valid now.
    Date,
    /// The server wants to see another certificate than ours, or any.
    Ours,
    /// Anything else that TLS says.
    Other,
}

impl Refusal {
    /// Reads it off an error; `None` if that one has nothing to do with TLS.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            let inside = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
                .and_then(|inside| inside.downcast_ref::<rustls::Error>());
            if let Some(said) = inside.or_else(|| error.downcast_ref::<rustls::Error>()) {
                return Some(Self::read(said));
            }
            next = error.source();
        }
        None
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls' errors are open")]
    fn read(said: &rustls::Error) -> Self {
        match said {
            rustls::Error::InvalidCertificate(wrong) => match wrong {
                // An authority of the same name with another key has signed nothing of this one's.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Authority,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::Name,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Date,
                _ => Self::Other,
            },
            rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::CertificateExpired,
            ) => Self::Ours,
            _ => Self::Other,
        }
    }
}

/// The digest of the server's certificate that binds a login to this connection (`tls-server-end-point`, RFC 5929);
/// `None` where the certificate's signature names no digest, or one that is not known here, and where the certificate cannot
/// be read as one of a server: then nothing has shown that it is the server's own.
#[must_use]
pub fn end_point<S>(stream: &TlsStream<S>) -> Option<Vec<u8>> {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates()?.first()?;
    let _own = ParsedCertificate::try_from(certificate).ok()?;
    let (_, read) = x509_parser::parse_x509_certificate(certificate).ok()?;
    // Whatever was signed with MD5 or SHA-1 is bound with SHA-256.
    Some(
        match read.signature_algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.4"
            | "1.2.840.113549.1.1.5"
            | "1.2.840.113549.1.1.11"
            | "1.2.840.10045.4.1"
            | "1.2.840.10045.4.3.2" => Sha256::digest(certificate).to_vec(),
            "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Sha384::digest(certificate).to_vec(),
            "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Sha512::digest(certificate).to_vec(),
            _signed_without_a_digest => return None,
        },
    )
}
