//! Text to syntax tree: a recursive-descent parser of bounded depth, with cel-go's words for faults.

mod lexer;
mod literal;
mod macros;
#[cfg(test)]
mod tests;

use crate::ast::{Ast, Entry, Expr, Id, Init, Item, Node};
use crate::value::Value;
use crate::words;
use lexer::{Kind, Token};

/// A fault at a byte offset; None: of the text as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub at: Option<usize>,
    pub message: String,
}

const MAX_CODE_POINTS: usize = 100_000;
/// Upstream's limit of nested expressions.
const MAX_NESTING: usize = 250;
/// Nodes from the root to a leaf: what checker and evaluator walk recursively.
const MAX_DEPTH: u16 = 400;
/// What can be expected where an expression begins, in the order of the messages; the marked ones only at some places.
const EXPECTED: [&str; 20] = [
    "'['",
    "?']'",
    "'{'",
    "?'}'",
    "'('",
    "?')'",
    "'.'",
    "?','",
    "'-'",
    "'!'",
    "?'?'",
    "'true'",
    "'false'",
    "'null'",
    "NUM_FLOAT",
    "NUM_INT",
    "NUM_UINT",
    "STRING",
    "BYTES",
    "IDENTIFIER",
];

/// The beginnings of an expression, and what else may stand there.
fn beginnings(also: &str) -> String {
    let shown = EXPECTED.iter().filter_map(|word| match word.strip_prefix('?') {
        Some(extra) => also.contains(extra.trim_matches('\'')).then_some(extra),
        None => Some(*word),
    });
    format!("{{{}}}", shown.collect::<Vec<_>>().join(", "))
}

/// Parses an expression; the faults are in the order of the text.
pub(crate) fn parse(source: &str) -> Result<Ast, Vec<Fault>> {
    let size = source.chars().count();
    if size > MAX_CODE_POINTS {
        let message =
            format!("expression code point size exceeds limit: size: {size}, limit {MAX_CODE_POINTS}");
        return Err(vec![Fault { at: None, message }]);
    }
    let (tokens, faults) = lexer::tokens(source);
    let mut parser = Parser { source, tokens, at: 0, nodes: Vec::new(), faults: Vec::new(), nesting: 0 };
    for (start, end) in faults {
        let text = &source[start..end];
        parser.fault(start, format!("Syntax error: token recognition error at: '{text}'"));
    }
    parser.whole()
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Token>,
    at: usize,
    nodes: Vec<Node>,
    faults: Vec<Fault>,
    nesting: usize,
}

/// The rest cannot be parsed; the fault is recorded.
struct Stop;

type Parsed<T = Id> = Result<T, Stop>;

impl Parser<'_> {
    fn whole(mut self) -> Result<Ast, Vec<Fault>> {
        let root = self.expr();
        if root.is_ok() && self.kind() != Kind::End {
            let word = if self.tokens.len() - self.at == 2 { "extraneous" } else { "mismatched" };
            let _ = self.unexpected::<()>(word, "<EOF>");
        }
        match root {
            Ok(root) if self.faults.is_empty() => Ok(Ast { nodes: self.nodes, root }),
            _ => Err(self.faults),
        }
    }

    fn token(&self) -> Token {
        self.tokens[self.at]
    }

    fn kind(&self) -> Kind {
        self.tokens[self.at].kind
    }

    fn text(&self, token: Token) -> &str {
        &self.source[token.start..token.end]
    }

    fn next(&mut self) -> Token {
        let token = self.token();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn eat(&mut self, sign: &str) -> Option<Token> {
        matches!(self.kind(), Kind::Sign(s) if s == sign).then(|| self.next())
    }

    fn fault(&mut self, at: usize, message: String) {
        if self.faults.len() < 100 {
            self.faults.push(Fault { at: Some(at), message });
        }
    }

    /// A fault that the parser goes on after.
    fn error(&mut self, at: usize, message: impl Into<String>) -> Id {
        self.fault(at, message.into());
        self.push(at, Expr::Error)
    }

    fn unexpected<T>(&mut self, word: &str, expected: &str) -> Parsed<T> {
        let token = self.token();
        let shown = if token.kind == Kind::End { "<EOF>" } else { self.text(token) }.to_owned();
        self.fault(token.start, format!("Syntax error: {word} input '{shown}' expecting {expected}"));
        Err(Stop)
    }

    /// A sign that must stand here. One token too many is skipped, a missing sign is told, and parsing goes on, so
    /// that more faults are found.
    fn expect(&mut self, sign: &'static str, expected: &str) -> Parsed<Token> {
        if let Some(token) = self.eat(sign) {
            return Ok(token);
        }
        if self.tokens.get(self.at + 1).is_some_and(|next| next.kind == Kind::Sign(sign)) {
            let token = self.token();
            let message = format!("Syntax error: extraneous input '{}' expecting '{sign}'", self.text(token));
            self.fault(token.start, message);
            self.next();
            return Ok(self.next());
        }
        if self.kind() == Kind::End && expected == format!("'{sign}'") && matches!(sign, ")" | "]") {
            let token = self.token();
            self.fault(token.start, format!("Syntax error: missing '{sign}' at '<EOF>'"));
            return Ok(token);
        }
        self.unexpected("mismatched", expected)
    }

    /// Fails where nothing can begin here, right after an opening bracket: some signs may stand there as well.
    fn check_beginning(&mut self, also: &str) -> Parsed<()> {
        let good = match self.kind() {
            Kind::Sign(sign) => starts(self.kind()) || also.contains(sign),
            kind => starts(kind),
        };
        if good {
            return Ok(());
        }
        let closing = self.tokens.get(self.at + 1).map(|next| next.kind);
        let extraneous = matches!(closing, Some(Kind::Sign(sign)) if also.contains(sign));
        self.unexpected(if extraneous { "extraneous" } else { "mismatched" }, &beginnings(also))
    }

    fn push(&mut self, at: usize, expr: Expr) -> Id {
        let below = expr.children().into_iter().map(|id| self.nodes[id].depth).max().unwrap_or(0);
        self.nodes.push(Node { expr, at, depth: below + 1 });
        self.nodes.len() - 1
    }

    fn too_deep<T>(&mut self) -> Parsed<T> {
        self.faults
            .push(Fault { at: None, message: format!("expression recursion limit exceeded: {MAX_NESTING}") });
        Err(Stop)
    }

    /// A node that may deepen the tree.
    fn grow(&mut self, at: usize, expr: Expr) -> Parsed {
        let id = self.push(at, expr);
        if self.nodes[id].depth > MAX_DEPTH { self.too_deep() } else { Ok(id) }
    }

    fn call(&mut self, at: usize, function: &str, args: Vec<Id>) -> Parsed {
        self.grow(at, Expr::Call { function: function.into(), target: None, args })
    }

    fn expr(&mut self) -> Parsed {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return self.too_deep();
        }
        let condition = self.logical("||")?;
        let parsed = match self.eat("?") {
            None => Ok(condition),
            Some(op) => self.conditional(condition, op.start),
        };
        self.nesting -= 1;
        parsed
    }

    fn conditional(&mut self, condition: Id, at: usize) -> Parsed {
        let yes = self.logical("||")?;
        self.expect(":", "':'")?;
        let no = self.expr()?;
        self.call(at, "_?_:_", vec![condition, yes, no])
    }

    /// `||` of `&&` of relations, each as a balanced tree.
    fn logical(&mut self, op: &'static str) -> Parsed {
        let one = |p: &mut Self| if op == "||" { p.logical("&&") } else { p.relation() };
        let mut terms = vec![one(self)?];
        let mut ops = Vec::new();
        while let Some(token) = self.eat(op) {
            ops.push(token.start);
            terms.push(one(self)?);
        }
        if ops.is_empty() {
            return Ok(terms[0]);
        }
        let function = if op == "||" { "_||_" } else { "_&&_" };
        self.balance(function, &terms, &ops)
    }

    /// The operator in the middle is the root, so that a long chain is shallow.
    fn balance(&mut self, function: &str, terms: &[Id], ops: &[usize]) -> Parsed {
        if ops.is_empty() {
            return Ok(terms[0]);
        }
        let middle = ops.len() / 2;
        let left = self.balance(function, &terms[..=middle], &ops[..middle])?;
        let right = self.balance(function, &terms[middle + 1..], &ops[middle + 1..])?;
        self.call(ops[middle], function, vec![left, right])
    }

    fn relation(&mut self) -> Parsed {
        let mut left = self.sum()?;
        let mut links = 0;
        loop {
            let function = match self.kind() {
                Kind::Sign("<") => "_<_",
                Kind::Sign("<=") => "_<=_",
                Kind::Sign(">") => "_>_",
                Kind::Sign(">=") => "_>=_",
                Kind::Sign("==") => "_==_",
                Kind::Sign("!=") => "_!=_",
                Kind::In => "@in",
                _ => return Ok(left),
            };
            let op = self.next().start;
            let right = self.sum()?;
            left = self.link(&mut links, op, function, left, right)?;
        }
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.product()?;
        let mut links = 0;
        loop {
            let function = match self.kind() {
                Kind::Sign("+") => "_+_",
                Kind::Sign("-") => "_-_",
                _ => return Ok(left),
            };
            let op = self.next().start;
            let right = self.product()?;
            left = self.link(&mut links, op, function, left, right)?;
        }
    }

    fn product(&mut self) -> Parsed {
        let mut left = self.unary()?;
        let mut links = 0;
        loop {
            let function = match self.kind() {
                Kind::Sign("*") => "_*_",
                Kind::Sign("/") => "_/_",
                Kind::Sign("%") => "_%_",
                _ => return Ok(left),
            };
            let op = self.next().start;
            let right = self.unary()?;
            left = self.link(&mut links, op, function, left, right)?;
        }
    }

    /// One more operator of a chain; a chain is as deep as it is long.
    fn link(&mut self, links: &mut usize, at: usize, function: &str, left: Id, right: Id) -> Parsed {
        *links += 1;
        if *links >= MAX_NESTING {
            return self.too_deep();
        }
        self.call(at, function, vec![left, right])
    }

    fn unary(&mut self) -> Parsed {
        match self.kind() {
            Kind::Sign("!") => self.repeated("!", "!_"),
            Kind::Sign("-") if !self.is_negative_number() => self.repeated("-", "-_"),
            _ => self.member(),
        }
    }

    fn is_negative_number(&self) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|t| matches!(t.kind, Kind::Int | Kind::Float))
    }

    /// Two of the same cancel.
    fn repeated(&mut self, sign: &'static str, function: &str) -> Parsed {
        let first = self.token().start;
        let mut count = 0;
        while self.eat(sign).is_some() {
            count += 1;
        }
        let of = self.member()?;
        if count % 2 == 0 { Ok(of) } else { self.call(first, function, vec![of]) }
    }

    fn member(&mut self) -> Parsed {
        let mut of = self.primary()?;
        let mut links = 0;
        loop {
            of = if let Some(dot) = self.eat(".") {
                self.after_dot(of, dot.start)?
            } else if let Some(open) = self.eat("[") {
                self.index(of, open.start)?
            } else {
                return Ok(of);
            };
            links += 1;
            if links >= MAX_NESTING {
                return self.too_deep();
            }
        }
    }

    fn index(&mut self, of: Id, at: usize) -> Parsed {
        self.check_beginning("?")?;
        let function = if self.eat("?").is_some() { "_[?_]" } else { "_[_]" };
        let index = self.expr()?;
        self.expect("]", "']'")?;
        self.call(at, function, vec![of, index])
    }

    fn after_dot(&mut self, of: Id, dot: usize) -> Parsed {
        let optional = self.eat("?").is_some();
        let name = self.token();
        if !matches!(name.kind, Kind::Ident | Kind::Escaped) {
            return self.no_name(of, name, optional);
        }
        self.next();
        let field: Box<str> = self.text(name).trim_matches('`').into();
        if optional {
            let field = self.push(name.start, Expr::Literal(Value::text(&*field)));
            return self.call(dot, "_?._", vec![of, field]);
        }
        match self.eat("(").filter(|_| name.kind == Kind::Ident) {
            Some(open) => {
                let args = self.args()?;
                self.receiver_call(open.start, &field, of, args)
            }
            None => self.grow(dot, Expr::Select { of, field, test: false }),
        }
    }

    /// What follows a dot is no name.
    fn no_name(&mut self, of: Id, found: Token, optional: bool) -> Parsed {
        let text = if found.kind == Kind::End { "" } else { self.text(found) }.to_owned();
        let message = match found.kind {
            Kind::True | Kind::False | Kind::Null => {
                format!("mismatched input '{text}' expecting IDENTIFIER")
            }
            _ if optional => {
                let shown = if text.is_empty() { "<EOF>" } else { &text };
                format!("mismatched input '{shown}' expecting {{IDENTIFIER, ESC_IDENTIFIER}}")
            }
            _ => format!("no viable alternative at input '.{text}'"),
        };
        self.fault(found.start, format!("Syntax error: {message}"));
        // An operator may well go on.
        if found.kind == Kind::In { Ok(of) } else { Err(Stop) }
    }

    /// Arguments up to the closing parenthesis.
    fn args(&mut self) -> Parsed<Vec<Id>> {
        let mut args = Vec::new();
        if self.eat(")").is_some() {
            return Ok(args);
        }
        self.check_beginning(")")?;
        loop {
            args.push(self.expr()?);
            if self.eat(",").is_none() {
                self.expect(")", "{')', ','}")?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let token = self.token();
        match token.kind {
            Kind::Ident => self.named(""),
            Kind::Sign(".") => {
                self.next();
                if self.kind() != Kind::Ident {
                    return self.unexpected("mismatched", "IDENTIFIER");
                }
                self.named(".")
            }
            Kind::Sign("(") => {
                self.next();
                let inner = self.expr()?;
                self.expect(")", "')'")?;
                Ok(inner)
            }
            Kind::Sign("[") => self.list(),
            Kind::Sign("{") => self.map(),
            _ => self.literal(token),
        }
    }

    fn literal(&mut self, token: Token) -> Parsed {
        let negative = token.kind == Kind::Sign("-") && self.is_negative_number();
        if negative {
            self.next();
        }
        let tok = self.token();
        let text = self.text(tok).to_owned();
        let value = match tok.kind {
            Kind::Int => literal::int(&text, negative).ok_or("invalid int literal"),
            Kind::Uint => literal::uint(&text).ok_or("invalid uint literal"),
            Kind::Float => literal::double(&text, negative).ok_or("invalid double literal"),
            Kind::String => literal::string(&text),
            Kind::Bytes => literal::bytes(&text),
            Kind::True => Ok(Value::Bool(true)),
            Kind::False => Ok(Value::Bool(false)),
            Kind::Null => Ok(Value::Null),
            _ => return self.no_primary(),
        };
        self.next();
        match value {
            Ok(value) => Ok(self.push(token.start, Expr::Literal(value))),
            Err(message) => Ok(self.error(token.start, message)),
        }
    }

    /// Nothing that an expression can begin with: skipped where the next token can.
    fn no_primary(&mut self) -> Parsed {
        let (at, kind) = (self.token().start, self.kind());
        let follows = kind != Kind::End && self.tokens.get(self.at + 1).is_some_and(|t| starts(t.kind));
        let word = if follows { "extraneous" } else { "mismatched" };
        let stopped = self.unexpected::<Id>(word, &beginnings(""));
        if follows {
            self.next();
            return self.primary();
        }
        // As if something stood before the operator.
        if matches!(kind, Kind::In | Kind::Sign("?")) { Ok(self.push(at, Expr::Error)) } else { stopped }
    }

    /// An identifier, a call or a struct literal.
    fn named(&mut self, prefix: &str) -> Parsed {
        if self.is_struct() {
            return self.structure(prefix);
        }
        let name = self.next();
        let text = format!("{prefix}{}", self.text(name));
        let reserved = words::is_keyword(self.text(name));
        let call = self.eat("(");
        let args = call.map(|open| self.args().map(|args| (open.start, args))).transpose()?;
        if reserved {
            let message = format!("reserved identifier: {}", self.text(name));
            return Ok(self.error(name.start, message));
        }
        match args {
            Some((at, args)) => self.global_call(at, &text, args),
            None => Ok(self.push(name.start, Expr::Ident(text.into()))),
        }
    }

    /// Whether `a.b.c{` stands here.
    fn is_struct(&self) -> bool {
        let mut at = self.at;
        loop {
            match (self.tokens.get(at + 1).map(|t| t.kind), self.tokens.get(at + 2).map(|t| t.kind)) {
                (Some(Kind::Sign("{")), _) => return true,
                (Some(Kind::Sign(".")), Some(Kind::Ident)) => at += 2,
                _ => return false,
            }
        }
    }

    fn structure(&mut self, prefix: &str) -> Parsed {
        let mut name = prefix.to_owned();
        while self.kind() == Kind::Ident {
            let part = self.next();
            name.push_str(self.text(part));
            if self.eat(".").is_some() {
                name.push('.');
            }
        }
        let at = self.next().start;
        let mut fields = Vec::new();
        while self.eat("}").is_none() {
            fields.push(self.field()?);
            if self.eat(",").is_none() {
                self.expect("}", "{'}', ','}")?;
                break;
            }
        }
        self.grow(at, Expr::Struct { name: name.into(), fields })
    }

    fn field(&mut self) -> Parsed<Init> {
        let optional = self.eat("?").is_some();
        if !matches!(self.kind(), Kind::Ident | Kind::Escaped) {
            return self.unexpected("mismatched", "{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}");
        }
        let name = self.next();
        let name = self.text(name).trim_matches('`').into();
        let at = self.expect(":", "':'")?.start;
        let value = self.expr()?;
        Ok(Init { name, value, optional, at })
    }

    fn list(&mut self) -> Parsed {
        let at = self.next().start;
        let mut items = Vec::new();
        self.check_beginning("],?")?;
        if self.eat(",").is_some() {
            self.expect("]", "']'")?;
            return self.grow(at, Expr::List(items));
        }
        while self.eat("]").is_none() {
            let optional = self.eat("?").is_some();
            items.push(Item { value: self.expr()?, optional });
            if self.eat(",").is_none() {
                self.expect("]", "{']', ','}")?;
                break;
            }
            if self.kind() == Kind::Sign(",") {
                return self.unexpected("mismatched", "']'");
            }
        }
        self.grow(at, Expr::List(items))
    }

    fn map(&mut self) -> Parsed {
        let at = self.next().start;
        let mut entries = Vec::new();
        self.check_beginning("},?")?;
        if self.eat(",").is_some() {
            self.expect("}", "'}'")?;
            return self.grow(at, Expr::Map(entries));
        }
        while self.eat("}").is_none() {
            let optional = self.eat("?").is_some();
            let key = self.expr()?;
            self.expect(":", "':'")?;
            entries.push(Entry { key, value: self.expr()?, optional });
            if self.eat(",").is_none() {
                self.expect("}", "{'}', ','}")?;
                break;
            }
        }
        self.grow(at, Expr::Map(entries))
    }
}

/// Whether an expression can begin with it.
fn starts(kind: Kind) -> bool {
    match kind {
        Kind::Sign(sign) => matches!(sign, "[" | "{" | "(" | "." | "-" | "!"),
        Kind::Escaped | Kind::In | Kind::End => false,
        _ => true,
    }
}
