//! In which form a client wants its answer: what `Accept` says, weighed as `goautoneg` does, of what there is.

use http::HeaderMap;
use http::header::ACCEPT;

use super::status::ApiError;

/// The most media types of one `Accept` that are looked at.
const MAX_RANGES: usize = 32;

/// The form of answers about objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Plain,
    /// Rows of a `Table`, as `kubectl get` shows them.
    Table,
    /// Their metadata only.
    Metadata,
}

/// One media type that a client accepts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct MediaRange {
    /// Such as `application/json`.
    pub(super) media: String,
    /// `as`: what it is to be shown as.
    pub(super) shown_as: String,
    /// `g`: the group of that.
    pub(super) group: String,
    /// `v`: the version of that.
    pub(super) version: String,
    quality: f32,
}

impl MediaRange {
    fn parse(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut range = Self { media, quality: 1.0, ..Self::default() };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match key.trim() {
                "as" => value.clone_into(&mut range.shown_as),
                "g" => value.clone_into(&mut range.group),
                "v" => value.clone_into(&mut range.version),
                "q" => range.quality = value.parse().unwrap_or(1.0),
                _ => {}
            }
        }
        range
    }

    /// Whether JSON is good.
    pub(super) fn takes_json(&self) -> bool {
        ["application/json", "application/*", "*/*"].contains(&self.media.as_str())
    }
}

/// What a client accepts, the best first; everything if it does not say.
pub(super) fn accepted(headers: &HeaderMap) -> Vec<MediaRange> {
    let texts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = texts.flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty());
    let mut ranges: Vec<MediaRange> = ranges.take(MAX_RANGES).map(MediaRange::parse).collect();
    ranges.retain(|range| range.quality > 0.0);
    ranges.sort_by(|one, other| other.quality.total_cmp(&one.quality));
    if ranges.is_empty() {
        ranges.push(MediaRange::parse("*/*"));
    }
    ranges
}

/// The form in which objects are to be shown.
///
/// # Errors
/// That nothing of what is accepted is there.
pub(super) fn form(headers: &HeaderMap) -> Result<Form, ApiError> {
    for range in accepted(headers).iter().filter(|range| range.takes_json()) {
        match (range.shown_as.as_str(), range.group.as_str(), range.version.as_str()) {
            ("", ..) => return Ok(Form::Plain),
            ("Table", "meta.k8s.io", "v1") => return Ok(Form::Table),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => return Ok(Form::Metadata),
            _ => {}
        }
    }
    Err(ApiError::not_acceptable(&["application/json"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())])
    }

    #[test]
    fn the_first_form_there_is_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        for (accept, expected) in [
            ("application/json", Some(Form::Plain)),
            ("*/*", Some(Form::Plain)),
            (&format!("{table},application/json"), Some(Form::Table)),
            (&format!("{table};q=0.5,application/json"), Some(Form::Plain)),
            (&table.replace("v1;", "v1beta1;"), None),
            (&format!("{},application/json", table.replace("v1;", "v1beta1;")), Some(Form::Plain)),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some(Form::Metadata)),
            ("application/vnd.kubernetes.protobuf,application/json", Some(Form::Plain)),
            ("application/vnd.kubernetes.protobuf", None),
            ("application/json;q=0", Some(Form::Plain)),
        ] {
            assert_eq!(form(&headers(accept)).ok(), expected, "{accept}");
        }
        assert_eq!(form(&HeaderMap::new()).ok(), Some(Form::Plain));
    }
}
