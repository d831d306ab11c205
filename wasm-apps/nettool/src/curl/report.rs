//! What `curl` tells of an exchange: `-w`, `-v` and `-i`.

use url::Position;

use crate::http::{Request, Response, hide_credentials, host_header};

/// What `-w` can show.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) status: u16,
    pub(super) size: u64,
    pub(super) seconds: f64,
    pub(super) redirections: u32,
    pub(super) content_type: String,
    pub(super) url: String,
}

impl Report {
    /// A format with its `%{names}` and `\n` replaced.
    pub(super) fn text(&self, format: &str) -> String {
        let mut text = String::new();
        let mut rest = format;
        while let Some(position) = rest.find(['%', '\\']) {
            text += &rest[..position];
            rest = &rest[position..];
            let (shown, length) = self.piece(rest);
            text += &shown;
            rest = &rest[length..];
        }
        text + rest
    }

    /// What stands for the beginning of `rest`, and how long that is.
    fn piece(&self, rest: &str) -> (String, usize) {
        if let Some(name) = rest.strip_prefix("%{").and_then(|name| name.split_once('}')).map(|(name, _)| name) {
            return (self.value(name), name.len() + 3);
        }
        match rest.get(..2) {
            Some("%%") => ("%".to_owned(), 2),
            Some("\\n") => ("\n".to_owned(), 2),
            Some("\\r") => ("\r".to_owned(), 2),
            Some("\\t") => ("\t".to_owned(), 2),
            Some("\\\\") => ("\\".to_owned(), 2),
            _ => (rest[..1].to_owned(), 1),
        }
    }

    fn value(&self, name: &str) -> String {
        match name {
            "http_code" | "response_code" => format!("{:03}", self.status),
            "size_download" => self.size.to_string(),
            "time_total" => format!("{:.6}", self.seconds),
            "num_redirects" => self.redirections.to_string(),
            "content_type" => self.content_type.clone(),
            "url_effective" => self.url.clone(),
            _ => String::new(),
        }
    }
}

/// As `-v` shows it.
pub(super) fn head_of_request(request: &Request) -> String {
    let url = hide_credentials(&request.url);
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let mut text = format!("> {} {path} HTTP/1.1\n> Host: {}\n", request.method, host_header(&url));
    for (name, value) in &request.headers {
        text += &format!("> {name}: {value}\n");
    }
    text + ">\n"
}

/// As the server has sent it.
pub(super) fn head_of_response(response: &Response) -> String {
    let mut text = format!("{}\r\n", response.status_line);
    for (name, value) in &response.headers {
        text += &format!("{name}: {value}\r\n");
    }
    text + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_filled_in() {
        let report = Report { status: 204, size: 5, seconds: 0.25, url: "http://a/".to_owned(), ..Report::default() };
        for (format, expected) in [
            ("%{http_code}", "204"),
            ("%{http_code} %{size_download}\\n", "204 5\n"),
            ("100%% %{time_total}s é%é\\é", "100% 0.250000s é%é\\é"),
            ("%{url_effective}%{nonsense}|%{open", "http://a/|%{open"),
        ] {
            assert_eq!(report.text(format), expected, "{format}");
        }
        assert_eq!(Report::default().text("%{http_code}"), "000");
    }
}
