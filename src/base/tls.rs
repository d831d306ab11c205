//! TLS to servers: the settings of a client, by whose certificates it takes. TLS 1.2 and 1.3.

use std::sync::{Arc, OnceLock};

use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, WantsVerifier,
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
