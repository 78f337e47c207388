//! `keelson kubectl`

use super::Outcome;

pub fn run(mut arguments: Vec<String>) -> Outcome {
    arguments.remove(0);
    Ok(kubectl::run(arguments))
}
