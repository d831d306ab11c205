//! `sockets SCENARIO …`: one side of a conversation that ends in an unusual way; prints what it noticed.
//!
//! edges · greet ADDRESS · listen-on ADDRESS · leave-unread ADDRESS · left ADDRESS · read-later ADDRESS · flood ADDRESS ·
//! die-once ADDRESS FILE · survive ADDRESS · claim ADDRESS · announce ADDRESS FILE · visit FILE · exhaust DIRECTORY ·
//! beside DIRECTORY · lookup NAME

use std::fs;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

const ATTEMPTS: u32 = 2000;
const PAUSE: Duration = Duration::from_millis(5);
const BLOCK: usize = 64 * 1024;
/// What is sent once the reader reads again.
const MORE: usize = 8 << 20;
/// More than any connection buffers.
const PLENTY: usize = 64 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["edges"] => edges(),
        ["greet", address] => greet(address),
        ["listen-on", address] => listen_on(address),
        ["leave-unread", address] => leave_unread(address),
        ["left", address] => left(address),
        ["read-later", address] => read_later(address),
        ["flood", address] => flood(address),
        ["die-once", address, marker] => die_once(address, marker),
        ["survive", address] => survive(address),
        ["claim", address] => claim(address),
        ["announce", address, file] => announce(address, file),
        ["visit", file] => visit(file),
        ["exhaust", directory] => exhaust(directory),
        ["beside", directory] => beside(directory),
        ["lookup", name] => lookup(name),
        _ => Err(ErrorKind::InvalidInput.into()),
    }
}

/// What one process alone can see.
fn edges() -> Result<()> {
    let kind = |result: Result<()>| result.map_err(|error| error.kind());
    let listener = TcpListener::bind("0.0.0.0:7000")?;
    println!("taken {:?}", kind(TcpListener::bind("127.0.0.1:7000").map(drop)));
    println!("not ours {:?}", kind(TcpListener::bind("192.0.2.1:7000").map(drop)));
    println!("nobody {:?}", kind(TcpStream::connect("127.0.0.1:1").map(drop)));
    listener.set_nonblocking(true)?;
    println!("no client {:?}", kind(listener.accept().map(drop)));
    drop(listener);
    println!("free again {:?}", kind(TcpListener::bind("127.0.0.1:7000").map(drop)));
    let six = TcpListener::bind("[::1]:7000")?;
    println!("::1 {}", TcpStream::connect(six.local_addr()?)?.peer_addr()?);
    println!("other loopback {:?}", kind(TcpStream::connect("127.0.0.1:7000").map(drop)));
    let (one, two) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    println!("largest {:?}", one.send_to(&[7; 65_507], two.local_addr()?).map_err(|error| error.kind()));
    println!("arrived {}", two.recv_from(&mut [0; 66_000])?.0);
    let too_long = one.send_to(&[7; 65_508], two.local_addr()?);
    println!("too long {:?}", too_long.map_err(|error| error.raw_os_error()));
    println!("taken {:?}", kind(UdpSocket::bind(two.local_addr()?).map(drop)));
    Ok(())
}

/// Says something, ends its own direction, and still hears the other.
fn greet(address: &str) -> Result<()> {
    let (mut client, _) = TcpListener::bind(address)?.accept()?;
    client.write_all(b"greeting")?;
    client.shutdown(Shutdown::Write)?;
    println!("after the end {:?}", client.write(b"more").map_err(|error| error.kind()));
    let mut heard = Vec::new();
    client.read_to_end(&mut heard)?;
    println!("heard {}", heard.len());
    Ok(())
}

/// Hears the end and goes on talking.
fn listen_on(address: &str) -> Result<()> {
    let mut server = connect(address)?;
    let mut greeting = String::new();
    server.read_to_string(&mut greeting)?;
    println!("heard {greeting}");
    for _ in 0..16 {
        server.write_all(&[1; BLOCK])?;
    }
    Ok(())
}

/// Reads a part of what has come, and goes without the rest.
fn leave_unread(address: &str) -> Result<()> {
    let (mut client, _) = TcpListener::bind(address)?.accept()?;
    client.read_exact(&mut [0])
}

fn left(address: &str) -> Result<()> {
    let mut server = connect(address)?;
    server.write_all(b"unread")?;
    println!("read {:?}", server.read(&mut [0]).map_err(|error| error.raw_os_error()));
    println!("write {:?}", server.write(b"x").map_err(|error| error.raw_os_error()));
    Ok(())
}

/// Reads only once the other side says, on the next port, that it is stuck.
fn read_later(address: &str) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    let word = TcpListener::bind(next_port(address)?)?;
    let (mut client, _) = listener.accept()?;
    word.accept()?;
    let mut block = vec![0; BLOCK];
    let mut total = 0;
    loop {
        match client.read(&mut block)? {
            0 => break,
            count => total += count,
        }
    }
    println!("read {total}");
    Ok(())
}

fn flood(address: &str) -> Result<()> {
    let mut server = connect(address)?;
    server.set_nonblocking(true)?;
    let block = vec![7; BLOCK];
    let mut sent = 0;
    while sent < PLENTY {
        match server.write(&block) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    println!("stuck {}", sent < PLENTY);
    drop(connect(&next_port(address)?.to_string())?);
    server.set_nonblocking(false)?;
    for _ in 0..MORE / BLOCK {
        server.write_all(&block)?;
    }
    println!("sent {}", sent + MORE);
    Ok(())
}

fn next_port(address: &str) -> Result<SocketAddr> {
    let mut address: SocketAddr = address.parse().map_err(|_| Error::from(ErrorKind::InvalidInput))?;
    address.set_port(address.port() + 1);
    Ok(address)
}

/// The first instance dies with a client's words unread; the second echoes one connection.
fn die_once(address: &str, marker: &str) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    let (mut client, _) = listener.accept()?;
    if !fs::exists(marker)? {
        fs::write(marker, "")?;
        client.read_exact(&mut [0])?;
        std::process::abort();
    }
    let mut word = [0; 5];
    client.read_exact(&mut word)?;
    client.write_all(&word)
}

fn survive(address: &str) -> Result<()> {
    let mut server = connect(address)?;
    server.write_all(b"first")?;
    println!("read {:?}", server.read(&mut [0]).map_err(|error| error.raw_os_error()));
    let mut server = connect(address)?;
    server.write_all(b"again")?;
    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    println!("answer {answer}");
    Ok(())
}

/// Tries to bind what another container certainly listens on.
fn claim(address: &str) -> Result<()> {
    let connection = connect(address)?;
    println!("claim {:?}", TcpListener::bind(address).map(drop).map_err(|error| error.kind()));
    drop(connection);
    Ok(())
}

/// Listens, writes where the pod is reached to a file, and echoes one connection.
fn announce(address: &str, file: &str) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    let pod = std::env::var("POD_IP").map_err(|_| Error::from(ErrorKind::InvalidInput))?;
    fs::write(format!("{file}.new"), format!("{pod}:{}", listener.local_addr()?.port()))?;
    fs::rename(format!("{file}.new"), file)?;
    let (mut client, peer) = listener.accept()?;
    println!("visited by {}", peer.ip());
    let mut words = Vec::new();
    client.read_to_end(&mut words)?;
    client.write_all(&words)
}

fn visit(file: &str) -> Result<()> {
    let address = retry(|| fs::read_to_string(file))?;
    let port = address.rsplit(':').next().unwrap_or_default();
    let own_loopback = TcpStream::connect(format!("127.0.0.1:{port}"));
    println!("own loopback {:?}", own_loopback.map(drop).map_err(|error| error.kind()));
    let mut server = connect(&address)?;
    println!("visiting from {}", server.local_addr()?.ip());
    server.write_all(b"hello")?;
    server.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    println!("answer {answer}");
    Ok(())
}

/// Opens sockets until refused, keeps them until there is `done` in the directory.
fn exhaust(directory: &str) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:7000")?;
    let mut taken = Vec::new();
    let refused = loop {
        match TcpStream::connect(listener.local_addr()?).and_then(|client| Ok((client, listener.accept()?.0))) {
            Ok(both) => taken.push(both),
            Err(error) => break error,
        }
    };
    println!("refused {:?}, some {}", refused.raw_os_error(), taken.len() > 100);
    fs::write(format!("{directory}/full"), "")?;
    retry(|| fs::read(format!("{directory}/done")))?;
    Ok(())
}

/// Waits for `full` in the directory, uses sockets, and makes `done`.
fn beside(directory: &str) -> Result<()> {
    retry(|| fs::read(format!("{directory}/full")))?;
    let listener = TcpListener::bind("127.0.0.1:7001")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    listener.accept()?.0.write_all(b"fine")?;
    let mut word = String::new();
    client.read_to_string(&mut word)?;
    println!("beside {word}");
    fs::write(format!("{directory}/done"), "")
}

fn lookup(name: &str) -> Result<()> {
    match (name, 80).to_socket_addrs() {
        Ok(addresses) => println!("{name} is {:?}", addresses.map(|address| address.ip()).collect::<Vec<_>>()),
        Err(error) => println!("{name}: {error}"),
    }
    Ok(())
}

fn connect(address: &str) -> Result<TcpStream> {
    retry(|| TcpStream::connect(address))
}

/// Tries for a while what the other side may not be ready for.
fn retry<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
    attempt()
}
