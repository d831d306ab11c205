//! Reading files: many small ones, and a large one in blocks.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::{bytes_per_second, nanos_each, now};

/// How often the small file is opened, read and closed.
const OPENS: u32 = 20_000;

/// Bytes of the small file.
const SMALL: usize = 1024;

/// Bytes of the large file, of the blocks it is read in, and how often.
const LARGE: usize = 16 << 20;
const BLOCK: usize = 4096;
const PASSES: u32 = 8;

/// Works in `directory` and prints `open-read-close-ns` and `bytes-per-second`.
pub fn run(directory: &Path) -> io::Result<()> {
    let small = directory.join("small");
    fs::write(&small, [7; SMALL])?;
    let mut contents = [0; SMALL];
    let begun = now();
    for _ in 0..OPENS {
        File::open(&small)?.read_exact(&mut contents)?;
    }
    println!("open-read-close-ns {}", nanos_each(begun.elapsed(), OPENS));

    let large = directory.join("large");
    fs::write(&large, vec![7; LARGE])?;
    let mut block = [0; BLOCK];
    let begun = now();
    let mut total = 0;
    for _ in 0..PASSES {
        let mut file = File::open(&large)?;
        loop {
            match file.read(&mut block)? {
                0 => break,
                read => total += read as u64,
            }
        }
    }
    println!("bytes-per-second {}", bytes_per_second(total, begun.elapsed()));
    Ok(())
}
