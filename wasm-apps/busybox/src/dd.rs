//! `dd`.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Instant;

use crate::failure::Failure;
use crate::options::text;

pub(crate) const USAGE: &str = "dd [if=FILE] [of=FILE] [bs=N] [ibs=N] [obs=N] [count=N] [skip=N] [seek=N]
       [conv=notrunc,sync,noerror,fsync,excl,nocreat,lcase,ucase,swab] [iflag=fullblock,count_bytes,skip_bytes]
       [oflag=append,seek_bytes] [status=none|noxfer|progress]

Copy blocks. N may end with c (1), w (2), b (512), kB, K, MB, M, GB, G";

/// The largest block.
const MAX_BLOCK: usize = 1 << 30;

struct Settings {
    input: Option<PathBuf>,
    output: Option<PathBuf>,
    input_block: usize,
    output_block: usize,
    count: Option<u64>,
    skip: u64,
    seek: u64,
    conversions: Vec<String>,
    flags: Vec<String>,
    status: String,
}

/// A number with a unit, or several multiplied by `x`.
fn number(text: &str) -> Result<u64, Failure> {
    let invalid = || Failure::Usage(format!("invalid number: '{text}'"));
    text.split('x').try_fold(1_u64, |product, factor| {
        let end = factor.find(|next: char| !next.is_ascii_digit()).unwrap_or(factor.len());
        let unit: u64 = match &factor[end..] {
            "" | "c" | "B" => 1,
            "w" => 2,
            "b" => 512,
            "kB" | "KB" => 1000,
            "k" | "K" | "KiB" => 1 << 10,
            "MB" => 1_000_000,
            "M" | "MiB" => 1 << 20,
            "GB" => 1_000_000_000,
            "G" | "GiB" => 1 << 30,
            _ => return Err(invalid()),
        };
        let number: u64 = factor[..end].parse().map_err(|_| invalid())?;
        number.checked_mul(unit).and_then(|number| number.checked_mul(product)).ok_or_else(invalid)
    })
}

impl Settings {
    fn parse(arguments: Vec<OsString>) -> Result<Self, Failure> {
        let mut settings = Self {
            input: None,
            output: None,
            input_block: 512,
            output_block: 512,
            count: None,
            skip: 0,
            seek: 0,
            conversions: Vec::new(),
            flags: Vec::new(),
            status: String::new(),
        };
        let block = |value: &str| {
            match number(value)? {
                size @ 1.. => usize::try_from(size).ok().filter(|size| *size <= MAX_BLOCK),
                0 => None,
            }
            .ok_or_else(|| Failure::Usage(format!("invalid number: '{value}'")))
        };
        for argument in arguments {
            let argument = text(argument)?;
            let (name, value) =
                argument.split_once('=').ok_or_else(|| Failure::Usage(format!("unrecognized operand '{argument}'")))?;
            let words = || value.split(',').map(str::to_owned);
            match name {
                "if" => settings.input = Some(value.into()),
                "of" => settings.output = Some(value.into()),
                "bs" => (settings.input_block, settings.output_block) = (block(value)?, block(value)?),
                "ibs" => settings.input_block = block(value)?,
                "obs" => settings.output_block = block(value)?,
                "count" => settings.count = Some(number(value)?),
                "skip" | "iseek" => settings.skip = number(value)?,
                "seek" | "oseek" => settings.seek = number(value)?,
                "conv" => settings.conversions.extend(words()),
                "iflag" | "oflag" => settings.flags.extend(words()),
                "status" => value.clone_into(&mut settings.status),
                _ => return Err(Failure::Usage(format!("unrecognized operand '{argument}'"))),
            }
        }
        Ok(settings)
    }

    fn converts(&self, conversion: &str) -> bool {
        self.conversions.iter().any(|known| known == conversion)
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }

    /// The input, behind what is skipped.
    fn open_input(&self) -> Result<Box<dyn Read>, Failure> {
        let skipped =
            if self.has("skip_bytes") { self.skip } else { self.skip.saturating_mul(self.input_block as u64) };
        let Some(path) = &self.input else {
            let mut stdin = io::stdin().lock();
            io::copy(&mut stdin.by_ref().take(skipped), &mut io::sink())?;
            return Ok(Box::new(stdin));
        };
        let mut file =
            File::open(path).map_err(|error| Failure::at(format!("failed to open '{}'", path.display()))(error))?;
        // What cannot be moved in is read.
        if skipped > 0 && file.seek(SeekFrom::Start(skipped)).is_err() {
            io::copy(&mut Read::take(&mut file, skipped), &mut io::sink())?;
        }
        Ok(Box::new(file))
    }

    /// The output, behind what is left as it is.
    fn open_output(&self) -> Result<Box<dyn Write>, Failure> {
        let Some(path) = &self.output else { return Ok(Box::new(io::stdout().lock())) };
        let kept = if self.has("seek_bytes") { self.seek } else { self.seek.saturating_mul(self.output_block as u64) };
        let mut options = OpenOptions::new();
        options.write(true).create(!self.converts("nocreat")).append(self.has("append"));
        if self.converts("excl") {
            options.create_new(true);
        }
        let failed = |error| Failure::at(format!("failed to open '{}'", path.display()))(error);
        let mut file = options.open(path).map_err(failed)?;
        if !self.converts("notrunc") && !self.has("append") && file.metadata().is_ok_and(|metadata| metadata.is_file())
        {
            file.set_len(kept).map_err(Failure::at(path))?;
        }
        if kept > 0 {
            file.seek(SeekFrom::Start(kept)).map_err(Failure::at(path))?;
        }
        Ok(Box::new(file))
    }
}

/// Blocks, whole and partial.
#[derive(Default)]
struct Count {
    whole: u64,
    partial: u64,
}

impl Count {
    fn add(&mut self, length: usize, block: usize) {
        if length == block { self.whole += 1 } else { self.partial += 1 }
    }
}

pub(crate) fn dd(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let settings = Settings::parse(arguments)?;
    let (mut input, mut output) = (settings.open_input()?, settings.open_output()?);
    let (mut read, mut written, mut bytes) = (Count::default(), Count::default(), 0_u64);
    let mut block = vec![0; settings.input_block];
    let mut waiting: Vec<u8> = Vec::new();
    let start = Instant::now();
    let mut left = settings.count.unwrap_or(u64::MAX);
    while left > 0 {
        let wanted = if settings.has("count_bytes") {
            usize::try_from(left).unwrap_or(usize::MAX).min(block.len())
        } else {
            block.len()
        };
        let mut length = input.read(&mut block[..wanted])?;
        while settings.has("fullblock") && length > 0 && length < wanted {
            match input.read(&mut block[length..wanted])? {
                0 => break,
                more => length += more,
            }
        }
        if length == 0 {
            break;
        }
        left -= if settings.has("count_bytes") { length as u64 } else { 1 };
        read.add(length, settings.input_block);
        if settings.converts("sync") {
            block[length..].fill(0);
            length = block.len();
        }
        convert(&settings, &mut block[..length]);
        waiting.extend_from_slice(&block[..length]);
        while waiting.len() >= settings.output_block
            || settings.input_block == settings.output_block && !waiting.is_empty()
        {
            let rest = waiting.split_off(waiting.len().min(settings.output_block));
            output.write_all(&waiting)?;
            written.add(waiting.len(), settings.output_block);
            bytes += waiting.len() as u64;
            waiting = rest;
        }
    }
    if !waiting.is_empty() {
        output.write_all(&waiting)?;
        written.add(waiting.len(), settings.output_block);
        bytes += waiting.len() as u64;
    }
    output.flush()?;
    if settings.status != "none" {
        eprintln!("{}+{} records in\n{}+{} records out", read.whole, read.partial, written.whole, written.partial);
    }
    if !matches!(settings.status.as_str(), "none" | "noxfer") {
        let seconds = start.elapsed().as_secs_f64();
        let speed = (bytes as f64 / seconds.max(1e-9)) as u64;
        eprintln!("{bytes} bytes copied, {seconds:.6} s, {}B/s", crate::system::human(speed));
    }
    Ok(0)
}

fn convert(settings: &Settings, block: &mut [u8]) {
    if settings.converts("lcase") {
        block.make_ascii_lowercase();
    }
    if settings.converts("ucase") {
        block.make_ascii_uppercase();
    }
    if settings.converts("swab") {
        block.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
    }
}
