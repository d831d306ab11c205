//! `cp`: uutils' own, but for permissions and owners. WASI cannot set them, and uutils' fails where it is asked to
//! preserve them: `-a` and `-p` preserve times here.

use std::ffi::OsString;

/// Letters of options that have a value.
const WITH_VALUE: [char; 2] = ['S', 't'];
const TIMES: &str = "--preserve=timestamps";

/// Runs uutils' `cp`.
pub(crate) fn uumain(arguments: std::vec::IntoIter<OsString>) -> i32 {
    uu_cp::uumain(rewritten(arguments).into_iter())
}

fn rewritten(mut arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut output = Vec::new();
    output.extend(arguments.next());
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--") => {
                output.push(argument);
                break;
            }
            Some("--archive") => output.extend(["-dR", TIMES].map(OsString::from)),
            Some("--preserve") => output.push(TIMES.into()),
            Some(option) if option.starts_with("--preserve=") => {
                let kept = |attribute: &&str| matches!(*attribute, "timestamps" | "links");
                let all = option.split('=').nth(1).unwrap_or_default().replace("all", "timestamps,links");
                let attributes: Vec<&str> = all.split(',').filter(kept).collect();
                if !attributes.is_empty() {
                    output.push(format!("--preserve={}", attributes.join(",")).into());
                }
            }
            Some(option) if option.starts_with('-') && !option.starts_with("--") && option.len() > 1 => {
                letters(&option[1..], &mut output);
                if option.ends_with(WITH_VALUE) {
                    output.extend(arguments.next());
                }
            }
            _ => output.push(argument),
        }
    }
    output.extend(arguments);
    output
}

/// Short options in one argument.
fn letters(letters: &str, output: &mut Vec<OsString>) {
    let end = letters.find(WITH_VALUE).unwrap_or(letters.len());
    let (flags, rest) = letters.split_at(end);
    if flags.contains(['a', 'p']) {
        output.push(TIMES.into());
    }
    let kept = flags.replace('a', "dR").replace('p', "") + rest;
    if !kept.is_empty() {
        output.push(format!("-{kept}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], expected: &[&str]) {
        let arguments = ["cp"].iter().chain(arguments).map(OsString::from);
        let expected: Vec<OsString> = ["cp"].iter().chain(expected).map(OsString::from).collect();
        assert_eq!(rewritten(arguments), expected);
    }

    #[test]
    fn only_times_are_preserved() {
        check(&["-a", "x", "y"], &[TIMES, "-dR", "x", "y"]);
        check(&["-rpf", "x", "y"], &[TIMES, "-rf", "x", "y"]);
        check(&["-p", "--", "-a", "y"], &[TIMES, "--", "-a", "y"]);
        check(&["-t", "-a", "x"], &["-t", "-a", "x"]);
        check(&["--preserve=mode,timestamps", "x", "y"], &[TIMES, "x", "y"]);
        check(&["--preserve=mode", "x", "y"], &["x", "y"]);
    }
}
