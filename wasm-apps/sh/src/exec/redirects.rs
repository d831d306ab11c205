//! Redirections.

use std::fs::{File, OpenOptions};
use std::io;
use std::rc::Rc;

use bstr::ByteSlice;

use super::{Flow, Run, Shell};
use crate::os;
use crate::state::{Flag, Stream};
use crate::syntax::ast::{Redirect, RedirectKind};

impl Shell {
    /// Runs something with redirections that end with it. Where one fails, it is not run and fails.
    pub(super) fn redirected(&mut self, redirects: &[Redirect], run: impl FnOnce(&mut Self) -> Run) -> Run {
        let streams = self.state.streams.clone();
        let result = match self.redirect(redirects) {
            Ok(true) => run(self),
            Ok(false) => {
                self.state.status = 1;
                Ok(())
            }
            Err(flow) => Err(flow),
        };
        self.state.streams = streams;
        result
    }

    /// Redirects from now on; `false` if one failed, which has been reported.
    pub(super) fn redirect(&mut self, redirects: &[Redirect]) -> Result<bool, Flow> {
        for redirect in redirects {
            if let Err(message) = self.apply(redirect)? {
                self.report(message);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn apply(&mut self, redirect: &Redirect) -> Result<Result<(), String>, Flow> {
        let fd = redirect.fd;
        let text_stream = |text: &[u8]| Stream::of_text(text).map_err(|error| os::reason(&error));
        let stream = match &redirect.kind {
            RedirectKind::Read(target) => {
                let path = self.expand_to_text(target)?;
                self.open(&path, "open", OpenOptions::new().read(true))
            }
            RedirectKind::ReadWrite(target) => {
                let path = self.expand_to_text(target)?;
                self.open(&path, "create", OpenOptions::new().read(true).write(true).create(true).truncate(false))
            }
            RedirectKind::Append(target) => {
                let path = self.expand_to_text(target)?;
                self.open(&path, "create", OpenOptions::new().append(true).create(true))
            }
            RedirectKind::Write { target, clobber } => {
                let path = self.expand_to_text(target)?;
                self.create(&path, *clobber)
            }
            RedirectKind::Both { target, append } => {
                let path = self.expand_to_text(target)?;
                let opened = if *append {
                    self.open(&path, "create", OpenOptions::new().append(true).create(true))
                } else {
                    self.create(&path, false)
                };
                return Ok(opened.map(Rc::new).and_then(|stream| {
                    self.set_stream(1, Some(Rc::clone(&stream)))?;
                    self.set_stream(2, Some(stream))
                }));
            }
            RedirectKind::Here(word) => {
                let text = self.expand_to_text(&word.borrow())?;
                text_stream(&text)
            }
            RedirectKind::HereString(word) => {
                let mut text = self.expand_to_text(word)?;
                text.push(b'\n');
                text_stream(&text)
            }
            RedirectKind::Duplicate(word) => {
                let source = self.expand_to_text(word)?;
                return Ok(self.duplicate(&source).and_then(|stream| self.set_stream(fd, stream)));
            }
        };
        Ok(stream.and_then(|stream| self.set_stream(fd, Some(Rc::new(stream)))))
    }

    fn set_stream(&mut self, fd: u32, stream: Option<Rc<Stream>>) -> Result<(), String> {
        self.state.streams.set(fd, stream).map_err(|_| format!("{fd}: Bad file descriptor"))
    }

    fn duplicate(&self, source: &[u8]) -> Result<Option<Rc<Stream>>, String> {
        if source == b"-" {
            return Ok(None);
        }
        let number: Option<u32> = source.to_str().ok().and_then(|text| text.parse().ok());
        let stream = number.and_then(|number| self.state.streams.get(number));
        stream.map(|stream| Some(Rc::clone(stream))).ok_or_else(|| format!("{}: Bad file descriptor", source.as_bstr()))
    }

    fn create(&self, path: &[u8], clobber: bool) -> Result<Stream, String> {
        let mut options = OpenOptions::new();
        options.write(true);
        let absolute = self.absolute(path);
        if self.state.options.has(Flag::NoClobber) && !clobber {
            match std::fs::metadata(&absolute) {
                Ok(metadata) if metadata.is_file() => {
                    return Err(format!("cannot create {}: File exists", path.as_bstr()));
                }
                Ok(_) => {}
                Err(_) => {
                    options.create_new(true);
                }
            }
        } else {
            options.create(true).truncate(true);
        }
        self.open(path, "create", &options)
    }

    fn open(&self, path: &[u8], what: &str, options: &OpenOptions) -> Result<Stream, String> {
        let opened: io::Result<File> =
            if path.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { options.open(self.absolute(path)) };
        opened.map(Stream::File).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::NotFound if what == "open" => "No such file".to_owned(),
                io::ErrorKind::NotFound => "Directory nonexistent".to_owned(),
                _ => os::reason(&error),
            };
            format!("cannot {what} {}: {reason}", path.as_bstr())
        })
    }
}
