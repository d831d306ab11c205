//! Objects that `husk create` makes of options, as kubectl makes them.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::cli::create::{
    DataArgs, ExternalNameArgs, Generator, PriorityClassArgs, RegistryArgs, SecretGenerator, ServiceArgs,
    ServiceGenerator, TlsArgs,
};

/// Bytes that an object may have (etcd's, with room for what is not data).
const MAX_BYTES: u64 = 1024 * 1024;

/// Keys with what is in them, in order.
type Data = Vec<(String, Vec<u8>)>;

/// The object.
///
/// # Errors
/// What cannot be read, or makes no sense.
pub(super) fn object(what: &Generator) -> anyhow::Result<Value> {
    match what {
        Generator::Configmap(args) => config_map(args),
        Generator::Secret(SecretGenerator::Generic(args)) => {
            secret(&args.data.named.name, args.type_.as_deref(), data(&args.data)?)
        }
        Generator::Secret(SecretGenerator::Tls(args)) => tls(args),
        Generator::Secret(SecretGenerator::DockerRegistry(args)) => registry(args),
        Generator::Namespace(args) => Ok(plain("v1", "Namespace", &args.name)),
        Generator::Serviceaccount(args) => Ok(plain("v1", "ServiceAccount", &args.name)),
        Generator::Service(ServiceGenerator::Clusterip(args)) => service("ClusterIP", args),
        Generator::Service(ServiceGenerator::Nodeport(args)) => service("NodePort", args),
        Generator::Service(ServiceGenerator::Loadbalancer(args)) => service("LoadBalancer", args),
        Generator::Service(ServiceGenerator::Externalname(args)) => external_name(args),
        Generator::Priorityclass(args) => Ok(priority_class(args)),
    }
}

fn plain(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}})
}

fn config_map(args: &DataArgs) -> anyhow::Result<Value> {
    let (mut texts, mut bytes) = (Map::new(), Map::new());
    for (key, content) in data(args)? {
        match String::from_utf8(content) {
            Ok(text) => texts.insert(key, text.into()),
            Err(error) => bytes.insert(key, BASE64_STANDARD.encode(error.as_bytes()).into()),
        };
    }
    let mut map = plain("v1", "ConfigMap", &args.named.name);
    for (field, values) in [("data", texts), ("binaryData", bytes)] {
        if !values.is_empty() {
            map[field] = values.into();
        }
    }
    Ok(map)
}

fn secret(name: &str, type_: Option<&str>, data: Data) -> anyhow::Result<Value> {
    let mut secret = plain("v1", "Secret", name);
    if !data.is_empty() {
        let data = data.into_iter().map(|(key, content)| (key, BASE64_STANDARD.encode(content).into()));
        secret["data"] = Value::Object(data.collect());
    }
    if let Some(type_) = type_ {
        secret["type"] = type_.into();
    }
    Ok(secret)
}

fn tls(args: &TlsArgs) -> anyhow::Result<Value> {
    let data = vec![("tls.crt".to_owned(), read(&args.cert)?), ("tls.key".to_owned(), read(&args.key)?)];
    secret(&args.named.name, Some("kubernetes.io/tls"), data)
}

fn registry(args: &RegistryArgs) -> anyhow::Result<Value> {
    let RegistryArgs { docker_server, docker_username, docker_password, docker_email, .. } = args;
    let mut entry = json!({"username": docker_username, "password": docker_password});
    if !docker_email.is_empty() {
        entry["email"] = docker_email.as_str().into();
    }
    entry["auth"] = BASE64_STANDARD.encode(format!("{docker_username}:{docker_password}")).into();
    let mut auths = Map::new();
    auths.insert(docker_server.clone(), entry);
    let config = json!({"auths": auths}).to_string().into_bytes();
    secret(&args.named.name, Some("kubernetes.io/dockerconfigjson"), vec![(".dockerconfigjson".to_owned(), config)])
}

fn service(type_: &str, args: &ServiceArgs) -> anyhow::Result<Value> {
    let name = &args.named.name;
    let headless = args.clusterip.as_deref() == Some("None");
    ensure!(!args.tcp.is_empty() || headless, "at least one tcp port specifier must be provided");
    ensure!(args.clusterip.is_none() || type_ == "ClusterIP", "--clusterip is for services of type ClusterIP");
    ensure!(args.node_port.is_none() || type_ == "NodePort", "--node-port is for services of type NodePort");
    let mut ports = ports(&args.tcp)?;
    if let Some(node_port) = args.node_port {
        ports.iter_mut().for_each(|port| port["nodePort"] = node_port.into());
    }
    let mut service = labelled(name);
    service["spec"] = json!({"type": type_, "selector": {"app": name}});
    if !ports.is_empty() {
        service["spec"]["ports"] = ports.into();
    }
    if let Some(address) = &args.clusterip {
        service["spec"]["clusterIP"] = address.as_str().into();
    }
    Ok(service)
}

fn external_name(args: &ExternalNameArgs) -> anyhow::Result<Value> {
    let name = &args.named.name;
    let mut service = labelled(name);
    service["spec"] = json!({"type": "ExternalName", "selector": {"app": name}, "externalName": args.external_name});
    let ports = ports(&args.tcp)?;
    if !ports.is_empty() {
        service["spec"]["ports"] = ports.into();
    }
    Ok(service)
}

fn labelled(name: &str) -> Value {
    let mut service = plain("v1", "Service", name);
    service["metadata"]["labels"] = json!({"app": name});
    service
}

/// `80`, `80:8080`, `80:http` (kubectl `parsePorts`).
fn ports(texts: &[String]) -> anyhow::Result<Vec<Value>> {
    let number = |text: &str| {
        let number = text.parse::<u16>().ok().filter(|port| *port > 0);
        number.with_context(|| format!("{text:?} is not a port: expected 1 to 65535"))
    };
    let port = |text: &String| {
        let (port, target) = text.split_once(':').unwrap_or((text, text));
        ensure!(!target.is_empty() && !target.contains(':'), "invalid port format {text:?}: expected PORT[:TARGET]");
        let by_name = !target.bytes().all(|byte| byte.is_ascii_digit());
        let target_port: Value = if by_name { target.into() } else { number(target)?.into() };
        let name = text.replace(':', "-");
        Ok(json!({"name": name, "port": number(port)?, "protocol": "TCP", "targetPort": target_port}))
    };
    texts.iter().map(port).collect()
}

fn priority_class(args: &PriorityClassArgs) -> Value {
    let mut class = plain("scheduling.k8s.io/v1", "PriorityClass", &args.named.name);
    class["value"] = args.value.into();
    class["preemptionPolicy"] = args.preemption_policy.as_str().into();
    if args.global_default {
        class["globalDefault"] = true.into();
    }
    if !args.description.is_empty() {
        class["description"] = args.description.as_str().into();
    }
    class
}

/// What the options of data name, each key once.
fn data(args: &DataArgs) -> anyhow::Result<Data> {
    let mut data = Data::new();
    for source in &args.from_file {
        from_file(source, &mut data)?;
    }
    for literal in &args.from_literal {
        let (key, value) = literal
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .with_context(|| format!("invalid literal source {literal:?}, expected key=value"))?;
        add(&mut data, key, value.trim_matches(['"', '\'']).as_bytes().to_vec())?;
    }
    for file in &args.from_env_file {
        let text = String::from_utf8(read(file)?).with_context(|| format!("{} is not text", file.display()))?;
        from_env(&text, &mut data).with_context(|| file.display().to_string())?;
    }
    data.sort();
    Ok(data)
}

fn from_file(source: &str, data: &mut Data) -> anyhow::Result<()> {
    let (key, path) = match source.split_once('=') {
        Some((key, path)) if !key.is_empty() && !path.is_empty() => (Some(key), Path::new(path)),
        Some(_) => bail!("invalid source {source:?}: expected [KEY=]FILE"),
        None => (None, Path::new(source)),
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !path.is_dir() {
        return add(data, &key.map_or_else(|| name(path), str::to_owned), read(path)?);
    }
    ensure!(key.is_none(), "cannot give a key name for a directory path");
    let context = || format!("cannot read {}", path.display());
    let entries = std::fs::read_dir(path).with_context(context)?;
    let mut files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<PathBuf>, _>>()?;
    files.sort();
    // Folders in it, and what cannot be a key, are left out.
    for file in files.iter().filter(|file| file.is_file() && is_key(&name(file))) {
        add(data, &name(file), read(file)?)?;
    }
    Ok(())
}

/// Lines `KEY=VALUE`; a key alone has its value from the environment (kubectl `AddFromEnvFile`).
fn from_env(text: &str, data: &mut Data) -> anyhow::Result<()> {
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, value.to_owned()),
            None => match std::env::var(line) {
                Ok(value) => (line, value),
                Err(_) => continue,
            },
        };
        add(data, key, value.into_bytes()).with_context(|| format!("line {}", number + 1))?;
    }
    Ok(())
}

fn add(data: &mut Data, key: &str, content: Vec<u8>) -> anyhow::Result<()> {
    ensure!(is_key(key), "{key:?} is not a valid key name: letters, digits, `-`, `_` and `.` are allowed");
    ensure!(
        data.iter().all(|(known, _)| known != key),
        "cannot add key {key:?}, another key by that name already exists"
    );
    data.push((key.to_owned(), content));
    Ok(())
}

fn is_key(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !key.is_empty() && key.len() <= 253 && key.chars().all(plain) && key != "." && !key.starts_with("..")
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read;
    let context = || format!("cannot read {}", path.display());
    let mut content = Vec::new();
    let file = std::fs::File::open(path).with_context(context)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut content).with_context(context)?;
    ensure!(content.len() as u64 <= MAX_BYTES, "{} has more than {MAX_BYTES} bytes", path.display());
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::verbs::Verb;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    /// What is made of a command line.
    fn made(words: &[&str]) -> anyhow::Result<Value> {
        let cli = Cli::try_parse_from(["husk", "create"].iter().chain(words))?;
        let Command::Client(verb) = cli.command else { panic!("{words:?}") };
        let Verb::Create(args) = *verb else { panic!("{words:?}") };
        object(&args.what.expect("a generator"))
    }

    #[test]
    fn config_maps_are_made_of_literals_files_and_variables() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name).to_string_lossy().into_owned();
        std::fs::write(path("a.txt"), "text").unwrap();
        std::fs::write(path("b.bin"), [0xff, 0]).unwrap();
        std::fs::write(path("not a key"), "").unwrap();
        let folder = format!("--from-file={}", root.path().display());
        let made_of_folder = made(&["configmap", "m", &folder, "--from-literal=k=v=w"]).unwrap();
        assert_eq!(made_of_folder["data"], json!({"a.txt": "text", "k": "v=w"}));
        assert_eq!(made_of_folder["binaryData"], json!({"b.bin": "/wA="}));
        let named = format!("--from-file=key={}", path("a.txt"));
        assert_eq!(made(&["cm", "m", &named]).unwrap()["data"], json!({"key": "text"}));
        let error = made(&["cm", "m", &named, "--from-literal=key=x"]).unwrap_err().to_string();
        assert!(error.starts_with("cannot add key \"key\""), "{error}");
        std::fs::write(path("env"), "# comment\n\nA=1\n  B=two words\n").unwrap();
        let file = format!("--from-env-file={}", path("env"));
        assert_eq!(made(&["cm", "m", &file]).unwrap()["data"], json!({"A": "1", "B": "two words"}));
        assert!(made(&["cm", "m", "--from-literal=x"]).unwrap_err().to_string().contains("expected key=value"));
    }

    #[test]
    fn secrets_have_their_types() {
        let generic = made(&["secret", "generic", "s", "--from-literal=k=v"]).unwrap();
        assert_eq!((&generic["data"], &generic["type"]), (&json!({"k": "dg=="}), &Value::Null));
        let line = ["secret", "docker-registry", "r", "--docker-username=u", "--docker-password=p"];
        let registry = made(&line).unwrap();
        assert_eq!(registry["type"], "kubernetes.io/dockerconfigjson");
        let config = BASE64_STANDARD.decode(registry["data"][".dockerconfigjson"].as_str().unwrap()).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["auths"]["https://index.docker.io/v1/"]["auth"], "dTpw");
    }

    #[test]
    fn services_lead_to_the_pods_of_their_name() {
        let service = made(&["service", "clusterip", "web", "--tcp=80:8080,81:http"]).unwrap();
        assert_eq!(
            (&service["spec"]["selector"], &service["spec"]["type"]),
            (&json!({"app": "web"}), &json!("ClusterIP"))
        );
        let ports = json!([
            {"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080},
            {"name": "81-http", "port": 81, "protocol": "TCP", "targetPort": "http"},
        ]);
        assert_eq!(service["spec"]["ports"], ports);
        let headless = made(&["svc", "clusterip", "web", "--clusterip=None"]).unwrap();
        assert_eq!(headless["spec"]["clusterIP"], "None");
        let node_port = made(&["service", "nodeport", "web", "--tcp=80", "--node-port=30080"]).unwrap();
        assert_eq!(node_port["spec"]["ports"][0]["nodePort"], 30080);
        assert!(made(&["service", "clusterip", "web"]).unwrap_err().to_string().contains("at least one tcp port"));
        assert!(made(&["service", "clusterip", "web", "--tcp=0"]).unwrap_err().to_string().contains("is not a port"));
    }
}
