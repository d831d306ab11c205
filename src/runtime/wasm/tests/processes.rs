//! Programs that start programs.

use super::*;
use crate::runtime::wasm::process_table::MAX_PROCESSES;

/// What the guest `p1/processes` prints, told to do `what`.
async fn printed(what: &str) -> String {
    let mut setup = Setup::guest("p1/processes", what);
    setup.env = vec![("PATH".to_owned(), "/bin".to_owned())];
    let running = Pod::new().start(setup).await;
    let status = running.ends().await;
    let complaints = rest(&running.stderr).await;
    assert_eq!((status.code, complaints.as_str()), (0, ""), "{what}: {status:?}");
    rest(&running.stdout).await
}

#[tokio::test]
async fn a_child_tells_its_parent_how_it_ended() {
    assert_eq!(printed("status exit 0").await, "Exited(0)\n");
    assert_eq!(printed("status exit 254").await, "Exited(254)\n");
    assert_eq!(printed("status status exit 7").await, "Exited(7)\nExited(0)\n");
}

#[tokio::test]
async fn programs_are_found_as_a_shell_finds_them() {
    assert_eq!(printed("program app exit 0").await, "Ok(())\n");
    assert_eq!(printed("program /bin/app exit 0").await, "Ok(())\n");
    for (name, errno) in [("nothing", "NotFound"), ("/bin", "PermissionDenied"), ("/bin/app/x", "NotFound")] {
        assert!(printed(&format!("program {name}")).await.contains(errno), "{name}");
    }
}

#[tokio::test]
async fn a_script_is_run_by_its_interpreter() {
    let files = [
        ("/bin/app".to_owned(), guest("p1/processes"), 0o755),
        ("/bin/script".to_owned(), Bytes::from_static(b"#!/bin/app  print \nanything"), 0o755),
    ];
    let running = Pod::new().start(Setup::with_files("script", &files)).await;
    assert_eq!(running.ends().await.code, 0);
    assert_eq!(rest(&running.stdout).await, "/bin/script\n");
}

#[tokio::test]
async fn a_child_has_the_environment_it_was_given() {
    assert_eq!(printed("environment-of-child").await, "A=1\nB=x=y\n");
}

#[tokio::test]
async fn pipes_end_their_readers_and_kill_their_writers() {
    let expected = "[121, 10, 121, 10] Signaled(Signal(13))\nthrough\nExited(0) Exited(0)\n";
    assert_eq!(printed("pipeline").await, expected);
}

#[tokio::test]
async fn a_broken_pipe_is_deadly_unless_ignored() {
    let running = Pod::new().start(Setup::guest("p1/processes", "broken-pipe default")).await;
    assert_eq!(running.ends().await.code, 141);
    assert_eq!(printed("broken-pipe ignore").await, "Err(BrokenPipe)\n");
}

#[tokio::test]
async fn parent_and_children_share_the_position_in_a_file() {
    assert_eq!(printed("shared-position").await, "parent\nfirst\nsecond\n");
}

#[tokio::test]
async fn a_child_gets_just_the_descriptors_meant_for_it() {
    assert_eq!(printed("descriptors").await, "A=1\nB=x=y\nExited(0)\nOk(Exited(0))\n");
}

#[tokio::test]
async fn a_fork_bomb_reaches_its_limit_and_the_container_goes_on() {
    let expected = format!("{} WouldBlock\nExited(0)\n", MAX_PROCESSES - 1);
    assert_eq!(printed("bomb").await, expected);
}

#[tokio::test]
async fn signals_reach_children_and_end_waits() {
    let expected = "Err(WouldBlock)\nSignaled(Signal(15)) Some(\"CHLD\")\nErr(Some(71))\nOk(Default)\n\
                    Err(Interrupted)\nSome(\"USR1\")\nSignaled(Signal(9))\nErr(InvalidInput)\n";
    assert_eq!(printed("signals").await, expected);
}

#[tokio::test]
async fn grandchildren_are_nobodys_to_wait_for() {
    assert_eq!(printed("orphan").await, "Exited(0) Err(Some(12))\n");
}

#[tokio::test]
async fn the_first_process_is_number_1_and_those_executed_follow() {
    let running = Pod::new().start(Setup::guest("p1/processes", "sleep")).await;
    let (_, second) = exec(&running.container, "app identity").await.unwrap();
    let (_, third) = exec(&running.container, "app identity").await.unwrap();
    assert_eq!(second, "Identity { pid: 2, parent: 0, group: 2 }\n");
    assert_eq!(third, "Identity { pid: 3, parent: 0, group: 3 }\n");
}

#[tokio::test]
async fn children_end_with_their_container() {
    let running = Pod::new().start(Setup::guest("p1/processes", "sleep")).await;
    let (executed, _) = start_exec(&running.container, "app status sleep", 64).await.unwrap();
    running.container.signal(crate::runtime::Signal::Kill);
    assert_eq!(timeout(PATIENCE, executed.wait()).await.unwrap().code, 137);
}

#[tokio::test]
async fn components_start_programs_too() {
    let mut setup = Setup::guest("p2/processes", "");
    setup.env = vec![("PATH".to_owned(), "/bin".to_owned())];
    let running = Pod::new().start(setup).await;
    let status = running.ends().await;
    let expected = "pid 1\n\
                    inherited\nExitStatus::Exited(0)\nExitStatus::Exited(1)\n\
                    piped\nExitStatus::Exited(0) ExitStatus::Exited(0)\n\
                    Ok([121, 10])\nExitStatus::Signaled(Signal::Pipe)\n\
                    from the parent\nExitStatus::Exited(0)\n\
                    \"line\\nline\\n\"\nline\nline\n\
                    None\nExitStatus::Signaled(Signal::Term) no-process\n\
                    not-found\nnot-found\ninvalid\n";
    let printed = rest(&running.stdout).await;
    assert_eq!((printed.as_str(), rest(&running.stderr).await.as_str()), (expected, ""), "{status:?}");
}
