//! How layers are compressed: gzip, zstd or not at all, told by media type in manifests and by the first bytes in
//! archives. Decompression stops where the reader does, so bounds are the reader's.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use oci_spec::image::MediaType;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::ImageError;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// By the type of a layer in a manifest; types that are no layers of a filesystem are refused.
    pub(super) fn of_media_type(media_type: &MediaType) -> Result<Self, ImageError> {
        Ok(match media_type.as_ref() {
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar" => Self::None,
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Self::Gzip,
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Self::Zstd,
            other => return Err(ImageError::Invalid(format!("layers of type {other} are not supported"))),
        })
    }

    /// By the first bytes of a file.
    pub(super) fn of_contents(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// The type of a layer that is compressed so.
    pub(super) fn media_type(self) -> MediaType {
        match self {
            Self::None => MediaType::ImageLayer,
            Self::Gzip => MediaType::ImageLayerGzip,
            Self::Zstd => MediaType::ImageLayerZstd,
        }
    }

    /// Its name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// What `source` is, uncompressed. A stream that is not compressed as it should be gives `InvalidData`.
    pub(super) fn reader<'a>(self, source: impl BufRead + Send + 'a) -> Box<dyn Read + Send + 'a> {
        match self {
            Self::None => Box::new(source),
            Self::Gzip => Box::new(Damaged(MultiGzDecoder::new(source))),
            Self::Zstd => Box::new(Damaged(ZstdFrames::new(source))),
        }
    }
}

/// Gives one kind of error for what is no valid stream, whatever the decoder calls it.
struct Damaged<R>(R);

impl<R: Read> Read for Damaged<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof | io::ErrorKind::Other => {
                io::Error::new(io::ErrorKind::InvalidData, error)
            }
            _ => error,
        })
    }
}

/// All frames of a zstd stream; those to be skipped carry indexes for other tools.
struct ZstdFrames<R> {
    source: R,
    decoder: FrameDecoder,
    /// Whether a frame has begun whose end was not read yet.
    within: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), within: false }
    }

    fn begin_frame(&mut self) -> io::Result<()> {
        match self.decoder.init(&mut self.source) {
            Ok(()) => self.within = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let length = u64::from(length);
                if io::copy(&mut (&mut self.source).take(length), &mut io::sink())? < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        Ok(())
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within {
                if self.source.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                self.begin_frame()?;
                continue;
            }
            while self.decoder.can_collect() < buffer.len() && !self.decoder.is_finished() {
                let wanted = BlockDecodingStrategy::UptoBytes(buffer.len() - self.decoder.can_collect());
                self.decoder.decode_blocks(&mut self.source, wanted).map_err(io::Error::other)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.within = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn read(compression: Compression, contents: &[u8]) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        compression.reader(contents).read_to_end(&mut read).map(|_| read)
    }

    fn zstd(contents: &[u8]) -> Vec<u8> {
        compress_to_vec(contents, CompressionLevel::Fastest)
    }

    fn gzip(contents: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn streams_of_several_parts_are_read_to_the_end() {
        let (one, two) = (vec![b'a'; 100_000], b"the second part".to_vec());
        let whole = [one.clone(), two.clone()].concat();
        assert_eq!(read(Compression::Gzip, &[gzip(&one), gzip(&two)].concat()).unwrap(), whole);
        let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        let frames = [skippable.clone(), zstd(&one), skippable, zstd(&two)].concat();
        assert_eq!(read(Compression::Zstd, &frames).unwrap(), whole);
        assert_eq!(read(Compression::None, &whole).unwrap(), whole);
        assert_eq!(Compression::of_contents(&frames), Compression::Zstd);
        assert_eq!(Compression::of_contents(&gzip(b"")), Compression::Gzip);
        assert_eq!(Compression::of_contents(b""), Compression::None);
    }

    #[test]
    fn damaged_streams_are_invalid_data_wherever_the_damage_is() {
        for (compression, whole) in [(Compression::Gzip, gzip(&[7; 5000])), (Compression::Zstd, zstd(&[7; 5000]))] {
            for length in 1..whole.len() {
                let error = read(compression, &whole[..length]).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{compression:?} cut at {length}: {error}");
            }
            let error = read(compression, b"something else").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
