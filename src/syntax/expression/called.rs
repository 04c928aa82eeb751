//! Calls as conditions, and what may stand on the left of a comparison.

use sqlparser::ast::{BinaryOperator, Expr};

use super::build::{list, member, object, word};
use super::functions::{Call, Form};
use super::read::{Left, Reader, Scene, property_left, unnested};
use crate::diagnostic::{Code, Finding};
use crate::model::path::DocPath;
use crate::syntax::node::{Member, Node};

impl Reader<'_> {
    /// A call as a condition.
    pub(super) fn called(&mut self, call: &Call<'_>, scene: Scene, place: &DocPath, depth: usize) -> Option<Vec<Member>> {
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
            Form::Events | Form::Signal(_) | Form::AiVisibilityMetric => {
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
            Form::Scoring => {
                let finding = Finding::new(Code::WrongKind, "`scoring` is a whole rule, and no condition in another").with_help(
                    "Let it stand alone, and put conditions into it: `scoring(rule(visits >= 4, weight => 2), country = 'US')`.",
                );
                self.refuse(call.span.clone(), place, finding);
                None
            }
            Form::ScoringRule => {
                let finding = Finding::new(Code::WrongKind, "`rule` is a part of a scoring, and no condition")
                    .with_help("Write `scoring(rule(visits >= 4, weight => 2))`.");
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
    pub(super) fn read_as(&mut self, mut left: Left, call: &Call<'_>, place: &DocPath) -> Option<Left> {
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
    pub(super) fn left(&mut self, expr: &Expr, scene: Scene, place: &DocPath, depth: usize) -> Option<Left> {
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
                    Form::Events | Form::Signal(_) | Form::AiVisibilityMetric => {
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
                    | Form::Scoring
                    | Form::ScoringRule
                    | Form::Sample => {
                        let finding =
                            Finding::new(Code::WrongKind, format!("`{}` is a condition, and no value to compare", call.name))
                                .with_help("Write `NOT` before a condition that must not hold.");
                        self.refuse(span, place, finding);
                        None
                    }
                }
            }
            Expr::BinaryOp { op: BinaryOperator::Multiply, .. } => {
                let finding = Finding::new(Code::WrongKind, "a factor stands on the left of a comparison")
                    .with_help("Exchange the sides, or divide by it: `b < 2 * a`, `a > 0.5 * b`.");
                self.refuse(span, place, finding);
                None
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
            | Form::Scoring
            | Form::ScoringRule
            | Form::AiVisibilityMetric => None,
        }
    }
}
