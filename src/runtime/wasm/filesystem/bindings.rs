//! Generated glue for `wasi:filesystem` of both levels, in a file that rarely changes because it is slow to compile.
//! `wasi:io` and `wasi:clocks` are wasmtime's, so that streams and times pass between husk's interfaces and its.

#![allow(missing_docs, unreachable_pub, reason = "generated items are as public as their generator makes them")]

/// WASI 0.2.
pub(super) mod p2 {
    wasmtime::component::bindgen!({
        path: "wit/wasi-0.2",
        world: "husk:wasi-p2/filesystem",
        imports: {
            "wasi:filesystem/types.[method]descriptor.sync": async | trappable,
            "wasi:filesystem/types.[method]descriptor.sync-data": async | trappable,
            "wasi:filesystem/types.[method]descriptor.write": async | trappable,
            default: trappable,
        },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:filesystem/types.descriptor": crate::runtime::wasm::filesystem::descriptor::Descriptor,
            "wasi:filesystem/types.directory-entry-stream": crate::runtime::wasm::filesystem::listing::Listing,
        },
        trappable_error_type: {
            "wasi:filesystem/types.error-code" => crate::runtime::wasm::filesystem::p2::Failure,
        },
    });
}

/// WASI 0.3.
#[cfg(feature = "wasi-p3")]
pub(super) mod p3 {
    wasmtime::component::bindgen!({
        path: "wit/wasi-0.3",
        world: "husk:wasi-p3/filesystem",
        imports: {
            "wasi:filesystem/types.[method]descriptor.read-via-stream": store | trappable,
            "wasi:filesystem/types.[method]descriptor.write-via-stream": store | trappable,
            "wasi:filesystem/types.[method]descriptor.append-via-stream": store | trappable,
            "wasi:filesystem/types.[method]descriptor.read-directory": store | trappable,
            default: trappable,
        },
        with: {
            "wasi:clocks": wasmtime_wasi::p3::bindings::clocks,
            "wasi:filesystem/types.descriptor": crate::runtime::wasm::filesystem::descriptor::Descriptor,
        },
        trappable_error_type: {
            "wasi:filesystem/types.error-code" => crate::runtime::wasm::filesystem::p3::Failure,
        },
    });
}
