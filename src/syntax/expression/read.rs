//! The tree of sqlparser to the tree that a definition has in every language, so that an expression is decoded and checked by what
//! decodes and checks definitions, with the places of its own text.

use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast::{BinaryOperator, Expr, Ident, UnaryOperator, Value};

use super::functions::{Call, Form, MEASURES, form_of, listed};
use super::grammar::{Tokens, bytes, excerpt};
use crate::diagnostic::{Code, Finding, Source};
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use crate::model::path::DocPath;
use crate::model::property::PropertyPath;
use crate::syntax::node::{Member, Node, NodeKind};

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
enum Scene {
    /// Those of a subject.
    Subject(Subject),
    /// Those of an event, in `where`.
    Event,
}

/// What stands on the left of a comparison.
struct Left {
    kind: LeftKind,
    /// The members of its leaf, but for the comparison.
    members: Vec<Member>,
    /// `value_type` and `ignore_case`, where they stand with the left side.
    read_as: Vec<Member>,
    span: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LeftKind {
    Property,
    Events,
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
        let (logic, conditions) = self.group(expr, &root).unwrap_or_else(|| ("and", vec![expr]));
        let place = root.key("conditions");
        let conditions = conditions
            .into_iter()
            .enumerate()
            .map(|(index, condition)| self.condition(condition, scene, &place.index(index), 2))
            .collect();
        object(
            span.clone(),
            vec![
                word("id", id.as_str(), span.clone()),
                word("subject", subject.keyword(), span.clone()),
                word("logic", logic, span.clone()),
                member("conditions", list(conditions, span)),
            ],
        )
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
        let members = match form_of(expr) {
            Some(Form::AtLeast) => self.at_least(expr, scene, place, depth),
            _ => self.leaf(expr, scene, place, depth),
        };
        match members {
            Some(members) => object(span, members),
            None => hole(span),
        }
    }

    fn conditions(&mut self, exprs: Vec<&Expr>, scene: Scene, place: &DocPath, depth: usize) -> Vec<Node> {
        let each = exprs.into_iter().enumerate();
        each.map(|(index, expr)| self.condition(expr, scene, &place.index(index), depth + 1)).collect()
    }

    /// The conditions of a chain of `AND` or `OR`, or of `all_of` or `any_of`. Parentheses make a group of its own.
    fn group<'e>(&mut self, expr: &'e Expr, place: &DocPath) -> Option<Group<'e>> {
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
            call @ Expr::Function(function) => match form_of(call) {
                Some(Form::Group(logic)) => Some((logic, self.call(function, place)?.positional)),
                _ => None,
            },
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
    fn side(&mut self, left: Left, place: &DocPath) -> Option<Node> {
        let Left { kind, mut members, read_as, span } = left;
        match kind {
            LeftKind::Property => members.retain(|member| member.key != "type"),
            LeftKind::Events => {}
            LeftKind::Signal => {
                let finding = Finding::new(Code::WrongKind, "a signal of another segment is compared with a number only");
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

    /// A call as a condition.
    fn called(&mut self, call: &Call<'_>, scene: Scene, place: &DocPath, depth: usize) -> Option<Vec<Member>> {
        if call.form.is_of_a_subject() {
            self.not_of_an_event(call, scene, place)?;
        }
        match call.form {
            Form::Test(operator) => self.test(call, operator, scene, place, depth),
            Form::AnyTest => self.any_test(call, scene, place, depth),
            Form::Everyone => Some(vec![word("type", "everyone", call.name_span.clone())]),
            Form::Segment(operator) => {
                let id = self.literal(call.positional.first()?, &place.key("segment_id"));
                let operator = word("operator", operator, call.name_span.clone());
                Some(vec![word("type", "segment", call.name_span.clone()), member("segment_id", id?), operator])
            }
            Form::Events | Form::Signal(_) => {
                let left = self.measured(call, place, depth)?;
                let Some(stray) = left.read_as.first() else { return Some(left.members) };
                let message = format!("`{}` says how a value is read, and compares none", call.name);
                let finding = Finding::new(Code::MissingComparison, message);
                let help = "Compare it with a value, or leave this argument out.";
                self.refuse(stray.key_span.clone(), place, finding.with_help(help));
                None
            }
            Form::Lifecycle(pattern) => self.lifecycle(call, pattern, place, depth),
            Form::Sequence => self.sequence(call, place, depth),
            Form::Top => {
                let by = self.left(call.positional.first()?, scene, &place.key("by"), depth);
                let by = by.and_then(|by| self.side(by, &place.key("by")));
                let mut members = vec![word("type", "top", call.name_span.clone()), member("by", by?)];
                members.extend(self.named_literals(call, &["order", "count", "percent"], place)?);
                Some(members)
            }
            Form::Sample => {
                let percent = self.literal(call.positional.first()?, &place.key("percent"));
                let mut members = vec![word("type", "sample", call.name_span.clone()), member("percent", percent?)];
                members.extend(self.named_literals(call, &["salt"], place)?);
                Some(members)
            }
            Form::AiVisibilityMetric => Some(vec![word("type", "ai_visibility_metric", call.name_span.clone())]),
            Form::Value | Form::Derived(_) | Form::Mean => {
                let finding = Finding::new(Code::WrongKind, format!("`{}` is a value, and no condition", call.name))
                    .with_help("Compare it with another, such as `>= 18`.");
                self.refuse(call.span.clone(), place, finding);
                None
            }
            Form::Step => {
                let finding = Finding::new(Code::WrongKind, "`step` is a part of a sequence, and no condition")
                    .with_help("Write `sequence(step('product_viewed'), step('order_completed'))`.");
                self.refuse(call.span.clone(), place, finding);
                None
            }
            // Groups are read before leaves are; one that is met here had arguments that it does not take.
            Form::Group(_) | Form::AtLeast => None,
        }
    }

    fn not_of_an_event(&mut self, call: &Call<'_>, scene: Scene, place: &DocPath) -> Option<()> {
        match scene {
            Scene::Subject(_) => Some(()),
            Scene::Event => {
                let finding = Finding::new(Code::WrongKind, format!("`{}` says nothing about a single event", call.name))
                    .with_help("In `where` stand conditions on the properties of an event.");
                self.refuse(call.span.clone(), place, finding);
                None
            }
        }
    }

    /// `contains(x, 'a')` and its like.
    fn test(&mut self, call: &Call<'_>, operator: &str, scene: Scene, place: &DocPath, depth: usize) -> Option<Vec<Member>> {
        let (left, operand) = call.positional.split_first()?;
        let left = self.left(left, scene, place, depth);
        let value = operand.first().and_then(|operand| self.operand("value", operand, place));
        let left = self.read_as(left?, call, place)?;
        Some(left.compared(word("operator", operator, call.name_span.clone()), value.into_iter().collect()))
    }

    /// `test(x, 'eq', value => 1)`: any operator with any operands.
    fn any_test(&mut self, call: &Call<'_>, scene: Scene, place: &DocPath, depth: usize) -> Option<Vec<Member>> {
        let [left, operator] = call.positional.as_slice() else { return None };
        let left = self.left(left, scene, place, depth);
        let operator = self.literal(operator, &place.key("operator"));
        let values = ["value", "value2"].into_iter().filter_map(|key| {
            let (_, expr) = call.named(key)?;
            self.operand(key, expr, place)
        });
        let values = values.collect();
        let left = self.read_as(left?, call, place)?;
        Some(left.compared(member("operator", operator?), values))
    }

    /// Adds the `type` and `ignore_case` of a call to a left side.
    fn read_as(&mut self, mut left: Left, call: &Call<'_>, place: &DocPath) -> Option<Left> {
        for (name, key) in [("type", "value_type"), ("ignore_case", "ignore_case")] {
            let Some((key_span, expr)) = call.named(name) else { continue };
            if left.read_as.iter().any(|member| member.key == key) {
                let finding =
                    Finding::new(Code::ConflictingKeys, format!("`{name}` stands with the value and with `{}`", call.name));
                self.refuse(key_span, place, finding.with_help("Keep one of them."));
                return None;
            }
            let value = self.literal(expr, &place.key(key))?;
            left.read_as.push(Member { key: key.to_owned(), key_span, value });
        }
        Some(left)
    }

    /// What may stand on the left of a comparison.
    fn left(&mut self, expr: &Expr, scene: Scene, place: &DocPath, depth: usize) -> Option<Left> {
        let expr = unnested(expr);
        let span = self.extent(expr);
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                let property = self.path(expr, place)?;
                Some(property_left(property, span, scene))
            }
            Expr::Function(function) => {
                let call = self.call(function, place)?;
                match call.form {
                    Form::Value | Form::Derived(_) | Form::Mean => {
                        let property = self.property(&call, &place.key("property"))?;
                        let left = property_left(property, call.name_span.start..span.end, scene);
                        self.read_as(left, &call, place)
                    }
                    Form::Events | Form::Signal(_) => {
                        self.not_of_an_event(&call, scene, place)?;
                        self.measured(&call, place, depth)
                    }
                    Form::Group(_)
                    | Form::AtLeast
                    | Form::Everyone
                    | Form::Segment(_)
                    | Form::Test(_)
                    | Form::AnyTest
                    | Form::Lifecycle(_)
                    | Form::Sequence
                    | Form::Step
                    | Form::Top
                    | Form::Sample
                    | Form::AiVisibilityMetric => {
                        let finding =
                            Finding::new(Code::WrongKind, format!("`{}` is a condition, and no value to compare", call.name))
                                .with_help("Write `NOT` before a condition that must not hold.");
                        self.refuse(span, place, finding);
                        None
                    }
                }
            }
            Expr::Value(_) => {
                let finding = Finding::new(Code::WrongKind, format!("`{}` is a value, and no property", self.excerpt(expr)))
                    .with_help("A property stands without quotes, or in double ones.");
                self.refuse(span, place, finding);
                None
            }
            _ => {
                let finding = Finding::new(Code::WrongKind, "this is no value to compare")
                    .with_help("A comparison has a property or a function on its left, and a value on its right.");
                self.refuse(span, place, finding);
                None
            }
        }
    }

    /// `events` and the signals of other segments: everything but the comparison.
    fn measured(&mut self, call: &Call<'_>, place: &DocPath, depth: usize) -> Option<Left> {
        if let Form::Signal(signal) = call.form {
            let segment = self.literal(call.positional.first()?, &place.key("segment_id"));
            let mut members =
                vec![word("type", "user_behavior_signal", call.name_span.clone()), word("signal", signal, call.name_span.clone())];
            members.push(member("segment_id", segment?));
            members.extend(self.named_literals(call, &["event_type"], place)?);
            if let Some((key_span, expr)) = call.named("product_id_property") {
                let value = self.path(expr, place)?;
                members.push(Member { key: "product_id_property".to_owned(), key_span, value });
            }
            members.extend(self.window(call, "window", place)?);
            return Some(Left { kind: LeftKind::Signal, members, read_as: Vec::new(), span: call.span.clone() });
        }
        let mut members = vec![word("type", "event", call.name_span.clone())];
        let event_types = self.event_types(call, place);
        let filter = self.filter(call, place, depth);
        let measure = self.measure(call, place);
        let window = self.window(call, "window", place);
        members.extend([event_types?, filter, measure?, window?].into_iter().flatten());
        let left = Left { kind: LeftKind::Events, members, read_as: Vec::new(), span: call.span.clone() };
        self.read_as(left, call, place)
    }

    /// The types of events that a call names: none for events of any type.
    #[expect(clippy::option_option, reason = "absent and unreadable differ")]
    fn event_types(&mut self, call: &Call<'_>, place: &DocPath) -> Option<Option<Member>> {
        let mut exprs = Vec::new();
        for expr in &call.positional {
            match unnested(expr) {
                Expr::Function(function) if let Some((_, values)) = listed(function) => exprs.extend(values),
                other => exprs.push(other),
            }
        }
        if call.positional.is_empty() {
            return Some(None);
        }
        let types = self.literals(exprs, &place.key("event_type"))?;
        Some(Some(member("event_type", list(types, call.span.clone()))))
    }

    fn filter(&mut self, call: &Call<'_>, place: &DocPath, depth: usize) -> Option<Member> {
        let (key_span, expr) = call.named("where")?;
        let place = place.key("where");
        let span = self.extent(expr);
        // The entries of `where` must all hold: a chain of `OR` is one of them.
        let is_chain = |expr: &Expr| match unnested(expr) {
            Expr::BinaryOp { op, .. } => *op == BinaryOperator::And,
            other => form_of(other) == Some(Form::Group("and")),
        };
        let entries = match is_chain(expr).then(|| self.group(expr, &place)).flatten() {
            Some((_, entries)) => entries,
            None => vec![expr],
        };
        let entries = self.conditions(entries, Scene::Event, &place, depth);
        Some(Member { key: "where".to_owned(), key_span, value: list(entries, span) })
    }

    #[expect(clippy::option_option, reason = "absent and unreadable differ")]
    fn measure(&mut self, call: &Call<'_>, place: &DocPath) -> Option<Option<Member>> {
        let measures = [("measure", "measure")].into_iter().chain(MEASURES);
        let mut found = measures.filter_map(|(name, key)| call.named(name).map(|(span, expr)| (name, key, span, expr)));
        let Some((name, key, key_span, expr)) = found.next() else { return Some(None) };
        if let Some((other, _, span, _)) = found.next() {
            let finding = Finding::new(Code::ConflictingKeys, format!("events are measured by `{name}` or `{other}`, not both"));
            self.refuse(span, place, finding.with_help("Join two conditions with `AND`."));
            return None;
        }
        let place = place.key("measure");
        let value = if name == "measure" {
            self.literal(expr, &place)?
        } else {
            let path = self.path(expr, &place)?;
            object(key_span.start..path.span.end, vec![Member { key: key.to_owned(), key_span: key_span.clone(), value: path }])
        };
        Some(Some(Member { key: "measure".to_owned(), key_span, value }))
    }

    /// `last`, `from` and `to` as a window under a key.
    #[expect(clippy::option_option, reason = "absent and unreadable differ")]
    fn window(&mut self, call: &Call<'_>, key: &str, place: &DocPath) -> Option<Option<Member>> {
        let place = place.key(key);
        let members = self.named_literals(call, &["last", "from", "to"], &place)?;
        let Some(start) = members.iter().map(|member| member.key_span.start).min() else { return Some(None) };
        let end = members.iter().map(|member| member.value.span.end).max().unwrap_or(start);
        Some(Some(member(key, object(start..end, members))))
    }

    fn lifecycle(&mut self, call: &Call<'_>, pattern: &str, place: &DocPath, depth: usize) -> Option<Vec<Member>> {
        let event_types = self.event_types(call, place);
        let filter = self.filter(call, place, depth);
        let inner = place.key("pattern").key(pattern);
        let keys = ["last", "from", "to", "active", "quiet", "recent", "period", "periods", "at_least", "count"];
        let members = self.named_literals(call, &keys, &inner);
        let mut leaf = vec![word("type", "lifecycle", call.name_span.clone())];
        leaf.extend([event_types?, filter].into_iter().flatten());
        let inside = object(call.span.clone(), members?);
        let pattern = Member { key: pattern.to_owned(), key_span: call.name_span.clone(), value: inside };
        leaf.push(member("pattern", object(call.span.clone(), vec![pattern])));
        Some(leaf)
    }

    fn sequence(&mut self, call: &Call<'_>, place: &DocPath, depth: usize) -> Option<Vec<Member>> {
        let steps_place = place.key("steps");
        let each = call.positional.iter().enumerate();
        let steps: Vec<_> = each.map(|(index, expr)| self.step(expr, &steps_place.index(index), depth)).collect();
        let mut members = vec![word("type", "sequence", call.name_span.clone())];
        let within = self.named_literals(call, &["within"], place);
        let same = call.named("same").map(|(key_span, expr)| {
            let place = place.key("same");
            let paths = match unnested(expr) {
                Expr::Function(function) if let Some((_, values)) = listed(function) => values,
                other => vec![other],
            };
            let paths: Vec<_> = paths.into_iter().map(|path| self.path(path, &place)).collect();
            let span = self.extent(expr);
            let paths = paths.into_iter().collect::<Option<Vec<_>>>()?;
            Some(Member { key: "same".to_owned(), key_span, value: list(paths, span) })
        });
        let window = self.window(call, "window", place);
        let steps = steps.into_iter().collect::<Option<Vec<_>>>()?;
        members.push(member("steps", list(steps, call.span.clone())));
        members.extend(within?);
        if let Some(same) = same {
            members.push(same?);
        }
        members.extend(window?);
        Some(members)
    }

    fn step(&mut self, expr: &Expr, place: &DocPath, depth: usize) -> Option<Node> {
        let expr = unnested(expr);
        match (expr, form_of(expr)) {
            (Expr::Function(function), Some(Form::Step)) => {
                let call = self.call(function, place)?;
                let event_types = self.event_types(&call, place);
                let filter = self.filter(&call, place, depth);
                let absent = self.named_literals(&call, &["absent"], place);
                let members = [event_types?, filter].into_iter().flatten().chain(absent?).collect();
                Some(object(call.span, members))
            }
            _ => {
                let finding = Finding::new(Code::WrongKind, "a sequence is made of steps")
                    .with_help("Write `step('order_completed')`, with `where` if need be.");
                self.refuse(self.extent(expr), place, finding);
                None
            }
        }
    }

    /// The property that `value`, a derivation or `mean` is of.
    fn property(&mut self, call: &Call<'_>, place: &DocPath) -> Option<Node> {
        match call.form {
            Form::Value => self.path(call.positional.first()?, place),
            Form::Derived(key) => {
                let path = self.path(call.positional.first()?, &place.key(key))?;
                Some(object(call.span.clone(), vec![Member { key: key.to_owned(), key_span: call.name_span.clone(), value: path }]))
            }
            Form::Mean => {
                let place = place.key("mean");
                let each = call.positional.iter().enumerate();
                let paths: Vec<_> = each.map(|(index, path)| self.path(path, &place.index(index))).collect();
                let paths = list(paths.into_iter().collect::<Option<Vec<_>>>()?, call.span.clone());
                Some(object(
                    call.span.clone(),
                    vec![Member { key: "mean".to_owned(), key_span: call.name_span.clone(), value: paths }],
                ))
            }
            Form::Group(_)
            | Form::AtLeast
            | Form::Everyone
            | Form::Segment(_)
            | Form::Test(_)
            | Form::AnyTest
            | Form::Events
            | Form::Lifecycle(_)
            | Form::Sequence
            | Form::Step
            | Form::Top
            | Form::Sample
            | Form::Signal(_)
            | Form::AiVisibilityMetric => None,
        }
    }

    /// A path to a property: a name, or the text that a definition has for it.
    fn path(&mut self, expr: &Expr, place: &DocPath) -> Option<Node> {
        let expr = unnested(expr);
        let keys: &[Ident] = match expr {
            Expr::Identifier(key) => std::slice::from_ref(key),
            Expr::CompoundIdentifier(keys) => keys,
            Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)) => return self.literal(expr, place),
            _ => {
                let finding = Finding::new(Code::WrongKind, "a property must stand here")
                    .with_help("Write a name such as `price`, or a path such as `attributes.\"home.page\"`.");
                self.refuse(self.extent(expr), place, finding);
                return None;
            }
        };
        let path = PropertyPath::from_keys(keys.iter().map(|key| key.value.clone()).collect())?;
        Some(text(&path.to_string(), self.extent(expr)))
    }

    /// The arguments of these names as members of these keys.
    fn named_literals(&mut self, call: &Call<'_>, names: &[&str], place: &DocPath) -> Option<Vec<Member>> {
        let mut members = Vec::new();
        let mut fits = true;
        for name in names {
            let Some((key_span, expr)) = call.named(name) else { continue };
            match self.literal(expr, &place.key(*name)) {
                Some(value) => members.push(Member { key: (*name).to_owned(), key_span, value }),
                None => fits = false,
            }
        }
        fits.then_some(members)
    }

    /// An operand of a comparison; left out when it cannot be read, which was said.
    fn operand(&mut self, key: &str, expr: &Expr, place: &DocPath) -> Option<Member> {
        self.literal(expr, &place.key(key)).map(|value| member(key, value))
    }

    fn literals(&mut self, exprs: Vec<&Expr>, place: &DocPath) -> Option<Vec<Node>> {
        let each = exprs.into_iter().enumerate();
        let values: Vec<_> = each.map(|(index, expr)| self.literal(expr, &place.index(index))).collect();
        values.into_iter().collect()
    }

    /// A text, a number, `TRUE`, `FALSE`, or a list of these in brackets.
    fn literal(&mut self, expr: &Expr, place: &DocPath) -> Option<Node> {
        let expr = unnested(expr);
        let span = self.extent(expr);
        let kind = match expr {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => NodeKind::Text(text.clone()),
                Value::Number(digits, _) => NodeKind::Number(json_number(digits)),
                Value::Boolean(value) => NodeKind::Boolean(*value),
                Value::Null => {
                    let finding = Finding::new(Code::WrongKind, "nothing compares with `NULL`")
                        .with_help("Write `is_not_set(property)` to find what is missing.");
                    self.refuse(span, place, finding);
                    return None;
                }
                _ => return self.no_literal(expr, place),
            },
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => match unnested(inner) {
                Expr::Value(value) if let Value::Number(digits, _) = &value.value => {
                    NodeKind::Number(format!("-{}", json_number(digits)))
                }
                _ => return self.no_literal(expr, place),
            },
            Expr::Function(function) => match listed(function) {
                Some((bracket, values)) => {
                    let values = self.literals(values, place)?;
                    let start = bytes(bracket.span).start;
                    return Some(list(values, start..self.closing(start)));
                }
                None => return self.no_literal(expr, place),
            },
            _ => return self.no_literal(expr, place),
        };
        Some(Node { kind, span })
    }

    fn no_literal(&mut self, expr: &Expr, place: &DocPath) -> Option<Node> {
        let help = match (self.quoted_name(expr), expr) {
            (Some(text), _) => format!("A text stands in single quotes: `{text}`."),
            (None, Expr::Tuple(_)) => "A list that is no operand of `IN` stands in brackets: `['a', 'b']`.".to_owned(),
            (None, _) => "Write a text in single quotes, a number, `TRUE` or `FALSE`.".to_owned(),
        };
        let message = format!("`{}` is no value", self.excerpt(expr));
        self.refuse(self.extent(expr), place, Finding::new(Code::WrongKind, message).with_help(help));
        None
    }

    /// The text that a name was probably meant to be.
    fn quoted_name(&self, expr: &Expr) -> Option<String> {
        match unnested(expr) {
            Expr::Identifier(name) => Some(format!("'{}'", name.value.replace('\'', "''"))),
            _ => None,
        }
    }

    fn is_literal(&self, expr: &Expr) -> bool {
        match unnested(expr) {
            Expr::Value(_) => true,
            Expr::UnaryOp { op: UnaryOperator::Minus, .. } => true,
            Expr::Function(function) => listed(function).is_some(),
            _ => false,
        }
    }

    fn operator(&self, operator: &str, left: &Expr) -> Member {
        word("operator", operator, self.token_after(left))
    }

    fn end_of(&self, expr: &Expr) -> usize {
        self.extent(expr).end
    }

    fn excerpt(&self, expr: &Expr) -> String {
        excerpt(&self.source.text, self.extent(expr))
    }
}

impl Left {
    /// The leaf of this left side and a comparison.
    fn compared(self, operator: Member, values: Vec<Member>) -> Vec<Member> {
        let mut members = self.members;
        members.push(operator);
        members.extend(values);
        members.extend(self.read_as);
        members
    }
}

fn property_left(property: Node, span: Range<usize>, scene: Scene) -> Left {
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
fn unnested(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// The digits of SQL as those of JSON, which has no `.5`, `5.` and `007`.
fn json_number(digits: &str) -> String {
    let exponent_at = digits.find(['e', 'E']).unwrap_or(digits.len());
    let (mantissa, exponent) = digits.split_at_checked(exponent_at).unwrap_or((digits, ""));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{whole}{point}{fraction}{exponent}")
}

/// Stands for a condition that cannot be read.
fn hole(span: Range<usize>) -> Node {
    let members = vec![word("logic", "and", span.clone()), member("conditions", list(Vec::new(), span.clone()))];
    object(span, members)
}

fn member(key: &str, value: Node) -> Member {
    Member { key: key.to_owned(), key_span: value.span.clone(), value }
}

fn word(key: &str, value: &str, span: Range<usize>) -> Member {
    member(key, text(value, span))
}

fn text(value: &str, span: Range<usize>) -> Node {
    Node { kind: NodeKind::Text(value.to_owned()), span }
}

fn list(values: Vec<Node>, span: Range<usize>) -> Node {
    Node { kind: NodeKind::List(values), span }
}

fn object(span: Range<usize>, members: Vec<Member>) -> Node {
    Node { kind: NodeKind::Object(members), span }
}
