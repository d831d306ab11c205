//! Where a body ends in HTTP/1.1: after its length, its last chunk, or with the connection.

use std::io::{self, BufRead, ErrorKind, Read};

/// Longest line between chunks, trailers included.
const MAX_LINE: u64 = 16 * 1024;
/// Most trailer lines.
const MAX_TRAILERS: usize = 256;

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There are so many bytes.
    Length(u64),
    /// Each chunk says its length.
    Chunked,
    /// It goes on until the connection is closed.
    UntilClose,
}

/// The body of an answer.
pub(super) struct Body<R> {
    source: R,
    framing: Framing,
    /// Bytes left of the chunk that is being read.
    chunk: u64,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    BeforeFirstChunk,
    InChunk,
    Ended,
}

impl<R: BufRead> Body<R> {
    pub(super) fn new(source: R, framing: Framing) -> Self {
        Self { source, framing, chunk: 0, state: State::BeforeFirstChunk }
    }

    fn read_chunked(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk == 0 && self.state != State::Ended {
            self.next_chunk()?;
        }
        if self.state == State::Ended {
            return Ok(0);
        }
        let count = some_of(&mut self.source, buffer, self.chunk)?;
        self.chunk -= count as u64;
        Ok(count)
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        if self.state == State::InChunk && !self.line()?.is_empty() {
            return Err(invalid("a chunk is longer than it says"));
        }
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        self.chunk = u64::from_str_radix(size, 16).map_err(|_| invalid("a chunk has no length"))?;
        self.state = State::InChunk;
        if self.chunk == 0 {
            self.state = State::Ended;
            self.skip_trailers()?;
        }
        Ok(())
    }

    fn skip_trailers(&mut self) -> io::Result<()> {
        for _ in 0..MAX_TRAILERS {
            if self.line()?.is_empty() {
                return Ok(());
            }
        }
        Err(invalid("too many trailers"))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.source.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        let text = line.strip_suffix(b"\n").ok_or(ErrorKind::UnexpectedEof)?;
        Ok(String::from_utf8_lossy(text.strip_suffix(b"\r").unwrap_or(text)).into_owned())
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.framing {
            Framing::UntilClose => self.source.read(buffer),
            Framing::Chunked => self.read_chunked(buffer),
            Framing::Length(0) => Ok(0),
            Framing::Length(left) => {
                let count = some_of(&mut self.source, buffer, left)?;
                self.framing = Framing::Length(left - count as u64);
                Ok(count)
            }
        }
    }
}

/// Reads at most `left` bytes, and at least one unless the buffer is empty.
fn some_of(source: &mut impl Read, buffer: &mut [u8], left: u64) -> io::Result<usize> {
    let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    match source.read(&mut buffer[..most])? {
        0 if most > 0 => Err(ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
    }
}

pub(super) fn invalid(problem: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(framing: Framing, sent: &str) -> Result<String, String> {
        // Small reads: chunks and reads end at different places.
        let mut body = Body::new(io::BufReader::with_capacity(3, sent.as_bytes()), framing);
        let mut text = Vec::new();
        let mut buffer = [0; 2];
        loop {
            match body.read(&mut buffer).map_err(|error| error.to_string())? {
                0 => return Ok(String::from_utf8(text).unwrap()),
                count => text.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        for (framing, sent, expected) in [
            (Framing::Length(5), "12345678", Ok("12345")),
            (Framing::Length(0), "x", Ok("")),
            (Framing::Length(5), "123", Err("unexpected end of file")),
            (Framing::UntilClose, "1234", Ok("1234")),
            (Framing::Chunked, "3\r\nabc\r\n0a;x=y\r\n0123456789\r\n0\r\n\r\nmore", Ok("abc0123456789")),
            (Framing::Chunked, "0\r\nA: b\r\n\r\n", Ok("")),
            (Framing::Chunked, "3\r\nab", Err("unexpected end of file")),
            (Framing::Chunked, "3\r\nabcd\r\n0\r\n\r\n", Err("a chunk is longer than it says")),
            (Framing::Chunked, "x\r\n", Err("a chunk has no length")),
            (Framing::Chunked, "-1\r\n", Err("a chunk has no length")),
            (Framing::Chunked, "fffffffffffffffff\r\n", Err("a chunk has no length")),
            (Framing::Chunked, "", Err("unexpected end of file")),
        ] {
            let actual = read(framing, sent);
            assert_eq!(actual, expected.map(str::to_owned).map_err(str::to_owned), "{framing:?} {sent:?}");
        }
    }
}
