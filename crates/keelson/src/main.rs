//! `keelson`: all of Kubernetes in one binary. The first word says which part; a link named as a component is that
//! component. Arguments to components, and nothing else.

mod commands;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().collect();
    if let Some(command) = commands::by_program_name(&arguments) {
        return commands::run(command, arguments);
    }
    arguments.remove(0);
    match arguments.first().map(String::as_str) {
        None | Some("help" | "--help" | "-h") => commands::usage(),
        Some(name) => match commands::find(name) {
            Some(command) => commands::run(command, arguments),
            None => commands::unknown(name),
        },
    }
}
