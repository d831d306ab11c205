//! Variables.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Variable {
    /// `None`: it has attributes, but is not set.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) exported: bool,
    pub(crate) read_only: bool,
}

/// A variable that cannot be changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReadOnly;

/// What the variables that a function made its own were before.
#[derive(Debug, Default)]
pub(crate) struct Locals(Vec<(String, Option<Variable>)>);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Variables(BTreeMap<String, Variable>);

impl Variables {
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name)?.value.as_deref()
    }

    pub(crate) fn is_read_only(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|variable| variable.read_only)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Variable)> {
        self.0.iter().map(|(name, variable)| (name.as_str(), variable))
    }

    pub(crate) fn set(&mut self, name: &str, value: Vec<u8>) -> Result<(), ReadOnly> {
        match self.0.get_mut(name) {
            Some(variable) if variable.read_only => return Err(ReadOnly),
            Some(variable) => variable.value = Some(value),
            None => {
                self.0.insert(name.to_owned(), Variable { value: Some(value), ..Variable::default() });
            }
        }
        Ok(())
    }

    /// The variable, to give it attributes.
    pub(crate) fn entry(&mut self, name: &str) -> &mut Variable {
        self.0.entry(name.to_owned()).or_default()
    }

    pub(crate) fn unset(&mut self, name: &str) -> Result<(), ReadOnly> {
        if self.is_read_only(name) {
            return Err(ReadOnly);
        }
        self.0.remove(name);
        Ok(())
    }

    /// Remembers what a variable is, until [`Self::restore`].
    pub(crate) fn save(&self, name: &str, locals: &mut Locals) {
        if !locals.0.iter().any(|(saved, _)| saved == name) {
            locals.0.push((name.to_owned(), self.0.get(name).cloned()));
        }
    }

    pub(crate) fn restore(&mut self, locals: Locals) {
        for (name, variable) in locals.0 {
            match variable {
                Some(variable) => self.0.insert(name, variable),
                None => self.0.remove(&name),
            };
        }
    }

    /// `NAME=value` of all that are exported.
    pub(crate) fn environment(&self) -> impl Iterator<Item = Vec<u8>> {
        self.0.iter().filter(|(_, variable)| variable.exported).filter_map(|(name, variable)| {
            let value = variable.value.as_ref()?;
            Some([name.as_bytes(), b"=", value].concat())
        })
    }
}
