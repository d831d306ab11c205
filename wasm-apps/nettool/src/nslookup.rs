//! `nslookup [-type=TYPE] NAME [SERVER]`, as busybox's: asks the name servers of `/etc/resolv.conf`, or `SERVER`.

use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::Failure as Exit;
use crate::dns::{Answer, Config, Failure, Kind, Outcome, Record, ask, reverse};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;

/// What the arguments say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    kinds: Vec<Kind>,
    port: Option<u16>,
    timeout: Option<u64>,
    retries: Option<u32>,
    name: String,
    server: Option<String>,
}

pub(crate) fn main(arguments: Vec<OsString>) -> Result<(), Exit> {
    let options = parse(&arguments)?;
    let text = fs::read_to_string(RESOLV_CONF).map_err(|error| format!("can't open '{RESOLV_CONF}': {error}"))?;
    let mut config = Config::parse(&text);
    if let Some(seconds) = options.timeout {
        config.timeout = Duration::from_secs(seconds.max(1));
    }
    config.attempts = options.retries.map_or(config.attempts, |retries| retries.clamp(1, 5));
    let servers = servers(&config, &options)?;
    let (names, kinds) = questions(&config, &options);
    let mut found = Found::default();
    for name in &names {
        for kind in &kinds {
            match ask(&config, &servers, name, *kind) {
                Ok((server, answer)) => found.add(server, answer),
                Err(failure) => return Err(explain(failure, &options.name, &servers)),
            }
        }
        if found.has_records() {
            break;
        }
    }
    print!("{}", found.text());
    found.verdict(&options.name).map_err(|problem| {
        println!("{problem}\n");
        Exit::silent(1)
    })
}

/// Its options begin with one dash, or two, and come in any place.
fn parse(arguments: &[OsString]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut values = Vec::new();
    for argument in arguments {
        let argument = argument.to_string_lossy();
        let Some(option) = argument.strip_prefix('-').filter(|option| !option.is_empty()) else {
            values.push(argument.into_owned());
            continue;
        };
        let (name, value) = option.trim_start_matches('-').split_once('=').unwrap_or((option, ""));
        let bad = || format!("invalid option '{argument}'");
        match name {
            "type" | "querytype" | "query" | "q" | "ty" => {
                options.kinds.push(Kind::named(value).ok_or_else(|| format!("invalid query type \"{value}\""))?);
            }
            "port" => options.port = Some(value.parse().map_err(|_| bad())?),
            "timeout" => options.timeout = Some(value.parse().map_err(|_| bad())?),
            "retry" => options.retries = Some(value.parse().map_err(|_| bad())?),
            "debug" => {}
            _ => return Err(bad()),
        }
    }
    let mut values = values.into_iter();
    options.name = values.next().ok_or("usage: nslookup [-type=TYPE] NAME [SERVER]")?;
    options.server = values.next();
    if values.next().is_some() {
        return Err("usage: nslookup [-type=TYPE] NAME [SERVER]".to_owned());
    }
    Ok(options)
}

fn servers(config: &Config, options: &Options) -> Result<Vec<SocketAddr>, String> {
    let port = options.port.unwrap_or(DNS_PORT);
    let Some(server) = &options.server else {
        if config.servers.is_empty() {
            return Err(format!("{RESOLV_CONF} names no server: name one, as in 'nslookup NAME SERVER'"));
        }
        return Ok(config.servers.iter().map(|address| SocketAddr::new(*address, port)).collect());
    };
    if let Ok(address) = server.parse() {
        return Ok(vec![address]);
    }
    let found = (server.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    if found.is_empty() { Err(format!("bad address '{server}'")) } else { Ok(found) }
}

/// The names that may be meant, and what is asked about each.
fn questions(config: &Config, options: &Options) -> (Vec<String>, Vec<Kind>) {
    let or = |default: &[Kind]| if options.kinds.is_empty() { default.to_vec() } else { options.kinds.clone() };
    match options.name.parse::<IpAddr>() {
        Ok(address) => (vec![reverse(address)], or(&[Kind::Ptr])),
        Err(_) => (config.candidates(&options.name), or(&[Kind::A, Kind::Aaaa])),
    }
}

/// What the servers have said so far.
#[derive(Default)]
struct Found {
    server: Option<SocketAddr>,
    /// Those with records.
    answers: Vec<Answer>,
    /// The most telling of the others: a problem before a name that exists, and that before one that does not.
    other: Option<Outcome>,
}

impl Found {
    fn add(&mut self, server: SocketAddr, answer: Answer) {
        self.server.get_or_insert(server);
        let rank = |outcome: &Outcome| match outcome {
            Outcome::NoSuchName => 0,
            Outcome::Found => 1,
            Outcome::Failed(_) => 2,
        };
        if !answer.records.is_empty() {
            self.server = Some(server);
            self.answers.push(answer);
        } else if self.other.as_ref().is_none_or(|other| rank(&answer.outcome) > rank(other)) {
            self.other = Some(answer.outcome);
        }
    }

    fn has_records(&self) -> bool {
        !self.answers.is_empty()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(server) = self.server {
            text += &format!("Server:\t\t{}\nAddress:\t{server}\n\n", server.ip());
        }
        for answer in &self.answers {
            if !answer.authoritative {
                text += "Non-authoritative answer:\n";
            }
            for record in &answer.records {
                text += &match record {
                    Record::Address { name, address } => format!("Name:\t{name}\nAddress: {address}\n"),
                    Record::Other { name, label, text } => format!("{name}\t{label} = {text}\n"),
                };
            }
            text += "\n";
        }
        text
    }

    /// Success, or what to say at the end.
    fn verdict(&self, name: &str) -> Result<(), String> {
        match &self.other {
            _ if self.has_records() => Ok(()),
            Some(Outcome::Found) => Err(format!("*** Can't find {name}: No answer")),
            Some(outcome) => Err(format!("** server can't find {name}: {outcome}")),
            None => Err(format!("** server can't find {name}: {}", Outcome::NoSuchName)),
        }
    }
}

fn explain(failure: Failure, name: &str, servers: &[SocketAddr]) -> Exit {
    match failure {
        Failure::BadName => format!("'{name}' is not a name that can be asked for").into(),
        Failure::Broken(problem) => {
            let server = servers.first().map(ToString::to_string).unwrap_or_default();
            format!("can't ask {server}: {problem}").into()
        }
        Failure::TimedOut => {
            println!(";; connection timed out; no servers could be reached\n");
            Exit::silent(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    fn answer(outcome: Outcome, records: Vec<Record>, authoritative: bool) -> Answer {
        Answer::for_tests(outcome, authoritative, records)
    }

    #[test]
    fn options_may_come_anywhere() {
        let options = parsed("-type=srv name --port=5353 10.0.0.1 -debug -retry=2").unwrap();
        assert_eq!(options.kinds, [Kind::Srv]);
        assert_eq!((options.port, options.retries, options.name.as_str()), (Some(5353), Some(2), "name"));
        assert_eq!(options.server.as_deref(), Some("10.0.0.1"));
        assert_eq!(parsed("-type=x n").unwrap_err(), "invalid query type \"x\"");
        assert_eq!(parsed("-nonsense n").unwrap_err(), "invalid option '-nonsense'");
        assert!(parsed("").unwrap_err().starts_with("usage"));
    }

    #[test]
    fn an_address_is_asked_for_its_name() {
        let config = Config::parse("search x");
        let (names, kinds) = questions(&config, &parsed("10.96.0.1").unwrap());
        assert_eq!((names, kinds), (vec!["1.0.96.10.in-addr.arpa".to_owned()], vec![Kind::Ptr]));
        let (names, kinds) = questions(&config, &parsed("web").unwrap());
        assert_eq!((names.len(), kinds), (2, vec![Kind::A, Kind::Aaaa]));
    }

    #[test]
    fn found_names_look_as_in_busybox() {
        let name = "myservice.default.svc.cluster.local".to_owned();
        let record = Record::Address { name, address: "10.96.12.7".parse().unwrap() };
        let mut found = Found::default();
        let server = "10.96.0.10:53".parse().unwrap();
        found.add(server, answer(Outcome::Found, vec![record], true));
        found.add(server, answer(Outcome::Found, Vec::new(), true));
        assert_eq!(
            found.text(),
            "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10:53\n\nName:\tmyservice.default.svc.cluster.local\n\
             Address: 10.96.12.7\n\n"
        );
        assert_eq!(found.verdict("myservice"), Ok(()));
    }

    #[test]
    fn what_is_not_found_is_told() {
        for (outcomes, expected) in [
            (vec![Outcome::NoSuchName], "** server can't find x: NXDOMAIN"),
            (vec![Outcome::NoSuchName, Outcome::Found, Outcome::NoSuchName], "*** Can't find x: No answer"),
            (vec![Outcome::Failed("SERVFAIL".to_owned()), Outcome::Found], "** server can't find x: SERVFAIL"),
        ] {
            let mut found = Found::default();
            for outcome in outcomes {
                found.add("10.96.0.10:53".parse().unwrap(), answer(outcome, Vec::new(), true));
            }
            assert_eq!(found.verdict("x").unwrap_err(), expected);
        }
    }
}
