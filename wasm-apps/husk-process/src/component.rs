//! Rust bindings of `husk:process` for components, generated from husk's own WIT. Pollables and streams are the `wasip2`
//! crate's, so that one `wasi:io/poll.poll` waits for signals, children and sockets alike.

mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/husk-process",
        world: "guest",
        with: {
            "wasi:io/error@0.2.12": wasip2::io::error,
            "wasi:io/poll@0.2.12": wasip2::io::poll,
            "wasi:io/streams@0.2.12": wasip2::io::streams,
            "husk:process/processes@0.1.0": generate,
            "husk:process/signals@0.1.0": generate,
        },
    });
}

pub use bindings::husk::process::{processes, signals};
