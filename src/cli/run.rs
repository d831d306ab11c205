//! `husk run`: what can be typed, and what it means.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// Arguments of `husk run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0      all pods succeeded
  2      bad input: arguments, manifests or images
  124    --timeout was reached
  130    Ctrl-C: once, containers get their grace period; twice, they are killed
  143    husk itself got TERM, which it treats like Ctrl-C
  else   the code of the container that failed first

Examples:
  husk run pod.yaml                   run a pod
  husk run -p 8080:80 web/            run a folder's manifests, port 80 on 127.0.0.1:8080
  husk run hello.wasm -- --name you   run one program in a pod of its own
  husk run box --image busybox -it    run one pod, called box, of an image
  husk run --resume pod.yaml          go on with the pod after husk was killed
  kustomize build . | husk run -      read manifests from standard input")]
pub struct RunArgs {
    /// Manifest files, folders of them (not their subfolders), `-` for standard input, or one .wasm program; with --image
    /// the name of a pod
    #[arg(required = true, value_name = "FILE|DIR|-|NAME")]
    pub files: Vec<PathBuf>,
    /// Arguments for the .wasm program, or for the container of --image
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
    /// Run a pod with one container of this image instead of manifests
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// With --image: the arguments are the command, instead of those of the image's
    #[arg(long, requires = "image")]
    pub command: bool,
    /// With --image: the container reads standard input
    #[arg(short = 'i', long, requires = "image")]
    pub stdin: bool,
    /// With --image: the container has this terminal
    #[arg(short, long, requires = "image")]
    pub tty: bool,
    /// With --image: whether the container is started again when it has ended
    #[arg(long, requires = "image", value_name = "POLICY", default_value = "Never")]
    pub restart: RestartArg,
    /// Publish a pod's TCP (or /udp) port on this machine: on 127.0.0.1 unless ADDR is given, on a free port if
    /// HOST is 0, on the same port if HOST is left out. With several pods, POD says whose. Repeatable
    #[arg(short, long, value_name = "[ADDR:]HOST:[POD:]PORT[/udp]")]
    pub publish: Vec<PublishSpec>,
    /// Whether pods may reach what is outside of them through this machine: connections and DNS
    #[arg(long, value_enum, value_name = "allow|deny", hide_possible_values = true, default_value_t = EgressArg::Allow)]
    pub egress: EgressArg,
    /// Set an environment variable of the .wasm program, or of the container of --image. Repeatable
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Go on with these pods where a husk that was killed has left them: with the same UIDs, volumes and restart
    /// counts. Containers start again as their restart policy says; finished pods are not run again; pods of which
    /// nothing is left start anew. Without this option, what a killed husk has left is removed
    #[arg(long)]
    pub resume: bool,
    /// Stop the pods after this time, such as 90s or 5m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Print the final Pod objects, status included, on standard output; logs then go to standard error
    #[arg(short, long, value_enum, value_name = "json|yaml", hide_possible_values = true)]
    pub output: Option<OutputFormat>,
    /// Print log lines without the container's name
    #[arg(long)]
    pub no_prefix: bool,
    /// Print a timestamp before each log line
    #[arg(long)]
    pub timestamps: bool,
    /// Print nothing but what the containers print
    #[arg(short, long)]
    pub quiet: bool,
    /// Print every Kubernetes event of the pods as it is posted, repeats with their count, and, as type Status, what
    /// Kubernetes posts no event of: exits of containers, pods getting ready or not, phases. Without it: starts, exits
    /// and warnings, of a probe's repeated failures the 1st, 10th, 100th and so on
    #[arg(long, conflicts_with = "quiet")]
    pub events: bool,
    /// Namespace for objects that name none
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
}

/// `--restart`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RestartArg {
    /// Whatever its exit code was.
    #[value(name = "Always")]
    Always,
    /// If it has failed.
    #[value(name = "OnFailure")]
    OnFailure,
    /// No.
    #[value(name = "Never")]
    Never,
}

impl RestartArg {
    /// The restart policy of a pod.
    pub fn policy(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::OnFailure => "OnFailure",
            Self::Never => "Never",
        }
    }
}

/// `--egress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EgressArg {
    /// Through this machine's network.
    Allow,
    /// Nothing leaves the pods.
    Deny,
}

/// `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// One JSON object: the pod, or a List.
    Json,
    /// YAML documents.
    Yaml,
}

/// One `-p`: a port of the host that leads into a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishSpec {
    /// Where the host listens.
    pub host: SocketAddr,
    /// Which pod, by name; needed when there are several.
    pub pod: Option<String>,
    /// The port inside the pod.
    pub port: u16,
    /// UDP instead of TCP.
    pub udp: bool,
}

impl FromStr for PublishSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, udp) = match text.rsplit_once('/') {
            Some((ports, "udp")) => (ports, true),
            Some((ports, "tcp")) => (ports, false),
            Some((_, other)) => return Err(format!("unknown protocol {other:?}: use tcp or udp")),
            None => (text, false),
        };
        let (addr, rest) = split_address(ports)?;
        let parts: Vec<&str> = rest.split(':').collect();
        let (host_port, pod, port) = match parts[..] {
            [port] if addr.is_none() => (port, None, port),
            [host_port, port] => (host_port, None, port),
            [host_port, pod, port] if !pod.is_empty() => (host_port, Some(pod.to_owned()), port),
            _ => return Err("expected [ADDR:]HOST:[POD:]PORT, such as 8080:80 or 127.0.0.1:8080:web:80".to_owned()),
        };
        let host = SocketAddr::new(addr.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), parse_port(host_port, 0)?);
        Ok(Self { host, pod, port: parse_port(port, 1)?, udp })
    }
}

/// Takes a leading `1.2.3.4:`, `[::1]:` or `localhost:` off.
fn split_address(text: &str) -> Result<(Option<IpAddr>, &str), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (addr, rest) = rest.split_once("]:").ok_or_else(|| format!("{text:?} lacks `]:`"))?;
        let addr = addr.parse().map_err(|_| format!("{addr:?} is not an IPv6 address"))?;
        return Ok((Some(addr), rest));
    }
    match text.split_once(':') {
        Some(("localhost", rest)) => Ok((Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), rest)),
        Some((addr, rest)) if addr.contains('.') => {
            let addr = addr.parse().map_err(|_| format!("{addr:?} is not an IP address"))?;
            Ok((Some(addr), rest))
        }
        _ => Ok((None, text)),
    }
}

fn parse_port(text: &str, lowest: u16) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port >= lowest);
    port.ok_or_else(|| format!("{text:?} is not a port: expected {lowest} to 65535"))
}

pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u64>().ok().map(Duration::from_secs);
    let friendly = || text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    seconds.or_else(friendly).ok_or_else(|| format!("{text:?} is not a duration: write 90s, 5m or 1h30m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(text: &str) -> Result<(String, Option<String>, u16, bool), String> {
        text.parse().map(|spec: PublishSpec| (spec.host.to_string(), spec.pod, spec.port, spec.udp))
    }

    #[test]
    fn ports_are_published_on_loopback_unless_an_address_is_named() {
        for (text, host, pod, port, udp) in [
            ("8080:80", "127.0.0.1:8080", None, 80, false),
            ("80", "127.0.0.1:80", None, 80, false),
            ("0:80", "127.0.0.1:0", None, 80, false),
            ("0.0.0.0:8080:80", "0.0.0.0:8080", None, 80, false),
            ("localhost:8080:80/tcp", "127.0.0.1:8080", None, 80, false),
            ("[::1]:5353:53/udp", "[::1]:5353", None, 53, true),
            ("8080:web:80", "127.0.0.1:8080", Some("web"), 80, false),
            ("127.0.0.2:8080:web:80", "127.0.0.2:8080", Some("web"), 80, false),
        ] {
            assert_eq!(publish(text), Ok((host.into(), pod.map(String::from), port, udp)), "{text}");
        }
    }

    #[test]
    fn a_bad_port_says_what_is_wrong() {
        for (text, error) in [
            ("8080:0", "\"0\" is not a port: expected 1 to 65535"),
            ("8080:99999", "\"99999\" is not a port: expected 1 to 65535"),
            ("99999:80", "\"99999\" is not a port: expected 0 to 65535"),
            ("8080:80/sctp", "unknown protocol \"sctp\": use tcp or udp"),
            ("1.2.3:80:80", "\"1.2.3\" is not an IP address"),
            ("8080::80", "expected [ADDR:]HOST:[POD:]PORT, such as 8080:80 or 127.0.0.1:8080:web:80"),
        ] {
            assert_eq!(publish(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn durations_are_seconds_or_have_units() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert!(parse_duration("soon").is_err());
    }
}
