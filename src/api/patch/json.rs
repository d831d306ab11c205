//! JSON patch (RFC 6902) and JSON merge patch (RFC 7386), through the `json-patch` crate, with bounds around it.
//!
//! A patch of a few bytes could otherwise double an object with every operation, nest it until its destruction
//! overflows the stack, or shift a long list ten thousand times.

use json_patch::jsonptr::Pointer;
use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::Value;

use super::PatchError;
use super::bounds::{MAX_DEPTH, measure, too_deep};

/// The operations a JSON patch may have (kube-apiserver's `maxJSONPatchOperations`).
const MAX_OPERATIONS: usize = 10_000;
/// The bytes that all `copy` operations of a patch may add (kube-apiserver's limit of request bodies).
const MAX_COPIED: usize = 3 * 1024 * 1024;
/// The list items and members that all operations of a patch may have to move.
const MAX_MOVED: usize = 50_000_000;

/// The document after a JSON patch.
pub fn json_patch(document: &Value, patch: &[u8]) -> Result<Value, PatchError> {
    let operations: Vec<PatchOperation> = serde_json::from_slice(patch)
        .map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))?;
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    measure(document)?;
    let mut document = document.clone();
    let mut cost = Cost::default();
    for operation in &operations {
        cost.add(&document, operation)?;
        if tests_absence(&document, operation) {
            continue;
        }
        // The copy of the document is thrown away on failure, so there is nothing to undo.
        json_patch::patch_unsafe(&mut document, std::slice::from_ref(operation))
            .map_err(|error| PatchError::Inapplicable(message(operation, &error.kind)))?;
    }
    Ok(document)
}

/// The document after a JSON merge patch.
pub fn merge_patch(document: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::Malformed("Invalid JSON Patch".to_owned()));
    }
    measure(document)?;
    measure(patch)?;
    let mut document = document.clone();
    json_patch::merge(&mut document, patch);
    Ok(document)
}

/// What the operations of a patch have cost so far.
#[derive(Default)]
struct Cost {
    copied: usize,
    moved: usize,
}

impl Cost {
    fn add(&mut self, document: &Value, operation: &PatchOperation) -> Result<(), PatchError> {
        let depth = match operation {
            PatchOperation::Add(add) => measure(&add.value)?.depth,
            PatchOperation::Replace(replace) => measure(&replace.value)?.depth,
            PatchOperation::Copy(copy) => self.copy(document, &copy.from)?,
            PatchOperation::Move(moved) => {
                self.shift(document, &moved.from);
                document.pointer(moved.from.as_str()).map_or(Ok(0), |value| {
                    let extent = measure(value)?;
                    self.moved += extent.bytes;
                    Ok(extent.depth)
                })?
            }
            PatchOperation::Remove(_) | PatchOperation::Test(_) => 0,
        };
        if depth + operation.path().count() > MAX_DEPTH {
            return Err(too_deep());
        }
        self.shift(document, operation.path());
        if self.moved > MAX_MOVED {
            return Err(PatchError::TooLarge("the operations of the patch move too many values".to_owned()));
        }
        Ok(())
    }

    /// Counts a copied value; its depth.
    fn copy(&mut self, document: &Value, from: &Pointer) -> Result<usize, PatchError> {
        let Some(value) = document.pointer(from.as_str()) else { return Ok(0) };
        let extent = measure(value)?;
        self.copied += extent.bytes;
        if self.copied > MAX_COPIED {
            return Err(PatchError::TooLarge(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {}, exceeding the limit {MAX_COPIED}",
                self.copied
            )));
        }
        Ok(extent.depth)
    }

    /// Counts what an insertion or a removal at a path shifts.
    fn shift(&mut self, document: &Value, path: &Pointer) {
        let Some((parent, _)) = path.split_back() else { return };
        self.moved += document.pointer(parent.as_str()).and_then(Value::as_array).map_or(0, Vec::len);
    }
}

/// Whether an operation tests that a member is absent, which Kubernetes allows with the value `null`.
fn tests_absence(document: &Value, operation: &PatchOperation) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    test.value.is_null()
        && document.pointer(test.path.as_str()).is_none()
        && test
            .path
            .split_back()
            .is_some_and(|(parent, _)| document.pointer(parent.as_str()).is_some_and(Value::is_object))
}

/// The words of the library that kube-apiserver uses.
fn message(operation: &PatchOperation, error: &PatchErrorKind) -> String {
    let (name, from) = match operation {
        PatchOperation::Add(_) => ("add", None),
        PatchOperation::Remove(_) => ("remove", None),
        PatchOperation::Replace(_) => ("replace", None),
        PatchOperation::Move(moved) => ("move", Some(&moved.from)),
        PatchOperation::Copy(copy) => ("copy", Some(&copy.from)),
        PatchOperation::Test(_) => ("test", None),
    };
    let path = operation.path();
    match error {
        PatchErrorKind::TestFailed => format!("testing value {path} failed: test failed"),
        PatchErrorKind::InvalidFromPointer => {
            let from = from.map_or("", |from| from.as_str());
            format!("{name} operation does not apply: doc is missing from path: {from}: missing value")
        }
        PatchErrorKind::InvalidPointer if name == "replace" => {
            format!("replace operation does not apply: doc is missing key: {path}: missing value")
        }
        PatchErrorKind::InvalidPointer => {
            format!("{name} operation does not apply: doc is missing path: \"{path}\": missing value")
        }
        error => format!("error in {name} for path: '{path}': {error}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patch(document: &Value, operations: &Value) -> Result<Value, String> {
        json_patch(document, operations.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn operations_apply_in_order() {
        let document = json!({"metadata": {"labels": {"a": "1"}}, "data": ["x"]});
        let operations = json!([
            {"op": "test", "path": "/metadata/labels/a", "value": "1"},
            {"op": "test", "path": "/metadata/labels/b", "value": null},
            {"op": "add", "path": "/metadata/labels/b~1c", "value": "2"},
            {"op": "add", "path": "/data/-", "value": "y"},
            {"op": "add", "path": "/data/0", "value": "w"},
            {"op": "copy", "from": "/data", "path": "/more"},
            {"op": "move", "from": "/data/0", "path": "/first"},
            {"op": "remove", "path": "/metadata/labels/a"},
            {"op": "replace", "path": "/data", "value": []},
        ]);
        let expected = json!({"metadata": {"labels": {"b/c": "2"}}, "data": [], "more": ["w", "x", "y"], "first": "w"});
        assert_eq!(patch(&document, &operations), Ok(expected));
    }

    #[test]
    fn what_does_not_apply_says_where() {
        let document = json!({"a": {"b": 1}});
        for (operation, message) in [
            (json!({"op": "test", "path": "/a/b", "value": 2}), "testing value /a/b failed: test failed"),
            (
                json!({"op": "test", "path": "/x/y", "value": null}),
                "test operation does not apply: doc is missing path: \"/x/y\": missing value",
            ),
            (
                json!({"op": "replace", "path": "/c", "value": 1}),
                "replace operation does not apply: doc is missing key: /c: missing value",
            ),
            (
                json!({"op": "add", "path": "/c/d", "value": 1}),
                "add operation does not apply: doc is missing path: \"/c/d\": missing value",
            ),
            (
                json!({"op": "remove", "path": "/c"}),
                "remove operation does not apply: doc is missing path: \"/c\": missing value",
            ),
            (
                json!({"op": "move", "from": "/c", "path": "/d"}),
                "move operation does not apply: doc is missing from path: /c: missing value",
            ),
        ] {
            assert_eq!(patch(&document, &json!([operation])), Err(message.to_owned()));
        }
        for malformed in
            ["{}", "[{}]", "[{\"op\": \"x\", \"path\": \"/a\"}]", "[", "[{\"op\":\"remove\",\"path\":\"a\"}]"]
        {
            let error = json_patch(&document, malformed.as_bytes()).unwrap_err();
            assert!(matches!(error, PatchError::Malformed(_)), "{malformed}: {error:?}");
        }
    }

    #[test]
    fn a_patch_cannot_grow_without_bound() {
        let many = vec![json!({"op": "test", "path": "/a", "value": 1}); MAX_OPERATIONS + 1];
        let doubling: Vec<_> = (0..100).map(|n| json!({"op": "copy", "from": "", "path": format!("/a{n}")})).collect();
        let deep: Vec<_> = (1..200).map(|n| json!({"op": "add", "path": "/a".repeat(n), "value": {}})).collect();
        let shifting = vec![json!({"op": "add", "path": "/a/0", "value": 1}); MAX_OPERATIONS];
        let long = json!({"a": vec![0; 100_000]});
        for (document, operations) in [
            (&json!({"a": 1}), json!(many)),
            (&json!({"a": "x".repeat(1000)}), json!(doubling)),
            (&json!({}), json!(deep)),
            (&long, json!(shifting)),
        ] {
            let error = json_patch(document, operations.to_string().as_bytes()).unwrap_err();
            assert!(matches!(error, PatchError::TooLarge(_)), "{error:?}");
        }
    }

    /// The examples of RFC 7386, appendix A, whose documents and patches are objects.
    #[test]
    fn merge_patches_are_those_of_the_rfc() {
        for (document, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(merge_patch(&document, &patch), Ok(expected));
        }
        assert!(merge_patch(&json!({}), &json!([])).is_err());
    }
}
