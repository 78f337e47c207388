//! The declarative rules of a type: what upstream's `+k8s:` markers say about it, parsed. `validate` enforces them.
//!
//! `rules.txt`: `T name`, `R rule...` (the type's own), `L introduced deprecated removed replacement`,
//! `F field rule...`. A rule after `~` holds while the gate DeclarativeValidationBeta is on; one after `^` is only
//! computed.

use super::{Node, Shape, Type};

/// The rules of one type.
#[derive(Debug, Default)]
pub struct Rules {
    pub own: RuleSet,
    pub lifecycle: Option<Lifecycle>,
    /// (position in [`Type::fields`], its rules), in the order of the fields.
    pub fields: Vec<(usize, RuleSet)>,
    pub(super) by_position: Vec<u16>,
}

#[derive(Debug, Default)]
pub struct RuleSet {
    pub rules: Vec<Stated>,
    /// The feature gates without which upstream drops the field (`featureGate=`).
    pub gates: Vec<&'static str>,
}

/// A rule and how far it is enforced.
#[derive(Debug)]
pub struct Stated {
    pub rule: Rule,
    pub level: Level,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Always,
    /// While DeclarativeValidationBeta is on.
    Beta,
    /// Never; but a missing value still ends the look at its field.
    Alpha,
}

/// Kubernetes versions as `1.25`.
#[derive(Debug, Clone, Copy)]
pub struct Lifecycle {
    pub introduced: &'static str,
    pub deprecated: &'static str,
    pub removed: &'static str,
    /// `group,version,Kind`.
    pub replacement: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    Required,
    Optional,
    Forbidden,
    Immutable,
    Minimum(i64),
    Maximum(i64),
    /// Characters.
    MaxLength(usize),
    MaxBytes(usize),
    MaxItems(usize),
    Format(Format),
    Enum(Vec<&'static str>),
    ListAtomic,
    ListSet,
    ListMap,
    ListMapKey(&'static str),
    UniqueSet,
    UniqueMap,
    /// Uniqueness is checked by code written by hand.
    CustomUnique,
    UnionMember,
    ZeroOrOneOfMember,
    ModeDiscriminator,
    /// A number may not fall.
    Monotonic,
    Update(UpdateRule),
    /// Rules of the field's type do not apply here.
    Opaque,
    EachVal(Box<Rule>),
    EachKey(Box<Rule>),
    Subfield(&'static str, Box<Rule>),
    /// The items whose fields have these values.
    Item(Vec<(&'static str, &'static str)>, Box<Rule>),
    IfEnabled(&'static str, Box<Rule>),
    IfDisabled(&'static str, Box<Rule>),
    IfMode(&'static str, Box<Rule>),
    SupportsSubresource(&'static str),
    IsSubresource(&'static str),
    /// Code written by hand decides; nothing to do here.
    CustomValidation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateRule {
    NoSet,
    NoUnset,
    NoModify,
    NoAddItem,
    NoRemoveItem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// DNS-1123 label.
    ShortName,
    /// DNS-1123 subdomain.
    LongName,
    LongNameCaseless,
    LabelKey,
    PrefixedLabelKey,
    PathSegmentName,
    ExtendedResourceName,
    ResourceFullyQualifiedName,
    ResourcePoolName,
    Uuid,
}

fn arguments(text: &'static str) -> Option<(&'static str, &'static str)> {
    let (name, rest) = text.split_once('(')?;
    Some((name, rest.strip_suffix(')')?))
}

fn bare(text: &'static str) -> &'static str {
    text.trim().trim_matches('"')
}

/// `outer > inner`: the outer one, whatever it wraps.
fn nested(outer: &'static str, inner: Rule) -> Option<Rule> {
    let inner = Box::new(inner);
    match outer {
        "eachVal" => return Some(Rule::EachVal(inner)),
        "eachKey" => return Some(Rule::EachKey(inner)),
        _ => {}
    }
    let (name, argument) = arguments(outer)?;
    Some(match name {
        "subfield" => Rule::Subfield(bare(argument), inner),
        "ifEnabled" => Rule::IfEnabled(bare(argument), inner),
        "ifDisabled" => Rule::IfDisabled(bare(argument), inner),
        "ifMode" => Rule::IfMode(bare(argument), inner),
        "item" => {
            let pairs = argument.split(',').filter_map(|p| p.split_once(':'));
            Rule::Item(pairs.map(|(k, v)| (bare(k), bare(v))).collect(), inner)
        }
        _ => return None,
    })
}

impl Rule {
    /// None: nothing that this engine knows; a test makes sure that the table has none such.
    pub fn parse(text: &'static str) -> Option<Self> {
        if let Some((outer, inner)) = text.split_once(" > ") {
            return nested(outer, Self::parse(inner)?);
        }
        match text.split_once('=') {
            None => Self::plain(text),
            Some((name, value)) => Self::valued(name, bare(value)),
        }
    }

    fn plain(text: &str) -> Option<Self> {
        Some(match text {
            "required" => Self::Required,
            "optional" => Self::Optional,
            "forbidden" => Self::Forbidden,
            "immutable" => Self::Immutable,
            "opaqueType" => Self::Opaque,
            "unionMember" => Self::UnionMember,
            "zeroOrOneOfMember" => Self::ZeroOrOneOfMember,
            "modeDiscriminator" => Self::ModeDiscriminator,
            "monotonic" => Self::Monotonic,
            "customUnique" => Self::CustomUnique,
            "customValidation" => Self::CustomValidation,
            _ => return None,
        })
    }

    fn valued(name: &str, value: &'static str) -> Option<Self> {
        Some(match name {
            "minimum" => Self::Minimum(value.parse().ok()?),
            "maximum" => Self::Maximum(value.parse().ok()?),
            "maxLength" => Self::MaxLength(value.parse().ok()?),
            "maxBytes" => Self::MaxBytes(value.parse().ok()?),
            "maxItems" => Self::MaxItems(value.parse().ok()?),
            "format" => Self::Format(Format::parse(value)?),
            "enum" => Self::Enum(value.split(',').filter(|v| !v.is_empty()).collect()),
            "listType" => match value {
                "map" => Self::ListMap,
                "set" => Self::ListSet,
                _ => Self::ListAtomic,
            },
            "listMapKey" => Self::ListMapKey(value),
            "unique" => {
                if value == "map" {
                    Self::UniqueMap
                } else {
                    Self::UniqueSet
                }
            }
            "update" => Self::Update(UpdateRule::parse(value)?),
            "supportsSubresource" => Self::SupportsSubresource(value),
            "isSubresource" => Self::IsSubresource(value),
            _ => return None,
        })
    }

    /// Whether it can ever refuse a value (rather than only describe one).
    fn enforces(&self) -> bool {
        !matches!(
            self,
            Self::Optional
                | Self::Opaque
                | Self::CustomValidation
                | Self::CustomUnique
                | Self::ListAtomic
                | Self::ListMapKey(_)
                | Self::ModeDiscriminator
                | Self::SupportsSubresource(_)
                | Self::IsSubresource(_)
        )
    }
}

impl UpdateRule {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "NoSet" => Self::NoSet,
            "NoUnset" => Self::NoUnset,
            "NoModify" => Self::NoModify,
            "NoAddItem" => Self::NoAddItem,
            "NoRemoveItem" => Self::NoRemoveItem,
            _ => return None,
        })
    }
}

impl Format {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "k8s-short-name" => Self::ShortName,
            "k8s-long-name" => Self::LongName,
            "k8s-long-name-caseless" => Self::LongNameCaseless,
            "k8s-label-key" => Self::LabelKey,
            "k8s-prefixed-label-key" => Self::PrefixedLabelKey,
            "k8s-path-segment-name" => Self::PathSegmentName,
            "k8s-extended-resource-name" => Self::ExtendedResourceName,
            "k8s-resource-fully-qualified-name" => Self::ResourceFullyQualifiedName,
            "k8s-resource-pool-name" => Self::ResourcePoolName,
            "k8s-uuid" => Self::Uuid,
            _ => return None,
        })
    }
}

impl RuleSet {
    fn parse<'a>(parts: impl Iterator<Item = &'static str> + 'a) -> Self {
        let mut set = Self::default();
        for part in parts {
            if let Some(gate) = part.strip_prefix("featureGate=") {
                set.gates.extend(gate.trim_matches('"').split(',').map(bare));
                continue;
            }
            let (text, level) = match (part.strip_prefix('~'), part.strip_prefix('^')) {
                (Some(text), _) => (text, Level::Beta),
                (_, Some(text)) => (text, Level::Alpha),
                _ => (part, Level::Always),
            };
            set.rules.extend(Rule::parse(text).map(|rule| Stated { rule, level }));
        }
        set
    }

    pub fn has(&self, rule: &Rule) -> bool {
        self.rules.iter().any(|s| &s.rule == rule)
    }
}

impl Rules {
    pub(super) fn parse(text: &'static str, of: &Type) -> Self {
        let mut rules = Self { by_position: vec![u16::MAX; of.fields.len()], ..Self::default() };
        for line in text.lines() {
            let mut part = line.split('\t');
            match part.next() {
                Some("R") => rules.own = RuleSet::parse(part),
                Some("L") => {
                    let mut next = || part.next().unwrap_or_default();
                    rules.lifecycle = Some(Lifecycle {
                        introduced: next(),
                        deprecated: next(),
                        removed: next(),
                        replacement: next(),
                    });
                }
                Some("F") => {
                    if let Some(at) = part.next().and_then(|name| of.position(name)) {
                        rules.by_position[at] = rules.fields.len() as u16;
                        rules.fields.push((at, RuleSet::parse(part)));
                    }
                }
                _ => {}
            }
        }
        rules
    }

    /// The rules of the field at that position of [`Type::fields`].
    pub fn of(&self, position: usize) -> Option<&RuleSet> {
        let at = *self.by_position.get(position)?;
        self.fields.get(usize::from(at)).map(|(_, set)| set)
    }
}

/// Whether a rule that can refuse something is on the type or on any below it.
pub(super) fn reaches(of: &Type) -> bool {
    let refuses = |set: &RuleSet| set.rules.iter().any(|s| s.level != Level::Alpha && s.rule.enforces());
    any_below(of, |of| of.rules().fields.iter().any(|(_, set)| refuses(set)), &mut Vec::new())
}

/// Whether `holds` is true of the type or of any below it; types that hold themselves are looked at once.
pub(super) fn any_below<'a>(
    of: &'a Type,
    holds: impl Fn(&Type) -> bool + Copy,
    seen: &mut Vec<&'a str>,
) -> bool {
    if !of.name.is_empty() && !of.custom && seen.contains(&&*of.name) {
        return false;
    }
    seen.push(&of.name);
    let below = |node: &'a Node, seen: &mut Vec<&'a str>| match &node.leaf().shape {
        Shape::Struct(of) => any_below(of, holds, seen),
        _ => false,
    };
    holds(of) || of.fields.iter().any(|f| below(&f.node, seen))
}
