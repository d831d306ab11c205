//! `tcp-server ADDRESS [COUNT]`: echoes what each connection sends, one connection after the other; ends after COUNT.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "0.0.0.0:7000".to_owned());
    let count = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(usize::MAX);
    let listener = TcpListener::bind(&address)?;
    println!("listening on {}", listener.local_addr()?);
    for _ in 0..count {
        let (mut connection, peer) = listener.accept()?;
        let mut buffer = vec![0; 64 * 1024];
        let mut total = 0;
        loop {
            let received = connection.read(&mut buffer)?;
            if received == 0 {
                break;
            }
            connection.write_all(&buffer[..received])?;
            total += received;
        }
        connection.shutdown(Shutdown::Write)?;
        println!("echoed {total} bytes to {}", peer.ip());
    }
    Ok(())
}
