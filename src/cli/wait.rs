//! `husk wait`: what can be typed.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::connection::{ConnectionArgs, FileArgs};
use super::print::jsonpath::{Template, braced};
use super::run::parse_duration;

/// Arguments of `husk wait`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  husk wait --for=condition=Ready pod/web --timeout=60s
  husk wait --for=jsonpath='{.status.phase}'=Succeeded pod/job
  husk wait --for=delete pod -l app=web")]
pub struct WaitArgs {
    /// TYPE NAME…, TYPE/NAME…, or TYPE with --all or -l
    #[arg(value_name = "TYPE|TYPE/NAME")]
    pub resources: Vec<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The manifests.
    #[command(flatten)]
    pub files: FileArgs,
    /// For what: condition=NAME[=VALUE], jsonpath=PATH[=VALUE], create or delete. Repeatable: for one after the other
    #[arg(long = "for", value_name = "WHAT", required = true)]
    pub conditions: Vec<WaitFor>,
    /// How long for each object, such as 90s; 0 looks once
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    pub timeout: Duration,
    /// All objects of the type in the namespace
    #[arg(long, conflicts_with = "selector")]
    pub all: bool,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// Only objects with these fields
    #[arg(long, value_name = "FIELDS")]
    pub field_selector: Option<String>,
}

/// `--for`.
#[derive(Debug, Clone, PartialEq)]
pub enum WaitFor {
    /// The object exists.
    Create,
    /// It does not.
    Delete,
    /// A condition of its status has a value.
    Condition {
        /// Its type.
        name: String,
        /// The value, in lower case.
        value: String,
    },
    /// There is something at a path, and it is this, if it is named.
    Path {
        /// The path.
        path: Template,
        /// What is there.
        value: Option<String>,
    },
}

impl FromStr for WaitFor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_lowercase();
        if lower == "create" {
            return Ok(Self::Create);
        }
        if lower == "delete" {
            return Ok(Self::Delete);
        }
        if let Some(rest) = text.strip_prefix("condition=").filter(|rest| !rest.is_empty()) {
            let (name, value) = rest.split_once('=').unwrap_or((rest, "true"));
            return Ok(Self::Condition { name: name.to_owned(), value: value.to_lowercase() });
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            let end = if rest.starts_with('{') { rest.find('}').map(|at| at + 1) } else { rest.find('=') };
            let (path, value) = rest.split_at(end.unwrap_or(rest.len()));
            let path = Template::parse(&braced(path))?;
            return match value.strip_prefix('=') {
                Some("") => Err("jsonpath wait has to have a value behind `=`".to_owned()),
                Some(value) => Ok(Self::Path { path, value: Some(value.trim_matches(['"', '\'']).to_owned()) }),
                None if value.is_empty() => Ok(Self::Path { path, value: None }),
                None => Err(format!("{value:?} does not belong behind a path")),
            };
        }
        Err(format!("unrecognized condition: {text:?}: expected condition=…, jsonpath=…, create or delete"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_waited_for() {
        let condition = |name: &str, value: &str| WaitFor::Condition { name: name.into(), value: value.into() };
        assert_eq!("condition=Ready".parse(), Ok(condition("Ready", "true")));
        assert_eq!("condition=Ready=False".parse(), Ok(condition("Ready", "false")));
        assert_eq!("delete".parse(), Ok(WaitFor::Delete));
        let path = Template::parse("{.status.phase}").unwrap();
        for text in [
            "jsonpath={.status.phase}=Running",
            "jsonpath=.status.phase=Running",
            "jsonpath='{.status.phase}'=Running".replace('\'', "").as_str(),
        ] {
            assert_eq!(text.parse(), Ok(WaitFor::Path { path: path.clone(), value: Some("Running".into()) }), "{text}");
        }
        assert_eq!("jsonpath={.status.phase}".parse(), Ok(WaitFor::Path { path, value: None }));
        assert!("soon".parse::<WaitFor>().unwrap_err().contains("unrecognized condition"));
    }
}
