//! The server's keys: its certificate authority, what that has issued, the key of service accounts' tokens, and the
//! administrator's token. They are made once and kept under the data directory; certificates are issued anew before they
//! end, and the server's when it is reached by other names.
//!
//! ```text
//! server/pki/
//!   ca.pem        the authority: its certificate (ten years) and key
//!   ca.crt        its certificate alone, for clients
//!   server.pem    the server's certificate (a year) and key
//!   admin.pem     the administrator's, which the kubeconfig has
//!   tokens.pem    the key of service accounts' tokens
//!   admin-token   a bearer token that is the administrator's too
//! ```

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use anyhow::{Context, anyhow, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tracing::{info, warn};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::private;
use crate::apiserver::identity::{Identity, MASTERS};
use crate::apiserver::tokens::SigningKey;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// How long the authority is one.
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// How long what it issues is good.
const ISSUED_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How long before its end the server's certificate is issued anew; a server that runs looks every day.
const SERVER_LEFT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long the administrator's certificate is good at least when a server starts: the kubeconfig is written then.
const ADMIN_LEFT: SignedDuration = SignedDuration::from_hours(180 * 24);
/// Random bytes of the administrator's token.
const TOKEN_BYTES: usize = 32;
/// The cluster IP of the API server's own Service.
const SERVICE_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));
/// Its names in the cluster.
const SERVICE_NAMES: [&str; 4] =
    ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];

/// By which names and addresses the server is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ServerNames {
    dns: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl ServerNames {
    /// Those every server has, this machine's name, and where it listens.
    pub(super) fn new(host_name: &str, listening: IpAddr) -> Self {
        let dns = SERVICE_NAMES.into_iter().chain(["localhost"]).map(str::to_owned).collect();
        let addresses = BTreeSet::from([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), SERVICE_IP]);
        let mut names = Self { dns, addresses };
        // The system's settings need not be fit for a certificate.
        if names.add(host_name).is_err() {
            warn!(host_name, "this machine's name will not be in the server's certificate");
        }
        if !listening.is_unspecified() {
            names.addresses.insert(listening);
        }
        names
    }

    /// Adds one more name or address.
    pub(super) fn add(&mut self, name: &str) -> anyhow::Result<()> {
        if let Ok(address) = name.parse() {
            self.addresses.insert(address);
            return Ok(());
        }
        let label =
            |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_*".contains(&b));
        ensure!(name.len() <= 253 && name.split('.').all(label), "{name:?} is neither an address nor a DNS name");
        self.dns.insert(name.to_ascii_lowercase());
        Ok(())
    }

    fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut names = Self::default();
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => {
                    names.dns.insert((*name).to_owned());
                }
                GeneralName::IPAddress(bytes) => {
                    let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                    names.addresses.extend(v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)));
                }
                _ => {}
            }
        }
        names
    }

    fn to_alternatives(&self) -> anyhow::Result<Vec<SanType>> {
        let dns = self.dns.iter().map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)));
        dns.chain(self.addresses.iter().map(|&address| Ok(SanType::IpAddress(address)))).collect()
    }
}

/// A certificate and its key, as files have them.
#[derive(Debug, Clone)]
pub(super) struct Issued {
    /// The certificate, in PEM.
    pub(super) certificate: String,
    /// The key, in PEM.
    pub(super) key: String,
}

impl Issued {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let begin = text.find("-----BEGIN PRIVATE KEY").context("there is no key in it")?;
        let (certificate, key) = text.split_at(begin);
        let issued = Self { certificate: certificate.to_owned(), key: key.to_owned() };
        issued.certificate_der()?;
        Ok(issued)
    }

    fn certificate_der(&self) -> anyhow::Result<CertificateDer<'static>> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).context("there is no certificate in it")
    }

    fn for_tls(&self) -> anyhow::Result<CertifiedKey> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        Ok(CertifiedKey::from_der(vec![self.certificate_der()?], key, &ring::default_provider())?)
    }
}

/// The server's keys and what they are used for.
#[derive(Debug)]
pub(super) struct ServerKeys {
    directory: PathBuf,
    authority: Issued,
    names: ServerNames,
    server: Arc<ServerCertificate>,
    /// The administrator's certificate.
    pub(super) admin: Issued,
    /// The administrator's token.
    pub(super) admin_token: String,
}

impl ServerKeys {
    /// Takes the keys from their directory, and makes what is missing there or about to end.
    pub(super) fn open(directory: &Path, names: ServerNames, now: Timestamp) -> anyhow::Result<Self> {
        private::make_directory(directory)?;
        let authority = open_authority(directory, now)?;
        let admin = keep(directory, "admin.pem", &authority, (now, ADMIN_LEFT), &admin_request()?)?;
        let server = keep(directory, "server.pem", &authority, (now, SERVER_LEFT), &server_request(&names)?)?;
        let server = Arc::new(ServerCertificate(RwLock::new(Arc::new(server.for_tls()?))));
        let admin_token = open_token(&directory.join("admin-token"))?;
        Ok(Self { directory: directory.to_owned(), authority, names, server, admin, admin_token })
    }

    /// The authority's certificate, in PEM.
    pub(super) fn ca_certificate(&self) -> &str {
        &self.authority.certificate
    }

    /// The key of service accounts' tokens.
    pub(super) fn token_key(&self) -> anyhow::Result<SigningKey> {
        let path = self.directory.join("tokens.pem");
        let pem = match private::read_text(&path)? {
            Some(pem) => pem,
            None => {
                let pem = KeyPair::generate()?.serialize_pem();
                private::write(&path, pem.as_bytes())?;
                pem
            }
        };
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(anyhow::Error::from);
        let key = key.and_then(|key| Ok(SigningKey::from_pkcs8(key.secret_der())?));
        key.with_context(|| unusable(&path, "tokens of service accounts that pods have"))
    }

    /// The settings for TLS: clients may have a certificate of the authority.
    pub(super) fn tls(&self) -> anyhow::Result<ServerConfig> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate_der()?)?;
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()?;
        let mut settings = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::clone(&self.server) as Arc<dyn ResolvesServerCert>);
        settings.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(settings)
    }

    /// Issues the server's certificate anew if it is about to end; new connections get it.
    pub(super) fn renew(&self, now: Timestamp) -> anyhow::Result<()> {
        let request = server_request(&self.names)?;
        let server = keep(&self.directory, "server.pem", &self.authority, (now, SERVER_LEFT), &request)?;
        let server = Arc::new(server.for_tls()?);
        *self.server.0.write().unwrap_or_else(PoisonError::into_inner) = server;
        Ok(())
    }

    /// How often [`ServerKeys::renew`] is worth calling.
    pub(super) const RENEWAL: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
}

/// The server's certificate as TLS asks for it: the latest.
#[derive(Debug)]
struct ServerCertificate(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Whose a client's certificate is, which the authority has issued (`CommonNameUserConversion` of kube-apiserver): the
/// common name is the user, organizations are the groups.
pub(super) fn identity_of(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject();
    let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| attribute.as_str().ok().map(str::to_owned);
    let username = subject.iter_common_name().find_map(text).filter(|name| !name.is_empty())?;
    let mut identity = Identity::authenticated(username, subject.iter_organization().filter_map(text));
    let digest: String = ::ring::digest::digest(&::ring::digest::SHA256, certificate)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let id = format!("X509SHA256={digest}");
    identity.extra.insert("authentication.kubernetes.io/credential-id".to_owned(), vec![id]);
    Some(identity)
}

fn unusable(path: &Path, lost: &str) -> String {
    format!("{} cannot be used: if it is removed, a new one is made, and {lost} stop working", path.display())
}

/// The authority that is there, or a new one.
fn open_authority(directory: &Path, now: Timestamp) -> anyhow::Result<Issued> {
    let path = directory.join("ca.pem");
    if let Some(text) = private::read_text(&path)? {
        let found = Issued::parse(&text).and_then(|issued| {
            let key = KeyPair::from_pem(&issued.key)?;
            let der = issued.certificate_der()?;
            let (_, certificate) = X509Certificate::from_der(&der)?;
            let fits = certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw();
            ensure!(fits, "the key in it is not that of the certificate");
            let lasts = ends(&certificate) > (now + ISSUED_LIFE).as_second();
            Ok((issued, lasts))
        });
        let (issued, lasts) = found.with_context(|| unusable(&path, "kubeconfigs made for it"))?;
        if lasts {
            return Ok(issued);
        }
        warn!("the certificate authority is about to end: a new one is made, and older kubeconfigs stop working");
    }
    let key = KeyPair::generate()?;
    let certificate = authority_request(now).self_signed(&key)?;
    let issued = Issued { certificate: certificate.pem(), key: key.serialize_pem() };
    private::write(&path, format!("{}{}", issued.certificate, issued.key).as_bytes())?;
    private::write(&directory.join("ca.crt"), issued.certificate.as_bytes())?;
    info!(directory = %directory.display(), "made a certificate authority");
    Ok(issued)
}

fn authority_request(now: Timestamp) -> CertificateParams {
    let mut request = CertificateParams::default();
    request.distinguished_name = DistinguishedName::new();
    request.distinguished_name.push(DnType::CommonName, format!("husk-ca@{}", now.as_second()));
    request.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    request.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    request.not_before = SystemTime::from(now - HOUR).into();
    request.not_after = SystemTime::from(now + AUTHORITY_LIFE).into();
    request
}

fn server_request(names: &ServerNames) -> anyhow::Result<CertificateParams> {
    let mut request = issued_request("kube-apiserver", None, ExtendedKeyUsagePurpose::ServerAuth);
    request.subject_alt_names = names.to_alternatives()?;
    Ok(request)
}

fn admin_request() -> anyhow::Result<CertificateParams> {
    let admin = Identity::admin();
    Ok(issued_request(&admin.username, Some(MASTERS), ExtendedKeyUsagePurpose::ClientAuth))
}

fn issued_request(name: &str, group: Option<&str>, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut request = CertificateParams::default();
    request.distinguished_name = DistinguishedName::new();
    if let Some(group) = group {
        request.distinguished_name.push(DnType::OrganizationName, group);
    }
    request.distinguished_name.push(DnType::CommonName, name);
    request.is_ca = IsCa::ExplicitNoCa;
    request.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    request.extended_key_usages = vec![usage];
    request.use_authority_key_identifier_extension = true;
    request
}

/// What the authority has issued, if it is as asked for and good for a while, else anew.
fn keep(
    directory: &Path,
    file: &str,
    authority: &Issued,
    (now, left): (Timestamp, SignedDuration),
    request: &CertificateParams,
) -> anyhow::Result<Issued> {
    let path = directory.join(file);
    if let Some(text) = private::read_text(&path)? {
        let found = Issued::parse(&text).and_then(|issued| {
            let fits = is_as_requested(&issued, authority, request)?;
            let der = issued.certificate_der()?;
            let (_, certificate) = X509Certificate::from_der(&der)?;
            let lasts = ends(&certificate) > (now + left).as_second();
            Ok((fits && lasts).then_some(issued))
        });
        match found {
            Ok(Some(issued)) => return Ok(issued),
            Ok(None) => info!(file, "the certificate is issued anew"),
            Err(error) => {
                warn!(file, error = format!("{error:#}"), "the certificate cannot be used and is issued anew")
            }
        }
    }
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let key = KeyPair::generate()?;
    let mut request = request.clone();
    request.not_before = SystemTime::from(now - HOUR).into();
    request.not_after = SystemTime::from(now + ISSUED_LIFE).into();
    let certificate = request.signed_by(&key, &issuer)?;
    let issued = Issued { certificate: certificate.pem(), key: key.serialize_pem() };
    private::write(&path, format!("{}{}", issued.certificate, issued.key).as_bytes())?;
    Ok(issued)
}

/// Whether a certificate is the authority's, with the names that are wanted, and goes with its key.
fn is_as_requested(issued: &Issued, authority: &Issued, request: &CertificateParams) -> anyhow::Result<bool> {
    let (der, authority) = (issued.certificate_der()?, authority.certificate_der()?);
    let (_, certificate) = X509Certificate::from_der(&der)?;
    let (_, authority) = X509Certificate::from_der(&authority)?;
    let key = KeyPair::from_pem(&issued.key)?;
    let names = ServerNames::of(&certificate).to_alternatives()?;
    Ok(certificate.verify_signature(Some(authority.public_key())).is_ok()
        && certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
        && names == request.subject_alt_names)
}

/// When a certificate ends, in seconds of the epoch.
fn ends(certificate: &X509Certificate<'_>) -> i64 {
    certificate.validity().not_after.timestamp()
}

/// The token that is there, or a new one.
fn open_token(path: &Path) -> anyhow::Result<String> {
    if let Some(token) = private::read_text(path)? {
        let token = token.trim();
        let sound = token.len() >= TOKEN_BYTES && token.bytes().all(|byte| byte.is_ascii_graphic());
        return if sound {
            Ok(token.to_owned())
        } else {
            Err(anyhow!("it is not a token of {TOKEN_BYTES} characters or more"))
                .with_context(|| unusable(path, "clients that have it"))
        };
    }
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).context("no random numbers to make a token of")?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    private::write(path, format!("{token}\n").as_bytes())?;
    Ok(token)
}

#[cfg(test)]
mod tests;
