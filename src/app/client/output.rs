//! `-o`: in which form objects are printed.

use anyhow::bail;
use serde_json::Value;

use super::kinds::Kind;
use crate::cli::print::columns::CustomColumns;
use crate::cli::print::jsonpath::Template;
use crate::cli::print::object;

/// The forms.
#[derive(Debug, Clone)]
pub(super) enum Output {
    /// A table, as the server makes it.
    Table {
        wide: bool,
    },
    Json,
    Yaml,
    Name,
    Template(Template),
    Columns(CustomColumns),
}

impl Output {
    /// Reads the option.
    pub(super) fn parse(option: Option<&str>) -> anyhow::Result<Self> {
        let Some(option) = option.filter(|option| !option.is_empty()) else { return Ok(Self::Table { wide: false }) };
        let (name, argument) = option.split_once('=').unwrap_or((option, ""));
        Ok(match name {
            "wide" => Self::Table { wide: true },
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            "jsonpath" => Self::Template(template(argument)?),
            "jsonpath-file" => Self::Template(template(std::fs::read_to_string(argument)?.trim_end())?),
            "custom-columns" => Self::Columns(CustomColumns::parse(argument).map_err(anyhow::Error::msg)?),
            "custom-columns-file" => Self::Columns(columns(&std::fs::read_to_string(argument)?)?),
            "go-template" | "go-template-file" | "template" | "templatefile" => {
                bail!("husk has no Go templates: use -o jsonpath=TEMPLATE or -o custom-columns=COLUMNS")
            }
            _ => bail!(
                "unable to match a printer suitable for the output format {name:?}, allowed formats are: custom-columns,\
                 custom-columns-file,json,jsonpath,jsonpath-file,name,wide,yaml"
            ),
        })
    }

    /// An object in this form; nothing if the form is a table of several.
    pub(super) fn object(&self, kind: &Kind, value: Value, managed_fields: bool) -> anyhow::Result<String> {
        Ok(match self {
            Self::Table { .. } | Self::Columns(_) => String::new(),
            Self::Json => object::json(&object::tidy(value, managed_fields)),
            Self::Yaml => object::yaml(&object::tidy(value, managed_fields))?,
            Self::Name => format!("{}/{}\n", kind.word(), object::text(&value, &["metadata", "name"])),
            Self::Template(template) => template.render(&object::tidy(value, managed_fields)),
        })
    }
}

fn template(text: &str) -> anyhow::Result<Template> {
    if text.is_empty() {
        bail!("template format specified but no template given");
    }
    let text = if text.contains('{') { text.to_owned() } else { crate::cli::print::jsonpath::braced(text) };
    Template::parse(&text).map_err(|error| anyhow::anyhow!("error parsing jsonpath {text}, {error}"))
}

/// A file of two lines: headings, and the paths under them.
fn columns(text: &str) -> anyhow::Result<CustomColumns> {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let (Some(headings), Some(paths)) = (lines.next(), lines.next()) else {
        bail!("a file of custom columns has two lines: headings, and the paths under them");
    };
    if headings.len() != paths.len() {
        bail!("number of headers ({}) and field specifications ({}) don't match", headings.len(), paths.len());
    }
    let spec: Vec<String> = headings.iter().zip(&paths).map(|(heading, path)| format!("{heading}:{path}")).collect();
    CustomColumns::parse(&spec.join(",")).map_err(anyhow::Error::msg)
}
