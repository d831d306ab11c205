//! What `nc` can be told.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::time::Duration;

use lexopt::prelude::*;

/// What the arguments say.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) listen: bool,
    pub(super) keep_listening: bool,
    pub(super) udp: bool,
    /// Only find out whether somebody listens.
    pub(super) scan: bool,
    pub(super) verbose: u32,
    /// For a connection, and for what comes after the end of standard input.
    pub(super) timeout: Option<Duration>,
    /// The address to listen on.
    pub(super) source: Option<String>,
    pub(super) host: String,
    local_port: Option<u16>,
    ranges: Vec<RangeInclusive<u16>>,
}

impl Options {
    pub(super) fn parse(arguments: Vec<OsString>) -> Result<Self, lexopt::Error> {
        let mut options = Self::default();
        let mut values = Vec::new();
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Short('l') => options.listen = true,
                Short('k') => options.keep_listening = true,
                Short('u') => options.udp = true,
                Short('z') => options.scan = true,
                Short('v') => options.verbose += 1,
                Short('w') => options.timeout = Some(Duration::from_secs(parser.value()?.parse()?)),
                Short('p') => options.local_port = Some(parser.value()?.parse()?),
                Short('s') => options.source = Some(parser.value()?.string()?),
                // Names are looked up only where they are names.
                Short('n') => {}
                Short('e') => return Err("-e: programs of this kind cannot start others here".into()),
                Value(value) => values.push(value.string()?),
                _ => return Err(argument.unexpected()),
            }
        }
        options.take_values(values)?;
        Ok(options)
    }

    fn take_values(&mut self, mut values: Vec<String>) -> Result<(), String> {
        if self.listen {
            // `nc -l PORT` is how other versions have it.
            if self.local_port.is_none()
                && let Some(port) = values.pop()
            {
                self.local_port = Some(port.parse().map_err(|_| format!("bad port '{port}'"))?);
            }
            return self.listening_port().map(drop);
        }
        if values.len() < 2 {
            return Err("usage: nc [-nuvz] [-w SEC] HOST PORT, or nc -l [-kuv] [-w SEC] -p PORT".to_owned());
        }
        self.host = values.remove(0);
        self.ranges = values.iter().map(|value| range(value)).collect::<Result<_, _>>()?;
        Ok(())
    }

    pub(super) fn listening_port(&self) -> Result<u16, String> {
        self.local_port.ok_or_else(|| "-l needs a port: nc -l -p PORT".to_owned())
    }

    /// The ports to connect to, in the order given.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        self.ranges.iter().cloned().flatten()
    }

    /// Whether there may be more than one port.
    pub(super) fn has_range(&self) -> bool {
        self.ports().nth(1).is_some()
    }
}

/// `PORT` or `FIRST-LAST`.
fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last && first > 0 => Ok(first..=last),
        _ => Err(format!("bad port '{text}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(OsString::from).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn hosts_and_ports_are_found() {
        let options = parse("-zvv -w 3 web 80-82 443").unwrap();
        assert_eq!(options.ports().collect::<Vec<_>>(), [80, 81, 82, 443]);
        assert_eq!((options.host.as_str(), options.verbose, options.scan), ("web", 2, true));
        assert_eq!(options.timeout, Some(Duration::from_secs(3)));
        assert!(options.has_range());
        assert!(!parse("web 80").unwrap().has_range());
        for line in ["-l -p 80", "-lp80", "-l 80", "-l -p 80 web 81"] {
            assert_eq!(parse(line).unwrap().listening_port(), Ok(80), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (line, problem) in [
            ("web", "usage: nc"),
            ("web x", "bad port 'x'"),
            ("web 0", "bad port '0'"),
            ("web 9-8", "bad port '9-8'"),
            ("web 70000", "bad port '70000'"),
            ("-l", "-l needs a port"),
            ("-e sh web 80", "-e: "),
        ] {
            let actual = parse(line).unwrap_err();
            assert!(actual.starts_with(problem), "{line}: {actual}");
        }
    }
}
