//! `getent`, `groups`, `hostname`, `id` and `whoami`.

use std::ffi::OsString;
use std::fs;

use crate::accounts::{self, Identity};
use crate::failure::Failure;
use crate::options::{flags, text};

pub(crate) const ID_USAGE: &str = "id [-ugGnr] [USER]

Print who this process, or USER, is

  -u  User    -g  Group    -G  All groups    -n  Names, not numbers";

pub(crate) const WHOAMI_USAGE: &str = "whoami

Print this process's user";

pub(crate) const GROUPS_USAGE: &str = "groups [USER]

Print the groups of this process, or of USER";

pub(crate) const HOSTNAME_USAGE: &str = "hostname [-fsid]

Print the pod's name

  -s  Up to the first dot    -f  With its domain    -i  Its addresses    -d  Its domain";

pub(crate) const GETENT_USAGE: &str = "getent passwd|group|hosts [KEY]...

Print lines of /etc/passwd, /etc/group or /etc/hosts";

/// Who an operand, or this process, is.
fn asked(operands: &[OsString]) -> Result<Identity, Failure> {
    let Some(name) = operands.first() else { return Ok(accounts::identity()) };
    let name = text(name.clone())?;
    let known = accounts::users().into_iter().find(|user| user.name == name || user.uid.to_string() == name);
    let user = known.ok_or_else(|| Failure::Usage(format!("'{name}': no such user")))?;
    let mut groups = vec![user.gid];
    let has = |group: &accounts::Group| group.members.contains(&user.name) && group.gid != user.gid;
    groups.extend(accounts::groups().iter().filter(|group| has(group)).map(|group| group.gid));
    Ok(Identity { uid: user.uid, gid: user.gid, groups })
}

pub(crate) fn id(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let long = [("user", 'u'), ("group", 'g'), ("groups", 'G'), ("name", 'n'), ("real", 'r'), ("zero", 'z')];
    let (flags, operands) = flags(arguments, "ugGnrz", &long)?;
    let identity = asked(&operands)?;
    let named = flags.contains('n');
    let user = |uid: u32| if named { accounts::user_name(uid) } else { uid.to_string() };
    let group = |gid: u32| if named { accounts::group_name(gid) } else { gid.to_string() };
    if flags.contains('u') {
        println!("{}", user(identity.uid));
    } else if flags.contains('g') {
        println!("{}", group(identity.gid));
    } else if flags.contains('G') {
        println!("{}", identity.groups.iter().map(|gid| group(*gid)).collect::<Vec<_>>().join(" "));
    } else if named {
        return Err(Failure::usage("cannot print only names or real IDs in default format"));
    } else {
        let with_name = |number: u32, name: String| {
            if name == number.to_string() { name } else { format!("{number}({name})") }
        };
        let group = |gid: u32| with_name(gid, accounts::group_name(gid));
        let groups: Vec<_> = identity.groups.iter().map(|gid| group(*gid)).collect();
        let user = with_name(identity.uid, accounts::user_name(identity.uid));
        println!("uid={user} gid={} groups={}", group(identity.gid), groups.join(","));
    }
    Ok(0)
}

pub(crate) fn whoami(arguments: Vec<OsString>) -> Result<u8, Failure> {
    flags(arguments, "", &[])?;
    let uid = accounts::identity().uid;
    let name = accounts::user_name(uid);
    if name == uid.to_string() {
        return Err(Failure::Usage(format!("cannot find name for user ID {uid}")));
    }
    println!("{name}");
    Ok(0)
}

pub(crate) fn groups(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (_, operands) = flags(arguments, "", &[])?;
    let groups = asked(&operands)?.groups;
    println!("{}", groups.into_iter().map(accounts::group_name).collect::<Vec<_>>().join(" "));
    Ok(0)
}

pub(crate) fn hostname(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let long = [("fqdn", 'f'), ("long", 'f'), ("short", 's'), ("ip-address", 'i'), ("domain", 'd')];
    let (flags, operands) = flags(arguments, "fsiId", &long)?;
    if !operands.is_empty() {
        return Err(Failure::usage("sethostname: Operation not permitted"));
    }
    let name = fs::read_to_string("/etc/hostname").map_err(Failure::at("/etc/hostname"))?.trim_end().to_owned();
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let lines =
        hosts.lines().map(|line| line.split('#').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>());
    let own: Vec<Vec<&str>> = lines.filter(|words| words.iter().skip(1).any(|word| *word == name)).collect();
    let full = own.iter().flatten().find(|word| word.starts_with(&format!("{name}."))).copied().unwrap_or(&name);
    let shown = match flags.chars().last() {
        Some('s') => name.split('.').next().unwrap_or_default().to_owned(),
        Some('f') => full.to_owned(),
        Some('d') => full.split_once('.').map_or("", |(_, domain)| domain).to_owned(),
        Some('i' | 'I') => own.iter().filter_map(|words| words.first().copied()).collect::<Vec<_>>().join(" "),
        _ => name,
    };
    println!("{shown}");
    Ok(0)
}

pub(crate) fn getent(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (_, operands) = flags(arguments, "", &[])?;
    let words = operands.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let Some((database, keys)) = words.split_first() else {
        return Err(Failure::missing_operand());
    };
    let (path, hosts) = match database.as_str() {
        "passwd" | "group" => (format!("/etc/{database}"), false),
        "hosts" | "ahosts" | "ahostsv4" => ("/etc/hosts".to_owned(), true),
        _ => return Err(Failure::Usage(format!("Unknown database: {database}"))),
    };
    let contents = fs::read_to_string(&path).map_err(Failure::at(&path))?;
    let lines: Vec<&str> = contents.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let is = |line: &str, key: &String| {
        if hosts {
            return line.split_whitespace().any(|word| word == key);
        }
        let mut fields = line.split(':');
        fields.next().is_some_and(|name| name == key) || fields.nth(1).is_some_and(|number| number == key)
    };
    if keys.is_empty() {
        lines.iter().for_each(|line| println!("{line}"));
    }
    let mut code = 0;
    for key in keys {
        match lines.iter().find(|line| is(line, key)) {
            Some(line) => println!("{line}"),
            None => code = 2,
        }
    }
    Ok(code)
}
