//! TLS to servers: the settings of a client, by whose certificates it takes. TLS 1.2 and 1.3.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    WantsVerifier,
};

/// Settings that take what Mozilla's certificate authorities have issued.
pub fn trust_mozilla() -> Result<Arc<ClientConfig>, Error> {
    static SETTINGS: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    made_once(&SETTINGS, |builder| {
        builder.with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() })
    })
}

/// Settings that take any certificate; that the server has its key is still checked.
pub fn trust_anyone() -> Result<Arc<ClientConfig>, Error> {
    static SETTINGS: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    made_once(&SETTINGS, |builder| {
        let verifier = AnyCertificate(Arc::clone(builder.crypto_provider()));
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    })
}

/// Settings that take what these authorities have issued.
pub fn trust(authorities: RootCertStore) -> Result<Arc<ClientConfig>, Error> {
    Ok(Arc::new(builder()?.with_root_certificates(authorities).with_no_client_auth()))
}

/// Settings that take what these authorities have issued, and these very certificates: one that a server has signed
/// itself is an authority by its form, which no server's may be.
pub fn trust_or_know(
    authorities: RootCertStore,
    known: Vec<CertificateDer<'static>>,
) -> Result<Arc<ClientConfig>, Error> {
    let builder = builder()?;
    let provider = Arc::clone(builder.crypto_provider());
    let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), provider).build();
    let authorities = authorities.map_err(|error| Error::General(error.to_string()))?;
    let verifier = KnownCertificates { authorities, known };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(Arc::new(builder.with_no_client_auth()))
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions()
}

fn made_once(
    settings: &OnceLock<Arc<ClientConfig>>,
    verify: impl FnOnce(ConfigBuilder<ClientConfig, WantsVerifier>) -> ConfigBuilder<ClientConfig, WantsClientCert>,
) -> Result<Arc<ClientConfig>, Error> {
    if let Some(settings) = settings.get() {
        return Ok(Arc::clone(settings));
    }
    let made = Arc::new(verify(builder()?).with_no_client_auth());
    Ok(Arc::clone(settings.get_or_init(|| made)))
}

/// Knows some certificates; who issued the others has to be an authority.
#[derive(Debug)]
struct KnownCertificates {
    authorities: Arc<WebPkiServerVerifier>,
    known: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for KnownCertificates {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.known.contains(end_entity) {
            return self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let validity = parsed.validity();
        if now < validity.not_before.timestamp() {
            Err(CertificateError::NotValidYet.into())
        } else if now > validity.not_after.timestamp() {
            Err(CertificateError::Expired.into())
        } else {
            Ok(ServerCertVerified::assertion())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
