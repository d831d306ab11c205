//! Permission bits as a guest sees them: what is made, copied, packed and changed has the modes it has on Linux, and
//! what may be executed runs.

use std::fs;
use std::process::Command;

use crate::support::{Husk, guest_file};

/// What a user might type, run where husk's files are of each kind, and by this machine's own shell.
const SCRIPT: &str = r#"
umask 022
show() { stat -c '%n %a' "$@"; }
printf '#!/bin/sh\necho ran "$@"\n' > s
./s 2>/dev/null; echo $?
chmod +x s; show s; ./s one
test -x s && echo may; chmod -x s; test -x s || echo may not; [ -x . ] && echo folder
chmod 755 s; cp s copied; cp s f; chmod 644 f; cp s f; show copied f
umask 077; cp s masked; cp -p s kept; show masked kept; umask 022
touch made; mkdir folder; (umask 027; touch by-subshell; mkdir folder-by-subshell; echo $(umask)); umask
: > after; show made folder by-subshell folder-by-subshell after
umask u=rwx,g=rx,o=; umask; umask -S; echo x >> appended; show appended; umask 022
(umask 002; sh -c 'umask; echo > from-child') ; show from-child
mkdir -m 700 m; mkdir -p -m 711 p/q; show m p p/q
install -m 640 s i; install s i2; install -d -m 750 i3; show i i2 i3
chmod 741 s; chmod 1770 folder; ln -s s folder/link; cp s folder/s; chmod 4700 folder/s; chmod 700 folder/s
mkdir t u; tar cf - s folder | tar xpf - -C t; tar cf a.tar s folder; cat a.tar | tar xmf - -C u
show t/s t/folder t/folder/s u/s u/folder; t/s two
sed -i s/ran/RAN/ s; show s; ./s
gzip -k s; show s.gz; mv s moved; show moved; mv moved s
file=$(mktemp); stat -c %a $file; rm $file; dir=$(mktemp -d); stat -c %a $dir; rmdir $dir
chmod u=rw,go=r s; show s; chmod a+x,o-r s; show s; chmod --reference=i3 s; show s; chmod g=u s; show s
ln -s s l; chmod 715 l; show s; stat -c %a l; chmod -R go-rwx p; show p p/q
ls -ld s folder | cut -c1-10
find . -maxdepth 1 -perm 715; find p -perm /077; find . -maxdepth 1 -type f -executable | sort
cp -r folder tree; show tree; cp -a folder exact; show exact exact/s; mv tree exact/; show exact/tree
cp /bin/sh shell; ./shell -c 'echo this is $0'
chmod 000 i; chmod 644 i; show i
cp -n i i2; show i2; cp --remove-destination i i2; show i2
"#;

/// Runs a script in a pod, in the directories `places`, each fresh.
fn in_pod(husk: &Husk, script: &str, places: &[&str]) -> String {
    let script = places
        .iter()
        .map(|place| format!("mkdir -p {place}; cd {place}; echo == {place}; (\n{script}\n) || exit\n"))
        .collect::<String>();
    husk.write("w/script", &script);
    let yaml = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  restartPolicy: Never\n  containers:\n  \
         - name: c\n    image: busybox\n    command: [sh, /w/script]\n    volumeMounts:\n    \
         - {{name: w, mountPath: /w}}\n    - {{name: memory, mountPath: /memory}}\n    \
         - {{name: guests, mountPath: /guests, readOnly: true}}\n  volumes:\n  \
         - {{name: w, hostPath: {{path: {}}}}}\n  - {{name: memory, emptyDir: {{medium: Memory, sizeLimit: 64Mi}}}}\n  \
         - {{name: guests, hostPath: {{path: {}}}}}\n",
        husk.dir().join("w").display(),
        guest_file("p2", "files").parent().unwrap().display(),
    );
    husk.run(&yaml, &["-q", "--no-prefix"]).ok()
}

#[test]
fn modes_are_what_they_are_on_linux() {
    let husk = Husk::new();
    let places = ["/tmp/x", "/w/x", "/memory/x"];
    let found = in_pod(&husk, SCRIPT, &places);
    let machine = husk.dir().join("machine");
    fs::create_dir(&machine).unwrap();
    let output = Command::new("sh").args(["-c", SCRIPT]).current_dir(machine).env("LC_ALL", "C").output().unwrap();
    let expected = String::from_utf8(output.stdout).unwrap();
    assert!(expected.contains("s 755\nran one\n"), "{expected}");
    for (place, found) in places.iter().zip(found.split("== ").skip(1)) {
        let found = found.strip_prefix(&format!("{place}\n")).unwrap();
        assert_eq!(found, expected, "in {place}");
    }
}

#[test]
fn files_belong_to_root_and_stay_so() {
    let husk = Husk::new();
    let script = "echo x > f; chown root f && chown 0:0 f && chgrp root f && chown -R root:root . && echo given to root
chown 1000 f; echo $?; chown -h :1000 f 2>&1; stat -c '%u %g %U' f
chmod 600 /proc/1/comm; chmod 600 /dev/null 2>&1; echo $?; chmod 4755 f; stat -c %a f";
    let found = in_pod(&husk, &format!("exec 2>&1\n{script}"), &["/tmp/x", "/w/x"]);
    let expected = |mode| {
        format!(
            "given to root\nchown: f: Operation not permitted\n1\nchown: f: Operation not permitted\n0 0 root\n\
             chmod: /proc/1/comm: Read-only file system\nchmod: /dev/null: Operation not permitted\n1\n{mode}\n"
        )
    };
    // On the host nobody may act as husk's user by running a guest's file.
    assert_eq!(found, format!("== /tmp/x\n{}== /w/x\n{}", expected("4755"), expected("755")));
}

#[test]
fn programs_that_know_nothing_of_modes_have_a_umask_all_the_same() {
    let husk = Husk::new();
    let script = "cp /guests/files.wasm f; chmod +x f; (umask 077; ./f write /tmp/x/own x , mkdir /tmp/x/d); ./f write /tmp/x/usual x
stat -c '%n %a' own d usual";
    let found = in_pod(&husk, script, &["/tmp/x"]);
    assert!(found.ends_with("own 600\nd 700\nusual 644\n"), "{found}");
}
