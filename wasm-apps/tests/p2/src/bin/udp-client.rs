//! `udp-client ADDRESS TEXT`: sends TEXT as one datagram, again and again until an answer comes, and prints it.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

const ATTEMPTS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, text] = arguments.as_slice() else { return Err(ErrorKind::InvalidInput.into()) };
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    let mut buffer = vec![0; 64 * 1024];
    for _ in 0..ATTEMPTS {
        let _refused = socket.send(text.as_bytes());
        std::thread::sleep(PAUSE);
        // That a datagram was refused, of a server that has ended since it answered, is told before the answer is.
        for _ in 0..2 {
            if let Ok(received) = socket.recv(&mut buffer) {
                println!("answer {}", String::from_utf8_lossy(&buffer[..received]));
                return Ok(());
            }
        }
    }
    println!("no answer");
    std::process::exit(1);
}
