//! `--token-auth-file`: lines of token, user, uid and optionally groups in quotes, as CSV.

use std::collections::HashMap;
use std::sync::Arc;

use apiserver::request::UserInfo;

use super::Error;

/// Static tokens by their text.
#[derive(Debug, Default)]
pub struct TokenFile(HashMap<String, Arc<UserInfo>>);

impl TokenFile {
    pub fn parse(csv: &str) -> Result<Self, Error> {
        let mut tokens = HashMap::new();
        for (number, line) in csv.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let fields = fields(line);
            let [token, name, uid, groups @ ..] = fields.as_slice() else {
                return Err(Error::Config(format!(
                    "token file must have at least 3 columns (token, user name, user uid), found {} in line {}",
                    fields.len(),
                    number + 1
                )));
            };
            if token.is_empty() {
                tracing::warn!(line = number + 1, "empty token in the token file");
                continue;
            }
            let groups = groups
                .first()
                .map(|g| g.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect())
                .unwrap_or_default();
            let user = UserInfo { name: name.clone(), uid: uid.clone(), groups, ..UserInfo::default() };
            tokens.insert(token.clone(), Arc::new(user));
        }
        Ok(Self(tokens))
    }

    pub fn user(&self, token: &str) -> Option<Arc<UserInfo>> {
        self.0.get(token).cloned()
    }
}

/// The fields of one CSV record (RFC 4180 without line breaks inside quotes).
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let at = fields.len() - 1;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields[at].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields[at].push(c),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        let file = TokenFile::parse("t1,alice,u1\nt2,bob,u2,\"a,b\"\nt3,c,d,one\n").unwrap();
        assert_eq!(file.user("t1").unwrap().groups, Vec::<String>::new());
        let bob = file.user("t2").unwrap();
        assert_eq!((bob.name.as_str(), bob.uid.as_str()), ("bob", "u2"));
        assert_eq!(bob.groups, ["a", "b"]);
        assert_eq!(file.user("t3").unwrap().groups, ["one"]);
        assert!(file.user("t4").is_none());
        assert!(TokenFile::parse("t,u").is_err());
    }
}
