//! Bodies in chunks.

use httparse::{InvalidChunkSize, Status, parse_chunk_size};

/// Longest line with a chunk's size.
const MAX_SIZE_LINE: usize = 4096;
/// Bytes of headers behind the last chunk.
const MAX_TRAILER: usize = 16 * 1024;

/// Takes chunks apart, however they arrive.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// A line with a size is next.
    #[default]
    Size,
    /// So many bytes of a chunk are.
    Data(u64),
    /// The line end behind a chunk is.
    DataEnd,
    /// Headers behind the last chunk are; how many bytes of them came already.
    Trailer(usize),
    Done,
}

impl Decoder {
    /// Moves the contents of what is in `input` to `output`, and says how many bytes of `input` it has used. What it
    /// left is to be offered again, with more behind it.
    pub fn decode(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, InvalidChunkSize> {
        let mut rest = input;
        loop {
            match &mut self.state {
                State::Size => match parse_chunk_size(rest)? {
                    Status::Partial if rest.len() > MAX_SIZE_LINE => return Err(InvalidChunkSize),
                    Status::Partial => break,
                    Status::Complete((used, 0)) => {
                        rest = &rest[used..];
                        self.state = State::Trailer(0);
                    }
                    Status::Complete((used, size)) => {
                        rest = &rest[used..];
                        self.state = State::Data(size);
                    }
                },
                State::Data(left) => {
                    let count = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    output.extend_from_slice(&rest[..count]);
                    rest = &rest[count..];
                    *left -= count as u64;
                    if *left > 0 {
                        break;
                    }
                    self.state = State::DataEnd;
                }
                State::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        rest = &rest[2..];
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => break,
                    _ => return Err(InvalidChunkSize),
                },
                State::Trailer(seen) => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        if *seen + rest.len() > MAX_TRAILER {
                            return Err(InvalidChunkSize);
                        }
                        break;
                    };
                    *seen += end + 1;
                    let is_empty = matches!(&rest[..end], [] | [b'\r']);
                    if *seen > MAX_TRAILER {
                        return Err(InvalidChunkSize);
                    }
                    rest = &rest[end + 1..];
                    if is_empty {
                        self.state = State::Done;
                    }
                }
                State::Done => break,
            }
        }
        Ok(input.len() - rest.len())
    }

    /// Whether the body is whole.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }
}

/// Appends `data` as one chunk; nothing if it is empty, for that would end the body.
pub fn encode(data: &[u8], output: &mut Vec<u8>) {
    if !data.is_empty() {
        output.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        output.extend_from_slice(data);
        output.extend_from_slice(b"\r\n");
    }
}

/// The end of a body in chunks.
pub const END: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::Decoder;

    #[test]
    fn chunks_are_joined_wherever_they_are_cut() {
        let whole = b"5;x=y\r\nhello\r\n3\r\n, w\r\n0\r\nTrailer: x\r\n\r\nNEXT";
        for cut in 0..whole.len() {
            let (mut decoder, mut output) = (Decoder::default(), Vec::new());
            let used = decoder.decode(&whole[..cut], &mut output).unwrap();
            let used = used + decoder.decode(&whole[used..], &mut output).unwrap();
            assert!(decoder.is_done(), "{cut}");
            assert_eq!((output.as_slice(), &whole[used..]), (&b"hello, w"[..], &b"NEXT"[..]), "{cut}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for wrong in ["x\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "1\r\nab\r\n", "5 5\r\n"] {
            let result = Decoder::default().decode(wrong.as_bytes(), &mut Vec::new());
            assert!(result.is_err(), "{wrong:?}");
        }
    }
}
