//! `husk get`: what can be typed.

use clap::Args;

use super::connection::{ConnectionArgs, FileArgs};

/// Arguments of `husk get`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  husk get pods                                   the pods of the namespace
  husk get pods,services -A                       pods and services of all namespaces
  husk get pod web -o yaml                        one pod, with its status
  husk get pods -l app=web -w                     pods with a label, and how they change
  husk get pods -o jsonpath='{.items[*].status.podIP}'
  husk get pods -o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName")]
pub struct GetArgs {
    /// TYPE [NAME…], TYPE,TYPE, TYPE/NAME…, or all
    #[arg(value_name = "TYPE|TYPE/NAME")]
    pub resources: Vec<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The manifests.
    #[command(flatten)]
    pub files: FileArgs,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels: KEY=VALUE, KEY!=VALUE, KEY in (A,B), KEY, !KEY, separated by commas
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// Only objects with these fields, such as status.phase=Running
    #[arg(long, value_name = "FIELDS")]
    pub field_selector: Option<String>,
    /// wide, yaml, json, name, jsonpath=TEMPLATE or custom-columns=HEADING:PATH,…
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
    /// Go on and print every change
    #[arg(short, long)]
    pub watch: bool,
    /// Print changes only, not what there is
    #[arg(long)]
    pub watch_only: bool,
    /// Order by what is at this path, such as .metadata.creationTimestamp
    #[arg(long, value_name = "PATH")]
    pub sort_by: Option<String>,
    /// Print no headings
    #[arg(long)]
    pub no_headers: bool,
    /// Print all labels in a last column
    #[arg(long)]
    pub show_labels: bool,
    /// Print these labels as columns
    #[arg(short = 'L', long, value_name = "LABEL", value_delimiter = ',')]
    pub label_columns: Vec<String>,
    /// Print who owns which fields in yaml and json, too
    #[arg(long)]
    pub show_managed_fields: bool,
    /// It is no error if a named object does not exist
    #[arg(long)]
    pub ignore_not_found: bool,
}
