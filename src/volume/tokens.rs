//! Tokens of service accounts, as volumes show them: kept until they should be replaced, so that not every change of a
//! volume has a new one issued. Source of the rules: kubelet v1.36 `pkg/kubelet/token`.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use tracing::warn;

use super::{SetUpError, VolumeContext};
use crate::base::clock::Timestamp;

/// A token is replaced after this time, however long it is good (`maxTTL`).
const LONGEST: SignedDuration = SignedDuration::from_hours(24);
/// Up to this much earlier, so that not all are replaced at once (`maxJitter`).
const JITTER: SignedDuration = SignedDuration::from_secs(10);
/// When to try again to replace one that is still good.
const RETRY: SignedDuration = SignedDuration::from_secs(60);

/// What a pod wants a token for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenRequest {
    /// For whom it is; `None` for the API server.
    pub audience: Option<String>,
    /// How long it should be good.
    pub seconds: i64,
}

/// A token that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// The token.
    pub token: String,
    /// Until when it is good, as far as whoever wants it shall know.
    pub expires_at: Timestamp,
}

/// The tokens of one pod.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<BTreeMap<TokenRequest, Kept>>);

#[derive(Debug)]
struct Kept {
    issued: IssuedToken,
    replace_at: Timestamp,
}

impl Tokens {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TokenRequest, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token for a request: the one that there is, or a new one if it is time for that.
    pub(super) fn get(&self, request: &TokenRequest, context: &VolumeContext<'_>) -> Result<String, SetUpError> {
        if let Some(kept) = self.lock().get(request)
            && context.now < kept.replace_at
        {
            return Ok(kept.issued.token.clone());
        }
        match context.sources.service_account_token(request) {
            Ok(issued) => {
                let (token, replace_at) = (issued.token.clone(), replace_at(request, issued.expires_at));
                self.lock().insert(request.clone(), Kept { issued, replace_at });
                Ok(token)
            }
            Err(message) => match self.lock().get_mut(request) {
                Some(kept) if context.now < kept.issued.expires_at => {
                    warn!(message, "a token is not replaced yet");
                    kept.replace_at = context.now + RETRY;
                    Ok(kept.issued.token.clone())
                }
                Some(_) | None => Err(SetUpError::Token(message)),
            },
        }
    }

    /// When the next token should be replaced.
    pub(super) fn replace_at(&self) -> Option<Timestamp> {
        self.lock().values().map(|kept| kept.replace_at).min()
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }
}

/// When four fifths of a token's time are over, or a day after it was issued; a little earlier (`requiresRefresh`).
fn replace_at(request: &TokenRequest, expires_at: Timestamp) -> Timestamp {
    let whole = SignedDuration::from_secs(request.seconds);
    let before = SignedDuration::from_secs(request.seconds / 5);
    let at_fifth = expires_at.saturating_sub(before).unwrap_or(expires_at);
    let issued_at = expires_at.saturating_sub(whole).unwrap_or(expires_at);
    let after_longest = issued_at.saturating_add(LONGEST).unwrap_or(expires_at);
    // A new hasher has a random state, which is random enough for this.
    let random = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    let jitter = JITTER.mul_f64(random);
    let at = at_fifth.min(after_longest);
    at.saturating_sub(jitter).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_when_four_fifths_of_its_time_are_over() {
        let expires_at = Timestamp::from_second(1_800_000_000).unwrap();
        for (seconds, expected) in [(3600, 720), (600, 120), (7 * 86_400, 6 * 86_400)] {
            let before = expires_at.duration_since(replace_at(&TokenRequest { audience: None, seconds }, expires_at));
            assert!((expected..=expected + 10).contains(&before.as_secs()), "{seconds}: {before:?}");
        }
    }
}
