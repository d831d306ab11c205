//! The metadata of an object, taken out of its JSON without reading the rest.

/// The value of `metadata` in the JSON of an object as the store keeps it: without white space, all of it well formed. An
/// empty object if there is none.
pub(super) fn metadata(json: &[u8]) -> &[u8] {
    const KEY: &[u8] = br#""metadata":"#;
    let (mut depth, mut index) = (0, 0);
    while let Some(byte) = json.get(index) {
        match byte {
            b'"' if depth == 1 && json[index..].starts_with(KEY) => {
                let start = index + KEY.len();
                return &json[start..value_end(json, start)];
            }
            b'"' => index = text_end(json, index),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        index += 1;
    }
    b"{}"
}

/// Where the object that begins at `start` ends.
fn value_end(json: &[u8], start: usize) -> usize {
    let (mut depth, mut index) = (0, start);
    while let Some(byte) = json.get(index) {
        match byte {
            b'"' => index = text_end(json, index),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return index + 1;
                }
            }
            _ => {}
        }
        index += 1;
    }
    json.len()
}

/// Where the quotation mark is that ends the text which begins at `start`.
fn text_end(json: &[u8], start: usize) -> usize {
    let mut index = start + 1;
    while let Some(byte) = json.get(index) {
        match byte {
            b'\\' => index += 1,
            b'"' => return index,
            _ => {}
        }
        index += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::metadata;

    #[test]
    fn metadata_is_found_whatever_is_around_it() {
        for (json, expected) in [
            (r#"{"kind":"X","metadata":{"a":"}\"{"},"spec":{}}"#, r#"{"a":"}\"{"}"#),
            (r#"{"spec":{"metadata":{"b":1}},"metadata":{"a":[{}]}}"#, r#"{"a":[{}]}"#),
            (r#"{"x":"\"metadata\":","metadata":{}}"#, "{}"),
            (r#"{"x":1}"#, "{}"),
        ] {
            assert_eq!(metadata(json.as_bytes()), expected.as_bytes(), "{json}");
        }
    }
}
