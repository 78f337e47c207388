//! `kubectl version`

use api::{Value, value};

use crate::Context;
use crate::args::Flags;
use crate::error::{Error, Result};
use crate::output::{self, json, yaml};
use crate::server::Ask;

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("version", "client output,o= short", arguments)?;
    let client = component_base::KUBERNETES_VERSION;
    let mut of_server = Ok(Value::Null);
    if !flags.on("client") {
        let server = Context::server(&flags).await?;
        of_server = server.value(&Ask::get("/version")).await;
    }
    let known = of_server.as_ref().ok().filter(|v| !v.is_null());
    let mut all = value!({"clientVersion": {"gitVersion": (client), "major": "1", "minor": "37", "platform": "linux/amd64"}});
    if let Some(version) = known {
        all.set_at(&["serverVersion"], version.clone());
    }
    match flags.text("output") {
        "" => {
            output::say(format!("Client Version: {client}"));
            if let Some(version) = known {
                output::say(format!("Server Version: {}", version.str_at(&["gitVersion"])));
            }
        }
        "json" => output::say(json::pretty(&all).replace("    ", "  ")),
        "yaml" => output::write(&yaml::to_string(&all)),
        other => return Err(Error::Plain(format!("--output must be 'yaml' or 'json', not {other:?}"))),
    }
    of_server.map(|_| ())
}
