//! `udp-server ADDRESS [COUNT]`: sends each datagram back to where it came from; ends after COUNT.

use std::net::UdpSocket;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "0.0.0.0:7000".to_owned());
    let count = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(usize::MAX);
    let socket = UdpSocket::bind(&address)?;
    println!("listening on {}", socket.local_addr()?);
    let mut buffer = vec![0; 64 * 1024];
    for _ in 0..count {
        let (received, peer) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..received], peer)?;
        println!("echoed {received} bytes to {}", peer.ip());
    }
    Ok(())
}
