//! What each instruction of a Dockerfile does to an image in the making.

use std::collections::BTreeMap;

use serde_json::json;

use super::dockerfile::{Instruction, Line};
use super::layers::LayerBuilder;
use super::tree::Node;
use super::{Build, BuildError, variables};
use crate::image::ImageError;
use crate::image::platform::{Platform, host_platform};

impl Build<'_> {
    pub(super) fn instruction(&mut self, line: &Line) -> Result<(), BuildError> {
        match &line.instruction {
            Instruction::Arg(names) => {
                self.arg(names)?;
                return Ok(());
            }
            Instruction::From { image, platform } => return self.from(line, image, platform.as_deref()),
            Instruction::Copy(files) => {
                self.copy(&line.text, files)?;
                return Ok(());
            }
            Instruction::Workdir(path) => {
                let path = self.put(path)?;
                self.working_directory(&path, &line.text)?;
                return Ok(());
            }
            Instruction::Env(pairs) => {
                for (name, value) in self.put_pairs(pairs)? {
                    self.set_env(&name, &value);
                }
            }
            Instruction::Label(pairs) => {
                let pairs = self.put_pairs(pairs)?;
                self.label(&pairs);
            }
            Instruction::Entrypoint(words) => {
                self.config().insert("Entrypoint".to_owned(), json!(words));
                // Docker: an ENTRYPOINT forgets the CMD of the base, and not one's own.
                if !self.has_command {
                    self.config().remove("Cmd");
                }
            }
            Instruction::Cmd(words) => {
                self.config().insert("Cmd".to_owned(), json!(words));
                self.has_command = true;
            }
            Instruction::User(user) => self.set_text("User", user)?,
            Instruction::StopSignal(signal) => self.set_text("StopSignal", signal)?,
            Instruction::Expose(ports) => {
                for port in ports {
                    let port = port_name(&self.put(port)?).map_err(ImageError::Invalid)?;
                    self.config_object("ExposedPorts").insert(port, json!({}));
                }
            }
            Instruction::Volume(paths) => {
                for path in paths {
                    let path = self.put(path)?;
                    self.config_object("Volumes").insert(path, json!({}));
                }
            }
            Instruction::Maintainer(author) => {
                self.image.insert("author".to_owned(), author.as_str().into());
            }
            Instruction::Healthcheck { is_none } => {
                // That of a base, which other tools may have put there, is not meant any more.
                self.config().remove("Healthcheck");
                if !is_none {
                    let number = line.number;
                    self.warnings.push(format!(
                        "line {number}: HEALTHCHECK is left out: OCI's images have none; give the pod a probe"
                    ));
                }
            }
        }
        self.note(&line.text);
        Ok(())
    }

    /// A word with its variables put in.
    pub(super) fn put(&self, text: &str) -> Result<String, ImageError> {
        variables::expand(text, &self.variables, false).map_err(ImageError::Invalid)
    }

    /// Docker: all pairs of a line have the values from before it.
    fn put_pairs(&self, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, ImageError> {
        pairs.iter().map(|(name, value)| Ok((name.clone(), self.put(value)?))).collect()
    }

    fn set_text(&mut self, key: &str, text: &str) -> Result<(), ImageError> {
        let text = self.put(text)?;
        self.config().insert(key.to_owned(), text.into());
        Ok(())
    }

    /// Lets names stand for what the command or the line says. Docker: what was declared before FROM is for FROM alone,
    /// unless it is declared again after it, when it has the same value.
    fn arg(&mut self, names: &[(String, Option<String>)]) -> Result<(), ImageError> {
        let mut values = Vec::new();
        for (name, default) in names {
            self.used_args.insert(name.clone());
            let value = match (self.args.get(name), default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => Some(self.put(default)?),
                (None, None) => self.global_args.get(name).cloned(),
            };
            // Docker: ENV hides an ARG of the same name, wherever that is.
            if !self.environment.contains(name) {
                values.extend(value.map(|value| (name.clone(), value)));
            }
        }
        self.variables.extend(values);
        Ok(())
    }

    /// The arguments that are there without being given (BuildKit, "Automatic platform ARGs in the global scope"). What
    /// the image is for is this machine as long as nothing else is known.
    pub(super) fn platform_args(&mut self) -> BTreeMap<String, String> {
        let host = Platform::parse(&host_platform()).ok();
        let target = self.platform.or_else(|| self.said_platform()).or(host);
        let mut args = BTreeMap::new();
        for (side, platform) in [("BUILD", host), ("TARGET", target)] {
            let Some(platform) = platform else { continue };
            for (part, value) in [
                ("PLATFORM", platform.to_string()),
                ("OS", platform.os().to_owned()),
                ("ARCH", platform.architecture().to_owned()),
                ("VARIANT", platform.variant().unwrap_or_default().to_owned()),
            ] {
                let name = format!("{side}{part}");
                let given = self.args.get(&name).cloned();
                if given.is_some() {
                    self.used_args.insert(name.clone());
                }
                args.insert(name, given.unwrap_or(value));
            }
        }
        args
    }

    /// A directory that is there already stays as it is. One that is not is made now if the image is based on nothing;
    /// in other images it may be there, which is not worth reading their layers, and is made when a container starts.
    fn working_directory(&mut self, path: &str, text: &str) -> Result<(), ImageError> {
        if path.is_empty() {
            return Err(ImageError::Invalid("WORKDIR needs a path, and this one is empty".to_owned()));
        }
        let path = self.absolute(path);
        self.config().insert("WorkingDir".to_owned(), path.clone().into());
        if !self.from_scratch {
            self.working_directories.push(path);
            self.note(text);
            return Ok(());
        }
        let tree = self.tree()?;
        let place = tree.real(path.trim_matches('/'))?;
        match tree.get(&place) {
            Some(Node::Directory) => {
                self.note(text);
                return Ok(());
            }
            Some(Node::File) => return Err(ImageError::Invalid(format!("{path} is a file of the image"))),
            Some(Node::Symlink(_)) | None => tree.put(&place, Node::Directory)?,
        }
        let context = std::sync::Arc::clone(&self.context);
        let mut builder = LayerBuilder::new(self.store, &context)?;
        builder.directory(&place)?;
        self.add_layer(builder, text)
    }
}

/// `80` is `80/tcp`.
fn port_name(port: &str) -> Result<String, String> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let valid = number.split('-').all(|number| number.parse::<u16>().is_ok_and(|number| number > 0));
    let protocol = protocol.to_ascii_lowercase();
    if valid && matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        Ok(format!("{number}/{protocol}"))
    } else {
        Err(format!("EXPOSE of {port:?}, which is no port"))
    }
}
