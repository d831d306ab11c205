//! Generated glue for `wasi:sockets`. It is large and slow to compile: nothing else lives here.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::all, reason = "generated code")]

pub(super) mod p2 {
    wasmtime::component::bindgen!({
        path: "wit/wasi-0.2",
        world: "husk:wasi-p2/sockets",
        imports: { default: trappable },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:sockets/network": wasmtime_wasi::p2::bindings::sockets::network,
            "wasi:sockets/tcp.tcp-socket": crate::runtime::wasm::sockets::p2::TcpSocket,
            "wasi:sockets/udp.udp-socket": crate::runtime::wasm::sockets::p2::UdpSocket,
            "wasi:sockets/udp.incoming-datagram-stream": crate::runtime::wasm::sockets::p2::IncomingDatagrams,
            "wasi:sockets/udp.outgoing-datagram-stream": crate::runtime::wasm::sockets::p2::OutgoingDatagrams,
            "wasi:sockets/ip-name-lookup.resolve-address-stream": crate::runtime::wasm::sockets::p2::ResolvedAddresses,
        },
        trappable_error_type: {
            "wasi:sockets/network.error-code" => wasmtime_wasi::p2::SocketError,
        },
        require_store_data_send: true,
    });
}

#[cfg(feature = "wasi-p3")]
pub(super) mod p3 {
    wasmtime::component::bindgen!({
        path: "wit/wasi-0.3",
        world: "husk:wasi-p3/sockets",
        imports: {
            "wasi:sockets/types.[method]tcp-socket.listen": store | trappable,
            "wasi:sockets/types.[method]tcp-socket.send": store | trappable,
            "wasi:sockets/types.[method]tcp-socket.receive": store | trappable,
            default: trappable,
        },
        with: {
            "wasi:clocks": wasmtime_wasi::p3::bindings::clocks,
            "wasi:sockets/types.tcp-socket": crate::runtime::wasm::sockets::tcp::TcpSocket,
            "wasi:sockets/types.udp-socket": crate::runtime::wasm::sockets::udp::UdpSocket,
        },
        trappable_error_type: {
            "wasi:sockets/types.error-code" => crate::runtime::wasm::sockets::p3::SocketError,
        },
        require_store_data_send: true,
    });
}
