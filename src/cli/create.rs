//! `husk create`: what can be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::apply::DryRun;
use super::connection::{ConnectionArgs, FileArgs};

/// Arguments of `husk create`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  husk create -f pod.yaml
  cat pod.json | husk create -f - -o name
  husk create configmap web --from-literal=greeting=hello --from-file=conf/
  husk create secret generic key --from-file=id_ed25519
  husk create service clusterip web --tcp=80:8080"
)]
pub struct CreateArgs {
    /// How it is created.
    #[command(flatten)]
    pub options: CreateOptions,
    /// The manifests.
    #[command(flatten)]
    pub files: FileArgs,
    /// What is made of options instead of manifests.
    #[command(subcommand)]
    pub what: Option<Generator>,
}

impl CreateArgs {
    /// How it is created, wherever on the command line that was said.
    pub fn options(&self) -> &CreateOptions {
        self.what.as_ref().map_or(&self.options, Generator::options)
    }
}

/// How objects are created.
#[derive(Debug, Clone, Args)]
pub struct CreateOptions {
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Change nothing: only say what would be done (client), or let the server try it (server)
    #[arg(long, value_enum, value_name = "client|server", hide_possible_values = true, default_value_t)]
    pub dry_run: DryRun,
    /// Print the objects as yaml, json, name or jsonpath=TEMPLATE
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
}

/// Objects that are made of options.
#[derive(Debug, Subcommand)]
pub enum Generator {
    /// A ConfigMap of files, literals or variables
    #[command(visible_alias = "cm")]
    Configmap(DataArgs),
    /// A Secret
    #[command(subcommand)]
    Secret(SecretGenerator),
    /// A Namespace
    #[command(visible_alias = "ns")]
    Namespace(NamedArgs),
    /// A ServiceAccount
    #[command(visible_alias = "sa")]
    Serviceaccount(NamedArgs),
    /// A Service for the pods with the label app=NAME
    #[command(subcommand, visible_alias = "svc")]
    Service(ServiceGenerator),
    /// A PriorityClass
    #[command(visible_alias = "pc")]
    Priorityclass(PriorityClassArgs),
}

/// Secrets.
#[derive(Debug, Subcommand)]
pub enum SecretGenerator {
    /// Of files, literals or variables
    Generic(SecretArgs),
    /// Of a certificate and its key
    Tls(TlsArgs),
    /// Of what a registry of images wants to know
    DockerRegistry(RegistryArgs),
}

/// Services.
#[derive(Debug, Subcommand)]
pub enum ServiceGenerator {
    /// With an address in the cluster
    Clusterip(ServiceArgs),
    /// With a port of the node, too
    Nodeport(ServiceArgs),
    /// For a load balancer, of which there is none
    Loadbalancer(ServiceArgs),
    /// That stands for another name
    Externalname(ExternalNameArgs),
}

impl Generator {
    /// How it is created.
    pub fn options(&self) -> &CreateOptions {
        match self {
            Self::Configmap(args) => &args.named.options,
            Self::Secret(SecretGenerator::Generic(args)) => &args.data.named.options,
            Self::Secret(SecretGenerator::Tls(args)) => &args.named.options,
            Self::Secret(SecretGenerator::DockerRegistry(args)) => &args.named.options,
            Self::Namespace(named) | Self::Serviceaccount(named) => &named.options,
            Self::Service(
                ServiceGenerator::Clusterip(args)
                | ServiceGenerator::Nodeport(args)
                | ServiceGenerator::Loadbalancer(args),
            ) => &args.named.options,
            Self::Service(ServiceGenerator::Externalname(args)) => &args.named.options,
            Self::Priorityclass(args) => &args.named.options,
        }
    }
}

/// An object that needs no more than a name.
#[derive(Debug, Args)]
pub struct NamedArgs {
    /// Its name
    pub name: String,
    /// How it is created.
    #[command(flatten)]
    pub options: CreateOptions,
}

/// What an object's data is made of.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Its name.
    #[command(flatten)]
    pub named: NamedArgs,
    /// A key and its value. Repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub from_literal: Vec<String>,
    /// A file, under its own name or KEY, or the files of a folder. Repeatable
    #[arg(long, value_name = "[KEY=]FILE|DIR")]
    pub from_file: Vec<String>,
    /// A file with a line KEY=VALUE for each key. Repeatable
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from_literal", "from_file"])]
    pub from_env_file: Vec<PathBuf>,
}

/// Arguments of `husk create secret generic`.
#[derive(Debug, Args)]
pub struct SecretArgs {
    /// Its data.
    #[command(flatten)]
    pub data: DataArgs,
    /// Its type; Opaque if it is not named
    #[arg(long = "type", value_name = "TYPE")]
    pub type_: Option<String>,
}

/// Arguments of `husk create secret tls`.
#[derive(Debug, Args)]
pub struct TlsArgs {
    /// Its name.
    #[command(flatten)]
    pub named: NamedArgs,
    /// The certificate, in PEM
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,
    /// Its key, in PEM
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// Arguments of `husk create secret docker-registry`.
#[derive(Debug, Args)]
pub struct RegistryArgs {
    /// Its name.
    #[command(flatten)]
    pub named: NamedArgs,
    /// Which registry
    #[arg(long, value_name = "URL", default_value = "https://index.docker.io/v1/")]
    pub docker_server: String,
    /// As whom
    #[arg(long, value_name = "NAME")]
    pub docker_username: String,
    /// With which password
    #[arg(long, value_name = "PASSWORD")]
    pub docker_password: String,
    /// An address for mail
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    pub docker_email: String,
}

/// Arguments of `husk create service` for pods.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// Its name.
    #[command(flatten)]
    pub named: NamedArgs,
    /// A port, and that of the pods if it is another. Repeatable
    #[arg(long, value_name = "PORT[:TARGET]", value_delimiter = ',')]
    pub tcp: Vec<String>,
    /// The address it is to have, or None
    #[arg(long, value_name = "ADDR|None")]
    pub clusterip: Option<String>,
    /// The port of the node it is to have
    #[arg(long, value_name = "PORT")]
    pub node_port: Option<u16>,
}

/// Arguments of `husk create service externalname`.
#[derive(Debug, Args)]
pub struct ExternalNameArgs {
    /// Its name.
    #[command(flatten)]
    pub named: NamedArgs,
    /// The name that it stands for
    #[arg(long, value_name = "NAME")]
    pub external_name: String,
    /// A port, and that of the other if it is another. Repeatable
    #[arg(long, value_name = "PORT[:TARGET]", value_delimiter = ',')]
    pub tcp: Vec<String>,
}

/// Arguments of `husk create priorityclass`.
#[derive(Debug, Args)]
pub struct PriorityClassArgs {
    /// Its name.
    #[command(flatten)]
    pub named: NamedArgs,
    /// The priority
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = 0)]
    pub value: i32,
    /// Whether pods have it that name none
    #[arg(long)]
    pub global_default: bool,
    /// When it is to be used
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub description: String,
    /// Never, or PreemptLowerPriority
    #[arg(long, value_name = "POLICY", default_value = "PreemptLowerPriority")]
    pub preemption_policy: String,
}
