//! Text to typed objects, strictly: unknown and duplicate fields are errors, in Kubernetes' words, and every problem
//! of every document is reported with its line. Defaults and validation come after (`defaults`, `validate`).

use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde::de::DeserializeOwned;

use super::document::typed::{self, Place, Report};
use super::document::yaml::{self, Document};
use super::document::{Node, Value};
use super::object::{KINDS, Object, Origin};

/// Kinds whose pods a `Pod` can describe directly.
const KINDS_WITH_TEMPLATES: [&str; 7] =
    ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob"];

/// The most problems that are reported for one text.
const MAX_ERRORS: usize = 1000;

/// An object as written: decoded, not yet defaulted or validated.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The object.
    pub object: Object,
    /// Where it was written.
    pub origin: Origin,
}

/// One problem of a document. Displays as `file:line: message`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}:{line}: {problem}")]
pub struct DecodeError {
    /// The file's name as it was given, or `-`.
    pub source_name: String,
    /// The line of the problem, counted from 1.
    pub line: usize,
    /// What the problem is.
    pub problem: DecodeProblem,
}

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeProblem {
    /// Not YAML or JSON, or beyond a limit of size or depth.
    #[error("{0}")]
    Syntax(String),
    /// A document that is not a mapping.
    #[error("a document must be an object with apiVersion and kind")]
    NotAnObject,
    /// `apiVersion` or `kind` is not there.
    #[error("{0} is missing: a document must say its apiVersion and kind")]
    Untyped(&'static str),
    /// A kind that is not understood.
    #[error("{}", unknown_kind(.api_version, .kind))]
    UnknownKind {
        /// `apiVersion` as written.
        api_version: String,
        /// `kind` as written.
        kind: String,
    },
    /// A field that the type does not have.
    #[error("strict decoding error: unknown field {0:?}")]
    UnknownField(String),
    /// A field that is there twice.
    #[error("strict decoding error: duplicate field {0:?}")]
    DuplicateField(String),
    /// A value that does not fit its field.
    #[error("{path}: {detail}")]
    Misfit {
        /// The field.
        path: String,
        /// What was found and what was expected.
        detail: String,
    },
}

fn unknown_kind(api_version: &str, kind: &str) -> String {
    let understood = KINDS.join(", ");
    if KINDS.contains(&kind) {
        return format!("no kind {kind:?} in apiVersion {api_version:?}: use apiVersion v1");
    }
    let advice = if KINDS_WITH_TEMPLATES.contains(&kind) {
        format!("; write the template of the {kind} as a Pod")
    } else {
        String::new()
    };
    format!(
        "kind {kind:?} of apiVersion {api_version:?} is not understood: the kinds of apiVersion v1 that are: \
         {understood}, and List of these{advice}"
    )
}

/// Kubernetes' one-line form of the strict decoding errors among `errors`
/// (`strict decoding error: unknown field "spec.foo", duplicate field "spec.bar"`), if there are any.
pub fn strict_decoding_message(errors: &[DecodeError]) -> Option<String> {
    let violations: Vec<String> = errors
        .iter()
        .filter_map(|error| match &error.problem {
            DecodeProblem::UnknownField(path) => Some(format!("unknown field {path:?}")),
            DecodeProblem::DuplicateField(path) => Some(format!("duplicate field {path:?}")),
            _ => None,
        })
        .collect();
    (!violations.is_empty()).then(|| format!("strict decoding error: {}", violations.join(", ")))
}

/// Decodes every document of `text`: YAML (several documents allowed) or JSON, `kind: List` opened up, empty documents
/// left out. `source` is the file's name, or `-`, for messages. All problems of all documents are returned, in order
/// of their lines.
pub fn decode_documents(source: &str, text: &str) -> Result<Vec<Decoded>, Vec<DecodeError>> {
    let (decoded, errors) = decode_what_is_good(source, text);
    if errors.is_empty() { Ok(decoded) } else { Err(errors) }
}

/// As [`decode_documents`], but also returns the objects that have no problem when others have.
pub(super) fn decode_what_is_good(source: &str, text: &str) -> (Vec<Decoded>, Vec<DecodeError>) {
    let mut decoding = Decoding { source: source.into(), decoded: Vec::new(), errors: Vec::new(), problems: 0 };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (documents, syntax_error) = yaml::parse(text);
    for document in documents {
        decoding.document(&document);
    }
    if let Some(error) = syntax_error {
        decoding.fail(error.line, DecodeProblem::Syntax(error.message));
    }
    (decoding.decoded, decoding.errors)
}

struct Decoding {
    source: Arc<str>,
    decoded: Vec<Decoded>,
    errors: Vec<DecodeError>,
    /// How many problems there were, also those beyond what is reported.
    problems: usize,
}

impl Decoding {
    fn fail(&mut self, line: usize, problem: DecodeProblem) {
        self.problems += 1;
        if self.errors.len() >= MAX_ERRORS {
            return;
        }
        self.errors.push(DecodeError { source_name: self.source.to_string(), line, problem });
    }

    fn document(&mut self, document: &Document) {
        let before = self.errors.len();
        for duplicate in &document.duplicates {
            self.fail(duplicate.line, DecodeProblem::DuplicateField(duplicate.path.clone()));
        }
        let root = &document.root;
        if root.get_str("kind") == Some("List") && root.get_str("apiVersion") == Some("v1") {
            self.list(root);
        } else {
            self.object(root);
        }
        self.errors[before..].sort_by_key(|error| error.line);
    }

    fn list(&mut self, root: &Arc<Node>) {
        match root.get("items").map(|items| &items.value) {
            None | Some(Value::Null) => {}
            Some(Value::Sequence(items)) => items.iter().for_each(|item| self.object(item)),
            Some(_) => {
                let detail = "cannot unmarshal into a field of type list".to_owned();
                let problem = DecodeProblem::Misfit { path: "items".to_owned(), detail };
                self.fail(root.line_of("items"), problem);
            }
        }
        if let Value::Mapping(entries) = &root.value {
            for entry in entries {
                if !["apiVersion", "kind", "metadata", "items"].contains(&entry.key.as_str()) {
                    self.fail(entry.line, DecodeProblem::UnknownField(entry.key.clone()));
                }
            }
        }
    }

    fn object(&mut self, root: &Arc<Node>) {
        if !matches!(root.value, Value::Mapping(_)) {
            return self.fail(root.line, DecodeProblem::NotAnObject);
        }
        let (api_version, kind) = match (root.get_str("apiVersion"), root.get_str("kind")) {
            (Some(api_version), Some(kind)) => (api_version, kind),
            (None, _) => return self.fail(root.line, DecodeProblem::Untyped("apiVersion")),
            (_, None) => return self.fail(root.line, DecodeProblem::Untyped("kind")),
        };
        let before = self.problems;
        let object = match (api_version, kind) {
            ("v1", "Pod") => self.typed(root).map(|object| Object::Pod(Box::new(object))),
            ("v1", "ConfigMap") => self.typed(root).map(Object::ConfigMap),
            ("v1", "Secret") => self.typed(root).map(|mut secret| {
                move_string_data(&mut secret);
                Object::Secret(secret)
            }),
            ("v1", "PersistentVolumeClaim") => {
                self.typed(root).map(|object| Object::PersistentVolumeClaim(Box::new(object)))
            }
            ("v1", "Service") => self.typed(root).map(|object| Object::Service(Box::new(object))),
            ("v1", "Endpoints") => self.typed(root).map(Object::Endpoints),
            ("discovery.k8s.io/v1", "EndpointSlice") => self.typed(root).map(Object::EndpointSlice),
            ("v1", "ServiceAccount") => self.typed(root).map(Object::ServiceAccount),
            ("v1", "Namespace") => self.typed(root).map(Object::Namespace),
            _ => {
                let problem = DecodeProblem::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() };
                return self.fail(root.line_of("kind"), problem);
            }
        };
        if let Some(object) = object.filter(|_| self.problems == before) {
            let origin = Origin::new(Arc::clone(&self.source), Arc::clone(root));
            self.decoded.push(Decoded { object, origin });
        }
    }

    fn typed<T: DeserializeOwned>(&mut self, root: &Node) -> Option<T> {
        let (object, Report { unknown, misfits }) = typed::decode(root);
        for Place { path, line } in unknown {
            self.fail(line, DecodeProblem::UnknownField(path));
        }
        for (Place { path, line }, detail) in misfits {
            self.fail(line, DecodeProblem::Misfit { path, detail });
        }
        object
    }
}

/// `stringData` is a way to write `data` without base64; it wins over `data`, and is gone afterwards.
pub(super) fn move_string_data(secret: &mut Secret) {
    if let Some(texts) = secret.string_data.take().filter(|texts| !texts.is_empty()) {
        let data = secret.data.get_or_insert_default();
        data.extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
    }
}

#[cfg(test)]
#[path = "decode/tests.rs"]
mod tests;
