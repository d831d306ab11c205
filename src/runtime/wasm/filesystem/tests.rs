//! Real guests on `wasi:filesystem` 0.2, and the same program as a 0.1 module: what each prints must agree.

use super::testing::{Guest, Outcome};

/// Runs `files` with `script` (commands separated by `,`) as both levels and compares the lines each prints.
async fn check(script: &str, expected: &[&str]) {
    let arguments: Vec<&str> = script.split_whitespace().collect();
    for level in ["p1/files", "p2/files"] {
        let Outcome { stdout, stderr, .. } = Guest::new(&arguments).run(level).await;
        let results: Vec<&str> =
            stdout.lines().filter_map(|line| line.split_once(": ").map(|(_, result)| result)).collect();
        assert_eq!(results, expected, "{level}: {script}\n{stdout}{stderr}");
    }
}

#[tokio::test]
async fn files_are_written_read_appended_and_cut() {
    check(
        "write /a one , append /a +two , read /a , stat /a , truncate /a 3 , read a , seek /a 1 1 , truncate /a 5 , read /a",
        &["ok", "ok", r#""one+two""#, "file 7 bytes", "ok", r#""one""#, r#""n""#, "ok", r#""one\0\0""#],
    )
    .await;
}

#[tokio::test]
async fn directories_are_made_listed_and_removed_with_all_below() {
    check(
        "mkdirs /a/b/c , write /a/b/f x , write /a/g y , list /a , list /a/b , rmdir /a , rmtree /a , exists /a , list /a",
        // std for WASI has no kind for ENOTEMPTY.
        &["ok", "ok", "ok", "b/ g", "c/ f", "error Uncategorized", "ok", "false", "error NotFound"],
    )
    .await;
}

#[tokio::test]
async fn names_are_moved_linked_and_removed() {
    check(
        "write /a one , rename /a /b , exists /a , link /b /c , append /c +two , read /b , remove /b , read /c , copy /c /d , remove /x",
        &["ok", "ok", "false", "ok", "ok", r#""one+two""#, "ok", r#""one+two""#, "7 bytes", "error NotFound"],
    )
    .await;
}

#[tokio::test]
async fn symlinks_lead_anywhere_in_the_container_and_nowhere_out_of_it() {
    check(
        "mkdir /d , write /f top , symlink /f /d/absolute , symlink ../f /d/relative , symlink ../../../../f /d/up , \
         read /d/absolute , read /d/relative , read /d/up , readlink /d/absolute , lstat /d/relative , read /d/../f , \
         read /../../f , symlink /loop /loop , read /loop",
        &[
            "ok",
            "ok",
            "ok",
            "ok",
            "ok",
            r#""top""#,
            r#""top""#,
            r#""top""#,
            "/f",
            "symlink 4 bytes",
            r#""top""#,
            r#""top""#,
            "ok",
            "error FilesystemLoop",
        ],
    )
    .await;
}

#[tokio::test]
async fn mistakes_are_told_in_kind() {
    check(
        "read /none , mkdir /d , read /d , mkdir /d , write /d x , rmdir /f , write /f x , list /f , read /f/x , remove /d",
        &[
            "error NotFound",
            "ok",
            "error IsADirectory",
            "error AlreadyExists",
            "error IsADirectory",
            "error NotFound",
            "ok",
            "error NotADirectory",
            "error NotADirectory",
            "error IsADirectory",
        ],
    )
    .await;
}

#[tokio::test]
async fn devices_are_no_files() {
    check("write /dev/null x , read /dev/null , stat /dev/null", &["ok", r#""""#, "other 0 bytes"]).await;
    // 0.2's libc makes every failed write EIO; 0.1 has the errno.
    let full = Guest::new(&["write", "/dev/full", "x"]).run("p1/files").await;
    assert_eq!(full.stdout, "write /dev/full x: error StorageFull\n");
}

#[tokio::test]
async fn a_0_3_guest_runs_beside_them() {
    let outcome = Guest::new(&["x"]).run("p3/hello").await;
    assert_eq!((outcome.end, outcome.stdout.as_str()), (Ok(0), "hello from wasi 0.3\nargument x\n"));
}
