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
    let signals = Arc::clone(guest.process.signals());
    let delivering = async {
        use crate::runtime::wasm::signals::Delivery;
        while signals.deliver(Signal::Term) == Delivery::Fatal {
            tokio::task::yield_now().await;
        }
    };
    let both = async { tokio::join!(guest.run("p1/signals"), delivering) };
    let (outcome, ()) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!((outcome.end, outcome.stdout.as_str()), (Ok(0), "waiting\ngot signal 15\n"));
}

#[tokio::test]
async fn a_module_without_memory_traps_with_the_reason() {
    let wasm = wat::parse_str(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
            (func (export "_start") (drop (call $close (i32.const 0)))))"#,
    )
    .unwrap();
    let outcome = Guest::new(&[]).run_bytes(&wasm).await;
    assert!(outcome.end.is_err_and(|trap| trap.contains("does not export its memory")));
}

#[tokio::test]
async fn pointers_out_of_memory_are_faults_for_calls_that_wait_too() {
    // Exits with the sum of the errnos: EFAULT is 21.
    let wasm = wat::parse_str(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start")
                (call $exit (i32.add
                    (call $write (i32.const 1) (i32.const -4) (i32.const 1) (i32.const 0))
                    (call $poll (i32.const -9) (i32.const 0) (i32.const 1) (i32.const 0))))))"#,
    )
    .unwrap();
    assert_eq!(Guest::new(&[]).run_bytes(&wasm).await.end, Ok(42));
}
