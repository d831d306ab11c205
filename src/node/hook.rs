//! Hooks: what a container's `lifecycle` has done right after its start and before its stop. When they run, and what
//! their failure means, the planner decides (kubelet v1.36 `lifecycle/handlers.go`).

use std::time::Duration;

use k8s_openapi::api::core::v1::{ExecAction, HTTPGetAction, LifecycleHandler, SleepAction};

use super::probe::http::{HttpGet, Purpose};
use super::probe::{Target, exec};

/// How a hook ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HookOutcome {
    /// Why it failed, if it did: what the container's waiting state says of a failed `postStart`.
    pub(super) error: Option<String>,
    /// The message of a `LifecycleHTTPFallback` event, if there is one to post.
    pub(super) warning: Option<String>,
}

/// Runs a hook of `target` to its end, however long that takes. Given up by dropping the future, with which a program
/// that the hook runs is killed.
pub(super) async fn run(target: &Target, handler: &LifecycleHandler) -> HookOutcome {
    let mut warning = None;
    let result = if let Some(exec) = &handler.exec {
        run_exec(target, exec).await
    } else if let Some(get) = &handler.http_get {
        run_http_get(target, get, &mut warning).await
    } else if let Some(sleep) = &handler.sleep {
        run_sleep(sleep).await;
        Ok(())
    } else {
        let kind = if handler.tcp_socket.is_some() { "tcpSocket" } else { "none" };
        Err(format!("Cannot run handler: invalid handler: {kind}"))
    };
    HookOutcome { error: result.err(), warning }
}

/// The command is not expanded.
async fn run_exec(target: &Target, action: &ExecAction) -> Result<(), String> {
    let argv = action.command.clone().unwrap_or_default();
    let (error, output) = match exec::run(&target.process, argv.clone()).await {
        Ok(executed) if executed.code == 0 => return Ok(()),
        Ok(executed) => {
            let stderr = String::from_utf8_lossy(&executed.stderr);
            let error = format!("command '{}' exited with {}: {stderr}", argv.join(" "), executed.code);
            (error, executed.output())
        }
        Err(Some(error)) => (error, String::new()),
        Err(None) => (format!("container {:?} is not running", target.container.name), String::new()),
    };
    let subject = subject(target);
    Err(format!("Exec lifecycle hook ([{}]) {subject} failed - error: {error}, message: {output:?}", argv.join(" ")))
}

/// Any response will do. A server that turns out not to speak TLS is asked without, for the sake of manifests from
/// before hooks had a scheme.
async fn run_http_get(target: &Target, action: &HTTPGetAction, warning: &mut Option<String>) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| {
        let path = action.path.as_deref().unwrap_or_default();
        format!("HTTP lifecycle hook ({path}) {} failed - error: {error}", subject(target))
    };
    let get = HttpGet::new(action, &target.container, &target.network, Purpose::Lifecycle);
    let get = get.map_err(|error| failed(&error))?;
    let Err(error) = get.request(&target.network).await else { return Ok(()) };
    if error.is_plain_http() && get.over_http().request(&target.network).await.is_ok() {
        let host = get.authority();
        *warning = Some(format!("request to HTTPS lifecycle hook {host} got HTTP response, retry with HTTP succeeded"));
        return Ok(());
    }
    Err(failed(&error))
}

async fn run_sleep(action: &SleepAction) {
    tokio::time::sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or_default())).await;
}

fn subject(target: &Target) -> String {
    format!("for Container {:?} in Pod {:?}", target.container.name, target.pod)
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::node::probe::tests::{Scene, response};
    use crate::runtime::Signal;
    use crate::runtime::fake::{Call, Script};

    fn hook(scene: &Scene) -> LifecycleHandler {
        scene.target.container.lifecycle.clone().unwrap().pre_stop.unwrap()
    }

    async fn scene(handler: &str) -> Scene {
        Scene::new(&format!("ports: [{{name: web, containerPort: 80}}], lifecycle: {{preStop: {{{handler}}}}}")).await
    }

    async fn run_hook(scene: &Scene) -> HookOutcome {
        run(&scene.target, &hook(scene)).await
    }

    fn failed(error: &str) -> HookOutcome {
        HookOutcome { error: Some(error.to_owned()), warning: None }
    }

    #[tokio::test(start_paused = true)]
    async fn exec_waits_for_the_program_as_long_as_it_takes_and_expands_nothing() {
        let scene = scene("exec: {command: [sleep, $(A)]}").await;
        scene.script_execs(vec![Script::exits(Duration::from_secs(1_000_000), 0)]);
        let begun = Instant::now();
        assert_eq!(run_hook(&scene).await, HookOutcome::default());
        assert_eq!(begun.elapsed().as_secs(), 1_000_000);
        let argv = ["sleep", "$(A)"].map(str::to_owned).to_vec();
        assert!(scene.runtime.calls().contains(&Call::Exec("c".to_owned(), argv)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_fails_fails_the_hook_with_its_output() {
        let begins = "Exec lifecycle hook ([sh -c x]) for Container \"c\" in Pod \"p_ns(u)\" failed - error:";
        for (script, expected) in [
            (
                Script::exits(Duration::ZERO, 3).prints("no \"disk\"\n"),
                "command 'sh -c x' exited with 3: , message: \"no \\\"disk\\\"\\n\"",
            ),
            (
                Script::runs_forever().fails_to_create("exec: \"sh\": not found"),
                "exec: \"sh\": not found, message: \"\"",
            ),
        ] {
            let scene = scene("exec: {command: [sh, -c, x]}").await;
            scene.script_execs(vec![script]);
            assert_eq!(run_hook(&scene).await, failed(&format!("{begins} {expected}")));
        }
        let scene = scene("exec: {command: [sh, -c, x]}").await;
        scene.container.signal(Signal::Kill);
        let expected = format!("{begins} container \"c\" is not running, message: \"\"");
        assert_eq!(run_hook(&scene).await, failed(&expected));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hook_that_is_given_up_takes_its_program_with_it() {
        let scene = scene("exec: {command: [sleep]}").await;
        scene.script_execs(vec![Script::runs_forever()]);
        assert!(timeout(Duration::from_secs(5), run_hook(&scene)).await.is_err());
        assert!(scene.runtime.calls().contains(&Call::Drop("c/exec-0".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn any_response_satisfies_an_http_hook() {
        for status in ["200 OK", "404 Not Found", "500 Internal Server Error"] {
            let scene = scene("httpGet: {port: web, path: /bye, httpHeaders: [{name: X, value: y}]}").await;
            let server = scene.serve(80, &[&response(status, "", "")]);
            assert_eq!(run_hook(&scene).await, HookOutcome::default(), "{status}");
            let request = &server.requests()[0];
            for part in ["GET /bye HTTP/1.1\r\n", "User-Agent: kube-lifecycle/1.36\r\n", "X: y\r\n"] {
                assert!(request.contains(part), "{request}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_http_hook_follows_redirects_on_its_host_only() {
        for (location, requests) in [("/there", 2), ("http://elsewhere/", 1)] {
            let scene = scene("httpGet: {port: 80}").await;
            let redirect = response("302 Found", &format!("Location: {location}\r\n"), "");
            let server = scene.serve(80, &[&redirect, &response("200 OK", "", "")]);
            assert_eq!(run_hook(&scene).await, HookOutcome::default());
            assert_eq!(server.requests().len(), requests);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_response_fails_an_http_hook() {
        let begins = "HTTP lifecycle hook (/bye) for Container \"c\" in Pod \"p_ns(u)\" failed - error:";
        for (handler, expected) in [
            (
                "httpGet: {port: 80, path: /bye}",
                "Get \"http://10.88.0.2:80/bye\": dial tcp 10.88.0.2:80: connect: connection refused",
            ),
            ("httpGet: {port: none, path: /bye}", "strconv.Atoi: parsing \"none\": invalid syntax"),
        ] {
            assert_eq!(run_hook(&scene(handler).await).await, failed(&format!("{begins} {expected}")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_http_hook_waits_as_long_as_it_takes() {
        let scene = scene("httpGet: {port: 80}").await;
        scene.serve(80, &["<open>"]);
        assert!(timeout(Duration::from_secs(1_000_000), run_hook(&scene)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn https_met_with_plain_http_falls_back_without_credentials() {
        let handler = "httpGet: {port: 80, scheme: HTTPS, httpHeaders: [{name: Authorization, value: secret}]}";
        let scene = scene(handler).await;
        let server = scene.serve(80, &[&response("400 Bad Request", "", ""), &response("200 OK", "", "")]);
        let warning = "request to HTTPS lifecycle hook 10.88.0.2:80 got HTTP response, retry with HTTP succeeded";
        assert_eq!(run_hook(&scene).await, HookOutcome { error: None, warning: Some(warning.to_owned()) });
        let requests = server.requests();
        assert!(requests[1].starts_with("GET / HTTP/1.1\r\n") && !requests[1].contains("secret"), "{requests:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fallback_that_fails_leaves_the_first_error() {
        let scene = scene("httpGet: {port: 80, scheme: HTTPS}").await;
        scene.serve(80, &[&response("400 Bad Request", "", ""), "<reset>"]);
        let expected = "HTTP lifecycle hook (/) for Container \"c\" in Pod \"p_ns(u)\" failed - error: \
                        Get \"https://10.88.0.2:80/\": http: server gave HTTP response to HTTPS client";
        assert_eq!(run_hook(&scene).await, failed(expected));
    }

    #[tokio::test(start_paused = true)]
    async fn sleep_sleeps() {
        for seconds in [0, 7] {
            let (scene, begun) = (scene(&format!("sleep: {{seconds: {seconds}}}")).await, Instant::now());
            assert_eq!(run_hook(&scene).await, HookOutcome::default());
            assert_eq!(begun.elapsed().as_secs(), seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tcp_hook_fails() {
        let expected = failed("Cannot run handler: invalid handler: tcpSocket");
        assert_eq!(run_hook(&scene("tcpSocket: {port: 80}").await).await, expected);
    }
}
