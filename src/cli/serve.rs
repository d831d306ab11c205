//! `husk serve`: what can be typed, and what it means.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::run::EgressArg;

/// The port of Kubernetes' API servers.
pub const DEFAULT_PORT: u16 = 6443;

/// The environment variable by which `husk serve --detach` tells the server it starts that it is in the background.
pub const IN_BACKGROUND: &str = "HUSK_IN_BACKGROUND";

/// Arguments of `husk serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Who may use the server: whoever has its kubeconfig, or the token in server/pki/admin-token of
the data directory, is its administrator; so is every process of yours, by the Unix socket
server/api.sock there. Service accounts of pods may read.

Examples:
  husk serve                                  serve until Ctrl-C
  export KUBECONFIG=$(husk serve --detach)    serve in the background, for this shell
  husk serve --kubeconfig ~/.kube/config      as the context husk of your own kubeconfig")]
pub struct ServeArgs {
    /// Listen here instead of on 127.0.0.1, port 6443. Any address that is not loopback needs --allow-remote
    #[arg(long, value_name = "ADDR[:PORT]", default_value = "127.0.0.1", hide_default_value = true)]
    pub listen: ListenSpec,

    /// Listen on this port; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,

    /// Let other machines connect, as far as --listen does. They need the kubeconfig or a token all the same
    #[arg(long)]
    pub allow_remote: bool,

    /// Another name or address by which clients reach the server, for its certificate. Repeatable
    #[arg(long, value_name = "NAME|ADDR")]
    pub tls_san: Vec<String>,

    /// Add the server to this kubeconfig as well, as context husk; what is in it stays
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,

    /// Go to the background once the server is ready, and print the path of its kubeconfig. `husk stop` ends it
    #[arg(long)]
    pub detach: bool,

    /// What service accounts may do, whose tokens are mounted into pods: read all but Secrets, or everything. Who may
    /// create pods may read and write your files through hostPath volumes
    #[arg(long, value_enum, value_name = "view|cluster-admin", hide_possible_values = true, default_value_t)]
    pub service_accounts: ServiceAccountsArg,

    /// Whether pods may reach what is outside of them through this machine: connections and DNS
    #[arg(long, value_enum, value_name = "allow|deny", hide_possible_values = true, default_value_t = EgressArg::Allow)]
    pub egress: EgressArg,

    /// The server was started by --detach. No option, for completion scripts would offer it.
    #[arg(skip = std::env::var_os(IN_BACKGROUND).is_some())]
    pub in_background: bool,
}

/// `--service-accounts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ServiceAccountsArg {
    /// They read everything but Secrets.
    #[default]
    View,
    /// They do everything.
    ClusterAdmin,
}

/// `--listen`: an address, with or without a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenSpec {
    /// The address.
    pub ip: IpAddr,
    /// The port, if it was named.
    pub port: Option<u16>,
}

impl FromStr for ListenSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(|| format!("{text:?} lacks `]`"))?;
                match rest.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if rest.is_empty() => (host, None),
                    None => return Err(format!("{rest:?} does not belong behind an address: expected `:PORT`")),
                }
            }
            None if text.parse::<Ipv6Addr>().is_ok() => (text, None),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let ip = match host {
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            host => host.parse().map_err(|_| format!("{host:?} is not an IP address"))?,
        };
        let parse = |port: &str| port.parse().map_err(|_| format!("{port:?} is not a port: expected 0 to 65535"));
        Ok(Self { ip, port: port.map(parse).transpose()? })
    }
}

impl ServeArgs {
    /// Where to listen.
    ///
    /// # Errors
    /// That other machines could connect without that having been allowed, or that two ports are named.
    pub fn address(&self) -> Result<SocketAddr, String> {
        let ListenSpec { ip, port } = self.listen;
        if let (Some(one), Some(other)) = (port, self.port)
            && one != other
        {
            return Err(format!("--listen names port {one} and --port {other}: name one"));
        }
        if !ip.is_loopback() && !self.allow_remote {
            return Err(format!(
                "other machines could connect to {ip}: if that is wanted, say --allow-remote, else listen on 127.0.0.1"
            ));
        }
        Ok(SocketAddr::new(ip, self.port.or(port).unwrap_or(DEFAULT_PORT)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    fn address(line: &str) -> Result<String, String> {
        let cli = crate::cli::Cli::try_parse_from(["husk", "serve"].into_iter().chain(line.split_whitespace()));
        let crate::cli::Command::Serve(args) = cli.map_err(|error| error.to_string())?.command else {
            panic!("{line} is no serve")
        };
        args.address().map(|address| address.to_string())
    }

    #[test]
    fn a_server_listens_on_loopback_unless_it_is_told_otherwise_twice() {
        for (line, expected) in [
            ("", "127.0.0.1:6443"),
            ("--port 0", "127.0.0.1:0"),
            ("--listen localhost:7000", "127.0.0.1:7000"),
            ("--listen 127.0.0.2 --port 7000", "127.0.0.2:7000"),
            ("--listen ::1", "[::1]:6443"),
            ("--listen [::1]", "[::1]:6443"),
            ("--listen [::1]:7000", "[::1]:7000"),
            ("--listen 0.0.0.0:6443 --allow-remote", "0.0.0.0:6443"),
        ] {
            assert_eq!(address(line).as_deref(), Ok(expected), "{line}");
        }
        for (line, error) in [
            ("--listen 0.0.0.0", "other machines could connect to 0.0.0.0"),
            ("--listen [::]:6443", "other machines could connect to ::"),
            ("--listen 192.0.2.1:6443", "--allow-remote"),
            ("--listen 127.0.0.1:1 --port 2", "--listen names port 1 and --port 2: name one"),
            ("--listen nowhere", "\"nowhere\" is not an IP address"),
            ("--listen 127.0.0.1:x", "\"x\" is not a port: expected 0 to 65535"),
            ("--listen [::1", "lacks `]`"),
            ("--listen [::1]7", "expected `:PORT`"),
        ] {
            let told = address(line).unwrap_err();
            assert!(told.contains(error), "{line}: {told}");
        }
    }
}
