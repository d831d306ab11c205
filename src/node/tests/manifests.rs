//! Manifests as people write them, run unchanged by real guests: the clock stands still while a guest computes and runs
//! while all wait, so that every second below is exact.

use super::scene::Scene;

macro_rules! manifest {
    ($name:literal) => {
        include_str!(concat!("../../../tests/data/manifests/", $name, ".yaml"))
    };
}

/// What `wget` gets from the pod's web server.
async fn fetch(scene: &Scene, container: &str, path: &str) -> (i32, String) {
    scene.exec(container, &["wget", "-q", "-O", "-", &format!("http://localhost{path}")]).await
}

fn is_ready(scene: &Scene, container: &str) -> bool {
    scene.container(container).ready
}

#[tokio::test(start_paused = true)]
async fn manifest_01_is_a_web_server() {
    let scene = Scene::real(manifest!("01-nginx")).start();
    scene.until("state nginx Running").await;
    scene.at(1).await;
    assert!(is_ready(&scene, "nginx"));
    let (code, page) = fetch(&scene, "nginx", "/").await;
    assert_eq!(code, 0, "{page}");
    assert!(page.contains("<title>Welcome to nginx!</title>"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn manifest_02_overrides_the_command_and_backs_off() {
    let scene = Scene::real(manifest!("02-command")).start();
    scene.at(100).await;
    assert_eq!(scene.starts(), ["0 nginx", "10 nginx", "30 nginx", "60 nginx"]);
}

#[tokio::test(start_paused = true)]
async fn manifest_03_is_ready_though_nothing_listens() {
    let scene = Scene::real(manifest!("03-no-probe")).start();
    scene.at(9).await;
    assert!(is_ready(&scene, "nginx"));
    let (code, refusal) = fetch(&scene, "nginx", "/").await;
    assert_eq!((code, refusal.contains("Connection refused")), (1, true), "{refusal}");
    scene.at(11).await;
    assert_eq!(fetch(&scene, "nginx", "/").await.0, 0);
}

#[tokio::test(start_paused = true)]
async fn manifest_04_gets_ready_when_its_server_answers() {
    let scene = Scene::real(manifest!("04-readiness-liveness")).start();
    scene.at(10).await;
    assert!(!is_ready(&scene, "nginx"));
    scene.at(21).await;
    assert!(is_ready(&scene, "nginx"), "{:#?}", scene.timeline());
    scene.at(300).await;
    assert_eq!(scene.shows("nginx"), "Running");
}

#[tokio::test(start_paused = true)]
async fn manifest_05_starts_when_its_startup_probe_passes() {
    let scene = Scene::real(manifest!("05-startup-exec")).start();
    scene.at(29).await;
    assert_ne!(scene.container("nginx").started, Some(true));
    scene.at(36).await;
    assert_eq!(scene.container("nginx").started, Some(true));
    scene.at(60).await;
    assert!(is_ready(&scene, "nginx"));
    assert_eq!(scene.shows("nginx"), "Running");
    assert_eq!(scene.only(&["event nginx Unhealthy: Liveness"]), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn manifest_06_runs_its_hooks() {
    let mut scene = Scene::real(manifest!("06-hooks")).start();
    scene.until("state nginx Running").await;
    assert_eq!(scene.exec("nginx", &["ls", "-d", "/data"]).await, (0, "/data\n".to_owned()));
    scene.at(5).await;
    scene.delete(30);
    scene.end().await;
    assert_eq!((scene.finished_at("nginx"), scene.shows("nginx").as_str()), (15, "Completed:0"));
}

#[tokio::test(start_paused = true)]
async fn manifest_07_lives_while_its_service_is_serving() {
    let scene = Scene::real(manifest!("07-grpc-liveness")).start();
    scene.at(120).await;
    assert_eq!(scene.shows("server"), "Running");
    let failing = manifest!("07-grpc-liveness").replace("ports:", "args: [--not-serving-after, '20']\n      ports:");
    let scene = Scene::real(&failing).start();
    scene.at(19).await;
    assert_eq!(scene.shows("server"), "Running");
    scene.until("event server Killing: Container server failed liveness probe, will be restarted").await;
    let first = &scene.only(&["event server Unhealthy"])[0];
    assert!(first.contains("service unhealthy (responded with \"NOT_SERVING\")"), "{first}");
}

#[tokio::test(start_paused = true)]
async fn manifest_09_is_ready_once_its_page_is_there() {
    let scene = Scene::real(manifest!("09-readiness-http")).start();
    let name = "readinessprobe-pod";
    scene.at(30).await;
    assert!(!is_ready(&scene, name));
    let failed = scene.only(&["event readinessprobe-pod Unhealthy"]);
    assert!(failed[0].ends_with("Readiness probe failed: HTTP probe failed with statuscode: 404"), "{failed:?}");
    let command = "echo hello > /usr/share/nginx/html/index1.html";
    assert_eq!(scene.exec(name, &["sh", "-c", command]).await, (0, String::new()));
    scene.at(34).await;
    assert!(is_ready(&scene, name));
    assert_eq!(scene.shows(name), "Running");
}

#[tokio::test(start_paused = true)]
async fn manifest_10_is_restarted_when_its_file_is_gone() {
    let scene = Scene::real(manifest!("10-liveness-exec")).start();
    scene.at(30).await;
    assert_eq!(scene.container("livenessprobe-pod").restart_count, 0);
    // Three failures in a row; its shell does nothing about TERM and is gone at once.
    scene.until("event livenessprobe-pod Killing").await;
    let killed: f64 = scene.only(&["event livenessprobe-pod Killing"])[0].split(' ').next().unwrap().parse().unwrap();
    assert!((36.0..=40.0).contains(&killed), "{killed}");
    scene.at(60).await;
    assert_eq!(scene.container("livenessprobe-pod").restart_count, 1);
}

#[tokio::test(start_paused = true)]
async fn manifest_11_gets_its_page_back_by_a_restart() {
    let scene = Scene::real(manifest!("11-liveness-http")).start();
    let name = "livenessprobenginx-pod";
    scene.at(20).await;
    assert_eq!(scene.container(name).restart_count, 0);
    let removed = scene.exec(name, &["rm", "-rf", "/usr/share/nginx/html/index.html"]).await;
    assert_eq!(removed, (0, String::new()));
    scene.at(60).await;
    assert_eq!(scene.container(name).restart_count, 1);
    let (code, page) = scene.exec(name, &["ls", "/usr/share/nginx/html"]).await;
    assert!(code == 0 && page.contains("index.html\n"), "{page}");
    scene.at(300).await;
    assert_eq!(scene.container(name).restart_count, 1);
}

#[tokio::test(start_paused = true)]
async fn manifest_12_is_killed_again_and_again() {
    let scene = Scene::real(manifest!("12-liveness-tcp")).start();
    scene.at(100).await;
    let killed = scene.only(&["event livenessprobenginx-pod2 Killing"]);
    let first: f64 = killed[0].split(' ').next().unwrap().parse().unwrap();
    assert!((16.0..=20.0).contains(&first), "{killed:?}");
    assert!(scene.container("livenessprobenginx-pod2").restart_count >= 2, "{:#?}", scene.timeline());
    assert!(!scene.only(&["state livenessprobenginx-pod2 CrashLoopBackOff"]).is_empty() || killed.len() > 2);
}

#[tokio::test(start_paused = true)]
async fn manifest_13_makes_a_directory_when_it_starts() {
    let scene = Scene::real(manifest!("13-post-start")).start();
    scene.until("state lifecycle-pod1 Running").await;
    let tested = scene.exec("lifecycle-pod1", &["test", "-d", "/lagou/k8s/index.html"]).await;
    assert_eq!(tested, (0, String::new()));
}

#[tokio::test(start_paused = true)]
async fn manifest_14_shares_a_volume_and_localhost() {
    let scene = Scene::real(manifest!("14-puller-and-server")).start();
    scene.end().await;
    assert_eq!(scene.phase(), "Succeeded", "{:#?}", scene.timeline());
    let printed = scene.only(&["log checker"]).join("\n");
    assert!(printed.contains("page 3") && printed.contains("puller-and-server"), "{printed}");
    let last = scene.only(&["state checker Completed", "state puller Completed", "state server Completed"]);
    assert!(last.last().unwrap().contains("state server"), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn manifest_15_ends_politely_and_not() {
    let mut scene = Scene::real(manifest!("15-termination")).start();
    scene.at(3).await;
    scene.delete(6);
    scene.end().await;
    assert_eq!(scene.shows("polite"), "Completed:0");
    assert_eq!(scene.message("polite").as_deref(), Some("bye\n"));
    let printed = scene.only(&["log polite"]).join("\n");
    assert!(printed.contains("got TERM"), "{printed}");
    assert_eq!((scene.shows("stubborn").as_str(), scene.finished_at("stubborn")), ("Error:137", 9));
}

#[tokio::test(start_paused = true)]
async fn manifest_18_shares_a_hostname_and_processes() {
    let without_ipcs = manifest!("18-shared-namespaces").replace(" ipcs;", "");
    let scene = Scene::real(&without_ipcs).start();
    scene.end().await;
    let (a, b) = (scene.only(&["log a"]).join("\n"), scene.only(&["log b"]).join("\n"));
    assert!(a.contains("shared-namespaces") && b.contains("shared-namespaces"), "{a}\n{b}");
    assert!(b.contains("/pause") && b.contains("sleep 5"), "{b}");
}
