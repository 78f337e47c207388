//! What an expression can cost, judged from the bounds of the schemas: a walk over the checked tree that tracks
//! where values come from and how large they can be. Upstream refuses rules of custom resources by it, so it follows
//! upstream's reckoning, oddities included.

use std::collections::HashMap;

use super::call::{Called, Node};
use super::range::Range;
use super::{LIST, MAP, STRUCT};
use crate::ast::{Ast, Entry, Expr, Fold, FoldKind, Id, Item};
use crate::check::{Checked, Ref, Target};
use crate::environment::Inner;
use crate::schema::{Kind, Schema};
use crate::types::Type;
use crate::value::{CostRange, Value};

/// Judges an expression.
pub(crate) fn estimate(ast: &Ast, checked: &Checked, environment: &Inner) -> CostRange {
    let mut estimator = Estimator {
        ast,
        checked,
        environment,
        places: HashMap::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
        locals: Vec::new(),
    };
    estimator.cost(ast.root).into()
}

/// Where a value comes from: a place that a schema declares.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'e> {
    At(&'e Schema),
    /// A key of a map.
    Key,
    /// Somewhere that no schema tells of.
    Lost,
}

impl<'e> Place<'e> {
    /// The place of items or values.
    pub fn element(self) -> Self {
        match self {
            Self::At(schema) => schema.element().map_or(Self::Lost, Self::At),
            Self::Key | Self::Lost => Self::Lost,
        }
    }

    fn key(self) -> Self {
        match self {
            Self::At(Schema { kind: Kind::Map(_), .. }) => Self::Key,
            _ => Self::Lost,
        }
    }

    fn field(self, name: &str) -> Self {
        match self {
            Self::At(schema) => schema.field(name).map_or(Self::Lost, |field| Self::At(&field.schema)),
            Self::Key | Self::Lost => Self::Lost,
        }
    }

    /// What is declared; nothing is like zero, but for lists and texts that were declared without a schema.
    pub fn size(self) -> Option<Range> {
        let schema = match self {
            Self::At(schema) => schema,
            Self::Key => return Some(Range::ZERO),
            Self::Lost => return None,
        };
        let grows =
            matches!(schema.kind, Kind::List(..) | Kind::Map(_) | Kind::String | Kind::Bytes | Kind::Any);
        Some(Range::of(0, schema.max.unwrap_or(if grows { u64::MAX } else { 0 })))
    }
}

/// Sizes of the entries of a list or map.
#[derive(Clone, Copy, Debug)]
struct Entries {
    list: bool,
    key: Range,
    value: Range,
}

impl Entries {
    fn union(self, other: Self) -> Self {
        Self { list: self.list, key: self.key.union(other.key), value: self.value.union(other.value) }
    }
}

/// A variable of a macro.
struct Local<'e> {
    name: &'e str,
    place: Option<Place<'e>>,
    size: Option<Range>,
    entries: Option<Entries>,
}

struct Estimator<'e> {
    ast: &'e Ast,
    checked: &'e Checked,
    environment: &'e Inner,
    places: HashMap<Id, Place<'e>>,
    sizes: HashMap<Id, Range>,
    entries: HashMap<Id, Entries>,
    locals: Vec<Local<'e>>,
}

impl<'e> Estimator<'e> {
    fn cost(&mut self, id: Id) -> Range {
        let ast = self.ast;
        match ast.expr(id) {
            Expr::Literal(_) | Expr::Error => Range::ZERO,
            Expr::Ident(name) => self.ident(id, name),
            Expr::Select { of, field, test } => self.select(id, *of, field, *test),
            Expr::Call { target, args, .. } => self.call(id, *target, args),
            Expr::List(items) => self.list(id, items),
            Expr::Map(entries) => self.map(id, entries),
            Expr::Struct { fields, .. } => {
                fields.iter().fold(Range::fixed(STRUCT), |sum, field| sum.plus(self.cost(field.value)))
            }
            Expr::Fold(fold) => self.fold(id, fold),
        }
    }

    /// Where upstream looks for the first step of every path: it takes the first name for that of the whole object.
    fn root(&self) -> Option<Place<'e>> {
        let declared = self.environment.variables.get("self");
        declared.filter(|schema| !matches!(schema.kind, Kind::Any | Kind::Of(_))).map(Place::At)
    }

    /// One step further from a place. The first step from nowhere leads to the whole object.
    fn step(&self, from: Option<Place<'e>>, to: impl FnOnce(Place<'e>) -> Place<'e>) -> Option<Place<'e>> {
        from.map_or_else(|| self.root(), |place| Some(to(place)))
    }

    fn local(&self, id: Id) -> Option<&Local<'e>> {
        let Expr::Ident(name) = self.ast.expr(id) else { return None };
        self.locals.iter().rev().find(|local| *local.name == **name)
    }

    fn set_place(&mut self, id: Id, place: Option<Place<'e>>) {
        match place {
            Some(place) => self.places.insert(id, place),
            None => self.places.remove(&id),
        };
    }

    fn place(&self, id: Id) -> Option<Place<'e>> {
        match self.local(id) {
            Some(local) => local.place,
            None => self.places.get(&id).copied(),
        }
    }

    fn ident(&mut self, id: Id, name: &str) -> Range {
        let place = match self.local(id) {
            Some(local) => local.place,
            // Upstream cuts off the first name of a path, be it that of a variable or of a type.
            None => self.root().or_else(|| self.environment.variables.get(name).map(Place::At)),
        };
        self.set_place(id, place);
        Range::ONE
    }

    fn select(&mut self, id: Id, of: Id, field: &str, test: bool) -> Range {
        if let (false, Some(Ref::Variable(name))) = (test, &self.checked.refs[id]) {
            return self.ident(id, name);
        }
        let cost = self.cost(of);
        if test {
            return cost;
        }
        self.set_place(id, self.step(self.place(of), |place| place.field(field)));
        let counts = match &self.checked.types[of] {
            Type::Map(_) | Type::Object(_) => true,
            Type::Opaque(opaque) => !opaque.name().starts_with("net."),
            _ => false,
        };
        if counts { cost.plus(Range::ONE) } else { cost }
    }

    fn call(&mut self, id: Id, target: Option<Id>, args: &[Id]) -> Range {
        let Some(Ref::Call(meant)) = &self.checked.refs[id] else { return Range::ZERO };
        if meant.function.name == "dyn" {
            let cost = args.iter().fold(Range::ONE, |sum, arg| sum.plus(self.cost(*arg)));
            args.iter().for_each(|arg| self.copy_sizes(id, *arg));
            return cost;
        }
        let costs: Vec<Range> = args.iter().map(|arg| self.cost(*arg)).collect();
        let nodes: Vec<Node<'e>> = args.iter().map(|arg| self.node(*arg)).collect();
        let target = target.filter(|_| !meant.namespaced);
        let base = target.map_or(Range::ZERO, |target| self.cost(target));
        let target = target.map(|target| self.node(target));
        let cost = self.overloads(id, meant, target, &nodes, args, &costs);
        base.plus(cost)
    }

    /// The range over all overloads that can apply, and the size of what they give.
    fn overloads(
        &mut self,
        id: Id,
        meant: &Target,
        target: Option<Node<'e>>,
        nodes: &[Node<'e>],
        args: &[Id],
        costs: &[Range],
    ) -> Range {
        let mut total = Range::EMPTY;
        let mut size: Option<Range> = None;
        let all = costs.iter().fold(Range::ZERO, |sum, cost| sum.plus(*cost));
        for overload in &meant.overloads {
            let called = Called {
                function: meant.function.name,
                overload: overload.id,
                target: target.as_ref(),
                args: nodes,
            };
            let (cost, made) = match overload.id {
                "logical_and" | "logical_or" => (Range::of(costs[0].min, costs[0].plus(costs[1]).max), None),
                "conditional" => (costs[0].plus(costs[1].union(costs[2])), Some(self.branches(id, args))),
                "add_string" | "add_bytes" | "add_list" => {
                    let (cost, made) = self.sum(id, overload.id, args);
                    (cost.plus(all), Some(made))
                }
                _ => {
                    let (cost, made) = called.cost();
                    (cost.plus(all), made)
                }
            };
            total = total.union(cost);
            size = match (size, made) {
                (Some(a), Some(b)) => Some(a.union(b)),
                (a, b) => a.or(b),
            };
            if matches!(overload.id, "index_list" | "index_map") {
                size = self.entries_of(args[0]).map(|entries| entries.value);
                self.set_place(id, self.step(self.place(args[0]), Place::element));
            }
            size = size.or_else(|| self.size(id));
        }
        if let Some(size) = size {
            self.sizes.insert(id, size);
        }
        total
    }

    fn branches(&mut self, id: Id, args: &[Id]) -> Range {
        if let (Some(yes), Some(no)) = (self.entries_of(args[1]), self.entries_of(args[2])) {
            self.entries.insert(id, yes.union(no));
        }
        let yes = self.size_or_unknown(args[1]);
        yes.union(self.size_or_unknown(args[2]))
    }

    fn sum(&mut self, id: Id, overload: &str, args: &[Id]) -> (Range, Range) {
        let size = self.size_or_unknown(args[0]);
        let size = size.plus(self.size_or_unknown(args[1]));
        if let (Some(a), Some(b)) = (self.entries_of(args[0]), self.entries_of(args[1])) {
            self.entries.insert(id, a.union(b));
        }
        if overload == "add_list" { (Range::ONE, size) } else { (size.scanned(), size) }
    }

    fn list(&mut self, id: Id, items: &[Item]) -> Range {
        let mut cost = Range::fixed(LIST);
        let mut value = if items.is_empty() { Range::ZERO } else { Range::EMPTY };
        for item in items {
            cost = cost.plus(self.cost(item.value));
            value = value.union(self.size_or_unknown(item.value));
        }
        self.entries.insert(id, Entries { list: true, key: Range::ONE, value });
        cost
    }

    fn map(&mut self, id: Id, entries: &[Entry]) -> Range {
        let mut cost = Range::fixed(MAP);
        let none = if entries.is_empty() { Range::ZERO } else { Range::EMPTY };
        let (mut key, mut value) = (none, none);
        for entry in entries {
            cost = cost.plus(self.cost(entry.key)).plus(self.cost(entry.value));
            key = key.union(self.size_or_unknown(entry.key));
            value = value.union(self.size_or_unknown(entry.value));
        }
        self.entries.insert(id, Entries { list: false, key, value });
        cost
    }

    fn fold(&mut self, id: Id, fold: &'e Fold) -> Range {
        let before = self.locals.len();
        let start = self.cost(fold.range).plus(self.cost(fold.init));
        let (place, size, entries) =
            (self.place(fold.init), self.size(fold.init), self.entries_of(fold.init));
        self.locals.push(Local { name: &fold.accu, place, size, entries });
        if let FoldKind::Bind = fold.kind {
            let cost = start.plus(self.cost(fold.result));
            self.locals.truncate(before);
            self.copy_sizes(id, fold.result);
            return cost;
        }
        self.push_elements(fold);
        let turn = self.cost(fold.condition);
        let turn = self.cost(fold.step).plus(turn);
        self.locals.truncate(before + 1);
        let result = self.cost(fold.result);
        self.locals.truncate(before);
        let count = self.size_or_unknown(fold.range);
        match self.ast.expr(fold.init) {
            Expr::Literal(_) => {
                let size = self.size(fold.init);
                self.sizes.extend(size.map(|size| (id, size)));
            }
            _ => {
                self.sizes.insert(id, count);
                let entries = self.entries_of(fold.step);
                self.entries.extend(entries.map(|entries| (id, entries)));
            }
        }
        start.plus(result).plus(count.times(turn))
    }

    /// The variables of a fold: elements of a list by item, those of a map by key.
    fn push_elements(&mut self, fold: &'e Fold) {
        let entries = self.entries_of(fold.range);
        let list = entries
            .map_or_else(|| matches!(self.checked.types[fold.range], Type::List(_)), |entries| entries.list);
        let of = self.place(fold.range);
        let key = Local {
            name: &fold.var,
            place: self.step(of, |of| if list { Place::Lost } else { of.key() }),
            size: entries.map(|entries| entries.key),
            entries: None,
        };
        let value = Local {
            name: fold.var2.as_deref().unwrap_or(&fold.var),
            place: self.step(of, Place::element),
            size: entries.map(|entries| entries.value),
            entries: None,
        };
        match (&fold.var2, list) {
            (Some(_), _) => self.locals.extend([key, value]),
            (None, true) => self.locals.push(value),
            (None, false) => self.locals.push(key),
        }
    }

    fn node(&mut self, id: Id) -> Node<'e> {
        let size = self.size(id);
        let literal = if let Expr::Literal(value) = self.ast.expr(id) { Some(value) } else { None };
        Node { of: &self.checked.types[id], place: self.place(id), size, literal }
    }

    fn copy_sizes(&mut self, to: Id, from: Id) {
        if let Some(size) = self.size(from) {
            self.sizes.insert(to, size);
        }
        if let Some(entries) = self.entries_of(from) {
            self.entries.insert(to, entries);
        }
    }

    fn entries_of(&self, id: Id) -> Option<Entries> {
        self.entries.get(&id).copied().or_else(|| self.local(id)?.entries)
    }

    fn size_or_unknown(&mut self, id: Id) -> Range {
        self.size(id).unwrap_or(Range::UNKNOWN)
    }

    fn size(&mut self, id: Id) -> Option<Range> {
        if let Some(size) = self.sizes.get(&id) {
            return Some(*size);
        }
        if let Some(size) = written_size(self.ast.expr(id)) {
            return Some(size);
        }
        if let Some(size) = self.place(id).and_then(Place::size) {
            self.sizes.insert(id, size);
            return Some(size);
        }
        if is_scalar(&self.checked.types[id]) {
            return Some(Range::ONE);
        }
        self.local(id)?.size
    }
}

/// The size of what is written out.
fn written_size(expr: &Expr) -> Option<Range> {
    let size = match expr {
        Expr::Literal(Value::String(text)) => text.chars().count(),
        Expr::Literal(Value::Bytes(bytes)) => bytes.len(),
        Expr::Literal(_) => 1,
        Expr::List(items) => items.len(),
        Expr::Map(entries) => entries.len(),
        _ => return None,
    };
    Some(Range::fixed(size as u64))
}

fn is_scalar(of: &Type) -> bool {
    match of {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        Type::Optional(of) => is_scalar(of),
        _ => false,
    }
}
