//! The test guests' two images.

/// `native` or `wasm`, by an image of the guests.
pub(super) fn kind(image: &str) -> &'static str {
    if image.starts_with("native") { "native" } else { "wasm" }
}
