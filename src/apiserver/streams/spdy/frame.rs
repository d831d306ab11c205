//! Frames of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00, section 2.2), as far as Kubernetes' clients use them:
//!
//! ```text
//!  data     |0|     stream (31)      | flags (8) | length (24) |  payload
//!  control  |1| version (15) | type (16) | flags (8) | length (24) |  payload
//! ```
//! Nothing here reads or writes: bytes in, frames out, and back.

use bytes::{BufMut, Bytes, BytesMut};

use super::headers::{HeaderError, HeaderReader, HeaderWriter, Headers};

/// Bytes every frame begins with.
pub(super) const PREFIX: usize = 8;
/// Bytes a control frame may have after them.
pub(super) const MAX_CONTROL: usize = 64 * 1024;
/// The version that control frames carry; SPDY/3.1 says 3 as well.
const VERSION: u16 = 3;
/// The last frame of its sender on a stream.
const FLAG_FIN: u8 = 1;
/// A number of a stream has 31 bits.
const STREAM_BITS: u32 = 0x7FFF_FFFF;

/// The number of a stream.
pub(in crate::apiserver::streams) type StreamId = u32;

/// The first bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) what: What,
    pub(super) fin: bool,
    pub(super) length: usize,
}

/// Which frame it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Data(StreamId),
    Control { version: u16, kind: u16 },
}

impl Prefix {
    pub(super) fn parse(bytes: [u8; PREFIX]) -> Self {
        let [a, b, c, d, flags, length @ ..] = bytes;
        let first = u32::from_be_bytes([a, b, c, d]);
        let [version, kind] = [u16::from_be_bytes([a & 0x7F, b]), u16::from_be_bytes([c, d])];
        let control = first > STREAM_BITS;
        let what = if control { What::Control { version, kind } } else { What::Data(first) };
        let [high, middle, low] = length.map(usize::from);
        Self { what, fin: flags & FLAG_FIN != 0, length: high << 16 | middle << 8 | low }
    }
}

/// Why a stream is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::apiserver::streams) enum ResetStatus {
    /// There is no such stream.
    InvalidStream,
    /// It was not looked at: there are too many, or it is of no use here.
    Refused,
}

impl ResetStatus {
    fn number(self) -> u32 {
        match self {
            Self::InvalidStream => 2,
            Self::Refused => 3,
        }
    }
}

/// A control frame that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Control {
    /// The peer opens a stream; with `fin` it will send nothing on it.
    Open {
        stream: StreamId,
        fin: bool,
        headers: Headers,
    },
    /// It answers to a stream that this side has opened, or adds headers to one: nothing that concerns servers.
    Headers {
        stream: StreamId,
        fin: bool,
    },
    /// A stream is given up.
    Reset {
        stream: StreamId,
    },
    Ping {
        id: u32,
    },
    /// The peer opens no more streams.
    GoAway,
    /// Settings, windows and what is not known.
    Ignored,
}

/// Why a peer cannot be understood. There is no way on from any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::apiserver::streams) enum FrameError {
    #[error("SPDY version {0} instead of {VERSION}")]
    Version(u16),
    #[error("a control frame of {0} bytes")]
    TooLarge(usize),
    #[error("a control frame of type {kind} with {length} bytes is malformed")]
    Malformed { kind: u16, length: usize },
    #[error(transparent)]
    Headers(#[from] HeaderError),
}

impl Control {
    /// Reads the payload of a control frame.
    pub(super) fn parse(
        prefix: Prefix,
        kind: u16,
        payload: &[u8],
        headers: &mut HeaderReader,
    ) -> Result<Self, FrameError> {
        let malformed = FrameError::Malformed { kind, length: payload.len() };
        let number = |at: usize| {
            let bytes = payload.get(at..).and_then(|rest| rest.first_chunk::<4>());
            bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or(malformed)
        };
        let stream = || Ok::<_, FrameError>(number(0)? & STREAM_BITS);
        let block = |at: usize| payload.get(at..).ok_or(malformed);
        let fin = prefix.fin;
        Ok(match kind {
            1 => Self::Open { stream: stream()?, fin, headers: headers.read(block(10)?)? },
            // All blocks are one compressed stream, so each has to be read.
            2 | 8 => {
                let stream = stream()?;
                headers.read(block(4)?)?;
                Self::Headers { stream, fin }
            }
            3 => Self::Reset { stream: stream()? },
            6 => Self::Ping { id: number(0)? },
            7 => Self::GoAway,
            _ => Self::Ignored,
        })
    }
}

/// Checks what can be checked of a control frame before its payload is there.
pub(super) fn check_control(version: u16, length: usize) -> Result<(), FrameError> {
    match length {
        _ if version != VERSION => Err(FrameError::Version(version)),
        length if length > MAX_CONTROL => Err(FrameError::TooLarge(length)),
        _ => Ok(()),
    }
}

/// A frame to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// At most [`MAX_DATA`] bytes.
    Data {
        stream: StreamId,
        bytes: Bytes,
        fin: bool,
    },
    /// A stream of the peer's is accepted.
    Reply {
        stream: StreamId,
    },
    Reset {
        stream: StreamId,
        status: ResetStatus,
    },
    Ping {
        id: u32,
    },
    /// No streams are accepted any more; `last` was the last one.
    GoAway {
        last: StreamId,
    },
}

/// Bytes sent in one data frame.
pub(super) const MAX_DATA: usize = 32 * 1024;

impl Outgoing {
    /// Appends the frame but for the bytes of a data frame, which are to follow.
    pub(super) fn encode(&self, to: &mut BytesMut, headers: &mut HeaderWriter) -> Result<(), HeaderError> {
        match self {
            Self::Data { stream, bytes, fin } => {
                to.put_u32(stream & STREAM_BITS);
                put_rest(to, *fin, bytes.len());
            }
            Self::Reply { stream } => {
                let block = headers.write(&Headers::default())?;
                put_control(to, 2, 4 + block.len());
                to.put_u32(*stream);
                to.put_slice(&block);
            }
            Self::Reset { stream, status } => {
                put_control(to, 3, 8);
                to.put_u32(*stream);
                to.put_u32(status.number());
            }
            Self::Ping { id } => {
                put_control(to, 6, 4);
                to.put_u32(*id);
            }
            Self::GoAway { last } => {
                put_control(to, 7, 8);
                to.put_u32(*last);
                to.put_u32(0);
            }
        }
        Ok(())
    }
}

fn put_control(to: &mut BytesMut, kind: u16, length: usize) {
    to.put_u16(0x8000 | VERSION);
    to.put_u16(kind);
    put_rest(to, false, length);
}

fn put_rest(to: &mut BytesMut, fin: bool, length: usize) {
    to.put_u8(if fin { FLAG_FIN } else { 0 });
    to.put_uint(length as u64, 3);
}

/// Frames as a client sends them, for tests.
#[cfg(test)]
pub(in crate::apiserver::streams) mod client {
    use super::*;

    /// Opens a stream.
    pub(in crate::apiserver::streams) fn open(
        stream: StreamId,
        fin: bool,
        headers: &Headers,
        writer: &mut ClientHeaders,
    ) -> Vec<u8> {
        let block = writer.0.write(headers).unwrap();
        let mut to = BytesMut::new();
        to.put_u16(0x8000 | VERSION);
        to.put_u16(1);
        put_rest(&mut to, fin, 10 + block.len());
        to.put_u32(stream);
        to.put_u32(0);
        to.put_u16(0);
        to.put_slice(&block);
        to.to_vec()
    }

    /// Compresses a client's headers.
    pub(in crate::apiserver::streams) struct ClientHeaders(HeaderWriter);

    impl ClientHeaders {
        pub(in crate::apiserver::streams) fn new() -> Self {
            Self(HeaderWriter::new())
        }
    }

    /// A control frame without headers.
    pub(in crate::apiserver::streams) fn control(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut to = BytesMut::new();
        put_control(&mut to, kind, payload.len());
        to.put_slice(payload);
        to.to_vec()
    }

    /// A data frame.
    pub(in crate::apiserver::streams) fn data(stream: StreamId, bytes: &[u8], fin: bool) -> Vec<u8> {
        let mut to = BytesMut::new();
        to.put_u32(stream);
        put_rest(&mut to, fin, bytes.len());
        to.put_slice(bytes);
        to.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of a client's, read.
    fn read(bytes: &[u8]) -> Result<Control, FrameError> {
        let prefix = Prefix::parse(*bytes.first_chunk().unwrap());
        let What::Control { version, kind } = prefix.what else { panic!("{prefix:?}") };
        check_control(version, prefix.length)?;
        Control::parse(prefix, kind, &bytes[PREFIX..], &mut HeaderReader::new())
    }

    #[test]
    fn frames_of_clients_are_read() {
        let headers = Headers::from([("streamtype", "error")]);
        for fin in [false, true] {
            let bytes = client::open(5, fin, &headers, &mut client::ClientHeaders::new());
            assert_eq!(read(&bytes), Ok(Control::Open { stream: 5, fin, headers: headers.clone() }));
        }
        assert_eq!(read(&client::control(6, &[0, 0, 0, 7])), Ok(Control::Ping { id: 7 }));
        assert_eq!(read(&client::control(3, &[0, 0, 0, 9, 0, 0, 0, 5])), Ok(Control::Reset { stream: 9 }));
        assert_eq!(read(&client::control(7, &[0; 8])), Ok(Control::GoAway));
        for kind in [4, 5, 9, 99] {
            assert_eq!(read(&client::control(kind, &[1, 2])), Ok(Control::Ignored), "{kind}");
        }
        let data = Prefix::parse(*client::data(3, b"abc", true).first_chunk().unwrap());
        assert_eq!(data, Prefix { what: What::Data(3), fin: true, length: 3 });
    }

    #[test]
    fn frames_that_no_client_sends_are_refused() {
        for (kind, payload) in [(1, &[0; 9][..]), (2, &[0; 3]), (3, &[0; 2]), (6, &[]), (8, &[0; 1])] {
            let expected = FrameError::Malformed { kind, length: payload.len() };
            assert_eq!(read(&client::control(kind, payload)), Err(expected));
        }
        let mut other_version = client::control(6, &[0, 0, 0, 7]);
        other_version[1] = 2;
        assert_eq!(read(&other_version), Err(FrameError::Version(2)));
        assert_eq!(check_control(VERSION, MAX_CONTROL + 1), Err(FrameError::TooLarge(MAX_CONTROL + 1)));
    }

    #[test]
    fn frames_are_written_as_the_specification_draws_them() {
        let encode = |frame: Outgoing| {
            let mut bytes = BytesMut::new();
            frame.encode(&mut bytes, &mut HeaderWriter::new()).unwrap();
            bytes.to_vec()
        };
        let data = Outgoing::Data { stream: 3, bytes: Bytes::from_static(b"abc"), fin: true };
        assert_eq!(encode(data), [0, 0, 0, 3, 1, 0, 0, 3]);
        assert_eq!(encode(Outgoing::Ping { id: 1 }), [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]);
        let reset = Outgoing::Reset { stream: 3, status: ResetStatus::Refused };
        assert_eq!(encode(reset), [0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0, 3]);
        assert_eq!(encode(Outgoing::GoAway { last: 7 }), [0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0, 0]);
        let reply = encode(Outgoing::Reply { stream: 3 });
        assert_eq!(read(&reply), Ok(Control::Headers { stream: 3, fin: false }));
    }
}
