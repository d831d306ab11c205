//! Touches one mebibyte after the other and prints the count, until `memory N` mebibytes are reached or no more are
//! given.

const MEBIBYTE: usize = 1024 * 1024;

fn main() {
    let limit = std::env::args().nth(1).and_then(|count| count.parse::<usize>().ok());
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    while limit != Some(blocks.len()) {
        let mut block = Vec::new();
        if block.try_reserve_exact(MEBIBYTE).is_err() {
            println!("refused after {} MiB", blocks.len());
            std::process::exit(3);
        }
        block.resize(MEBIBYTE, 0xa5);
        blocks.push(std::hint::black_box(block));
        println!("{} MiB", blocks.len());
    }
}
