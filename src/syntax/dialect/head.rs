//! What definitions of every form have in common: id, name, state, interval, and what is carried for their authors.

use super::super::decode::{Fields, list_words};
use super::super::node::{Member, Node, NodeKind};
use super::{Body, Translator, build, snake};
use crate::diagnostic::{Code, Finding, nearest};
use crate::model::id::MAX_ID_LENGTH;

/// Keys of identity and of results, in snake case, that are carried in `metadata`.
const CARRIED: &[&str] = &[
    "account_id",
    "cached_at",
    "computed_at",
    "computed_count",
    "contact_count",
    "count",
    "created_at",
    "created_by",
    "estimated_count",
    "estimated_size",
    "last_computed",
    "last_computed_at",
    "last_computed_count",
    "last_evaluated_at",
    "last_refreshed_at",
    "last_updated_at",
    "member_count",
    "organization_id",
    "owner",
    "owner_id",
    "project_id",
    "size",
    "slug",
    "tenant_id",
    "updated_at",
    "updated_by",
    "user_count",
    "user_id",
    "uuid",
    "version",
    "workspace_id",
];

/// Keys that every form may have beside its rule.
const KNOWN: &[&str] = &[
    "id",
    "name",
    "label",
    "description",
    "type",
    "kind",
    "status",
    "is_active",
    "active",
    "enabled",
    "refresh_interval",
    "refresh_interval_seconds",
    "refresh_interval_minutes",
    "schedule",
    "refresh_schedule",
    "tags",
    "icon",
    "color",
    "metadata",
];

/// The members of the canonical definition so far, each with the foreign key that it came from.
#[derive(Default)]
struct Head {
    members: Vec<Member>,
    metadata: Vec<Member>,
    /// The status that a flag asks for.
    flag: Option<(&'static str, Member)>,
}

impl Translator<'_> {
    /// The members of a canonical definition that say everything but its rule.
    pub(super) fn head(&mut self, fields: &Fields<'_>, body: &Body, stem: &str) -> Vec<Member> {
        let mut head = Head::default();
        let span = fields.place.node.span.clone();
        for member in fields.members {
            if !body.rule_keys.contains(&member.key.as_str()) && member.value.kind != NodeKind::Null {
                self.head_member(&mut head, fields, member, body.rule_keys);
            }
        }
        self.status(&mut head, fields);
        let has = |head: &Head, key: &str| head.members.iter().any(|member| member.key == key);
        if !has(&head, "id") {
            let name = head.members.iter().find(|member| member.key == "name").map(|member| &member.value);
            let of_name = name.and_then(|name| match &name.kind {
                NodeKind::Text(text) => slug(text).map(|slug| build::text(&name.span, &slug)),
                NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::List(_) | NodeKind::Object(_) => None,
            });
            match of_name.or_else(|| slug(stem).map(|slug| build::text(&span, &slug))) {
                Some(id) => head.members.insert(0, build::member("id", id)),
                None => {
                    let finding = Finding::new(Code::MissingKey, "a definition has neither an id nor a name to make one of")
                        .with_help("Add the key `id`, of characters a-z, 0-9, `_` and `-`.");
                    self.decoder.refuse(&fields.place, finding);
                }
            }
        }
        if !head.metadata.is_empty() {
            let metadata = Node { kind: NodeKind::Object(head.metadata), span };
            head.members.push(build::member("metadata", metadata));
        }
        head.members
    }

    fn head_member(&mut self, head: &mut Head, fields: &Fields<'_>, member: &Member, rule_keys: &'static [&'static str]) {
        let key = snake(&member.key.replace('-', "_"));
        let Some(place) = fields.get(&member.key) else { return };
        match key.as_str() {
            "id" => self.set(head, fields, "id", member, whole_text(&member.value)),
            "name" | "label" => self.set(head, fields, "name", member, member.value.clone()),
            "description" => self.set(head, fields, "description", member, member.value.clone()),
            "tags" => self.set(head, fields, "tags", member, member.value.clone()),
            "icon" => self.set(head, fields, "icon", member, member.value.clone()),
            "color" => self.set(head, fields, "color", member, member.value.clone()),
            "type" | "kind" => {
                let kinds = [("dynamic", "dynamic"), ("static", "static"), ("DYNAMIC", "dynamic"), ("STATIC", "static")];
                if let Some(kind) = self.decoder.word(&place, "kinds of segments", &kinds) {
                    self.set(head, fields, "kind", member, build::text(&member.value.span, kind));
                }
            }
            "status" => {
                let statuses = [
                    ("active", "active"),
                    ("paused", "paused"),
                    ("inactive", "paused"),
                    ("draft", "paused"),
                    ("archived", "archived"),
                    ("ACTIVE", "active"),
                    ("PAUSED", "paused"),
                    ("INACTIVE", "paused"),
                    ("DRAFT", "paused"),
                    ("ARCHIVED", "archived"),
                ];
                if let Some(status) = self.decoder.word(&place, "statuses", &statuses) {
                    self.set(head, fields, "status", member, build::text(&member.value.span, status));
                }
            }
            "is_active" | "active" | "enabled" => {
                if let Some(active) = self.decoder.boolean(&place) {
                    head.flag = Some((if active { "active" } else { "paused" }, member.clone()));
                }
            }
            "refresh_interval" | "refresh_interval_seconds" => {
                self.set(head, fields, "refresh_interval", member, member.value.clone());
            }
            "refresh_interval_minutes" => {
                if let Some(minutes) = self.whole(&place) {
                    let interval = build::text(&member.value.span, &format!("{minutes}min"));
                    self.set(head, fields, "refresh_interval", member, interval);
                }
            }
            "schedule" | "refresh_schedule" => self.set(head, fields, "schedule", member, member.value.clone()),
            "metadata" => self.metadata(head, member),
            carried if CARRIED.contains(&carried) => head.metadata.push(member.clone()),
            unknown => {
                let rule_keys = rule_keys.iter().filter(|key| !fields.has(key));
                let near = nearest(&member.key, rule_keys.copied());
                let help = match near.or_else(|| nearest(unknown, KNOWN.iter().chain(CARRIED).copied())) {
                    Some(near) => format!("Did you mean `{near}`?"),
                    None => format!("Beside its rule, a definition has the keys {}.", list_words(KNOWN.iter().copied())),
                };
                self.decoder.unknown_key(fields, member, help);
            }
        }
    }

    /// Sets a member of the canonical definition, which two foreign keys may not say.
    fn set(&mut self, head: &mut Head, fields: &Fields<'_>, key: &'static str, from: &Member, value: Node) {
        if head.members.iter().any(|member| member.key == key) {
            let message = format!("`{}` says again what another key says", from.key);
            self.decoder.conflict(fields, &from.key, message, "Keep one of them.");
            return;
        }
        head.members.push(Member { key: key.to_owned(), key_span: from.key_span.clone(), value });
    }

    /// A flag is the status, and must not contradict it.
    fn status(&mut self, head: &mut Head, fields: &Fields<'_>) {
        let Some((flagged, from)) = head.flag.take() else { return };
        let status = head.members.iter().find(|member| member.key == "status").map(|member| &member.value.kind);
        match status {
            None => {
                let status = build::text(&from.value.span, flagged);
                head.members.push(Member { key: "status".to_owned(), key_span: from.key_span, value: status });
            }
            Some(status) => {
                let active = *status == NodeKind::Text("active".to_owned());
                if active != (flagged == "active") {
                    let message = format!("`{}` contradicts `status`", from.key);
                    self.decoder.conflict(fields, &from.key, message, "Keep the one that is right.");
                }
            }
        }
    }

    /// The members of `metadata` itself, where no other key has their names.
    fn metadata(&mut self, head: &mut Head, member: &Member) {
        match &member.value.kind {
            NodeKind::Object(members) if members.iter().all(|inner| !is_carried(&inner.key)) => {
                head.metadata.extend(members.iter().cloned());
            }
            NodeKind::Object(_)
            | NodeKind::Null
            | NodeKind::Boolean(_)
            | NodeKind::Number(_)
            | NodeKind::Text(_)
            | NodeKind::List(_) => head.metadata.push(member.clone()),
        }
    }
}

/// Whether a key names an identity or a result, which says nothing about who matches.
pub(super) fn is_carried(key: &str) -> bool {
    CARRIED.contains(&snake(&key.replace('-', "_")).as_str()) || key == "metadata"
}

/// An integer as its digits; anything else as it is.
pub(super) fn whole_text(node: &Node) -> Node {
    match &node.kind {
        NodeKind::Number(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => build::text(&node.span, digits),
        NodeKind::Number(_)
        | NodeKind::Null
        | NodeKind::Boolean(_)
        | NodeKind::Text(_)
        | NodeKind::List(_)
        | NodeKind::Object(_) => node.clone(),
    }
}

/// A name as an id: in small letters, with a `-` for every run of characters that are neither letters, digits nor `_`. `None` when
/// nothing is left of it.
fn slug(name: &str) -> Option<String> {
    let mut slug = String::new();
    for letter in name.to_lowercase().chars() {
        match letter {
            'a'..='z' | '0'..='9' | '_' => slug.push(letter),
            _ if slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    let trimmed: String = slug.trim_start_matches(['-', '_']).chars().take(MAX_ID_LENGTH).collect();
    let trimmed = trimmed.trim_end_matches('-');
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_ids() {
        for (name, id) in [
            ("High-Value Prospects", Some("high-value-prospects")),
            ("  20 % off - now!  ", Some("20-off-now")),
            ("VIP_users", Some("vip_users")),
            ("Café", Some("caf")),
            ("客户", None),
            ("", None),
        ] {
            assert_eq!(slug(name).as_deref(), id, "{name}");
        }
        assert_eq!(slug(&"x".repeat(300)).map(|id| id.len()), Some(128));
    }
}
