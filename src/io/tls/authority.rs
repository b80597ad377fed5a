//! Checking who signed a server's certificate, with or without its name. Who is to be trusted is the operator's word: a
//! certificate that he names is trusted as a server's own too, as OpenSSL has it, though it be that of an authority.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Trusts who is signed for.
#[derive(Debug)]
pub(super) struct Signed {
    by: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
    by_name: bool,
}

impl Signed {
    /// Trusts those whom these authorities sign for, and those certificates themselves.
    pub(super) fn by(
        (roots, named): (RootCertStore, Vec<CertificateDer<'static>>),
        by_name: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let by = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let by = by.map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { by, named, by_name })
    }

    /// A certificate that is trusted as itself must be valid, and for this name where that is asked.
    fn itself(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (_, read) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|_error| CertificateError::BadEncoding)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < read.validity().not_before.timestamp() {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > read.validity().not_after.timestamp() {
            return Err(CertificateError::Expired.into());
        }
        if self.by_name {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Signed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.named.contains(end_entity) {
            return self.itself(end_entity, server_name, now);
        }
        let verified =
            self.by
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is looked at last: everything else was found good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.by_name => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by.supported_verify_schemes()
    }
}
