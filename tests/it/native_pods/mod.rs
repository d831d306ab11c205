//! Pods with native containers, alone and beside containers of WebAssembly, run by the real husk as root and as an ordinary
//! user. What a single native container may and may not do is tested in `native`.

mod images;
mod machine;
mod manifests;
mod scene;
