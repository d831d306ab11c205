//! `husk port-forward`: what can be typed.

use std::str::FromStr;

use clap::Args;

use super::connection::ConnectionArgs;

/// Arguments of `husk port-forward`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  husk port-forward pod/web 8080:80         port 80 of the pod on 127.0.0.1:8080
  husk port-forward svc/web 8080:http       a port of a service, by its name
  husk port-forward web 0:80 5000           on a free port, and port 5000 on the same")]
pub struct PortForwardArgs {
    /// POD, pod/POD or service/SERVICE
    #[arg(value_name = "POD|TYPE/NAME")]
    pub target: String,
    /// Ports: on this machine and of the pod or service
    #[arg(required = true, value_name = "[LOCAL:]REMOTE")]
    pub ports: Vec<ForwardSpec>,
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Listen on these addresses of this machine
    #[arg(long, value_name = "ADDR", value_delimiter = ',', default_value = "localhost")]
    pub address: Vec<String>,
}

/// A port that is forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardSpec {
    /// The port on this machine: the same if it is not named, a free one if it is 0.
    pub local: Option<u16>,
    /// The port of the pod or service: a number or a name.
    pub remote: String,
}

impl FromStr for ForwardSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (local, remote) = match text.split_once(':') {
            Some(("", remote)) => (Some("0"), remote),
            Some((local, remote)) => (Some(local), remote),
            None => (None, text),
        };
        let parse = |port: &str| port.parse().map_err(|_| format!("{port:?} is not a port: expected 0 to 65535"));
        if remote.is_empty() || remote == "0" || remote.contains(':') {
            return Err(format!("{text:?} does not name a remote port: expected [LOCAL:]REMOTE"));
        }
        Ok(Self { local: local.map(parse).transpose()?, remote: remote.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_local_and_remote() {
        let spec = |local, remote: &str| Ok(ForwardSpec { local, remote: remote.to_owned() });
        assert_eq!("8080:80".parse(), spec(Some(8080), "80"));
        assert_eq!("80".parse(), spec(None, "80"));
        assert_eq!(":http".parse(), spec(Some(0), "http"));
        for wrong in ["", "1:", "x:80", "1:2:3", "0"] {
            assert!(wrong.parse::<ForwardSpec>().is_err(), "{wrong}");
        }
    }
}
