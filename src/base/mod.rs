//! What every layer may use: the clock, files of husk's own, identifiers, byte pipes, kernel parameters and TLS settings. No policy lives here.

pub mod clock;
pub mod files;
pub mod id;
pub mod pipe;
pub mod sysctl;
pub mod tls;
