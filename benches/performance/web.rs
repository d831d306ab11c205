//! The web server of the `nginx` image at a published port, next to nginx itself and to `wasmtime serve`, asked by `wrk`
//! over one, some and many connections. All serve the same file; `wasmtime serve` does so by a component that only reads
//! it, and next to that greets without reading anything. The web servers write their access logs to files.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::programs::{Programs, guest, output};
use crate::report::{Aim, Report, Value, medians};
use crate::workload::now;

const SAMPLES: usize = 3;

/// The file that is asked for.
const PAGE_BYTES: usize = 618;

/// Connections at a time, and what part of nginx's rate is aimed at with them.
const CONNECTIONS: [(usize, Option<Aim>); 3] = [(1, None), (32, None), (256, Some(Aim::RatioAtLeast(0.4)))];

/// How long one sample takes, in `wrk`'s notation.
const DURATION: &str = "5s";

/// How long a server may take to answer for the first time.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A server under way; told to end when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts a server and waits until it answers.
    fn start(mut command: Command, address: SocketAddr, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log)?;
        let command = command.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let mut server = Self { child, address };
        let begun = now();
        while !server.answers() {
            if begun.elapsed() > START_LIMIT || server.child.try_wait()?.is_some() {
                bail!("{command:?} does not serve {address}");
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.address) else { return false };
        let mut answer = String::new();
        let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok() && answer.starts_with("HTTP/1.1 200 ")
    }

    /// Requests answered in a second, and how many failed.
    fn asked_by(&self, connections: usize) -> anyhow::Result<[f64; 2]> {
        let mut wrk = Command::new("wrk");
        let connections = connections.to_string();
        wrk.args(["-t", "1", "-d", DURATION, "-c", &connections]).arg(format!("http://{}/", self.address));
        understand(&output(&mut wrk)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _it_has_ended = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _it_has_ended = self.child.wait();
    }
}

/// What `wrk` says: requests in a second, and failed ones.
fn understand(said: &str) -> anyhow::Result<[f64; 2]> {
    let after = |label: &str| said.lines().find_map(|line| line.trim().strip_prefix(label));
    let rate = after("Requests/sec:").and_then(|text| text.trim().parse().ok());
    let rate = rate.with_context(|| format!("wrk does not say how many requests were answered: {said:?}"))?;
    let numbers = |text: &str| -> f64 { text.split([' ', ',', ':']).filter_map(|word| word.parse::<f64>().ok()).sum() };
    Ok([rate, after("Socket errors:").map_or(0.0, numbers) + after("Non-2xx or 3xx responses:").map_or(0.0, numbers)])
}

pub(crate) fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    if Command::new("wrk").arg("--version").output().is_err() {
        eprintln!("there is no `wrk` on PATH: the web server is not measured");
        return Ok(());
    }
    let site = programs.directory().join("site");
    fs::create_dir_all(&site)?;
    fs::write(site.join("index.html"), "x".repeat(PAGE_BYTES))?;
    let husk = husk(programs, &site)?;
    let nginx = nginx(programs, &site)?;
    let serving = wasmtime(programs, &guest("p2", "bench_http"), Some(&site))?;
    let greeting = wasmtime(programs, &guest("builtin", "hello-http"), None)?;
    for (connections, aim) in CONNECTIONS {
        let mut of_husk = || husk.asked_by(connections);
        compare(report, connections, &mut of_husk, ("nginx", nginx.as_ref()), aim)?;
    }
    for (name, peer, aim) in [
        ("wasmtime serve", serving, Some(Aim::RatioAtLeast(10.0))),
        ("wasmtime serve, a greeting without a file", greeting, None),
    ] {
        compare(report, 256, &mut || husk.asked_by(256), (name, peer.as_ref()), aim)?;
    }
    Ok(())
}

fn compare(
    report: &mut Report,
    connections: usize,
    husk: &mut dyn FnMut() -> anyhow::Result<[f64; 2]>,
    (name, peer): (&str, Option<&Server>),
    aim: Option<Aim>,
) -> anyhow::Result<()> {
    let mut of_peer = || peer.context("there is no peer")?.asked_by(connections);
    let ([rate, failed], peer) = medians(SAMPLES, husk, peer.is_some().then_some(&mut of_peer))?;
    let what = format!("web server: {PAGE_BYTES} bytes over {connections} connections, {failed} requests failed");
    report.add(&what, Value::Requests(rate), (name, peer.map(|[rate, _]| Value::Requests(rate))), aim);
    Ok(())
}

fn husk(programs: &Programs, site: &Path) -> anyhow::Result<Server> {
    let address = free_address()?;
    let port = address.port();
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  containers:
    - name: server
      image: builtin/nginx
      ports: [{{containerPort: 80, hostPort: {port}}}]
      volumeMounts: [{{name: site, mountPath: /usr/share/nginx/html}}]
  volumes: [{{name: site, hostPath: {{path: {site:?}}}}}]
"
    );
    let mut command = programs.husk();
    command.arg("run").arg(programs.write("web.yaml", &yaml)?);
    Server::start(command, address, &programs.directory().join("husk.log"))
}

/// nginx itself; `None` where there is none.
fn nginx(programs: &Programs, site: &Path) -> anyhow::Result<Option<Server>> {
    let found = ["nginx", "/usr/sbin/nginx"].into_iter().find(|name| Command::new(name).arg("-v").output().is_ok());
    let Some(program) = found else {
        eprintln!("there is no `nginx` on PATH: the web server is measured without it");
        return Ok(None);
    };
    let address = free_address()?;
    let directory = programs.directory().display().to_string();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String =
        temporary.iter().map(|name| format!("{name}_temp_path {directory}/nginx-{name};\n")).collect();
    let configuration = format!(
        "worker_processes auto; daemon off; pid {directory}/nginx.pid; error_log {directory}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
{temporary}
  types {{ text/html html; }}
  sendfile on;
  access_log {directory}/nginx-access.log;
  server {{ listen {address}; root {site:?}; }}
}}
"
    );
    let mut command = Command::new(program);
    command.arg("-c").arg(programs.write("nginx.conf", &configuration)?);
    command.arg("-e").arg(programs.directory().join("nginx-error.log"));
    Server::start(command, address, &programs.directory().join("nginx.log")).map(Some)
}

/// `wasmtime serve` of a component, which sees `site` as `/site`; `None` where there is no wasmtime.
fn wasmtime(programs: &Programs, component: &Path, site: Option<&Path>) -> anyhow::Result<Option<Server>> {
    let Some(mut command) = programs.wasmtime() else { return Ok(None) };
    let address = free_address()?;
    command.args(["serve", "-S", "cli", "--addr", &address.to_string()]);
    if let Some(site) = site {
        command.arg("--dir").arg(format!("{}::/site", site.display()));
    }
    command.arg(component);
    Server::start(command, address, &programs.directory().join("wasmtime.log")).map(Some)
}

/// An address nobody listens on just now.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
