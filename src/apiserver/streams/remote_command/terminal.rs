//! Sizes of terminals, as clients send them: JSON objects one after the other, not necessarily one per message.

use serde::Deserialize;

use crate::apiserver::node_access::TerminalSize;

/// Bytes kept of an object that is not complete.
const MAX_PENDING: usize = 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

/// Reads sizes.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    pending: Vec<u8>,
    broken: bool,
}

impl Sizes {
    /// The last size that is complete now, if there is a new one. What is no size ends them all, as in Kubernetes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<TerminalSize> {
        if self.broken {
            return None;
        }
        self.pending.extend_from_slice(bytes);
        let mut objects = serde_json::Deserializer::from_slice(&self.pending).into_iter::<Size>();
        let (mut last, mut broken, mut read) = (None, false, 0);
        while let Some(object) = objects.next() {
            match object {
                Ok(Size { width, height }) => {
                    last = Some(TerminalSize { rows: height, columns: width });
                    read = objects.byte_offset();
                }
                Err(error) => broken = !error.is_eof(),
            }
        }
        self.pending.drain(..read.min(self.pending.len()));
        self.broken = broken || self.pending.len() > MAX_PENDING;
        if self.broken {
            self.pending = Vec::new();
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(columns: u16, rows: u16) -> Option<TerminalSize> {
        Some(TerminalSize { rows, columns })
    }

    #[test]
    fn sizes_come_whole_in_parts_and_several_at_once() {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.push(br#"{"Width":80,"Height":24}"#), size(80, 24));
        assert_eq!(sizes.push(b"\n{\"Width\":8"), None);
        assert_eq!(sizes.push(b"1,\"Height\":25}\n"), size(81, 25));
        assert_eq!(sizes.push(br#"{"Width":1,"Height":1}{"Width":2,"Height":3}{"#), size(2, 3));
        assert_eq!(sizes.push(br#""Width":4,"Height":5}"#), size(4, 5));
    }

    #[test]
    fn what_is_no_size_ends_them() {
        for garbage in [&b"hello"[..], b"{}", br#"{"Width":-1,"Height":5}"#, br#"{"Width":99999,"Height":5}"#, b"[1]"] {
            let mut sizes = Sizes::default();
            assert_eq!(sizes.push(garbage), None);
            assert_eq!(sizes.push(br#"{"Width":4,"Height":5}"#), None, "{garbage:?}");
        }
        let mut sizes = Sizes::default();
        for _ in 0..100_000 {
            assert_eq!(sizes.push(br#"{"Width":     "#), None);
            assert!(sizes.pending.len() <= MAX_PENDING);
        }
    }
}
