//! Signatures as cosign makes them with a key (`cosign sign --key`): beside an image, under the tag `sha256-<digest>.sig`,
//! is a manifest whose layers are statements, "this digest was signed", each with a signature over it. They are verified
//! against keys the user has, with nobody else asked.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci_spec::image::{Descriptor, ImageManifest};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use super::layout::Sha256Hex;
use super::registry::{Client, RegistryError};

/// The type of a statement.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation that has the signature over a statement.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Largest statement.
const MAX_STATEMENT: u64 = 64 * 1024;
/// Most statements looked at.
const MAX_STATEMENTS: usize = 64;
/// What the DER of a P-256 key begins with (RFC 5480), and of an Ed25519 key (RFC 8410); the key itself follows.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const EDWARDS: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A key that may have signed.
pub(super) struct Key {
    /// The digest of its DER, to know it again.
    pub(super) fingerprint: String,
    algorithm: &'static dyn VerificationAlgorithm,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Key({})", self.fingerprint)
    }
}

/// A statement: cosign's, and before it Red Hat's, "simple signing".
#[derive(Deserialize)]
struct Statement {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: SignedImage,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct SignedImage {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

impl Key {
    /// Reads a public key in PEM form; else why it cannot be used.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let named = |problem: &str| format!("key {}: {problem}", path.display());
        let text = std::fs::read(path).map_err(|error| named(&error.to_string()))?;
        Self::parse(&text).map_err(|problem| named(&problem))
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text).map_err(|_| "no public key in PEM form".to_owned())?;
        let fingerprint = Sha256Hex::of(&der).to_string();
        let known: [(&[u8], usize, &'static dyn VerificationAlgorithm); 2] =
            [(P256, 65, &ECDSA_P256_SHA256_ASN1), (EDWARDS, 32, &ED25519)];
        for (prefix, length, algorithm) in known {
            if let Some(bytes) = der.strip_prefix(prefix).filter(|bytes| bytes.len() == length) {
                return Ok(Self { fingerprint, algorithm, bytes: bytes.to_vec() });
            }
        }
        Err("neither a P-256 nor an Ed25519 key, as cosign makes them".to_owned())
    }

    fn has_signed(&self, statement: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm, &self.bytes).verify(statement, signature).is_ok()
    }
}

/// Reads the keys that may have signed.
pub(super) fn read_keys(paths: &[PathBuf]) -> Result<Vec<Key>, String> {
    paths.iter().map(|path| Key::read(path)).collect()
}

/// Finds a good signature of `digest` beside the image; the fingerprint of its key. The inner error says why there is
/// none, the outer one that it cannot be told.
pub(super) async fn verify(
    client: &Client,
    digest: &Sha256Hex,
    keys: &[Key],
) -> Result<Result<String, String>, RegistryError> {
    let manifest = match client.manifest(&format!("sha256-{}.sig", digest.hex())).await {
        Ok(fetched) => fetched,
        Err(RegistryError::NotFound { .. }) => {
            return Ok(Err(format!("no signature of {digest} at {}", client.endpoint.registry)));
        }
        Err(error) => return Err(error),
    };
    let Ok(manifest) = serde_json::from_slice::<ImageManifest>(&manifest.contents) else {
        return Ok(Err(format!("the signatures of {digest} are no valid manifest")));
    };
    let mut problem = format!("no signature of {digest} is by a trusted key");
    for layer in manifest.layers().iter().take(MAX_STATEMENTS) {
        let Some(signature) = signature_of(layer) else { continue };
        let statement = client.small_blob(layer, MAX_STATEMENT).await?;
        let Some(key) = keys.iter().find(|key| key.has_signed(&statement, &signature)) else { continue };
        match check(&statement, digest) {
            Ok(()) => return Ok(Ok(key.fingerprint.clone())),
            Err(found) => problem = found,
        }
    }
    Ok(Err(problem))
}

fn signature_of(layer: &Descriptor) -> Option<Vec<u8>> {
    if layer.media_type().as_ref() != SIMPLE_SIGNING {
        return None;
    }
    STANDARD.decode(layer.annotations().as_ref()?.get(SIGNATURE)?).ok()
}

/// Whether a statement is about an image.
fn check(statement: &[u8], digest: &Sha256Hex) -> Result<(), String> {
    let statement: Statement =
        serde_json::from_slice(statement).map_err(|_| "a signed statement is no valid JSON".to_owned())?;
    if statement.critical.kind != "cosign container image signature" {
        return Err(format!("a signed statement is of type {:?}", statement.critical.kind));
    }
    if statement.critical.image.digest != digest.to_string() {
        return Err(format!("the signature found is of another image, {}", statement.critical.image.digest));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_cosign_makes_are_read_and_others_are_refused() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        assert_eq!(Key::parse(key.public_key_pem().as_bytes()).unwrap().bytes.len(), 65);
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        assert_eq!(Key::parse(key.public_key_pem().as_bytes()).unwrap().bytes.len(), 32);
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert!(Key::parse(key.public_key_pem().as_bytes()).unwrap_err().contains("neither"));
        assert!(Key::parse(key.serialize_pem().as_bytes()).unwrap_err().contains("no public key"));
        assert!(Key::read(Path::new("/none.pub")).unwrap_err().starts_with("key /none.pub: "));
    }

    #[test]
    fn a_statement_must_be_about_the_image() {
        let digest = Sha256Hex::of(b"x");
        let statement = |kind: &str, digest: &str| {
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":"a"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"}},"optional":null}}"#
            )
        };
        let kind = "cosign container image signature";
        assert!(check(statement(kind, &digest.to_string()).as_bytes(), &digest).is_ok());
        assert!(check(statement(kind, "sha256:00").as_bytes(), &digest).unwrap_err().contains("another image"));
        assert!(check(statement("atomic", &digest.to_string()).as_bytes(), &digest).unwrap_err().contains("of type"));
        assert!(check(b"{}", &digest).is_err());
    }
}
