//! From text to objects that can be run: decode, name, default, validate and check support, with every problem of
//! every document collected and placed. The one entry for whoever reads manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::decode::{DecodeProblem, decode_what_is_good};
use super::defaults::{apply_defaults, generate_name};
use super::object::{Object, Origin};
use super::support::{FieldNote, RuntimeOfImage, SupportReport, check_service, check_support};
use super::validate::{FieldError, validate};

/// What loading needs to know besides the text.
pub struct LoadOptions<'o> {
    /// The namespace of objects that name none.
    pub namespace: &'o str,
    /// Says which runtime's support of a container is checked.
    pub runtime: &'o RuntimeOfImage<'o>,
    /// Gives the random end of a generated name: [`super::defaults::NAME_SUFFIX_LENGTH`] of
    /// [`super::defaults::NAME_SUFFIX_CHARACTERS`].
    pub name_suffix: &'o mut dyn FnMut() -> String,
}

/// An object that is complete, valid and supported.
#[derive(Debug, Clone)]
pub struct LoadedObject {
    /// The object, defaulted.
    pub object: Object,
    /// Where it was written.
    pub origin: Origin,
    /// Fields that will not do what they say.
    pub warnings: Vec<FieldNote>,
}

impl LoadedObject {
    /// The warnings as lines, `file:line: path: message`.
    pub fn warning_lines(&self) -> impl Iterator<Item = String> {
        self.warnings.iter().map(|note| format!("{}: {note}", self.origin.place_of(&note.path)))
    }
}

/// One reason why a text cannot be used. Displays as `file:line: message`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}:{line}: {problem}")]
pub struct LoadError {
    /// The file's name as it was given, or `-`.
    pub source_name: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: LoadProblem,
}

/// What is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadProblem {
    /// It could not be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeProblem),
    /// It breaks a rule of Kubernetes.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// It sets something that the runtime cannot do.
    #[error("{note}{}", .note.runtime.map(|runtime| format!(" ({} runtime)", runtime.name())).unwrap_or_default())]
    Unsupported {
        /// The field, the reason and the runtime.
        note: FieldNote,
    },
    /// Another object has the same kind, namespace and name.
    #[error("{kind} \"{name}\" is already defined at {first}")]
    Duplicate {
        /// The kind.
        kind: &'static str,
        /// The name.
        name: String,
        /// `file:line` of the other one.
        first: String,
    },
}

/// Everything that is wrong with a text, in the order of its documents. Displays as one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadErrors(pub Vec<LoadError>);

impl fmt::Display for LoadErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadErrors {}

/// Reads every object of `text`. `source` is the file's name, or `-`, for messages. If anything is wrong, nothing is
/// returned but all that is wrong.
pub fn load(source: &str, text: &str, options: &mut LoadOptions<'_>) -> Result<Vec<LoadedObject>, LoadErrors> {
    let (decoded, decode_errors) = decode_what_is_good(source, text);
    let mut errors: Vec<LoadError> = decode_errors
        .into_iter()
        .map(|error| LoadError {
            source_name: error.source_name,
            line: error.line,
            problem: LoadProblem::Decode(error.problem),
        })
        .collect();
    let mut loaded = Vec::with_capacity(decoded.len());
    for one in decoded {
        match complete(one.object, one.origin, options) {
            Ok(object) => loaded.push(object),
            Err(mut found) => errors.append(&mut found),
        }
    }
    if errors.is_empty() {
        return Ok(loaded);
    }
    errors.sort_by_key(|error| error.line);
    Err(LoadErrors(errors))
}

fn complete(mut object: Object, origin: Origin, options: &mut LoadOptions<'_>) -> Result<LoadedObject, Vec<LoadError>> {
    let SupportReport { refusals, warnings } = match &object {
        Object::Pod(pod) => check_support(pod, options.runtime),
        Object::Service(service) => check_service(service),
        _ => SupportReport::default(),
    };
    let generates = object.name().is_empty() && object.metadata().generate_name.is_some();
    if generates {
        generate_name(&mut object, &(options.name_suffix)());
    }
    apply_defaults(&mut object, options.namespace);
    let at = |path: &str, problem: LoadProblem| LoadError {
        source_name: origin.source().to_owned(),
        line: origin.line_of(path),
        problem,
    };
    let mut errors: Vec<LoadError> = Vec::new();
    let mut seen = BTreeSet::new();
    for error in validate(&object) {
        if seen.insert(error.to_string()) {
            let path = error.path.clone();
            errors.push(at(&path, LoadProblem::Invalid(error)));
        }
    }
    for note in refusals {
        let path = note.path.clone();
        errors.push(at(&path, LoadProblem::Unsupported { note }));
    }
    if errors.is_empty() { Ok(LoadedObject { object, origin, warnings }) } else { Err(errors) }
}

/// Finds objects that have the kind, namespace and name of an earlier one, across all that was loaded.
pub fn find_duplicates(objects: &[LoadedObject]) -> Vec<LoadError> {
    let mut first = BTreeMap::new();
    let mut errors = Vec::new();
    for loaded in objects {
        let object = &loaded.object;
        let key = (object.kind(), object.namespace(), object.name());
        let other: &Origin = first.entry(key).or_insert(&loaded.origin);
        if !std::ptr::eq(other, &loaded.origin) {
            errors.push(LoadError {
                source_name: loaded.origin.source().to_owned(),
                line: loaded.origin.line_of("metadata.name"),
                problem: LoadProblem::Duplicate {
                    kind: object.kind(),
                    name: object.name().to_owned(),
                    first: other.place_of("metadata.name"),
                },
            });
        }
    }
    errors
}

#[cfg(test)]
#[path = "load/tests.rs"]
mod tests;
