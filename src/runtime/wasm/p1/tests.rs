//! Real 0.1 guests on these host functions.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::socket::{ListenError, listen};
use crate::base::pipe::pipe;
use crate::net::NetError;
use crate::runtime::wasm::filesystem::testing::Guest;
use crate::runtime::{ContainerPort, Signal};

/// Longer than any of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn every_exit_code_arrives() {
    for code in [0, 1, 2, 42, 125, 126, 127, 128, 134, 137, 143, 254, 255] {
        let outcome = Guest::new(&[&code.to_string()]).run("p1/exit").await;
        assert_eq!(outcome.end, Ok(code));
    }
}

#[tokio::test]
async fn standard_input_is_echoed_to_its_end() {
    let guest = Guest::new(&[]).stdin_bytes(b"over the pipe");
    let outcome = guest.run("p1/cat").await;
    assert_eq!((outcome.end, outcome.stdout.as_str()), (Ok(0), "over the pipe"));
    assert_eq!(outcome.stderr, "13 bytes\n");
    let closed = Guest::new(&[]).run("p1/cat").await;
    assert_eq!((closed.end, closed.stderr.as_str()), (Ok(0), "0 bytes\n"));
}

#[tokio::test]
async fn a_slow_writer_keeps_the_reader_waiting() {
    let (writer, reader) = pipe(4);
    let mut guest = Guest::new(&[]);
    guest.stdin = Some(reader);
    let feeding = tokio::spawn(async move {
        for _ in 0..100 {
            writer.write_all(Bytes::from_static(b"0123456789")).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let outcome = guest.run("p1/cat").await;
    feeding.await.unwrap();
    assert_eq!((outcome.stdout.len(), outcome.stderr.as_str()), (1000, "1000 bytes\n"));
}

#[tokio::test]
async fn a_declared_port_is_a_listening_socket_at_descriptor_4() {
    let mut guest = Guest::new(&[]);
    let port = |port, udp| ContainerPort { port, udp };
    // The UDP port takes no descriptor, and the second declaration of 8080 none either.
    guest.ports = vec![port(53, true), port(8080, false), port(8080, false)];
    let network = Arc::clone(&guest.network);
    let talking = async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        let stream = loop {
            match network.connect(None, address).await {
                Ok(stream) => break stream,
                Err(NetError::ConnectionRefused) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        for (sent, answer) in [("abc", "ABC"), ("quit", "QUIT")] {
            stream.writer.write_all(Bytes::from(sent)).await.unwrap();
            assert_eq!(stream.reader.read(64).await.unwrap().unwrap(), answer);
        }
    };
    let both = async { tokio::join!(guest.run("p1/listen"), talking) };
    let (outcome, ()) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!((outcome.end, outcome.stdout.as_str()), (Ok(0), "listening\n"));
}

#[tokio::test]
async fn a_port_that_is_taken_stops_the_start() {
    let mut guest = Guest::new(&[]);
    guest.ports = vec![ContainerPort { port: 8080, udp: false }];
    let binding = guest.network.bind_tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080))).unwrap();
    let _taken = guest.network.listen(binding, 1).unwrap();
    let mut state = guest.state(pipe(1).0, pipe(1).0);
    let error = listen(&mut state).unwrap_err();
    assert_eq!(error, ListenError { port: 8080, source: NetError::AddressInUse });
    assert_eq!(error.to_string(), "cannot listen on containerPort 8080: address already in use");
}

#[tokio::test]
async fn a_guest_that_catches_term_reads_it_as_a_number() {
    let guest = Guest::new(&[]);
    let signals = Arc::clone(&guest.signals);
    let delivering = async {
        use crate::runtime::wasm::signals::Delivery;
        while signals.deliver(Signal::Term) == Delivery::Default {
            tokio::task::yield_now().await;
        }
    };
    let both = async { tokio::join!(guest.run("p1/signals"), delivering) };
    let (outcome, ()) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!((outcome.end, outcome.stdout.as_str()), (Ok(0), "waiting\ngot signal 15\n"));
}

#[tokio::test]
async fn a_module_without_memory_traps_with_the_reason() {
    // (module (import "wasi_snapshot_preview1" "sched_yield" …) (import … "fd_close" (func (param i32) (result i32)))
    //  (func (export "_start") i32.const 0 call 0 drop))
    let wasm = b"\0asm\x01\0\0\0\x01\x09\x02\x60\x01\x7f\x01\x7f\x60\0\0\
        \x02\x23\x01\x16wasi_snapshot_preview1\x08fd_close\0\0\
        \x03\x02\x01\x01\x07\x0a\x01\x06_start\0\x01\x0a\x09\x01\x07\0\x41\0\x10\0\x1a\x0b";
    let outcome = Guest::new(&[]).run_bytes(wasm).await;
    assert!(outcome.end.is_err_and(|trap| trap.contains("does not export its memory")));
}
