//! `husk cp`: what can be typed.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::connection::ConnectionArgs;

/// Arguments of `husk cp`.
#[derive(Debug, Args)]
#[command(after_help = "\
The container needs a tar program.

Examples:
  husk cp notes.txt web:/tmp/notes.txt      a file into the pod's first container
  husk cp web:/var/log ./log -c server      a folder out of one
  husk cp work/web:/etc/hosts hosts         of a pod in the namespace work")]
pub struct CpArgs {
    /// What to copy
    #[arg(value_name = "PATH|[NAMESPACE/]POD:PATH")]
    pub from: CopySpec,
    /// Where to
    #[arg(value_name = "PATH|[NAMESPACE/]POD:PATH")]
    pub to: CopySpec,
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// In this container
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
}

/// One end of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySpec {
    /// On this machine.
    Local(PathBuf),
    /// In a container.
    Remote {
        /// The namespace, if it is named.
        namespace: Option<String>,
        /// The pod.
        pod: String,
        /// The path.
        path: String,
    },
}

impl FromStr for CopySpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A path with a slash before its first colon, other than between namespace and pod, is a local one.
        let Some((place, path)) = text.split_once(':').filter(|(place, _)| !place.starts_with(['.', '/'])) else {
            return if text.is_empty() { Err("a path is missing".to_owned()) } else { Ok(Self::Local(text.into())) };
        };
        let (namespace, pod) = match place.split('/').collect::<Vec<_>>()[..] {
            [pod] => (None, pod),
            [namespace, pod] => (Some(namespace.to_owned()), pod),
            _ => return Ok(Self::Local(text.into())),
        };
        if pod.is_empty() || path.is_empty() || namespace.as_deref() == Some("") {
            return Err(format!("{text:?}: filespec must match the canonical format: [[namespace/]pod:]file/path"));
        }
        Ok(Self::Remote { namespace, pod: pod.to_owned(), path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_a_copy_are_here_or_in_a_pod() {
        let remote = |namespace: Option<&str>| {
            Ok(CopySpec::Remote { namespace: namespace.map(String::from), pod: "web".into(), path: "/a:b".into() })
        };
        assert_eq!("web:/a:b".parse(), remote(None));
        assert_eq!("work/web:/a:b".parse(), remote(Some("work")));
        assert_eq!("./a:b".parse(), Ok(CopySpec::Local("./a:b".into())));
        assert_eq!("/a".parse(), Ok(CopySpec::Local("/a".into())));
        assert!("web:".parse::<CopySpec>().is_err());
        assert!(":/a".parse::<CopySpec>().is_err());
    }
}
