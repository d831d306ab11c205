//! `nslookup` of the built-in tools, against a name server in its pod.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const RESOLV_CONF: &str = "search default.svc.cluster.local svc.cluster.local\nnameserver 127.0.0.1\n\
                           options ndots:5 timeout:1 attempts:1\n";
const TYPE_A: u8 = 1;
const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// What the server answers a question, whose name and type it finds in the message as they stand there: `web` has an
/// address, `long` has one too many for a datagram, `sick` is a server's problem.
fn answer(question: &[u8], over_tcp: bool) -> Vec<u8> {
    let (mut name, mut rest) = (Vec::new(), &question[12..]);
    while rest[0] > 0 {
        name.push(String::from_utf8(rest[1..=usize::from(rest[0])].to_vec()).unwrap());
        rest = &rest[1 + usize::from(rest[0])..];
    }
    let (kind, end) = (rest[2], question.len() - rest.len() + 5);
    let (code, address) = match name.join(".").as_str() {
        "web.default.svc.cluster.local" => (NOERROR, Some([10, 96, 12, 7])),
        "long.svc.cluster.local" => (NOERROR, Some([10, 96, 12, 8])),
        name if name.starts_with("sick") => (SERVFAIL, None),
        _ => (NXDOMAIN, None),
    };
    let address = address.filter(|_| kind == TYPE_A);
    let truncated = name[0] == "long" && !over_tcp;
    let flags = [if truncated { 0x86 } else { 0x84 }, code];
    let counts = [0, 1, 0, u8::from(address.is_some() && !truncated), 0, 0, 0, 0];
    let mut answer = [&question[..2], &flags, &counts, &question[12..end]].concat();
    if let Some(address) = address.filter(|_| !truncated) {
        answer.extend([0xc0, 12, 0, TYPE_A, 0, 1, 0, 0, 0, 5, 0, 4]);
        answer.extend(address);
    }
    answer
}

/// Starts the server.
fn serve(pod: &Pod) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
    let network = &pod.sandbox.network;
    let datagrams = network.bind_udp(address).unwrap();
    tokio::spawn(async move {
        while let Ok(datagram) = datagrams.recv().await {
            let reply = answer(&datagram.bytes, false);
            // A guess by somebody else comes first.
            datagrams.try_send(reply[1..].to_vec().into(), Some(datagram.peer)).unwrap();
            datagrams.try_send(reply.into(), Some(datagram.peer)).unwrap();
        }
    });
    let listener = network.listen(network.bind_tcp(address).unwrap(), 8).unwrap();
    tokio::spawn(async move {
        while let Ok(mut stream) = listener.accept().await {
            let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut question).await.unwrap();
            let reply = answer(&question, true);
            stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        }
    });
}

/// Runs `nslookup`; its exit code, standard output and standard error.
async fn nslookup(pod: &Pod, arguments: &str) -> (i32, String, String) {
    let files = [
        ("/bin/nslookup".to_owned(), guest("builtin/nettool"), 0o755),
        ("/etc/resolv.conf".to_owned(), Bytes::from(RESOLV_CONF), 0o644),
    ];
    let app = pod.start(Setup::with_files(&format!("nslookup {arguments}"), &files)).await;
    let code = app.ends().await.code;
    (code, rest(&app.stdout).await, rest(&app.stderr).await)
}

fn found(name: &str, address: &str) -> (i32, String, String) {
    let server = "Server:\t\t127.0.0.1\nAddress:\t127.0.0.1:53\n\n";
    (0, format!("{server}Name:\t{name}\nAddress: {address}\n\n"), String::new())
}

fn not_found(verdict: &str) -> (i32, String, String) {
    let server = "Server:\t\t127.0.0.1\nAddress:\t127.0.0.1:53\n\n";
    (1, format!("{server}{verdict}\n\n"), String::new())
}

#[tokio::test]
async fn nslookup_searches_and_shows_as_busybox_does() {
    let pod = Pod::new();
    serve(&pod);
    let web = || found("web.default.svc.cluster.local", "10.96.12.7");
    for arguments in ["web", "-type=a web", "web.default", "web.default.svc.cluster.local. 127.0.0.1"] {
        assert_eq!(nslookup(&pod, arguments).await, web(), "{arguments}");
    }
    for name in ["myservice", "web.", "web.other"] {
        let verdict = format!("** server can't find {name}: NXDOMAIN");
        assert_eq!(nslookup(&pod, name).await, not_found(&verdict));
    }
    assert_eq!(nslookup(&pod, "-type=aaaa web").await, not_found("*** Can't find web: No answer"));
    assert_eq!(nslookup(&pod, "sick").await, not_found("** server can't find sick: SERVFAIL"));
}

#[tokio::test]
async fn an_answer_too_long_for_a_datagram_comes_over_tcp() {
    let pod = Pod::new();
    serve(&pod);
    assert_eq!(nslookup(&pod, "long").await, found("long.svc.cluster.local", "10.96.12.8"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_of() {
    let pod = Pod::new();
    let (code, stdout, stderr) = nslookup(&pod, "web").await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert_eq!(stderr, "nslookup: can't ask 127.0.0.1:53: Connection refused\n");
    let network = &pod.sandbox.network;
    let _silent = network.bind_udp(SocketAddr::from((Ipv4Addr::LOCALHOST, 53))).unwrap();
    let (code, stdout, _) = nslookup(&pod, "web").await;
    assert_eq!((code, stdout.as_str()), (1, ";; connection timed out; no servers could be reached\n\n"));
}
