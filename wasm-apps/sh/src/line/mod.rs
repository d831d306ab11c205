//! Editing a line: what keys do to it, and how it is drawn. Nothing here reads or writes.

mod editor;
mod keys;
mod screen;

pub(crate) use editor::{Editor, Effect};
pub(crate) use keys::Decoder;
pub(crate) use screen::Screen;
