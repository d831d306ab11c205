//! The formats text fields have, each a function from the text to what is wrong with it (nothing, if empty). Wording
//! and limits are those of `apimachinery/pkg/util/validation` and `pkg/api/validate/content` v1.36.

use std::net::IpAddr;

const LABEL_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const UNDERSCORE_SUBDOMAIN_FORMAT: &str = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
const QUALIFIED_NAME_FORMAT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_NAME_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
                                   with an alphanumeric character";

/// The longest DNS label, in bytes.
pub(super) const MAX_LABEL: usize = 63;
/// The longest DNS subdomain, in bytes.
pub(super) const MAX_SUBDOMAIN: usize = 253;
const MAX_PORT_NAME: usize = 15;

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} characters")
}

fn too_many_bytes(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

fn regex_error(rule: &str, format: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{rule} (regex used for validation is '{format}')");
    }
    let shown: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{rule} (e.g. {}regex used for validation is '{format}')", shown.join(" or "))
}

fn is_lower_alphanumeric(character: char) -> bool {
    character.is_ascii_lowercase() || character.is_ascii_digit()
}

/// Not empty, alphanumeric at both ends, and `inner` or alphanumeric in between.
fn is_word(text: &str, alphanumeric: fn(char) -> bool, inner: &[char]) -> bool {
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(|character| alphanumeric(character) || inner.contains(&character))
}

fn is_label_form(text: &str) -> bool {
    is_word(text, is_lower_alphanumeric, &['-'])
}

fn is_subdomain_form(text: &str) -> bool {
    text.split('.').all(is_label_form)
}

/// A DNS-1123 label: container and volume names, hostnames, namespaces.
pub(in crate::api) fn dns_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_LABEL {
        wrong.push(too_long(MAX_LABEL));
    }
    if !is_label_form(text) {
        wrong.push(if is_subdomain_form(text) {
            "must not contain dots".to_owned()
        } else {
            let rule = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                        start and end with an alphanumeric character";
            regex_error(rule, LABEL_FORMAT, &["my-name", "123-abc"])
        });
    }
    wrong
}

/// A DNS-1123 subdomain: the names of most objects.
pub(in crate::api) fn dns_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_SUBDOMAIN {
        wrong.push(too_long(MAX_SUBDOMAIN));
    }
    if !is_subdomain_form(text) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
                    must start and end with an alphanumeric character";
        wrong.push(regex_error(rule, SUBDOMAIN_FORMAT, &["example.com"]));
    }
    wrong
}

/// A DNS subdomain that may have underscores: search domains.
pub(in crate::api) fn dns_subdomain_with_underscores(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_SUBDOMAIN {
        wrong.push(too_long(MAX_SUBDOMAIN));
    }
    let is_label = |label: &str| is_word(label.strip_prefix('_').unwrap_or(label), is_lower_alphanumeric, &['-', '_']);
    if !text.split('.').all(is_label) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or \
                    '.', and must start and end with an alphanumeric character";
        wrong.push(regex_error(rule, UNDERSCORE_SUBDOMAIN_FORMAT, &["example.com"]));
    }
    wrong
}

/// A DNS-1035 label: the names of Services.
pub(super) fn dns_1035_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_LABEL {
        wrong.push(too_long(MAX_LABEL));
    }
    if !is_label_form(text) || !text.starts_with(|first: char| first.is_ascii_lowercase()) {
        let rule = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                    alphabetic character, and end with an alphanumeric character";
        wrong.push(regex_error(rule, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    wrong
}

fn is_alphanumeric(character: char) -> bool {
    character.is_ascii_alphanumeric()
}

/// A qualified name (`name` or `example.com/name`): label and annotation keys, conditions, resources.
pub(in crate::api) fn qualified_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let examples = ["MyName", "my.name", "123-abc"];
    let name = match text.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                let details = dns_subdomain(prefix).into_iter();
                wrong.extend(
                    details.map(|detail| format!("prefix part {}", detail.replace("253 characters", "253 bytes"))),
                );
            }
            name
        }
        _ => {
            let form = regex_error(QUALIFIED_NAME_RULE, QUALIFIED_NAME_FORMAT, &examples);
            let prefix = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {form} {prefix}")];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > MAX_LABEL {
        wrong.push(format!("name part {}", too_many_bytes(MAX_LABEL)));
    }
    if !is_word(name, is_alphanumeric, &['-', '_', '.']) {
        wrong.push(format!("name part {}", regex_error(QUALIFIED_NAME_RULE, QUALIFIED_NAME_FORMAT, &examples)));
    }
    wrong
}

/// The value of a label.
pub(in crate::api) fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_LABEL {
        wrong.push(too_many_bytes(MAX_LABEL));
    }
    if !text.is_empty() && !is_word(text, is_alphanumeric, &['-', '_', '.']) {
        let rule = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
                    must start and end with an alphanumeric character";
        let format = format!("({QUALIFIED_NAME_FORMAT})?");
        wrong.push(regex_error(rule, &format, &["MyValue", "my_value", "12345"]));
    }
    wrong
}

/// The name of a port.
pub(super) fn port_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_PORT_NAME {
        wrong.push(too_long(MAX_PORT_NAME));
    }
    if text.is_empty() || !text.chars().all(|character| is_lower_alphanumeric(character) || character == '-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.contains(|character: char| character.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// The name of an environment variable, by the relaxed rule that is Kubernetes' default today.
pub(super) fn environment_name(text: &str) -> Vec<String> {
    if text.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if text.chars().all(|character| matches!(character, ' '..='~') && character != '=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// A key of a ConfigMap or Secret.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_SUBDOMAIN {
        wrong.push(too_long(MAX_SUBDOMAIN));
    }
    let allowed = |character: char| is_alphanumeric(character) || matches!(character, '-' | '.' | '_');
    if text.is_empty() || !text.chars().all(allowed) {
        let rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        wrong.push(regex_error(rule, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    if text == "." || text == ".." {
        wrong.push(format!("must not be '{text}'"));
    } else if text.starts_with("..") {
        wrong.push("must not start with '..'".to_owned());
    }
    wrong
}

/// The name of an HTTP header.
pub(super) fn http_header_name(text: &str) -> Vec<String> {
    if !text.is_empty() && text.chars().all(|character| is_alphanumeric(character) || character == '-') {
        return Vec::new();
    }
    let rule = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![regex_error(rule, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// An IPv4 or IPv6 address.
// Differs from Kubernetes: IPv4 addresses with leading zeros, which it tolerates, are refused.
pub(super) fn ip_address(text: &str) -> Vec<String> {
    if text.parse::<IpAddr>().is_ok() {
        return Vec::new();
    }
    vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
}

/// A number within bounds.
pub(super) fn in_range(value: i64, lowest: i64, highest: i64) -> Vec<String> {
    if (lowest..=highest).contains(&value) {
        return Vec::new();
    }
    vec![format!("must be between {lowest} and {highest}, inclusive")]
}

/// A port number.
pub(super) fn port_number(port: i64) -> Vec<String> {
    in_range(port, 1, 65535)
}

/// Whether a sysctl's name has the right form.
pub(super) fn is_sysctl_name(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN && text.split(['.', '/']).all(|part| is_word(part, is_lower_alphanumeric, &['-', '_']))
}
