//! What the server says of its services, and the two messages in which it is asked and says so.
//!
//! ```proto
//! message HealthCheckRequest { string service = 1; }
//! message HealthCheckResponse { ServingStatus status = 1; }
//! ```

use std::fmt;
use std::time::{Duration, Instant};

/// Protocol Buffers' key of field 1 with a length before its contents, and with a variable-length integer.
const SERVICE_KEY: u64 = 1 << 3 | 2;
const STATUS_KEY: u8 = 1 << 3;

/// `HealthCheckResponse.ServingStatus`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Status {
    Serving = 1,
    NotServing = 2,
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
        })
    }
}

/// The services and how they fare in time.
pub(crate) struct Health {
    pub(crate) started: Instant,
    pub(crate) services: Vec<String>,
    pub(crate) serving_after: Duration,
    pub(crate) not_serving_after: Duration,
}

impl Health {
    /// The status of a service now; `None` if there is no such service.
    pub(crate) fn check(&self, service: &str) -> Option<Status> {
        let age = self.started.elapsed();
        let serves = (self.serving_after..self.not_serving_after).contains(&age);
        let known = self.services.iter().any(|known| known == service);
        known.then_some(if serves { Status::Serving } else { Status::NotServing })
    }
}

/// The service a `HealthCheckRequest` names; `None` if it is not one.
pub(crate) fn decode_request(mut message: &[u8]) -> Option<String> {
    let mut service = Vec::new();
    while !message.is_empty() {
        let key = integer(&mut message)?;
        // Fields this server does not know are skipped, as Protocol Buffers wants it.
        let length = match key & 7 {
            0 => integer(&mut message).map(|_| 0)?,
            1 => 8,
            2 => usize::try_from(integer(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (contents, rest) = message.split_at_checked(length)?;
        if key == SERVICE_KEY {
            service = contents.to_vec();
        }
        message = rest;
    }
    String::from_utf8(service).ok()
}

/// A `HealthCheckResponse`.
pub(crate) fn encode_response(status: Status) -> [u8; 2] {
    [STATUS_KEY, status as u8]
}

/// Takes an integer of seven bits a byte, the lowest ones first, off the front.
fn integer(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
