//! The verbs that talk to a server, with kubectl's names.

use clap::Subcommand;

use super::connection::ConnectionArgs;
use super::{
    api_resources, apply, cp, create, delete, describe, edit, events, exec, explain, get, logs, port_forward, top, wait,
};

/// One of them.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create objects of manifests on a server, or change those that exist to what the manifests say
    Apply(apply::ApplyArgs),
    /// Create objects on a server, of manifests or of options
    Create(create::CreateArgs),
    /// Print objects of a server
    Get(get::GetArgs),
    /// Describe objects of a server in words, and what has happened to them
    Describe(describe::DescribeArgs),
    /// Change objects of a server in an editor
    Edit(edit::EditArgs),
    /// Print what a server's containers have printed
    Logs(logs::LogsArgs),
    /// Run a program in a container of a server's pod
    Exec(exec::ExecArgs),
    /// Be on the other end of a running container's input and output
    Attach(exec::AttachArgs),
    /// Copy files into a server's container and out of it
    Cp(cp::CpArgs),
    /// Lead ports of this machine to a server's pod
    PortForward(port_forward::PortForwardArgs),
    /// Print what has happened on a server
    Events(events::EventsArgs),
    /// Print how much processor and memory is used
    Top(top::TopArgs),
    /// Wait until objects of a server are as they should be
    Wait(wait::WaitArgs),
    /// Describe the types of a server's objects and their fields
    Explain(explain::ExplainArgs),
    /// Print which types of objects a server has
    ApiResources(api_resources::ApiResourcesArgs),
    /// Print husk's version and the server's
    Version(api_resources::VersionArgs),
    /// Delete objects of a server
    Delete(delete::DeleteArgs),
}

impl Verb {
    /// Which server it talks to.
    pub fn connection(&self) -> &ConnectionArgs {
        match self {
            Self::Apply(args) => &args.connection,
            Self::Create(args) => &args.options().connection,
            Self::Get(args) => &args.connection,
            Self::Describe(args) => &args.connection,
            Self::Edit(args) => &args.connection,
            Self::Logs(args) => &args.connection,
            Self::Exec(args) => &args.connection,
            Self::Attach(args) => &args.connection,
            Self::Cp(args) => &args.connection,
            Self::Explain(args) => &args.connection,
            Self::ApiResources(args) => &args.connection,
            Self::Version(args) => &args.connection,
            Self::PortForward(args) => &args.connection,
            Self::Events(args) => &args.connection,
            Self::Top(args) => match &args.of {
                top::TopOf::Pod(args) => &args.connection,
                top::TopOf::Node(args) => &args.connection,
            },
            Self::Wait(args) => &args.connection,
            Self::Delete(args) => &args.connection,
        }
    }
}
