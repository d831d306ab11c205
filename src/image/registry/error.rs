//! Why something could not be had from a registry: by what the caller does about it, and with which registry answered
//! what. Secrets are in none of it: URLs are never shown (their queries are signed), and what a registry says is cut
//! and cleaned.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::image::ImageError;

/// Longest message of a registry that is passed on.
const MAX_MESSAGE: usize = 300;

/// What went wrong at one registry.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// It has no such image or blob.
    #[error("registry {registry}: {what} not found{said}")]
    NotFound {
        /// Who answered.
        registry: String,
        /// What was asked for.
        what: String,
        /// What it said, beginning with a colon, or nothing.
        said: Said,
    },
    /// It wants credentials, or others.
    #[error("registry {registry}: {problem}{said}")]
    Denied {
        /// Who answered.
        registry: String,
        /// Whether there were credentials, and what went wrong in looking for them.
        problem: String,
        /// What it said.
        said: Said,
    },
    /// It asks for patience.
    #[error("registry {registry}: too many requests (429){said}")]
    TooManyRequests {
        /// Who answered.
        registry: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
        /// What it said.
        said: Said,
    },
    /// It cannot be reached, or fails.
    #[error("registry {registry} is unavailable: {cause}")]
    Unavailable {
        /// Who did not answer.
        registry: String,
        /// Why.
        cause: String,
    },
    /// Who it is cannot be verified.
    #[error("registry {registry}: {cause}")]
    Tls {
        /// Who answered.
        registry: String,
        /// What is wrong with its certificate.
        cause: String,
    },
    /// It answered something it should not.
    #[error("registry {registry}: unexpected answer: {detail}")]
    Unexpected {
        /// Who answered.
        registry: String,
        /// What.
        detail: String,
    },
    /// What it sent is not what was asked for.
    #[error("registry {registry}: blob {digest} failed verification: {detail}")]
    Corrupt {
        /// Who answered.
        registry: String,
        /// What was asked for.
        digest: String,
        /// What came.
        detail: String,
    },
}

impl RegistryError {
    /// Whether another try may help.
    pub(in crate::image) fn is_transient(&self) -> bool {
        match self {
            Self::TooManyRequests { .. } | Self::Unavailable { .. } | Self::Corrupt { .. } => true,
            Self::NotFound { .. } | Self::Denied { .. } | Self::Tls { .. } | Self::Unexpected { .. } => false,
        }
    }
}

/// What a registry said about an error: cleaned, cut, and after a colon.
#[derive(Debug, Clone, Default)]
pub struct Said(String);

impl Said {
    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Said {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An error of the distribution specification; token servers have it in forms of their own.
#[derive(serde::Deserialize)]
struct Envelope {
    #[serde(default)]
    errors: Vec<EnvelopeError>,
    /// OAuth's (RFC 6749, 5.2).
    #[serde(default)]
    error_description: String,
    /// Docker Hub's.
    #[serde(default)]
    details: String,
}

#[derive(serde::Deserialize)]
struct EnvelopeError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Said {
    /// From the body of an answer. None of `secrets` will show.
    pub(super) fn of(body: &[u8], secrets: &[&str]) -> Self {
        let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else { return Self::default() };
        let first = envelope.errors.first().map(|first| (first.code.trim(), first.message.trim()));
        let mut text = match first {
            Some(("", message)) => message.to_owned(),
            Some((code, "")) => code.to_lowercase(),
            Some((code, message)) => format!("{}: {message}", code.to_lowercase()),
            None if envelope.error_description.is_empty() => envelope.details,
            None => envelope.error_description,
        };
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "…");
        }
        let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect();
        if text.is_empty() { Self::default() } else { Self(format!(": {text}")) }
    }
}

/// Why an image could not be pulled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PullError {
    /// `InvalidImageName`.
    #[error("invalid image name {name:?}: {detail}")]
    InvalidName {
        /// As given.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The user's configuration blocks the registry.
    #[error("failed to pull image {image:?}: registry is blocked in the registries file")]
    Blocked {
        /// The complete reference.
        image: String,
    },
    /// No registry had the image or answered: what each of those tried said.
    #[error("failed to pull image {image:?}: {}", Tried(.tried))]
    Registry {
        /// The complete reference.
        image: String,
        /// In the order in which they were tried.
        tried: Vec<RegistryError>,
    },
    /// A signature is demanded and there is no good one.
    #[error("failed to pull image {image:?}: signature verification failed: {detail}")]
    Signature {
        /// The complete reference.
        image: String,
        /// Why.
        detail: String,
    },
    /// What was pulled cannot be used or stored.
    #[error("failed to pull image {image:?}: {error}")]
    Image {
        /// The complete reference.
        image: String,
        /// Why.
        error: Arc<ImageError>,
    },
    /// Nobody waits for the image any more.
    #[error("failed to pull image {image:?}: the pull was given up")]
    Abandoned {
        /// The complete reference.
        image: String,
    },
}

struct Tried<'a>(&'a [RegistryError]);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            write!(formatter, "{}{error}", if number == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_say_is_cleaned_and_never_gives_secrets_away() {
        let said = |body: &str| Said::of(body.as_bytes(), &["hunter2", ""]).to_string();
        assert_eq!(
            said(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such tag"}]}"#),
            ": manifest_unknown: no such tag"
        );
        assert_eq!(said(r#"{"errors":[{"code":"DENIED"}]}"#), ": denied");
        assert_eq!(said(r#"{"errors":[{"message":"bad hunter2\u001b[31m"}]}"#), ": bad …[31m");
        assert_eq!(said(r#"{"details":"incorrect username or password"}"#), ": incorrect username or password");
        assert_eq!(said(r#"{"error":"denied","error_description":"no hunter2"}"#), ": no …");
        assert_eq!(said("<html>"), "");
        assert_eq!(said(r#"{"errors":[]}"#), "");
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(5000));
        assert!(said(&long).len() < 400);
    }
}
