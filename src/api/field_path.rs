//! Field paths of the downward API: `metadata.name`, `metadata.labels['app']`.

/// Splits `metadata.labels['app']` into `metadata.labels` and `app`; `None` for a path without a subscript.
/// Kubernetes' `SplitMaybeSubscriptedPath`: the subscript reaches to the last `']`, whatever it contains.
pub fn split_subscript(path: &str) -> Option<(&str, &str)> {
    let (path, subscript) = path.strip_suffix("']")?.split_once("['")?;
    (!path.is_empty()).then_some((path, subscript))
}

#[cfg(test)]
mod tests {
    use super::split_subscript;

    #[test]
    fn subscripts_split_off() {
        for (path, expected) in [
            ("metadata.annotations['myKey']", Some(("metadata.annotations", "myKey"))),
            ("metadata.annotations['a[b]c']", Some(("metadata.annotations", "a[b]c"))),
            ("metadata.labels['example.com/x']", Some(("metadata.labels", "example.com/x"))),
            ("metadata.labels['']", Some(("metadata.labels", ""))),
            ("metadata.labels", None),
            ("metadata.labels[app]", None),
            ("['app']", None),
            ("']", None),
        ] {
            assert_eq!(split_subscript(path), expected, "{path}");
        }
    }
}
