//! Talking over localhost: a client that sends small messages one at a time and waits for each to come back, and then
//! as much as it can.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::{bytes_per_second, nanos_each, now};

/// Bytes of a message that goes back and forth.
const MESSAGE: usize = 64;

/// Round trips before any is counted.
const WARM_UP: u32 = 2_000;

/// Round trips that are timed together, and how often; the median counts.
const ROUND_TRIPS: u32 = 2_000;
const BATCHES: usize = 15;

/// Bytes of one write in the bulk transfer, and of all of them.
const CHUNK: usize = 64 * 1024;
const BULK: u64 = 4 << 30;

/// How long the client tries to reach the server, which may start after it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Serves one client, and prints the `bytes-per-second` of its bulk transfer.
pub fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut message = [0; MESSAGE];
    while stream.read_exact(&mut message).is_ok() {
        stream.write_all(&message)?;
    }
    let (mut stream, _) = listener.accept()?;
    let mut chunk = vec![0; CHUNK];
    let begun = now();
    let mut total = 0;
    loop {
        match stream.read(&mut chunk)? {
            0 => break,
            read => total += read as u64,
        }
    }
    println!("bytes-per-second {}", bytes_per_second(total, begun.elapsed()));
    Ok(())
}

/// Is the client, and prints `round-trip-ns`.
pub fn request(address: SocketAddr) -> io::Result<()> {
    let mut stream = connect(address)?;
    stream.set_nodelay(true)?;
    round_trips(&mut stream, WARM_UP)?;
    let mut batches = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let begun = now();
        round_trips(&mut stream, ROUND_TRIPS)?;
        batches.push(nanos_each(begun.elapsed(), ROUND_TRIPS));
    }
    batches.sort_unstable();
    println!("round-trip-ns {}", batches[BATCHES / 2]);
    stream.shutdown(Shutdown::Both)?;

    let mut stream = TcpStream::connect(address)?;
    let chunk = vec![7; CHUNK];
    for _ in 0..BULK / CHUNK as u64 {
        stream.write_all(&chunk)?;
    }
    Ok(())
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let begun = now();
    loop {
        match TcpStream::connect(address) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && begun.elapsed() < PATIENCE => {
                std::thread::yield_now();
            }
            connected => return connected,
        }
    }
}

fn round_trips(stream: &mut TcpStream, count: u32) -> io::Result<()> {
    let mut message = [7; MESSAGE];
    for _ in 0..count {
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
    }
    Ok(())
}
