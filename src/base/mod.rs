//! What every layer may use: the clock, identifiers, byte pipes and TLS settings. No policy lives here.

pub mod clock;
pub mod id;
pub mod pipe;
pub mod tls;
