//! Header blocks of SPDY/3: names and values, each with its length before it, in one zlib stream for all the blocks of
//! a direction. The stream begins from a dictionary that both sides know, and every block ends at a byte boundary.

use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Bytes a block may have uncompressed. Kubernetes' have a few hundred.
const MAX_BLOCK: usize = 64 * 1024;
/// Names a block may have.
const MAX_HEADERS: usize = 64;
/// Bytes uncompressed at once.
const CHUNK: usize = 4 * 1024;

/// The entries of the dictionary that have their length before them.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host if-match \
    if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";
/// The rest of the dictionary, as it is.
const PHRASES: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
    Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not \
    Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov \
    Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, \
    GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,\
    text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// The dictionary of SPDY/3 (draft-mbelshe-httpbis-spdy-00, section 2.6.10.1).
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut dictionary = Vec::new();
    for word in WORDS.split(' ') {
        let word = word.replace('_', " ");
        put_text(&mut dictionary, word.as_bytes());
    }
    dictionary.extend_from_slice(PHRASES.as_bytes());
    dictionary
});

/// Why a header block cannot be read. What comes after it in the same direction cannot be either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::apiserver::streams) enum HeaderError {
    /// The zlib stream is broken, or uses another dictionary.
    #[error("a header block is not compressed as it should be")]
    Compression,
    /// More than [`MAX_BLOCK`] bytes or [`MAX_HEADERS`] names.
    #[error("a header block is too large")]
    TooLarge,
    /// Lengths that lead beyond the block, or bytes that are no text.
    #[error("a header block is malformed")]
    Malformed,
}

/// Names and values of one block, names in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::apiserver::streams) struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of a name.
    pub(in crate::apiserver::streams) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(found, _)| found == name)?;
        // Several values of a name are separated by zero bytes.
        value.split('\0').next()
    }

    fn parse(block: &[u8]) -> Result<Self, HeaderError> {
        let mut rest = block;
        let count = take_length(&mut rest)?;
        if count > MAX_HEADERS {
            return Err(HeaderError::TooLarge);
        }
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let name = take_text(&mut rest)?.to_ascii_lowercase();
            headers.push((name, take_text(&mut rest)?.to_owned()));
        }
        if rest.is_empty() { Ok(Self(headers)) } else { Err(HeaderError::Malformed) }
    }

    fn encode(&self) -> Vec<u8> {
        let mut block = Vec::new();
        block.put_u32(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        for (name, value) in &self.0 {
            put_text(&mut block, name.as_bytes());
            put_text(&mut block, value.as_bytes());
        }
        block
    }
}

#[cfg(test)]
impl From<Vec<(&str, &str)>> for Headers {
    fn from(headers: Vec<(&str, &str)>) -> Self {
        Self(headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Headers {
    fn from(headers: [(&str, &str); N]) -> Self {
        headers.to_vec().into()
    }
}

fn put_text(to: &mut Vec<u8>, text: &[u8]) {
    to.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    to.put_slice(text);
}

fn take_length(rest: &mut &[u8]) -> Result<usize, HeaderError> {
    let (length, after) = rest.split_first_chunk::<4>().ok_or(HeaderError::Malformed)?;
    *rest = after;
    usize::try_from(u32::from_be_bytes(*length)).map_err(|_too_long| HeaderError::Malformed)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, HeaderError> {
    let length = take_length(rest)?;
    let (text, after) = rest.split_at_checked(length).ok_or(HeaderError::Malformed)?;
    *rest = after;
    std::str::from_utf8(text).map_err(|_not_text| HeaderError::Malformed)
}

/// Reads the blocks of one direction.
#[derive(Debug)]
pub(super) struct HeaderReader(Decompress);

impl HeaderReader {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// Reads the next block.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub(super) fn read(&mut self, compressed: &[u8]) -> Result<Headers, HeaderError> {
        let mut block = Vec::new();
        let mut rest = compressed;
        let mut chunk = [0; CHUNK];
        loop {
            let (read_before, written_before) = (self.0.total_in(), self.0.total_out());
            let result = self.0.decompress(rest, &mut chunk, FlushDecompress::Sync);
            let read = usize::try_from(self.0.total_in() - read_before).unwrap_or(usize::MAX);
            let written = usize::try_from(self.0.total_out() - written_before).unwrap_or(usize::MAX);
            rest = rest.get(read..).unwrap_or_default();
            block.extend_from_slice(chunk.get(..written).unwrap_or_default());
            if block.len() > MAX_BLOCK {
                return Err(HeaderError::TooLarge);
            }
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(|_wrong_dictionary| HeaderError::Compression)?;
                }
                // A stream that ends has no further blocks, and there always may be.
                Err(_) | Ok(Status::StreamEnd) => return Err(HeaderError::Compression),
                // A full chunk may have left something in the decompressor.
                Ok(Status::Ok) if written == chunk.len() || (!rest.is_empty() && read + written > 0) => {}
                Ok(Status::Ok | Status::BufError) if rest.is_empty() => return Headers::parse(&block),
                Ok(Status::Ok | Status::BufError) => return Err(HeaderError::Compression),
            }
        }
    }
}

/// Writes the blocks of one direction.
#[derive(Debug)]
pub(super) struct HeaderWriter(Compress);

impl HeaderWriter {
    pub(super) fn new() -> Self {
        let mut compress = Compress::new(Compression::default(), true);
        // Fails only once something was compressed, and a stream without it would be as good.
        let _ = compress.set_dictionary(&DICTIONARY);
        Self(compress)
    }

    /// Compresses the next block.
    ///
    /// # Errors
    /// When the compressor fails, which it does not.
    pub(super) fn write(&mut self, headers: &Headers) -> Result<Bytes, HeaderError> {
        let block = headers.encode();
        let mut compressed = BytesMut::new();
        let mut rest = &block[..];
        let mut chunk = [0; CHUNK];
        loop {
            let (read_before, written_before) = (self.0.total_in(), self.0.total_out());
            let result = self.0.compress(rest, &mut chunk, FlushCompress::Sync);
            result.map_err(|_failed| HeaderError::Compression)?;
            let read = usize::try_from(self.0.total_in() - read_before).unwrap_or(usize::MAX);
            let written = usize::try_from(self.0.total_out() - written_before).unwrap_or(usize::MAX);
            rest = rest.get(read..).unwrap_or_default();
            compressed.extend_from_slice(chunk.get(..written).unwrap_or_default());
            if rest.is_empty() && written < chunk.len() {
                return Ok(compressed.freeze());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the specification has it: 1423 bytes, which zlib names by their Adler-32.
    #[test]
    fn the_dictionary_is_that_of_the_specification() {
        assert_eq!(DICTIONARY.len(), 1423);
        let (mut low, mut high) = (1_u32, 0_u32);
        for byte in DICTIONARY.iter() {
            low = (low + u32::from(*byte)) % 65521;
            high = (high + low) % 65521;
        }
        assert_eq!(high << 16 | low, 0xe3c6_a7c2);
    }

    #[test]
    fn blocks_follow_each_other_in_one_stream() {
        let (mut writer, mut reader) = (HeaderWriter::new(), HeaderReader::new());
        for number in 0..50 {
            let long = "x".repeat(number * 400);
            let headers = Headers::from([("streamtype", "stdout"), ("port", &number.to_string()), ("long", &long)]);
            let compressed = writer.write(&headers).unwrap();
            assert_eq!(reader.read(&compressed).unwrap(), headers, "block {number}");
        }
        assert_eq!(reader.read(&writer.write(&Headers::default()).unwrap()).unwrap(), Headers::default());
    }

    /// What zlib itself makes, with and without the dictionary:
    /// `zlib.compressobj(9, zdict=dictionary)`, then `flush(Z_SYNC_FLUSH)`.
    #[test]
    fn streams_of_other_compressors_are_read() {
        for hex in [WITH_DICTIONARY, WITHOUT_DICTIONARY] {
            let mut reader = HeaderReader::new();
            let bytes: Vec<u8> =
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
            let headers = reader.read(&bytes).unwrap();
            assert_eq!(headers.get("streamtype"), Some("error"), "{hex}");
        }
    }

    #[test]
    fn hostile_blocks_are_refused() {
        let compress = |block: &[u8]| {
            let mut compressed = Vec::with_capacity(block.len() + 1024);
            let mut compress = Compress::new(Compression::best(), true);
            compress.compress_vec(block, &mut compressed, FlushCompress::Sync).unwrap();
            compressed
        };
        let bomb = compress(&vec![0; 8 * MAX_BLOCK]);
        assert!(bomb.len() < 8 * 1024);
        assert_eq!(HeaderReader::new().read(&bomb), Err(HeaderError::TooLarge));
        let many = compress(&u32::MAX.to_be_bytes());
        assert_eq!(HeaderReader::new().read(&many), Err(HeaderError::TooLarge));
        for block in
            [&[0, 0, 0][..], &[0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF], &[0, 0, 0, 0, 1], &[0, 0, 0, 1, 0, 0, 0, 9]]
        {
            assert_eq!(HeaderReader::new().read(&compress(block)), Err(HeaderError::Malformed), "{block:?}");
        }
        for garbage in [&b"GET / HTTP/1.1"[..], &[0x78, 0xf9, 1, 2, 3, 4, 5, 6], &[0xFF; 64]] {
            assert_eq!(HeaderReader::new().read(garbage), Err(HeaderError::Compression), "{garbage:?}");
        }
        assert_eq!(HeaderReader::new().read(&[]), Err(HeaderError::Malformed));
    }

    const WITH_DICTIONARY: &str = "78f9e3c6a7c202e50e703a2b294a4dcc851625aca9a0808614cb45a024cc646100000000ffff";
    const WITHOUT_DICTIONARY: &str =
        "78da62606060626060e02a2e294a4dcc2da92c4805f258538b8af28b800c9682fca21220cd646100000000ffff";
}
