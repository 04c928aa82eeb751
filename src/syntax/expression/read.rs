//! The tree of sqlparser to the tree that a definition has in every language, so that an expression is decoded and checked by what
//! decodes and checks definitions, with the places of its own text.

use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast::{BinaryOperator, Expr, Function, UnaryOperator, Value};

use super::build::{hole, list, member, object, word};
use super::functions::{Form, form_of, listed};
use super::grammar::{Tokens, excerpt};
use crate::diagnostic::{Code, Finding, Source};
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use crate::model::path::DocPath;
use crate::syntax::node::{Member, Node};

/// How deep groups may nest: a definition in JSON reaches no deeper, whatever the limits say.
const MAX_GROUPS: usize = 60;

/// Translates one expression, and collects what is wrong with it.
pub(super) struct Reader<'a> {
    pub(super) source: &'a Arc<Source>,
    pub(super) tokens: &'a Tokens,
    pub(super) findings: Vec<Finding>,
}

/// Whose conditions are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scene {
    /// Those of a subject.
    Subject(Subject),
    /// Those of an event, in `where`.
    Event,
}

/// What stands on the left of a comparison.
pub(super) struct Left {
    pub(super) kind: LeftKind,
    /// The members of its leaf, but for the comparison.
    pub(super) members: Vec<Member>,
    /// `value_type` and `ignore_case`, where they stand with the left side.
    pub(super) read_as: Vec<Member>,
    pub(super) span: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftKind {
    Property,
    Events,
    /// A value that takes no part in a comparison of two measures.
    Signal,
}

/// A group: how its conditions join, and the conditions.
type Group<'e> = (&'static str, Vec<&'e Expr>);

impl Reader<'_> {
    /// The definition of a segment with one expression as its rule.
    pub(super) fn definition(&mut self, expr: &Expr, id: &SegmentId, subject: Subject) -> Node {
        let root = DocPath::root();
        let span = 0..self.source.text.len();
        let scene = Scene::Subject(subject);
        let mut members = vec![word("id", id.as_str(), span.clone()), word("subject", subject.keyword(), span.clone())];
        match unnested(expr) {
            Expr::Function(function) if form_of(unnested(expr)) == Some(Form::Scoring) => {
                match self.scoring(function, scene, &root.key("scoring")) {
                    Some(scoring) => members.push(member("scoring", scoring)),
                    None => members.extend([
                        word("logic", "and", span.clone()),
                        member("conditions", list(vec![hole(span.clone())], span.clone())),
                    ]),
                }
            }
            _ => {
                let (logic, conditions) = self.group(expr, &root).unwrap_or_else(|| ("and", vec![expr]));
                let place = root.key("conditions");
                let conditions = conditions
                    .into_iter()
                    .enumerate()
                    .map(|(index, condition)| self.condition(condition, scene, &place.index(index), 2))
                    .collect();
                members.extend([word("logic", logic, span.clone()), member("conditions", list(conditions, span.clone()))]);
            }
        }
        object(span, members)
    }

    /// A rule that scores: conditions, with a weight or without.
    fn scoring(&mut self, function: &Function, scene: Scene, place: &DocPath) -> Option<Node> {
        let call = self.call(function, place)?;
        let mut members = self.named_literals(&call, &["combination", "threshold"], place)?;
        let rules = place.key("rules");
        let each = call.positional.iter().enumerate();
        let rules = each.map(|(index, expr)| self.scoring_rule(expr, scene, &rules.index(index))).collect::<Vec<_>>();
        members.push(member("rules", list(rules, call.span.clone())));
        Some(object(call.span, members))
    }

    fn scoring_rule(&mut self, expr: &Expr, scene: Scene, place: &DocPath) -> Node {
        let span = self.extent(expr);
        let of_rule = match unnested(expr) {
            rule @ Expr::Function(function) if form_of(rule) == Some(Form::ScoringRule) => Some(self.call(function, place)),
            _ => None,
        };
        let (graded, weight) = match of_rule {
            None => (Some(expr), Vec::new()),
            Some(call) => {
                let weight = call.as_ref().and_then(|call| self.named_literals(call, &["weight"], place)).unwrap_or_default();
                (call.and_then(|call| call.positional.first().copied()), weight)
            }
        };
        let condition = match graded {
            Some(graded) => self.condition(graded, scene, &place.key("condition"), 2),
            None => hole(span.clone()),
        };
        object(span, std::iter::once(member("condition", condition)).chain(weight).collect())
    }

    pub(super) fn refuse(&mut self, span: Range<usize>, place: &DocPath, finding: Finding) {
        let span = crate::syntax::decode::first_line(self.source, span);
        self.findings.push(finding.at(self.source, span).with_path(place));
    }

    /// One condition. What cannot be read becomes an empty group, on which `check` is silent where something was found already.
    fn condition(&mut self, expr: &Expr, scene: Scene, place: &DocPath, depth: usize) -> Node {
        let expr = unnested(expr);
        let span = self.extent(expr);
        if depth > MAX_GROUPS {
            self.refuse(span.clone(), place, Finding::new(Code::TooDeep, format!("nested more than {MAX_GROUPS} levels deep")));
            return hole(span);
        }
        if let Some((logic, conditions)) = self.group(expr, place) {
            let inner = self.conditions(conditions, scene, &place.key("conditions"), depth);
            let members = vec![word("logic", logic, span.clone()), member("conditions", list(inner, span.clone()))];
            return object(span, members);
        }
        if let Expr::UnaryOp { op: UnaryOperator::Not, expr } = expr {
            let inner = self.condition(expr, scene, &place.key("not"), depth + 1);
            return object(span, vec![member("not", inner)]);
        }
        let members = if form_of(expr) == Some(Form::AtLeast) {
            self.at_least(expr, scene, place, depth)
        } else {
            self.leaf(expr, scene, place, depth)
        };
        match members {
            Some(members) => object(span, members),
            None => hole(span),
        }
    }

    pub(super) fn conditions(&mut self, exprs: Vec<&Expr>, scene: Scene, place: &DocPath, depth: usize) -> Vec<Node> {
        let each = exprs.into_iter().enumerate();
        each.map(|(index, expr)| self.condition(expr, scene, &place.index(index), depth + 1)).collect()
    }

    /// The conditions of a chain of `AND` or `OR`, or of `all_of` or `any_of`. Parentheses make a group of its own.
    pub(super) fn group<'e>(&mut self, expr: &'e Expr, place: &DocPath) -> Option<Group<'e>> {
        match unnested(expr) {
            Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
                let mut conditions: Vec<&Expr> = vec![right];
                let mut rest: &Expr = left;
                while let Expr::BinaryOp { left, op: inner, right } = rest
                    && inner == op
                {
                    conditions.push(right);
                    rest = left;
                }
                conditions.push(rest);
                conditions.reverse();
                Some((if *op == BinaryOperator::And { "and" } else { "or" }, conditions))
            }
            call @ Expr::Function(function) if let Some(Form::Group(logic)) = form_of(call) => {
                Some((logic, self.call(function, place)?.positional))
            }
            _ => None,
        }
    }

    fn at_least(&mut self, expr: &Expr, scene: Scene, place: &DocPath, depth: usize) -> Option<Vec<Member>> {
        let Expr::Function(function) = expr else { return None };
        let call = self.call(function, place)?;
        let (count, of) = call.positional.split_first()?;
        let count = self.literal(count, &place.key("at_least"));
        let of = self.conditions(of.to_vec(), scene, &place.key("of"), depth);
        Some(vec![member("at_least", count?), member("of", list(of, call.span))])
    }

    fn leaf(&mut self, expr: &Expr, scene: Scene, place: &DocPath, depth: usize) -> Option<Vec<Member>> {
        match expr {
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, scene, place, depth),
            Expr::Between { expr, negated, low, high } => {
                let operator = self.operator(if *negated { "not_between" } else { "between" }, expr);
                let left = self.left(expr, scene, place, depth);
                let low = self.operand("value", low, place);
                let high = self.operand("value2", high, place);
                Some(left?.compared(operator, [low, high].into_iter().flatten().collect()))
            }
            Expr::InList { expr: left, list: values, negated } => {
                let operator = self.operator(if *negated { "not_in" } else { "in" }, left);
                let span = self.token_after(left).end..self.end_of(expr);
                let left = self.left(left, scene, place, depth);
                let values = self.literals(values.iter().collect(), &place.key("value"));
                let values = values.map(|values| member("value", list(values, span)));
                Some(left?.compared(operator, values.into_iter().collect()))
            }
            Expr::IsTrue(inner) => self.is(inner, "is_true", scene, place, depth),
            Expr::IsFalse(inner) => self.is(inner, "is_false", scene, place, depth),
            Expr::IsNotTrue(inner) | Expr::IsNotFalse(inner) => {
                let operator = if matches!(expr, Expr::IsNotTrue(_)) { "is_true" } else { "is_false" };
                let inside = self.is(inner, operator, scene, &place.key("not"), depth)?;
                Some(vec![member("not", object(self.extent(expr), inside))])
            }
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => {
                let (written, name) =
                    if matches!(expr, Expr::IsNull(_)) { ("IS NULL", "is_not_set") } else { ("IS NOT NULL", "is_set") };
                let subject = self.excerpt(inner);
                let finding = Finding::new(Code::WrongOperator, format!("`{written}` is not what a definition asks"))
                    .with_help(format!("Write `{name}({subject})`: an empty text and an empty list are not set either."));
                self.refuse(self.extent(expr), place, finding);
                None
            }
            Expr::Function(function) => {
                let call = self.call(function, place)?;
                self.called(&call, scene, place, depth)
            }
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                let property = self.excerpt(expr);
                let finding = Finding::new(Code::WrongKind, format!("the property `{property}` is no condition"))
                    .with_help(format!("Write `{property} IS TRUE`, `is_set({property})`, or compare it with a value."));
                self.refuse(self.extent(expr), place, finding);
                None
            }
            Expr::Value(value) => {
                let help = match value.value {
                    Value::Boolean(true) => "Write `everyone()` for a condition that always holds.",
                    Value::Boolean(false) => "Write `NOT everyone()` for a condition that never holds.",
                    _ => "Compare a property with it, such as `country = 'US'`.",
                };
                let finding = Finding::new(Code::WrongKind, format!("`{}` is no condition", self.excerpt(expr))).with_help(help);
                self.refuse(self.extent(expr), place, finding);
                None
            }
            _ => {
                self.refuse(self.extent(expr), place, Finding::new(Code::WrongKind, "this is no condition"));
                None
            }
        }
    }

    fn is(&mut self, inner: &Expr, operator: &str, scene: Scene, place: &DocPath, depth: usize) -> Option<Vec<Member>> {
        let operator = self.operator(operator, inner);
        Some(self.left(inner, scene, place, depth)?.compared(operator, Vec::new()))
    }

    fn binary(
        &mut self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        scene: Scene,
        place: &DocPath,
        depth: usize,
    ) -> Option<Vec<Member>> {
        let operator = match op {
            BinaryOperator::Eq => "eq",
            BinaryOperator::NotEq => "neq",
            BinaryOperator::Gt => "gt",
            BinaryOperator::GtEq => "gte",
            BinaryOperator::Lt => "lt",
            BinaryOperator::LtEq => "lte",
            _ => {
                let finding = Finding::new(Code::WrongKind, "a product is no condition")
                    .with_help("A factor stands on the right of a comparison, as in `a > 2 * b`.");
                self.refuse(self.extent(left).start..self.end_of(right), place, finding);
                return None;
            }
        };
        let operator = self.operator(operator, left);
        if self.is_literal(left) && !self.is_literal(right) {
            let finding = Finding::new(Code::WrongKind, format!("`{}` stands on the left of a comparison", self.excerpt(left)))
                .with_help("Exchange the sides: a property or a function stands on the left.");
            self.refuse(self.extent(left), place, finding);
            return None;
        }
        let side = self.left(left, scene, place, depth);
        if let Some((factor, other)) = self.other_side(right) {
            return self.compare(side?, operator, factor, other, scene, place, depth);
        }
        let value = self.operand("value", right, place);
        Some(side?.compared(operator, value.into_iter().collect()))
    }

    /// The right side of a comparison of two measures or properties, and the factor before it.
    fn other_side<'e>(&self, right: &'e Expr) -> Option<(Option<&'e Expr>, &'e Expr)> {
        match unnested(right) {
            Expr::BinaryOp { left, op: BinaryOperator::Multiply, right } if self.is_literal(right) => Some((Some(right), left)),
            Expr::BinaryOp { left, op: BinaryOperator::Multiply, right } => Some((Some(left), right)),
            other @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => Some((None, other)),
            other @ Expr::Function(function) if listed(function).is_none() => Some((None, other)),
            _ => None,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "both sides, what is between them, and where all of it stands")]
    fn compare(
        &mut self,
        left: Left,
        operator: Member,
        factor: Option<&Expr>,
        right: &Expr,
        scene: Scene,
        place: &DocPath,
        depth: usize,
    ) -> Option<Vec<Member>> {
        if scene == Scene::Event {
            let finding = Finding::new(Code::WrongKind, "in `where` a property is compared with a value only");
            let finding = match self.quoted_name(right) {
                Some(text) => finding.with_help(format!("A text stands in single quotes: `{text}`.")),
                None => finding,
            };
            self.refuse(self.extent(right), place, finding);
            return None;
        }
        let span = left.span.clone();
        let left = self.side(left, place);
        let factor = factor.map(|factor| self.literal(factor, &place.key("factor")));
        let right_place = place.key("right");
        let right = self.left(right, scene, &right_place, depth).and_then(|right| self.side(right, &right_place));
        let mut members = vec![word("type", "compare", span), member("left", left?), operator, member("right", right?)];
        match factor {
            None => {}
            Some(Some(factor)) => members.push(member("factor", factor)),
            Some(None) => return None,
        }
        Some(members)
    }

    /// One side of `compare`, or what `top` ranks by: an event leaf without a comparison, or a property.
    pub(super) fn side(&mut self, left: Left, place: &DocPath) -> Option<Node> {
        let Left { kind, mut members, read_as, span } = left;
        match kind {
            LeftKind::Property => members.retain(|member| member.key != "type"),
            LeftKind::Events => {}
            LeftKind::Signal => {
                let finding = Finding::new(Code::WrongKind, "a signal is compared with a value only");
                self.refuse(span, place, finding);
                return None;
            }
        }
        for member in read_as {
            if kind == LeftKind::Property && member.key == "value_type" {
                members.push(member);
            } else {
                let finding = Finding::new(Code::UnexpectedOperand, "numbers are compared here, which are read in one way only")
                    .with_help("Leave this argument out.");
                self.refuse(member.key_span, place, finding);
                return None;
            }
        }
        Some(object(span, members))
    }

    fn operator(&self, operator: &str, left: &Expr) -> Member {
        word("operator", operator, self.token_after(left))
    }

    fn end_of(&self, expr: &Expr) -> usize {
        self.extent(expr).end
    }

    pub(super) fn excerpt(&self, expr: &Expr) -> String {
        excerpt(&self.source.text, self.extent(expr))
    }
}

impl Left {
    /// The leaf of this left side and a comparison.
    pub(super) fn compared(self, operator: Member, values: Vec<Member>) -> Vec<Member> {
        let mut members = self.members;
        members.push(operator);
        members.extend(values);
        members.extend(self.read_as);
        members
    }
}

pub(super) fn property_left(property: Node, span: Range<usize>, scene: Scene) -> Left {
    let mut members = Vec::new();
    match scene {
        Scene::Subject(Subject::User) => members.push(word("type", "user_attribute", span.clone())),
        Scene::Subject(Subject::Product) => members.push(word("type", "product_attribute", span.clone())),
        Scene::Event => {}
    }
    members.push(member("property", property));
    Left { kind: LeftKind::Property, members, read_as: Vec::new(), span }
}

/// What stands in any number of parentheses.
pub(super) fn unnested(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}
