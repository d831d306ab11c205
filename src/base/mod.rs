//! What every layer may use: the clock, identifiers and byte pipes. No policy lives here.

pub mod clock;
pub mod id;
pub mod pipe;
