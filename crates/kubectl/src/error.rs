//! What goes wrong, in the words that stock kubectl has for it.

use api::Value;

/// Why a command failed. [`Error::lines`] is what the terminal shows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Anything of this side: arguments, files, timeouts. Shown as `error: ...`.
    #[error("{0}")]
    Plain(String),
    /// Shown as it stands.
    #[error("{0}")]
    Bare(String),
    /// The server refused.
    #[error("{}", .0.message)]
    Server(Box<Refusal>),
    /// Several objects failed, each in its own way.
    #[error("{} errors", .0.len())]
    Many(Vec<Error>),
    /// A command in a container ended with this code; it has said itself what there is to say.
    #[error("command terminated with exit code {0}")]
    Exit(u8),
}

pub type Result<T> = std::result::Result<T, Error>;

/// A Status of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    pub code: u16,
    pub reason: String,
    pub message: String,
    pub kind: String,
    pub name: String,
    /// Field and message of each cause.
    pub causes: Vec<(String, String)>,
}

impl Refusal {
    /// Reads a Status; None for anything else.
    pub fn of(status: &Value) -> Option<Self> {
        if status.str_at(&["kind"]) != "Status" {
            return None;
        }
        let causes = status.list_at(&["details", "causes"]);
        Some(Self {
            code: status.int_at(&["code"]).and_then(|n| n.try_into().ok()).unwrap_or(0),
            reason: status.str_at(&["reason"]).into(),
            message: status.str_at(&["message"]).into(),
            kind: status.str_at(&["details", "kind"]).into(),
            name: status.str_at(&["details", "name"]).into(),
            causes: causes
                .iter()
                .map(|c| (c.str_at(&["field"]).to_owned(), c.str_at(&["message"]).to_owned()))
                .collect(),
        })
    }

    fn shown(&self) -> String {
        match self.reason.as_str() {
            "Invalid" if !self.kind.is_empty() || !self.name.is_empty() => self.invalid(),
            "Unauthorized" => format!("error: You must be logged in to the server ({})", self.message),
            "" => format!("Error from server: {}", self.message),
            reason => format!("Error from server ({reason}): {}", self.message),
        }
    }

    fn invalid(&self) -> String {
        let head = format!("The {} {:?} is invalid", self.kind, self.name);
        let cause = |(field, message): &(String, String)| format!("{field}: {message}");
        match self.causes.as_slice() {
            [] => head,
            [one] => format!("{head}: {}", cause(one)),
            many => {
                let mut seen: Vec<String> = Vec::new();
                for line in many.iter().map(cause) {
                    if !seen.contains(&line) {
                        seen.push(line);
                    }
                }
                let lines: String = seen.iter().map(|c| format!("\n* {c}")).collect();
                format!("{head}: {lines}")
            }
        }
    }
}

impl Error {
    pub fn plain(text: impl Into<String>) -> Self {
        Self::Plain(text.into())
    }

    /// A flag, form or subcommand that upstream has and this program has not.
    pub fn not_built(what: impl std::fmt::Display) -> Self {
        Self::Plain(format!("{what} is not built in keelson's kubectl yet"))
    }

    pub fn is_reason(&self, reason: &str) -> bool {
        matches!(self, Self::Server(refusal) if refusal.reason == reason)
    }

    pub fn is_not_found(&self) -> bool {
        self.is_reason("NotFound")
    }

    /// The same with the file or step named in front, as stock kubectl does for refusals.
    #[must_use]
    pub fn about(self, what: impl std::fmt::Display) -> Self {
        match self {
            Self::Server(mut refusal) => {
                refusal.message = format!("{what}: {}", refusal.message);
                Self::Server(refusal)
            }
            Self::Plain(text) => Self::Plain(format!("{what}: {text}")),
            other => other,
        }
    }

    /// The lines for the terminal.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Plain(text) if text.starts_with("error: ") => vec![text.clone()],
            Self::Plain(text) => vec![format!("error: {text}")],
            Self::Bare(text) => vec![text.clone()],
            Self::Server(refusal) => vec![refusal.shown()],
            Self::Many(errors) => errors.iter().map(Self::line_of_many).collect(),
            Self::Exit(code) => vec![self.exit_line(*code)].into_iter().flatten().collect(),
        }
    }

    /// Stock shows less of an error that is one of several.
    fn line_of_many(&self) -> String {
        match self {
            Self::Server(refusal) if refusal.reason == "Invalid" => {
                format!("Error from server (Invalid): {}", refusal.message)
            }
            Self::Plain(text) => text.clone(),
            other => other.lines().join("\n"),
        }
    }

    fn exit_line(&self, code: u8) -> Option<String> {
        (code > 1).then(|| self.to_string())
    }

    pub fn exit_code(&self) -> u8 {
        if let Self::Exit(code) = self { *code } else { 1 }
    }

    /// One error of many, none of none.
    pub fn collect(mut errors: Vec<Error>) -> Result<()> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Many(errors)),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Plain(error.to_string())
    }
}

impl From<streaming::Error> for Error {
    fn from(error: streaming::Error) -> Self {
        Self::Plain(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    #[test]
    fn refusals_are_shown_as_stock_shows_them() {
        let refusal =
            |status: Value| Error::Server(Box::new(Refusal::of(&status).unwrap_or_default())).lines();
        let status = value!({"kind": "Status", "reason": "NotFound", "message": "pods \"x\" not found"});
        assert_eq!(refusal(status), ["Error from server (NotFound): pods \"x\" not found"]);
        let status = value!({"kind": "Status", "message": "boom"});
        assert_eq!(refusal(status), ["Error from server: boom"]);
        let status = value!({"kind": "Status", "reason": "Invalid", "message": "long",
            "details": {"kind": "Pod", "name": "p", "causes": [{"field": "a", "message": "Required value"}]}});
        assert_eq!(refusal(status), ["The Pod \"p\" is invalid: a: Required value"]);
        let status = value!({"kind": "Status", "reason": "Invalid", "message": "long",
            "details": {"kind": "Pod", "name": "p", "causes": [{"field": "a", "message": "x"}, {"field": "b", "message": "y"}]}});
        assert_eq!(refusal(status), ["The Pod \"p\" is invalid: \n* a: x\n* b: y"]);
        assert_eq!(Error::plain("no").lines(), ["error: no"]);
        let many = vec![Error::plain("no"), Error::Bare("bare".into())];
        assert_eq!(Error::Many(many).lines(), ["no", "bare"]);
        assert!(Error::Exit(1).lines().is_empty());
    }
}
