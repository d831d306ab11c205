//! `/etc/resolv.conf`: see resolv.conf(5).

use std::net::IpAddr;
use std::time::Duration;

/// Name servers that count.
const MAX_SERVERS: usize = 3;
/// Search domains that count, as Kubernetes allows them.
const MAX_SEARCHES: usize = 32;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) servers: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
    /// For each answer.
    pub(crate) timeout: Duration,
    /// Rounds through the servers.
    pub(crate) attempts: u32,
}

impl Config {
    pub(crate) fn parse(text: &str) -> Self {
        let mut config =
            Self { servers: Vec::new(), search: Vec::new(), ndots: 1, timeout: Duration::from_secs(5), attempts: 2 };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => config.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok())),
                Some("search" | "domain") => {
                    config.search =
                        words.take(MAX_SEARCHES).map(|domain| domain.trim_matches('.').to_owned()).collect();
                    config.search.retain(|domain| !domain.is_empty());
                }
                Some("options") => words.for_each(|word| config.set_option(word)),
                _ => {}
            }
        }
        config.servers.truncate(MAX_SERVERS);
        config
    }

    /// Within the limits of the C library.
    fn set_option(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else { return };
        let Ok(value) = value.parse::<u32>() else { return };
        match name {
            "ndots" => self.ndots = value.min(15) as usize,
            "timeout" => self.timeout = Duration::from_secs(value.clamp(1, 30).into()),
            "attempts" => self.attempts = value.clamp(1, 5),
            _ => {}
        }
    }

    /// The full names that `name` may mean, in the order in which they are asked for.
    pub(crate) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let mut candidates: Vec<_> = self.search.iter().map(|domain| format!("{name}.{domain}")).collect();
        let dots = name.matches('.').count();
        let place = if dots >= self.ndots { 0 } else { candidates.len() };
        candidates.insert(place, name.to_owned());
        candidates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_pod_is_understood() {
        let config = Config::parse(
            "# made by a kubelet\nsearch default.svc.cluster.local svc.cluster.local. .\nnameserver 10.96.0.10\n\
             nameserver nonsense\nnameserver ::1\noptions ndots:5 edns0 timeout:60 attempts:0\n",
        );
        assert_eq!(config.servers, ["10.96.0.10".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(config.search, ["default.svc.cluster.local", "svc.cluster.local"]);
        assert_eq!((config.ndots, config.timeout, config.attempts), (5, Duration::from_secs(30), 1));
    }

    #[test]
    fn an_empty_file_has_the_usual_defaults() {
        let config = Config::parse("");
        assert_eq!((config.ndots, config.timeout, config.attempts), (1, Duration::from_secs(5), 2));
        assert!(config.servers.is_empty());
        assert_eq!(config.candidates("a"), ["a"]);
    }

    #[test]
    fn ndots_decides_whether_the_name_or_the_search_list_comes_first() {
        let config = Config::parse("search x y\noptions ndots:2");
        for (name, expected) in [
            ("a", &["a.x", "a.y", "a"][..]),
            ("a.b", &["a.b.x", "a.b.y", "a.b"]),
            ("a.b.c", &["a.b.c", "a.b.c.x", "a.b.c.y"]),
            ("a.", &["a"]),
        ] {
            assert_eq!(config.candidates(name), expected, "{name}");
        }
    }

    #[test]
    fn only_so_many_servers_and_domains_count() {
        let text = "nameserver 1.1.1.1\n".repeat(9) + "search " + &"x ".repeat(99);
        let config = Config::parse(&text);
        assert_eq!((config.servers.len(), config.search.len()), (MAX_SERVERS, MAX_SEARCHES));
    }
}
