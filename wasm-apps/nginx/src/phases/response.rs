//! Responses, before they are written.

use std::rc::Rc;

use super::Stat;

/// What is to be sent.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// `Content-Type:`
    pub content_type: Option<Rc<str>>,
    /// `Last-Modified:`, in seconds since 1970.
    pub modified: Option<u64>,
    /// `ETag:`
    pub etag: Option<String>,
    /// `Location:`; a path is made a URL if it has to be.
    pub location: Option<String>,
    /// Other headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

/// What follows the head.
#[derive(Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// The page of the status.
    Page,
    /// This.
    Text(Vec<u8>),
    /// A part of a file: where it begins and how long it is.
    File(String, Stat, u64, u64),
}

impl Response {
    /// One with nothing but a status and a body.
    pub fn new(status: u16, body: Body) -> Self {
        Self { status, content_type: None, modified: None, etag: None, location: None, headers: Vec::new(), body }
    }

    /// The page of a status.
    pub fn page(status: u16) -> Self {
        Self { content_type: Some("text/html".into()), ..Self::new(status, Body::Page) }
    }

    /// Sends the client elsewhere.
    pub fn redirect(status: u16, location: String) -> Self {
        Self { location: Some(location), ..Self::page(status) }
    }

    /// A text.
    pub fn text(status: u16, content_type: Rc<str>, text: impl Into<Vec<u8>>) -> Self {
        Self { content_type: Some(content_type), ..Self::new(status, Body::Text(text.into())) }
    }
}
