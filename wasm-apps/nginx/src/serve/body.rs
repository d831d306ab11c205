//! Bodies of requests, as they come.

use std::mem::take;

use nginx::exchange::Exchange;
use nginx::http::chunked::Decoder;
use nginx::http::request::BodyLength;

use super::connection::{Connection, Read};

/// Bytes of a body that are read only to get to the next request.
const MAX_DISCARDED: u64 = 1 << 20;

/// The body of one request.
pub(crate) struct Body {
    rest: Rest,
    /// Bytes so far.
    received: u64,
    /// The client waits to be told that it may send it.
    awaited: bool,
}

enum Rest {
    Known(u64),
    Chunked(Decoder),
}

/// Why there is no more of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// The client has gone.
    Gone,
    /// It took too long.
    TimedOut,
    /// It is malformed.
    Malformed,
    /// It is too long.
    TooLarge,
}

impl BodyError {
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Gone | Self::Malformed => 400,
            Self::TimedOut => 408,
            Self::TooLarge => 413,
        }
    }
}

impl Body {
    pub(super) fn new(exchange: &Exchange) -> Self {
        let rest = match exchange.request.body {
            BodyLength::Known(length) => Rest::Known(length),
            BodyLength::Chunked => Rest::Chunked(Decoder::default()),
        };
        Self { rest, received: 0, awaited: exchange.request.expects_continue }
    }

    /// Whether all of it has been read.
    pub(super) fn is_done(&self) -> bool {
        match &self.rest {
            Rest::Known(left) => *left == 0,
            Rest::Chunked(decoder) => decoder.is_done(),
        }
    }

    /// Whether what is left of it is worth reading only to get to the next request.
    pub(super) fn is_skippable(&self) -> bool {
        match &self.rest {
            Rest::Known(left) => *left == 0 || !self.awaited && *left <= MAX_DISCARDED,
            Rest::Chunked(decoder) => decoder.is_done() || !self.awaited,
        }
    }

    /// The next piece; empty at the end.
    pub(super) async fn next(
        &mut self,
        connection: &mut Connection,
        exchange: &Exchange,
    ) -> Result<Vec<u8>, BodyError> {
        while !self.is_done() {
            let piece = self.decode(connection)?;
            self.received += piece.len() as u64;
            let most = exchange.settings.max_body;
            if most > 0 && self.received > most {
                return Err(BodyError::TooLarge);
            }
            if !piece.is_empty() {
                return Ok(piece);
            }
            if self.is_done() {
                break;
            }
            if take(&mut self.awaited) {
                connection.unsent.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            connection.send().await.map_err(|_gone| BodyError::Gone)?;
            connection.timer.set(exchange.settings.body_timeout);
            match connection.receive(false).await {
                Read::More => {}
                Read::TimedOut => return Err(BodyError::TimedOut),
                Read::End | Read::Quit => return Err(BodyError::Gone),
            }
        }
        Ok(Vec::new())
    }

    /// What there is of it in what was received.
    fn decode(&mut self, connection: &mut Connection) -> Result<Vec<u8>, BodyError> {
        match &mut self.rest {
            Rest::Known(left) => {
                let count = connection.received.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                if count == connection.received.len() {
                    return Ok(take(&mut connection.received));
                }
                let piece = connection.received[..count].to_vec();
                connection.use_up(count);
                Ok(piece)
            }
            Rest::Chunked(decoder) => {
                let mut piece = Vec::new();
                let used = decoder.decode(&connection.received, &mut piece).map_err(|_| BodyError::Malformed)?;
                connection.use_up(used);
                Ok(piece)
            }
        }
    }

    /// Reads the rest and throws it away; false if the connection cannot be used after that.
    pub(super) async fn discard(&mut self, connection: &mut Connection, exchange: &Exchange) -> bool {
        // Whoever waits to be told may well not send it any more.
        if !self.is_skippable() {
            return false;
        }
        let most = self.received + MAX_DISCARDED;
        while !self.is_done() {
            if self.next(connection, exchange).await.is_err() || self.received > most {
                return false;
            }
        }
        true
    }
}
