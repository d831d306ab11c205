//! `wasi:sockets` 0.3: TCP and UDP on the pod's loopback, names, and resets.

use futures_util::future::join;
use wasip3::sockets::ip_name_lookup::resolve_addresses;
use wasip3::sockets::types::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, TcpSocket, UdpSocket,
};
use wasip3::wit_bindgen::StreamResult;
use wasip3::{wit_stream, wit_bindgen::StreamReader};

use crate::Report;

const LOOPBACK: (u8, u8, u8, u8) = (127, 0, 0, 1);
const BULK: usize = 3_000_000;
const TOO_LONG: usize = 65_508;

/// Echoes one connection on every address.
pub(crate) async fn serve(port: u16) -> Result<(), ErrorCode> {
    let listener = TcpSocket::create(IpAddressFamily::Ipv4)?;
    listener.bind(IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (0, 0, 0, 0) }))?;
    let mut clients = listener.listen()?;
    echo(&mut clients).await
}

/// What each call gave goes to the report.
pub(crate) async fn tour(report: &mut Report) -> Result<(), ErrorCode> {
    let listener = TcpSocket::create(IpAddressFamily::Ipv4)?;
    listener.bind(v4(8080))?;
    let mut clients = listener.listen()?;
    let other = TcpSocket::create(IpAddressFamily::Ipv4)?;
    report.push(format!("taken {:?}", other.bind(v4(8080))));
    report.push(format!("nobody {:?}", other.connect(v4(1)).await));
    for size in [5, BULK] {
        let (served, talked) = join(echo(&mut clients), talk(v4(8080), size)).await;
        served?;
        report.push(format!("echoed {}", talked?));
    }
    ipv6(report).await?;
    datagrams(report).await?;
    for name in ["localhost", "myhost", "127.0.0.9", "nobody.invalid", "not a name"] {
        report.push(format!("{name} {:?}", resolve_addresses(name.into()).await));
    }
    reset(report).await
}

async fn echo(clients: &mut StreamReader<TcpSocket>) -> Result<(), ErrorCode> {
    let client = clients.next().await.ok_or(ErrorCode::ConnectionAborted)?;
    let (received, done) = client.receive();
    client.send(received).await?;
    done.await
}

async fn talk(address: IpSocketAddress, size: usize) -> Result<usize, ErrorCode> {
    let family = if matches!(address, IpSocketAddress::Ipv4(_)) { IpAddressFamily::Ipv4 } else { IpAddressFamily::Ipv6 };
    let socket = TcpSocket::create(family)?;
    socket.connect(address).await?;
    let (mut output, stream) = wit_stream::new();
    let sent = socket.send(stream);
    let (mut input, done) = socket.receive();
    let data: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
    let expected = data.clone();
    let writing = async {
        output.write_all(data).await;
        drop(output);
        sent.await
    };
    let reading = async {
        let mut answer = Vec::new();
        loop {
            let (result, block) = input.read(Vec::with_capacity(64 * 1024)).await;
            answer.extend_from_slice(&block);
            if matches!(result, StreamResult::Dropped) {
                return answer;
            }
        }
    };
    let (written, answer) = join(writing, reading).await;
    written?;
    done.await?;
    assert!(answer == expected, "the echo of {} bytes differs", answer.len());
    Ok(answer.len())
}

async fn ipv6(report: &mut Report) -> Result<(), ErrorCode> {
    let loopback = |port| {
        IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info: 0, address: (0, 0, 0, 0, 0, 0, 0, 1), scope_id: 0 })
    };
    let listener = TcpSocket::create(IpAddressFamily::Ipv6)?;
    listener.bind(loopback(8080))?;
    let mut clients = listener.listen()?;
    let (served, talked) = join(echo(&mut clients), talk(loopback(8080), 6)).await;
    served?;
    report.push(format!("echoed over IPv6 {}", talked?));
    Ok(())
}

async fn datagrams(report: &mut Report) -> Result<(), ErrorCode> {
    let server = UdpSocket::create(IpAddressFamily::Ipv4)?;
    server.bind(v4(53))?;
    let client = UdpSocket::create(IpAddressFamily::Ipv4)?;
    let (sent, received) = join(client.send(b"ping".to_vec(), Some(v4(53))), server.receive()).await;
    sent?;
    let (question, from) = received?;
    client.connect(v4(53))?;
    server.send(b"pong".to_vec(), Some(from)).await?;
    let (answer, _) = client.receive().await?;
    report.push(format!("{} {}", String::from_utf8_lossy(&question), String::from_utf8_lossy(&answer)));
    report.push(format!("too long {:?}", client.send(vec![0; TOO_LONG], None).await));
    Ok(())
}

/// The server leaves with something unread.
async fn reset(report: &mut Report) -> Result<(), ErrorCode> {
    let listener = TcpSocket::create(IpAddressFamily::Ipv4)?;
    listener.bind(v4(8081))?;
    let mut clients = listener.listen()?;
    let socket = TcpSocket::create(IpAddressFamily::Ipv4)?;
    socket.connect(v4(8081)).await?;
    let (mut output, stream) = wit_stream::new();
    let sent = socket.send(stream);
    output.write_all(b"unread".to_vec()).await;
    drop(clients.next().await);
    let (mut input, done) = socket.receive();
    report.push(format!("reset {:?} {:?}", input.read(Vec::with_capacity(1)).await.0, done.await));
    let rest = output.write_all(b"x".to_vec()).await;
    report.push(format!("unsent {} {:?}", rest.len(), sent.await));
    Ok(())
}

fn v4(port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: LOOPBACK })
}
