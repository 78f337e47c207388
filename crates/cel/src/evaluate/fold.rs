//! Macros over lists and maps: each in its own loop, at the cost of CEL's general comprehension.

use super::node::{Fold, Kind, Node};
use super::{Evaluated, Run, Slot, bool_of};
use crate::error::EvalError;
use crate::value::map::Entries;
use crate::value::{List, Value};

/// What is gone over.
enum Range<'a> {
    List(List<'a>),
    Map(crate::value::Map<'a>),
}

impl<'a> Range<'a> {
    fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
        }
    }
}

/// What becomes of an element.
enum Step {
    Next,
    Stop,
}

impl<'a> Run<'a, '_> {
    pub(super) fn fold(&mut self, fold: &'a Fold) -> Evaluated<'a> {
        if let Kind::Bind(result) = &fold.kind {
            self.locals.truncate(fold.slot);
            self.locals.push(Slot::Lazy(&fold.range));
            let value = self.value(result);
            self.locals.truncate(fold.slot);
            return value;
        }
        let range = match self.value(&fold.range)? {
            Value::List(list) => Range::List(list),
            Value::Map(map) => Range::Map(map),
            other => return Err(not_iterable(&other, fold.two)),
        };
        let value = match &fold.kind {
            Kind::All(predicate) => self.quantifier(fold, &range, predicate, true),
            Kind::Exists(predicate) => self.quantifier(fold, &range, predicate, false),
            Kind::ExistsOne(predicate) => self.exists_one(fold, &range, predicate),
            Kind::List { filter, item, cost } => self.collect(fold, &range, filter.as_ref(), item, *cost),
            Kind::Map { filter, value } => self.transform(fold, &range, filter.as_ref(), value, true),
            Kind::Entries { filter, entry } => self.transform(fold, &range, filter.as_ref(), entry, false),
            Kind::Bind(_) => Err(EvalError::no_such_overload()),
        };
        self.locals.truncate(fold.slot);
        value
    }

    /// Sets the variables to the element at a place.
    fn element(&mut self, fold: &Fold, range: &Range<'a>, at: usize) -> Result<(), EvalError> {
        let (first, second) = match range {
            Range::List(list) if fold.two => (Some(Value::Int(at as i64)), list.get(at).transpose()?),
            Range::List(list) => (list.get(at).transpose()?, None),
            Range::Map(map) if fold.two => (map.key_at(at), map.value_at(at).transpose()?),
            Range::Map(map) => (map.key_at(at), None),
        };
        self.locals.truncate(fold.slot);
        self.locals.push(Slot::Value(first.unwrap_or(Value::Null)));
        self.locals.push(Slot::Value(second.unwrap_or(Value::Null)));
        Ok(())
    }

    fn each(
        &mut self,
        fold: &'a Fold,
        range: &Range<'a>,
        mut step: impl FnMut(&mut Self) -> Result<Step, EvalError>,
    ) -> Result<(), EvalError> {
        for at in 0..range.len() {
            self.element(fold, range, at)?;
            if let Step::Stop = step(self)? {
                break;
            }
        }
        Ok(())
    }

    /// `all`, and `exists` as its mirror: an element that decides ends it, and absorbs errors before it.
    fn quantifier(
        &mut self,
        fold: &'a Fold,
        range: &Range<'a>,
        predicate: &'a Node,
        all: bool,
    ) -> Evaluated<'a> {
        let condition = if all { 2 } else { 3 };
        let mut result = Ok(all);
        self.each(fold, range, |run| {
            run.charge(condition)?;
            if result == Ok(!all) {
                return Ok(Step::Stop);
            }
            run.charge(1)?;
            let holds = bool_of(run.value(predicate))?;
            if holds == Ok(!all) {
                result = Ok(!all);
            } else if result.is_ok() {
                result = holds;
            }
            Ok(Step::Next)
        })?;
        self.charge(1)?;
        result.map(Value::Bool)
    }

    fn exists_one(&mut self, fold: &'a Fold, range: &Range<'a>, predicate: &'a Node) -> Evaluated<'a> {
        let mut count = Ok(0);
        self.each(fold, range, |run| {
            match run.holds(predicate)? {
                Ok(true) => {
                    run.charge(2)?;
                    count = count.clone().map(|n: u64| n + 1);
                }
                Ok(false) => {}
                Err(error) => count = Err(error),
            }
            Ok(Step::Next)
        })?;
        self.charge(2)?;
        count.map(|n| Value::Bool(n == 1))
    }

    /// Whether a filter lets an element through. Inside: a failure that the fold ends with, after all elements.
    fn holds(&mut self, predicate: &'a Node) -> Result<Result<bool, EvalError>, EvalError> {
        bool_of(self.value(predicate))
    }

    fn passes(&mut self, filter: Option<&'a Node>) -> Result<Result<bool, EvalError>, EvalError> {
        filter.map_or(Ok(Ok(true)), |filter| self.holds(filter))
    }

    fn collect(
        &mut self,
        fold: &'a Fold,
        range: &Range<'a>,
        filter: Option<&'a Node>,
        item: &'a Node,
        cost: u64,
    ) -> Evaluated<'a> {
        let mut out = Ok(Vec::new());
        self.each(fold, range, |run| {
            match run.passes(filter)? {
                Ok(true) => {
                    let item = later(run.value(item))?;
                    run.charge(cost)?;
                    append(&mut out, item, |out, item| {
                        out.push(item);
                        Ok(())
                    });
                }
                Ok(false) => {}
                Err(error) => out = Err(error),
            }
            Ok(Step::Next)
        })?;
        self.charge(1)?;
        out.map(|out| Value::List(List::from(out)))
    }

    /// `transformMap` (by the element's own key) and `transformMapEntry`.
    fn transform(
        &mut self,
        fold: &'a Fold,
        range: &Range<'a>,
        filter: Option<&'a Node>,
        made: &'a Node,
        own_key: bool,
    ) -> Evaluated<'a> {
        let mut out = Ok(Entries::default());
        self.each(fold, range, |run| {
            match run.passes(filter)? {
                // A call of three arguments ends at the first that fails.
                Ok(true) if own_key && out.is_err() => run.charge(1)?,
                Ok(true) => {
                    let value = later(run.value(made))?;
                    run.charge(if own_key { 3 } else { 2 })?;
                    let key = if own_key { Some(run.local(fold.slot, 0)?) } else { None };
                    append(&mut out, value, |out, value| match key {
                        Some(key) => insert(out, key, value),
                        None => insert_all(out, &value),
                    });
                }
                Ok(false) => {}
                Err(error) => out = Err(error),
            }
            Ok(Step::Next)
        })?;
        self.charge(1)?;
        out.map(|out| Value::Map(out.into()))
    }
}

/// A failure that the fold ends with is kept for later; one that nothing absorbs ends it now.
fn later(value: Evaluated<'_>) -> Result<Evaluated<'_>, EvalError> {
    match value {
        Err(error) if !matches!(error, EvalError::Runtime(_)) => Err(error),
        other => Ok(other),
    }
}

/// Adds an item to what is collected, unless either has failed.
fn append<'a, T>(
    out: &mut Result<T, EvalError>,
    item: Evaluated<'a>,
    add: impl FnOnce(&mut T, Value<'a>) -> Result<(), EvalError>,
) {
    let Ok(collected) = out else { return };
    if let Err(error) = item.and_then(|item| add(collected, item)) {
        *out = Err(error);
    }
}

fn insert<'a>(out: &mut Entries<'a>, key: Value<'a>, value: Value<'a>) -> Result<(), EvalError> {
    if out.contains(&key) {
        return Err(EvalError::runtime(format!("insert failed: key {key} already exists")));
    }
    out.insert(key, value);
    Ok(())
}

fn insert_all<'a>(out: &mut Entries<'a>, entries: &Value<'a>) -> Result<(), EvalError> {
    let Value::Map(map) = entries else { return Err(EvalError::no_such_overload()) };
    for at in 0..map.len() {
        if let (Some(key), Some(value)) = (map.key_at(at), map.value_at(at)) {
            insert(out, key, value?)?;
        }
    }
    Ok(())
}

fn not_iterable(value: &Value<'_>, two: bool) -> EvalError {
    let name = match value {
        Value::Null => "types.Null",
        Value::Bool(_) => "types.Bool",
        Value::Int(_) => "types.Int",
        Value::Uint(_) => "types.Uint",
        Value::Double(_) => "types.Double",
        Value::String(_) => "types.String",
        Value::Bytes(_) => "types.Bytes",
        Value::Timestamp(_) => "types.Timestamp",
        Value::Duration(_) => "types.Duration",
        Value::Optional(_) => "*types.Optional",
        Value::Type(_) => "*types.Type",
        _ => "ref.Val",
    };
    EvalError::runtime(if two {
        format!("unsupported comprehension range type: {name}")
    } else {
        format!("got '{name}', expected iterable type")
    })
}
