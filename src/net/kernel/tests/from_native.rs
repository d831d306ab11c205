//! From native containers outwards: other pods, Services, names, the node.

use super::*;

#[tokio::test]
async fn a_native_program_talks_to_a_wasm_pod() {
    let switch = switch();
    let Some((native, namespace)) = native_pod(&switch, "native to wasm").await else { return };
    let wasm = switch.attach("wasm-0", None).unwrap();
    let listener = listen(&wasm, "0.0.0.0:80");
    let program = format!(
        "s = socket.create_connection(('{}', 80)); s.sendall(b'question'); s.shutdown(socket.SHUT_WR)\n\
         print(s.getsockname()[1], s.makefile().read())",
        ip(&wasm)
    );
    let program = python(&namespace, &program).await;
    let served = listener.accept().await.unwrap();
    assert_eq!(read_all(&served).await, b"question");
    write(&served, "answer").await;
    let (peer, local) = (served.peer, served.local);
    drop(served);
    assert_eq!(program.output().await, format!("{} answer", peer.port()));
    assert_eq!((peer.ip(), local.to_string()), (native.ips()[0], format!("{}:80", ip(&wasm))));
}
