//! Calls that say something about events: measures, patterns over time, sequences, and signals of other segments.

use sqlparser::ast::{BinaryOperator, Expr};

use super::build::{list, member, object, word};
use super::functions::{Call, Form, MEASURES, form_of, listed};
use super::read::{Left, LeftKind, Reader, Scene, unnested};
use crate::diagnostic::{Code, Finding};
use crate::model::path::DocPath;
use crate::syntax::node::{Member, Node};

impl Reader<'_> {
    /// A call whose value is compared, and that is a condition without a comparison: everything but that.
    pub(super) fn measured(&mut self, call: &Call<'_>, place: &DocPath, depth: usize) -> Option<Left> {
        let (kind, members) = if let Form::Signal(signal) = call.form {
            (LeftKind::Signal, self.signal(call, signal, place)?)
        } else if call.form == Form::AiVisibilityMetric {
            let metric = call.positional.first().map(|metric| self.literal(metric, &place.key("metric")));
            let mut members = vec![word("type", "ai_visibility_metric", call.name_span.clone())];
            if let Some(metric) = metric {
                members.push(member("metric", metric?));
            }
            (LeftKind::Signal, members)
        } else {
            (LeftKind::Events, self.events(call, place, depth)?)
        };
        self.read_as(Left { kind, members, read_as: Vec::new(), span: call.span.clone() }, call, place)
    }

    fn events(&mut self, call: &Call<'_>, place: &DocPath, depth: usize) -> Option<Vec<Member>> {
        let event_types = self.event_types(call, place);
        let filter = self.filter(call, place, depth);
        let measure = self.measure(call, place);
        let window = self.window(call, "window", place);
        let mut members = vec![word("type", "event", call.name_span.clone())];
        members.extend([event_types?, filter, measure?, window?].into_iter().flatten());
        Some(members)
    }

    fn signal(&mut self, call: &Call<'_>, signal: &str, place: &DocPath) -> Option<Vec<Member>> {
        let segment = self.literal(call.positional.first()?, &place.key("segment_id"));
        let event_type = self.named_literals(call, &["event_type"], place);
        let product = call.named("product_id_property").map(|(key_span, expr)| {
            let value = self.path(expr, &place.key("product_id_property"))?;
            Some(Member { key: "product_id_property".to_owned(), key_span, value })
        });
        let window = self.window(call, "window", place);
        let name = call.name_span.clone();
        let mut members = vec![word("type", "user_behavior_signal", name.clone()), word("signal", signal, name)];
        members.push(member("segment_id", segment?));
        members.extend(event_type?);
        if let Some(product) = product {
            members.push(product?);
        }
        members.extend(window?);
        Some(members)
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

    pub(super) fn lifecycle(&mut self, call: &Call<'_>, pattern: &str, place: &DocPath, depth: usize) -> Option<Vec<Member>> {
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

    pub(super) fn sequence(&mut self, call: &Call<'_>, place: &DocPath, depth: usize) -> Option<Vec<Member>> {
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
}
