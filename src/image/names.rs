//! Stored images by name and by ID, and the verbs that give and take names.

use std::collections::{BTreeMap, HashSet};

use oci_spec::image::Descriptor;

use super::lease::Lease;
use super::reference::Reference;
use super::{ImageError, ImageStore, ImageSummary, Source, annotation, builtin, is_named, layout, load};

/// Fewest digits of an ID that a person may give.
const MIN_DIGITS: usize = 4;
/// Digits of an ID in a message.
const SHORT_ID: usize = 12;

/// A stored image that somebody has named.
pub(super) struct Named {
    /// What it is called: the name that was given or, if that was an ID, one of its names.
    pub(super) reference: Reference,
    pub(super) entry: Descriptor,
    /// Its full ID, if that or a part of it was given.
    pub(super) id: Option<String>,
}

/// The hexadecimal digits of an image ID or the beginning of one, with or without `sha256:`.
fn id_digits(word: &str) -> Option<&str> {
    let digits = word.strip_prefix("sha256:").unwrap_or(word);
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
    (is_hex && (MIN_DIGITS..=64).contains(&digits.len())).then_some(digits)
}

/// Whether a word is an image ID in full: nothing that a registry could have.
pub(super) fn is_full_id(word: &str) -> bool {
    id_digits(word).is_some_and(|digits| digits.len() == 64)
}

/// The names in an index of an image.
fn name_of(entry: &Descriptor) -> Option<&str> {
    annotation(entry, layout::REFERENCE)
}

impl ImageStore {
    /// Finds a stored image by name or, if none is called so, by its ID or the beginning of it.
    pub(super) fn find_named(&self, name: &str) -> Result<Option<Named>, ImageError> {
        let index = self.layout.read_index()?;
        let parsed = self.parse(name);
        if let Ok(reference) = &parsed
            && let Some(entry) = index.iter().find(|entry| is_named(entry, reference))
        {
            return Ok(Some(Named { reference: reference.clone(), entry: entry.clone(), id: None }));
        }
        match (self.find_id(&index, name)?, parsed) {
            (Some(named), _) => Ok(Some(named)),
            (None, Err(_)) if id_digits(name).is_some() => Ok(None),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => Ok(None),
        }
    }

    /// The image of an index that an ID, or the beginning of one, means. Of several names, the first that is trusted.
    pub(super) fn find_id(&self, index: &[Descriptor], word: &str) -> Result<Option<Named>, ImageError> {
        let Some(digits) = id_digits(word) else { return Ok(None) };
        let begins = |id: &str| id.strip_prefix("sha256:").is_some_and(|hex| hex.starts_with(digits));
        let mut found: BTreeMap<String, Vec<(Reference, &Descriptor)>> = BTreeMap::new();
        for entry in index {
            // A damaged image has no ID, but the digest by which it is stored.
            let id = load::id_and_size(&self.layout, entry).map_or_else(|_| entry.digest().to_string(), |(id, _)| id);
            let Some(Ok(reference)) = name_of(entry).map(Reference::parse) else { continue };
            if begins(&id) || begins(entry.digest().as_ref()) {
                found.entry(id).or_default().push((reference, entry));
            }
        }
        if found.len() > 1 {
            let candidates = found.iter().map(|(id, names)| format!("{} ({})", short(id), list(names)));
            let candidates = candidates.collect::<Vec<_>>().join(", ");
            return Err(ImageError::Invalid(format!("image ID {word:?} is ambiguous: it may be {candidates}")));
        }
        let Some((id, mut names)) = found.pop_first() else { return Ok(None) };
        let best = names.iter().position(|(reference, entry)| self.is_trusted(reference, entry)).unwrap_or(0);
        let (reference, entry) = names.swap_remove(best);
        Ok(Some(Named { reference, entry: entry.clone(), id: Some(id) }))
    }

    /// A stored image and a lease of all that is stored of it.
    pub(super) fn stored_as(&self, name: &str) -> Result<(Named, Lease), ImageError> {
        let mut found = None;
        let lease = self.layout.lease(|| {
            let mut digests = HashSet::new();
            found = self.find_named(name)?;
            if let Some(named) = &found {
                load::mark_readable(&self.layout, &named.entry, &mut digests)?;
            }
            Ok(digests)
        })?;
        match found {
            Some(named) => Ok((named, lease)),
            None => Err(self.not_stored(name)),
        }
    }

    /// The entry of a stored image and a lease of all that is stored of it.
    pub(super) fn stored(&self, name: &str) -> Result<(Descriptor, Lease), ImageError> {
        self.stored_as(name).map(|(named, lease)| (named.entry, lease))
    }

    fn not_stored(&self, name: &str) -> ImageError {
        match self.parse(name).ok().and_then(|reference| builtin::find(&reference, self.use_aliases)) {
            Some(_) => ImageError::Invalid(format!(
                "image {name:?} is part of husk, not in the store: it can only be run and inspected"
            )),
            None => ImageError::NotFound(name.to_owned()),
        }
    }

    /// Gives a stored image another name.
    ///
    /// Only names in the repository that an image was pulled from inherit that it was, and who has signed it: there, its
    /// digest can be had again, and the same keys count. Elsewhere the new name is the user's own, as if the image had
    /// been imported under it. What is not signed as the user wants it now gets no name by which it would count as such.
    pub fn tag(&self, name: &str, new_name: &str) -> Result<ImageSummary, ImageError> {
        let reference = Reference::parse_for_storing(new_name)?;
        let (Named { entry, .. }, lease) = self.stored_as(name)?;
        let own = name_of(&entry).and_then(|own| Reference::parse(own).ok());
        let source = match (own, Source::of(&entry)) {
            (Some(own), source @ Source::Registry { .. }) => {
                if !self.is_trusted(&own, &entry) {
                    return Err(ImageError::Invalid(format!(
                        "image {own} is not signed as the registries file wants it: pull it again"
                    )));
                }
                if own.repository == reference.repository { source } else { Source::Local }
            }
            (None, Source::Registry { .. }) | (_, Source::Local) => Source::Local,
        };
        self.name(&lease, source, vec![(reference, entry)])?.remove(0)
    }

    /// Removes a stored image by name or ID, and what no other image needs. A pod that runs it keeps its files. By its
    /// ID, an image that has several names is not removed.
    pub fn remove(&self, name: &str) -> Result<(), ImageError> {
        self.remove_names(name, false)
    }

    /// As [`Self::remove`], but by its ID an image is removed with all of its names.
    pub fn remove_all_names(&self, name: &str) -> Result<(), ImageError> {
        self.remove_names(name, true)
    }

    fn remove_names(&self, name: &str, all_names: bool) -> Result<(), ImageError> {
        let Some(Named { reference, entry, id }) = self.find_named(name)? else { return Err(self.not_stored(name)) };
        let lock = self.layout.lock_for_change()?;
        let mut index = self.layout.read_index()?;
        match id {
            None => index.retain(|entry| !is_named(entry, &reference)),
            Some(id) => {
                let doomed = |other: &Descriptor| {
                    other.digest() == entry.digest()
                        || load::id_and_size(&self.layout, other).is_ok_and(|(other, _)| other == id)
                };
                let names: Vec<_> =
                    index.iter().filter(|entry| doomed(entry)).filter_map(name_of).map(str::to_owned).collect();
                if names.len() > 1 && !all_names {
                    let (id, names) = (short(&id), names.join(", "));
                    return Err(ImageError::Invalid(format!(
                        "image {id} has several names, {names}: remove these, or all at once with --force"
                    )));
                }
                index.retain(|entry| !doomed(entry));
            }
        }
        self.layout.write_index(&lock, index.clone())?;
        self.collect_unnamed(&lock, &index)
    }

    /// All names of the image that an entry of the index is.
    pub(super) fn names(&self, entry: &Descriptor) -> Result<Vec<String>, ImageError> {
        let index = self.layout.read_index()?;
        let same = index.iter().filter(|other| other.digest() == entry.digest());
        Ok(same.filter_map(|entry| annotation(entry, layout::REFERENCE)).map(str::to_owned).collect())
    }
}

fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..SHORT_ID).unwrap_or(digits)
}

fn list(names: &[(Reference, &Descriptor)]) -> String {
    names.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::layout::Sha256Hex;
    use super::*;

    #[test]
    fn an_id_is_digits_of_a_digest() {
        assert_eq!(id_digits("sha256:0123abcd"), Some("0123abcd"));
        assert_eq!(id_digits("cafe"), Some("cafe"));
        assert!(
            [id_digits("caf"), id_digits("Cafe"), id_digits("app"), id_digits("sha256:")].iter().all(Option::is_none)
        );
        assert!(is_full_id(&"0".repeat(64)) && is_full_id(&Sha256Hex::of(b"x").to_string()));
        assert!(!is_full_id("0123456789ab") && !is_full_id(&"0".repeat(65)));
    }
}
