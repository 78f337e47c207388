//! `kubectl`: stock kubectl's commands, flags, output and errors, for what is built; the rest is refused by name.
//!
//! Deliberately absent: plugins, kustomize, the discovery cache on disk.

mod api_resources;
mod apply;
mod args;
mod auth;
mod change;
mod config;
mod config_command;
mod cp;
mod create;
mod delete;
mod describe;
mod drain;
mod error;
mod events;
mod exec;
mod explain;
mod expose;
mod get;
mod history;
mod logs;
mod manifests;
mod mapper;
mod output;
mod patch;
mod pods;
mod port_forward;
mod replace;
mod rollout;
mod run;
mod scale;
mod server;
mod targets;
mod terminal;
mod three_way;
mod upgrade;
mod version;
mod wait;
mod watching;

use std::process::ExitCode;

pub use error::Error;
use error::Result;

use args::Flags;
use mapper::Mapper;
use server::Server;

/// Subcommands that upstream has and that are not built.
const NOT_BUILT: &[&str] = &[
    "alpha",
    "autoscale",
    "certificate",
    "cluster-info",
    "completion",
    "debug",
    "kustomize",
    "options",
    "plugin",
    "proxy",
    "top",
];

const BUILT: &str = "annotate api-resources api-versions apply attach auth config cordon cp create delete describe \
    diff drain edit events exec explain expose get label logs patch port-forward replace rollout run scale set taint \
    uncordon version wait";

/// Runs `kubectl` with the arguments behind its name. Errors are printed to stderr, as stock prints them.
pub fn run(arguments: Vec<String>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(dispatch(&arguments));
            // A read of the terminal may still hang; nobody waits for it.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.lines().iter().for_each(|line| eprintln!("{line}"));
            ExitCode::from(error.exit_code())
        }
    }
}

async fn dispatch(arguments: &[String]) -> Result<()> {
    let Some(at) = args::command_at(arguments) else {
        return usage();
    };
    let mut rest = arguments.to_vec();
    let command = rest.remove(at);
    if rest[at..].iter().take_while(|a| *a != "--").any(|a| a == "--help" || a == "-h") {
        return help(&command);
    }
    match command.as_str() {
        "get" => get::run(&rest).await,
        "apply" => apply::run(&rest).await,
        "create" => create::run(&rest).await,
        "delete" => delete::run(&rest).await,
        "logs" | "log" => logs::run(&rest).await,
        "exec" => exec::run(&rest, exec::Kind::Exec).await,
        "attach" => exec::run(&rest, exec::Kind::Attach).await,
        "rollout" => rollout::run(&rest).await,
        "scale" => scale::run(&rest).await,
        "wait" => wait::run(&rest).await,
        "patch" => patch::run(&rest).await,
        "describe" => describe::run(&rest).await,
        "version" => version::run(&rest).await,
        "api-resources" => api_resources::run(&rest).await,
        "api-versions" => api_resources::versions(&rest).await,
        "auth" => auth::run(&rest).await,
        "cp" => cp::run(&rest).await,
        "diff" => replace::diff(&rest).await,
        "edit" => replace::edit(&rest).await,
        "events" => events::run(&rest).await,
        "explain" => explain::run(&rest).await,
        "replace" => replace::run(&rest).await,
        "run" => run::run(&rest).await,
        "label" => change::metadata::run(&rest, &change::metadata::LABEL).await,
        "annotate" => change::metadata::run(&rest, &change::metadata::ANNOTATE).await,
        "taint" => change::taint::run(&rest).await,
        "set" => change::image::run(&rest).await,
        "cordon" => drain::run(&rest, "cordon").await,
        "uncordon" => drain::run(&rest, "uncordon").await,
        "drain" => drain::run(&rest, "drain").await,
        "expose" => expose::run(&rest).await,
        "config" => config_command::run(&rest),
        "port-forward" => port_forward::run(&rest).await,
        "help" => usage(),
        name if NOT_BUILT.contains(&name) => Err(Error::not_built(format!("the subcommand {name:?}"))),
        name => Err(Error::Plain(format!("unknown command {name:?} for \"kubectl\""))),
    }
}

fn usage() -> Result<()> {
    output::say(format!(
        "kubectl in keelson: the subcommands\n  {}",
        BUILT.split_whitespace().collect::<Vec<_>>().join("\n  ")
    ));
    Ok(())
}

fn help(command: &str) -> Result<()> {
    if !BUILT.split_whitespace().any(|c| c == command) {
        return Err(Error::not_built(format!("the subcommand {command:?}")));
    }
    output::say(format!(
        "kubectl {command}: flags and arguments as upstream's; see kubernetes.io/docs/reference/kubectl"
    ));
    Ok(())
}

/// A server and what it serves.
struct Context {
    server: Server,
    mapper: Mapper,
}

impl Context {
    async fn new(flags: &Flags) -> Result<Self> {
        let server = Self::server(flags).await?;
        let mapper = Mapper::load(&server).await?;
        Ok(Self { server, mapper })
    }

    async fn server(flags: &Flags) -> Result<Server> {
        Server::new(config::load(flags).await?)
    }
}
