//! JSON Web Tokens (RFC 7519) in the one form there is here: compact, signed with ES256 (RFC 7518 §3.4) by one key. What
//! claims mean is not known here. The algorithm is never the token's to choose.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// What precedes the point of a P-256 key in its SubjectPublicKeyInfo (RFC 5480 §2).
const P256_KEY_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is no private key for P-256 in PKCS #8.
    #[error("not a private key of the curve P-256 in PKCS #8")]
    Unusable,
    /// The system gave no random numbers.
    #[error("no random numbers to make a key of")]
    NoRandomness,
}

/// A token could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token could not be signed")]
pub struct SigningFailed;

/// The token is none that this key has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token of this server")]
pub struct NotSigned;

/// The key that tokens are signed with, and checked.
#[derive(Debug)]
pub struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    /// The header of all tokens, encoded.
    header: String,
    id: String,
}

impl SigningKey {
    /// A key in PKCS #8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
            .map_err(|_rejected| KeyError::Unusable)?;
        // As kube-apiserver names keys (pkg/serviceaccount/jwt.go keyIDFromPublicKey).
        let info = [&P256_KEY_INFO[..], pair.public_key().as_ref()].concat();
        let id = BASE64URL.encode(ring::digest::digest(&ring::digest::SHA256, &info));
        let header = BASE64URL.encode(json!({ "alg": "ES256", "kid": id }).to_string());
        Ok(Self { pair, random, header, id })
    }

    /// A key that nobody has had before.
    pub fn random() -> Result<Self, KeyError> {
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_unspecified| KeyError::NoRandomness)?;
        Self::from_pkcs8(der.as_ref())
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, SigningFailed> {
        let claims = serde_json::to_vec(claims).map_err(|_invalid| SigningFailed)?;
        let mut token = format!("{}.{}", self.header, BASE64URL.encode(claims));
        let signature = self.pair.sign(&self.random, token.as_bytes()).map_err(|_unspecified| SigningFailed)?;
        token.push('.');
        BASE64URL.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The claims of a token that this key has signed.
    pub fn verify<T: DeserializeOwned>(&self, token: &str) -> Result<T, NotSigned> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(NotSigned);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(NotSigned)?;
        let (header, claims) = signed.split_once('.').ok_or(NotSigned)?;
        // All tokens of this key have the same header, so that there is nothing in it to interpret.
        if header != self.header {
            return Err(NotSigned);
        }
        let signature = BASE64URL.decode(signature).map_err(|_malformed| NotSigned)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_unspecified| NotSigned)?;
        let claims = BASE64URL.decode(claims).map_err(|_malformed| NotSigned)?;
        serde_json::from_slice(&claims).map_err(|_foreign| NotSigned)
    }

    /// The public key as a set of JSON Web Keys (RFC 7517), with which others can check tokens.
    pub fn key_set(&self) -> Value {
        // An uncompressed point: 4, then its two coordinates.
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at((point.len() - 1) / 2);
        let (x, y) = (BASE64URL.encode(x), BASE64URL.encode(y));
        json!({ "keys": [{ "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256", "x": x, "y": y }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Value {
        json!({ "sub": "somebody", "exp": 5 })
    }

    #[test]
    fn claims_come_back_from_a_signed_token() {
        let key = SigningKey::random().unwrap();
        let token = key.sign(&claims()).unwrap();
        assert_eq!(key.verify::<Value>(&token), Ok(claims()));
    }

    #[test]
    fn what_was_not_signed_is_not_believed() {
        let key = SigningKey::random().unwrap();
        let token = key.sign(&claims()).unwrap();
        let [header, body, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
        let other = BASE64URL.encode(json!({ "sub": "root", "exp": 5 }).to_string());
        let unsigned = BASE64URL.encode(json!({ "alg": "none" }).to_string());
        let symmetric = BASE64URL.encode(json!({ "alg": "HS256" }).to_string());
        for forged in [
            String::new(),
            "a.b.c".to_owned(),
            format!("{header}.{other}.{signature}"),
            format!("{header}.{body}."),
            format!("{header}.{body}"),
            format!("{unsigned}.{body}."),
            format!("{symmetric}.{body}.{signature}"),
            format!("{token}.{signature}"),
            format!("{header}.{body}.{signature}="),
            SigningKey::random().unwrap().sign(&claims()).unwrap(),
        ] {
            assert_eq!(key.verify::<Value>(&forged), Err(NotSigned), "{forged}");
        }
    }

    #[test]
    fn endless_tokens_are_not_looked_at() {
        let key = SigningKey::random().unwrap();
        let token = key.sign(&json!({ "aud": "x".repeat(MAX_TOKEN_BYTES) })).unwrap();
        assert_eq!(key.verify::<Value>(&token), Err(NotSigned));
    }

    #[test]
    fn a_key_survives_being_written_down() {
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let token = SigningKey::from_pkcs8(der.as_ref()).unwrap().sign(&claims()).unwrap();
        let again = SigningKey::from_pkcs8(der.as_ref()).unwrap();
        assert_eq!(again.verify::<Value>(&token), Ok(claims()));
        assert_eq!(SigningKey::from_pkcs8(b"no key").unwrap_err(), KeyError::Unusable);
    }
}
