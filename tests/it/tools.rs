//! The tools of the built-in image: what people who know busybox and the coreutils rely on. Many commands run in few
//! pods; where this machine has the same tool, what that one says is what is expected.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use k8s_openapi::api::core::v1::Pod;

use crate::support::{Husk, guest_file, pod, termination};

/// What a command printed, standard error and output in no certain order, and its exit code.
#[derive(Debug, PartialEq)]
struct Result {
    lines: Vec<String>,
    code: i32,
}

/// The words of a command: single quotes keep blanks.
fn words(command: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    for (number, part) in command.split('\'').enumerate() {
        if number % 2 == 1 {
            if open {
                words.last_mut().unwrap().push_str(part);
            } else {
                words.push(part.to_owned());
            }
            open = true;
            continue;
        }
        let mut first = true;
        for word in part.split_whitespace() {
            if first && open && !part.starts_with(char::is_whitespace) {
                words.last_mut().unwrap().push_str(word);
            } else {
                words.push(word.to_owned());
            }
            first = false;
        }
        open = !part.is_empty() && !part.ends_with(char::is_whitespace);
    }
    words
}

/// A pod with a container for each command, all in `/w`, which is the test's directory `w`.
fn manifest(husk: &Husk, kind: &str, commands: &[&str]) -> String {
    let mut yaml = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  restartPolicy: Never\n  volumes: [{{name: w, hostPath: \
         {{path: {}}}}}]\n  {kind}:\n",
        husk.dir().join("w").display()
    );
    for (number, command) in commands.iter().enumerate() {
        let command = serde_json::to_string(&words(command)).unwrap();
        yaml += &format!(
            "    - {{name: c{number:03}, image: busybox, workingDir: /w, command: {command}, volumeMounts: [{{name: w, \
             mountPath: /w}}]}}\n"
        );
    }
    if kind == "initContainers" {
        yaml += "  containers: [{name: end, image: busybox, command: ['true']}]\n";
    }
    yaml
}

/// Runs commands side by side.
fn run(husk: &Husk, commands: &[&str]) -> Vec<Result> {
    let outcome = husk.run(&manifest(husk, "containers", commands), &["-o", "json"]);
    let pod: Pod = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
    let result = |number: usize| {
        let name = format!("c{number:03}");
        let own = |line: &str| line.strip_prefix(&format!("{name} | ")).map(str::to_owned);
        Result { lines: outcome.stderr.lines().filter_map(own).collect(), code: termination(&pod, &name).0 }
    };
    (0..commands.len()).map(result).collect()
}

/// Runs commands one after the other; all must succeed.
fn run_in_order(husk: &Husk, commands: &[&str]) {
    husk.run(&manifest(husk, "initContainers", commands), &[]).ok();
}

/// Files to work on.
fn files(husk: &Husk) {
    husk.write("w/text", "foo bar\nbaz qux\nFOO x\n\nab ab\nlast");
    husk.write("w/numbers", (1..=30).map(|number| format!("{number}\n")).collect::<String>());
    husk.write("w/pairs", "b 2\na 1\nc 3\na 1\n");
    husk.write("w/accounts", "root:x:0:0\nfoo:y:10:20\nbar:z:5:7\n");
    husk.write("w/tree/a.txt", "hi\n");
    husk.write("w/tree/deep/b.log", "hidden hi\n");
    husk.write("w/tree/deep/c d.txt", "");
    symlink("a.txt", husk.dir().join("w/tree/link")).unwrap();
}

/// Runs commands with husk's tools and this machine's, and compares.
fn compare(commands: &str) {
    let husk = Husk::new();
    files(&husk);
    let commands: Vec<&str> = commands.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let expected = |command: &&str| {
        let words = words(command);
        let mut program = Command::new(&words[0]);
        program.args(&words[1..]).current_dir(husk.dir().join("w")).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        let output = program.output().unwrap_or_else(|error| panic!("{}: {error}", words[0]));
        let text = String::from_utf8(output.stdout).unwrap();
        Result { lines: text.lines().map(str::to_owned).collect(), code: output.status.code().unwrap() }
    };
    let expected: Vec<Result> = commands.iter().map(expected).collect();
    let mut differences = Vec::new();
    for ((command, mut expected), mut found) in commands.iter().zip(expected).zip(run(&husk, &commands)) {
        // Folders are listed in no certain order.
        if command.starts_with("find") || command.starts_with("grep -r") {
            expected.lines.sort();
            found.lines.sort();
        }
        if expected != found {
            differences.push(format!("{command}\n  expected {expected:?}\n  found    {found:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Whether this machine's tools are GNU's, which the expectations of [`compare`] are.
#[expect(clippy::print_stdout, reason = "a test that cannot run here says so")]
fn has_gnu_tools(test: &str) -> bool {
    let output = Command::new("sort").arg("--version").output();
    let gnu = output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("GNU coreutils"));
    if !gnu {
        println!("not run here: {test}: this machine's tools are not GNU's");
    }
    gnu
}

#[test]
fn words_of_a_command() {
    assert_eq!(words("a 'b c' d"), ["a", "b c", "d"]);
    assert_eq!(words("awk '{ x }' ''"), ["awk", "{ x }", ""]);
    assert_eq!(words("a -d'x y' z"), ["a", "-dx y", "z"]);
}

#[test]
fn coreutils_do_as_gnu_does() {
    if !has_gnu_tools("coreutils_do_as_gnu_does") {
        return;
    }
    compare(
        "base64 text
        basename /a/b.txt .txt
        cat -A text
        cat -n text
        cksum text
        comm tree/a.txt tree/a.txt
        cut -d: -f1,3 accounts
        date -u -d @0 +%FT%T
        dd if=text bs=4 count=2 skip=1 status=none
        dirname /a/b
        du -b text
        echo -n a b
        expand pairs
        expr 3 + 4
        expr abc : 'a\\(.\\)'
        factor 12
        false
        fold -w3 text
        head -3 numbers
        head -c 5 text
        join pairs pairs
        ls
        ls -1R tree
        ls -d tree
        ls -F tree
        ls tree/a.txt text
        ls -r tree
        md5sum text
        nl text
        numfmt --to=iec 2048
        od -c text
        paste -d, numbers numbers
        printf '%05.1f|%s|%x\\n' 3.14159 x 255
        readlink tree/link
        seq 1 2 9
        sha1sum text
        sha256sum text
        sha512sum text
        sort -k2nr pairs
        sort -u pairs
        stat -c '%n %s %F %h' text tree tree/link
        sum text
        tac numbers
        tail -3 numbers
        tail -c 7 text
        tail -n +28 numbers
        test -f text
        test -d text
        test 1 -lt 2 -a ! -e none
        [ text -ef text ]
        tsort pairs
        unexpand -a text
        uniq -c pairs
        wc text numbers
        wc -l text",
    );
}

#[test]
fn find_grep_and_sed_do_as_gnu_does() {
    if !has_gnu_tools("find_grep_and_sed_do_as_gnu_does") {
        return;
    }
    compare(
        "find tree -name '*.txt' -size -2 -printf '%f %s %d %P\\n'
        find tree -maxdepth 1 -type l -o -empty
        find tree -path '*deep*' -prune -o -type f -print
        find tree -type f ! ( -name '*.log' -o -name 'c*' )
        find tree/deep -depth -name '*.log'
        find tree -regex '.*/[a-b]\\.\\(txt\\|log\\)' -name b.log
        find text -mtime -1 -newermt 2000-01-01
        find tree/a.txt -exec echo [{}] ;
        find tree/deep/b.log -execdir echo {} ;
        find numbers text -exec wc -l {} +
        find numbers -exec false ; -print
        find numbers -exec false {} +
        grep foo text
        grep -i -c foo text pairs
        grep -n -v o text
        grep -oE '[a-z]{2}' text
        grep -w ab text
        grep -x 'baz qux' text
        grep -A1 -B1 FOO text
        grep -C1 -n 1 numbers
        grep -l x text numbers accounts
        grep -L x text numbers accounts
        grep -E '^(foo|ab)' text
        grep 'a\\|F\\{1\\}O' text
        grep '\\(ab\\) \\1' text
        grep -E '(a)b \\1b' text
        grep -F . text
        grep -q nothing text
        grep -e foo -e last text
        grep -m2 1 numbers
        grep -c '' text
        grep '[[:upper:]]' text
        grep -rh hi tree/deep
        grep -b ab text
        grep '*' text
        grep -P '\\d(?=1)' numbers
        egrep 'a+?b' text
        fgrep -c 'a b' text
        sed -n 2p text
        sed 's/foo/[&]/g;s/a/b/2' text
        sed -e '/baz/d' -e '$a end' text
        sed '2,3!d' numbers
        sed -n '$=' numbers
        sed 'N;s/\\n/-/' numbers
        sed -E 's/([a-z])([a-z])/\\2\\1/' text
        sed y/abc/xyz/ text
        sed '1~3d' numbers
        sed ':a;N;$!ba;s/\\n/,/g' numbers
        sed -n '/5/,/7/p' numbers
        sed '3q' numbers
        sed 5q7 numbers
        sed -n '1!G;h;$p' numbers
        sed 's/O/o/2I' text
        diff text text
        diff pairs numbers
        cmp text pairs
        xargs -a pairs -n1 echo
        xargs -a text -I % echo [%]
        xargs -a numbers -P3 -n10 true
        xargs -a numbers -n1 false",
    );
}

/// Each with the lines it prints and its exit code.
#[track_caller]
fn check(husk: &Husk, expectations: &[(&str, &[&str], i32)]) {
    let commands: Vec<&str> = expectations.iter().map(|(command, ..)| *command).collect();
    for ((command, lines, code), found) in expectations.iter().zip(run(husk, &commands)) {
        let expected = Result { lines: lines.iter().map(|line| (*line).to_owned()).collect(), code: *code };
        assert_eq!(found, expected, "{command}");
    }
}

#[test]
fn awk_runs_the_programs_people_write() {
    let husk = Husk::new();
    files(&husk);
    let function = "awk 'function f(n) { return n < 2 ? 1 : n * f(n - 1) } BEGIN { print f(5) }'";
    check(
        &husk,
        &[
            ("awk '{ print $2, NR }' pairs", &["2 1", "1 2", "3 3", "1 4"], 0),
            ("awk -F: -v x=5 '$3 > x { print $1 } END { print NR }' accounts", &["foo", "3"], 0),
            ("awk '{ n[$1] += $2 } END { for (k in n) print k, n[k] }' pairs", &["b 2", "a 2", "c 3"], 0),
            ("awk 'NR==2, /FOO/' text", &["baz qux", "FOO x"], 0),
            ("awk '!seen[$0]++' pairs", &["b 2", "a 1", "c 3"], 0),
            (function, &["120"], 0),
            ("awk 'BEGIN { printf(\"%05.2f|%-4s|%c%d\\n\", 3.14159, \"ab\", 65, \"7x\") }'", &["03.14|ab  |A7"], 0),
            ("awk '{ gsub(/a/, \"[&]\"); print; exit 3 }' pairs", &["b 2"], 3),
            ("awk 'BEGIN { while ((getline l < \"pairs\") > 0) n++; print n }'", &["4"], 0),
            ("awk 'BEGIN { print length(x), x + 0, (x == \"\"), 1e6, 0.1 + 0.2 }'", &["0 0 1 1000000 0.3"], 0),
            (
                "awk 'BEGIN { n = split(\"a:b\", p, \":\"); print n, p[2], substr(\"hello\", 2, 3), index(\"ab\", \"b\") }'",
                &["2 b ell 2"],
                0,
            ),
            ("awk '{ $3 = \"z\"; print; exit }' OFS=- pairs", &["b-2-z"], 0),
            (
                "awk 'BEGIN { print > \"/w/out\"; close(\"/w/out\"); getline x < \"/w/out\"; print \"[\" x \"]\" }'",
                &["[]"],
                0,
            ),
            ("awk 'BEGIN { if (1) { print 1 }'", &["awk: syntax error at source line 1: unexpected end of program"], 2),
            ("awk '{ print }' none", &["awk: cannot open \"none\" (No such file or directory)"], 2),
        ],
    );
}

#[test]
fn programs_that_run_programs_pass_on_how_they_end() {
    let husk = Husk::new();
    files(&husk);
    check(
        &husk,
        &[
            ("env -i A=1 printenv A", &["1"], 0),
            ("env -u HOME printenv HOME", &[], 1),
            ("env -C /w/tree pwd", &["/w/tree"], 0),
            ("env none", &["env: none: No such file or directory"], 127),
            ("env /etc/passwd", &["env: /etc/passwd: Permission denied"], 126),
            ("timeout 0.2 sleep 100", &[], 124),
            ("timeout -s KILL 0.2 sleep 100", &[], 137),
            ("timeout 100 false", &[], 1),
            ("timeout 100 env timeout 0.1 sleep 100", &[], 124),
            ("nohup echo hi", &["hi"], 0),
            ("nice -n 5 echo hi", &["hi"], 0),
            ("setsid -w false", &[], 1),
            ("xargs -a pairs -n1 none", &["xargs: none: No such file or directory"], 127),
            ("timeout 100 kill -0 1", &[], 0),
            ("timeout 100 kill 99", &["kill: can't kill pid 99: No such process"], 1),
            ("timeout 100 pgrep -x timeout", &["1"], 0),
            ("timeout 100 pidof timeout", &["1"], 0),
            ("timeout 100 ps -o pid,ppid,comm", &["  PID  PPID COMMAND", "    1     0 timeout", "    2     1 ps"], 0),
            // What env runs, it becomes.
            ("env ps -o pid,ppid,comm", &["  PID  PPID COMMAND", "    1     0 ps"], 0),
            ("id", &["uid=0(root) gid=0(root) groups=0(root)"], 0),
            ("whoami", &["root"], 0),
            ("hostname", &["p"], 0),
            ("which ls none", &["/usr/bin/ls"], 1),
            ("/usr/bin/env true", &[], 0),
            ("kill -l TERM", &["15"], 0),
        ],
    );
}

#[test]
fn files_are_made_copied_moved_packed_and_removed() {
    let husk = Husk::new();
    files(&husk);
    run_in_order(
        &husk,
        &[
            "mkdir -p x/y/z",
            "cp -a tree x/copy",
            "cp -p text x/text",
            "mv x/text x/y/moved",
            "ln -s y/moved x/soft",
            "ln x/y/moved x/hard",
            "touch -d @1000000000 x/y/z/old",
            "tar -czf x/packed.tgz --exclude=*.log -C tree .",
            "mkdir x/unpacked",
            "tar xf x/packed.tgz -C x/unpacked",
            "gzip -k numbers",
            "gunzip -f -k numbers.gz",
            "sed -i.old s/foo/changed/ text",
            "truncate -s 3 pairs",
            "split -l 20 numbers x/part-",
            "dd if=/bin/busybox of=x/program bs=64k status=none",
            "install -D accounts x/in/stalled",
            "find tree -name '*.txt' -delete",
            "rm -r tree/deep",
        ],
    );
    let w = husk.dir().join("w");
    let read = |path: &str| fs::read_to_string(w.join(path)).unwrap();
    assert_eq!(read("x/copy/deep/b.log"), "hidden hi\n");
    assert_eq!(fs::read_link(w.join("x/copy/link")).unwrap(), Path::new("a.txt"));
    assert_eq!(read("x/soft"), read("text.old"));
    assert_eq!(read("x/hard"), read("text.old"));
    assert!(!w.join("x/text").exists());
    assert_eq!(read("text"), "changed bar\nbaz qux\nFOO x\n\nab ab\nlast");
    let old = fs::metadata(w.join("x/y/z/old")).unwrap().modified().unwrap();
    assert_eq!(old.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1_000_000_000);
    assert_eq!(read("x/unpacked/a.txt"), "hi\n");
    assert!(w.join("x/unpacked/deep/c d.txt").exists() && !w.join("x/unpacked/deep/b.log").exists());
    assert_eq!(read("numbers").lines().count(), 30);
    assert_eq!(read("pairs"), "b 2");
    assert_eq!(read("x/part-ab").lines().next(), Some("21"));
    assert_eq!(read("x/in/stalled"), read("accounts"));
    assert_eq!(fs::read(w.join("x/program")).unwrap(), fs::read(guest_file("builtin", "busybox")).unwrap());
    let left: Vec<_> = fs::read_dir(w.join("tree")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["link"]);
}

#[test]
fn archives_cannot_reach_outside_of_the_directory() {
    let husk = Husk::new();
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind: tar::EntryType, target: &str| {
        let mut header = tar::Header::new_old();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o644);
        if !target.is_empty() {
            header.set_link_name(target).unwrap();
        }
        header.set_cksum();
        archive.append(&header, std::io::empty()).unwrap();
    };
    add("../above", tar::EntryType::Regular, "");
    add("/w/absolute", tar::EntryType::Regular, "");
    add("link", tar::EntryType::Symlink, "/w");
    add("link/through", tar::EntryType::Regular, "");
    add("good", tar::EntryType::Regular, "");
    husk.write("w/evil.tar", archive.into_inner().unwrap());
    husk.write("w/into/here", "");
    let found = run(&husk, &["tar -x -f evil.tar -C into"]);
    assert_eq!(found[0].code, 2, "{found:?}");
    assert!(found[0].lines.iter().any(|line| line == "tar: ../above: name contains '..', skipping"), "{found:?}");
    let exists = |path: &str| husk.dir().join("w").join(path).exists();
    assert!(!exists("above") && !exists("absolute") && !exists("through"));
    assert!(exists("into/good") && exists("into/w/absolute"));
}

#[test]
fn busybox_says_what_it_has() {
    let husk = Husk::new();
    let list = husk.run(&pod("busybox", &[], "command: [busybox, --list]"), &["--no-prefix", "-q"]).ok();
    let applets: Vec<&str> = list.lines().collect();
    for applet in ["[", "awk", "cat", "find", "grep", "ls", "ps", "sed", "tar", "xargs"] {
        assert!(applets.contains(&applet), "{applet} is missing in {list}");
    }
    husk.write("w/list", &list);
    let results = run(
        &husk,
        &["xargs -a list -I {} busybox {} --help", "busybox", "busybox echo hi", "busybox none", "busybox ls none"],
    );
    assert_eq!(results[0].code, 0, "{:?}", results[0]);
    let untranslated = |line: &&String| line.contains("-about") || line.contains("-usage") || line.contains("-help-");
    assert_eq!(results[0].lines.iter().find(untranslated), None, "a message was not put in");
    assert!(results[1].lines[0].starts_with("Usage: busybox"), "{:?}", results[1]);
    assert_eq!(results[2], Result { lines: vec!["hi".to_owned()], code: 0 });
    assert_eq!(results[3], Result { lines: vec!["none: applet not found".to_owned()], code: 127 });
    assert_eq!(
        results[4],
        Result { lines: vec!["ls: cannot access 'none': No such file or directory".to_owned()], code: 2 }
    );
}
