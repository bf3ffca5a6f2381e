//! What the answers hold, for the document: one line a shape.
//! Owns: the shapes, and which answer has which.
//! Must not know: how an answer is made. A test of real processes holds every answer against these.
//! Invariants: a field is never renamed nor given another meaning.
//! Start reading at: [`SHAPES`].

use serde_json::{Map, Value, json};

/// A shape by its name: `field:type`, with `?` after the name of a field that may be absent.
///
/// Types are `s` a text, `t` a time of RFC 3339, `i` a whole number, `n` a number, `b` a truth value,
/// `o` any object, the name of a shape, `A|B` one of several, `[…]` a list, with `~` for what may be
/// null. `+Name` stands for all fields of another shape.
const SHAPES: &[(&str, &str)] = &[
    ("Alarm", "code:s name:s message:s verified:b since:t evidence:[Evidence] entries?:[s]"),
    ("Alarms", "alarms:[Alarm]"),
    ("Audit", "changes:[Change]"),
    ("Brought", "id:s name:s size:i"),
    (
        "Change",
        "index:i stamp:t what:s name:s peer_id:s~ detail:s leader:s~ leader_peer_id:s~ generation:i \
         term:i",
    ),
    ("Clock", "name:s ahead_ms:i"),
    ("Code", "code:s since:t"),
    ("Compared", "ok:b entries:i logs:i rooms:[ComparedRoom] unlinked:[s]"),
    ("ComparedMember", "name:s same:b lacks:[Span] ahead:[Span] differs:[Span]"),
    ("ComparedRoom", "room:s entries:i with:[ComparedMember]"),
    ("Control", "last:i committed:i"),
    ("Dead", "dead:[o]"),
    ("Deliveries", "room:s messages:[Delivery]"),
    (
        "Delivery",
        "id:s room:s from:s peer_id:s seq:i sent_at:t~ state:s of:i to:[s] lacks:[Lack] kept_by:[s]",
    ),
    ("Done", "text:s"),
    ("Election", "at:t +LeaderNow"),
    ("Events", "events:[o]"),
    ("Evidence", "name:s peer_id:s serial:i credential:s"),
    (
        "File",
        "id:s room:s message:s name:s size:i from:s own?:b have:i state:s reason?:s code?:s path?:s \
         expires_at?:t",
    ),
    ("Files", "files:[File]"),
    ("Gap", "room:s from:s peer_id:s missing:i before:i"),
    (
        "Group",
        "name:s network:s leader:Leader~ role:s quorum:b frozen_because:s voters:[s] members:[Member] \
         links:[OwnLink] others:[Other] untold:[s] bootstrap:b terms:[Term] elections:[Election]",
    ),
    ("Head", "from:s incarnation:s seq:i hash:s"),
    ("History", "room:s count:i messages:[Message|Gap]"),
    (
        "Invite",
        "id:s state:s uses:i used?:i name:s~ room:s~ issued_at:t expires_at:t revoked_at?:t reason?:s \
         invite?:s",
    ),
    ("Invites", "invites:[Invite]"),
    ("Keeping", "deposits:i bytes:i quota:i"),
    ("Lack", "name:s since:t~"),
    ("Last", "room:s from:s seq:i"),
    ("Leader", "name:s peer_id:s generation:i term:i"),
    ("LeaderNow", "name:s~ peer_id:s~ generation:i~ term:i~"),
    ("Link", "name:s transport:s address:s rtt_ms:n~ queued:i"),
    ("Links", "links:[Link] others:[Other] untold:[s]"),
    (
        "Member",
        "name:s peer_id:s state:s role:s self:b voter:b linked:b verified:b ignored?:b last_seen?:t",
    ),
    ("Members", "members:[Member]"),
    (
        "Message",
        "id:s room:s from:s peer_id:s seq:i lamport:i text:s sent_at:t expires_at?:t kind?:s of?:s \
         removed?:b app?:s file?:Brought fork?:b missing?:i ignored?:b",
    ),
    ("NewWebhook", "id:s secret:s cursor:i"),
    ("Numbered", "cursor:i +Message"),
    ("Other", "from:s name:s direct:b rtt_ms:n~ told_by:[s]"),
    ("OwnLink", "+Link from:s direct:b"),
    ("Problem", "type:s title:s status:i detail?:s code:s hint?:s retryable:b earliest?:i"),
    ("Qr", "size:i rows:[s]"),
    (
        "Receipt",
        "kind:s name:s room:s~ removed_at:t done:i of:i pending:[s] done_at:t~ last_readable:[Last]",
    ),
    ("Receipts", "receipts:[Receipt]"),
    ("Request", "kind:s name:s peer_id?:s state:s asked_at?:t"),
    ("Requests", "requests:[Request]"),
    (
        "Room",
        "room:s id:s kind:s in:b topic:s description:s entry:s capacity:i~ history:s keep_hours:i~ \
         keep_bytes:i~ archived:b muted?:b deleted:b members:[RoomMember] waiting:[s] \
         suspended?:[Suspended] stranded?:[Stranded] epoch:i~ authenticator:s~ holders:[s]",
    ),
    ("RoomMember", "name:s peer_id:s role:s epoch:i~"),
    ("RoomState", "what:s name:s +Room"),
    ("Rooms", "rooms:[Room]"),
    ("Search", "room:s~ words:s count:i messages:[Message|Gap]"),
    ("Seen", "room:s id:s~"),
    ("SeenAt", "by:s address:s dialled:b"),
    ("Sent", "id:s room:s seq:i state:s to:[s] lacks:[s]"),
    ("Since", "messages:[Numbered] upto:i last:i deleted_upto?:i"),
    ("Span", "from:s incarnation:s first:i last:i"),
    (
        "Status",
        "name:s network:s role:s leader:Leader~ ballot:s voters:[s] quorum:b frozen_because:s \
         control:Control members:[Member] listen:[s] seen_at:[SeenAt] clocks:[Clock] links:[Link] \
         links_wanted:i bootstrap:b queued:i behind:i vector:[Head] keeping?:Keeping",
    ),
    ("Stranded", "name:s peer_id:s entry:i members:[s] cut_off:b"),
    ("Suspended", "name:s peer_id:s since:t until:t"),
    ("Term", "since:t leader:s generation:i term:i index:i"),
    ("Verify", "name:s peer_id:s words:[s] verified:b verified_at?:t"),
    ("Webhook", "id:s url:s room:s allow_local:b cursor:i failing:s~"),
    ("Webhooks", "webhooks:[Webhook]"),
    ("Whois", "+Member serial:i not_after:t removed_at?:t verified_at?:t link?:Link rooms:[s]"),
    ("Wish", "what:s name:s peer_id:s role?:s reason?:s state:s because?:s"),
];

/// What the command of a path answers.
pub(super) fn of_command(cmd: &str) -> &'static str {
    match cmd {
        "" => "Events",
        "status" => "Status",
        "leader" => "LeaderNow",
        "members" | "ignore" | "unignore" => "Members",
        "whois" => "Whois",
        "rooms" => "Rooms",
        "history" => "History",
        "search" => "Search",
        "seen" => "Seen",
        "deliveries" => "Deliveries",
        "since" => "Since",
        "info" => "Delivery",
        "reply" | "edit" | "delete" | "react" | "unreact" | "app" => "Sent",
        "files" => "Files",
        "get" | "drop" => "File",
        "audit" => "Audit",
        "receipts" => "Receipts",
        "alarms" => "Alarms",
        "links" => "Links",
        "compare" => "Compared",
        "rekey" => "Done",
        "verify" => "Verify",
        "role" | "remove" => "Wish",
        "invites" => "Invites",
        "invite" | "revoke_invite" => "Invite",
        "requests" => "Requests",
        "approve" | "refuse" => "Request",
        "accept" => "Requests",
        "code" | "code_rotate" => "Code",
        _ => "RoomState",
    }
}

/// What a path that is no command answers: status, type of the body or which it may have, shape if
/// it has one.
pub(super) fn of_other(
    method: &str,
    path: &str,
) -> (&'static str, Option<&'static str>, Option<&'static str>) {
    const JSON: Option<&str> = Some("application/json");
    match (method, path) {
        (_, "/v1/group") => ("200", JSON, Some("Group")),
        (_, "/v1/qr") => ("200", JSON, Some("Qr")),
        (_, "/v1/webhooks/dead") => ("200", JSON, Some("Dead")),
        ("post", "/v1/webhooks") => ("201", JSON, Some("NewWebhook")),
        ("get", "/v1/webhooks") => ("200", JSON, Some("Webhooks")),
        ("delete", _) => ("204", None, None),
        (_, "/v1/openapi.json") => ("200", JSON, None),
        (_, "/v1/events") => ("200", Some("text/event-stream"), None),
        (_, "/v1/socket") => ("101", None, None),
        (_, "/") => ("200", Some("text/html"), None),
        (_, "/v1/export" | "/v1/rooms/{room}/export") => {
            ("200", Some("application/x-ndjson text/markdown text/plain"), None)
        }
        (_, "/v1/files/{id}/content") => ("200", Some("application/octet-stream"), None),
        (_, "/healthz" | "/metrics" | "/v1/hooks/{token}") => ("200", Some("text/plain"), None),
        _ => ("201", JSON, Some("Sent")),
    }
}

/// All shapes as JSON Schema.
pub(super) fn schemas() -> Map<String, Value> {
    SHAPES.iter().map(|(name, text)| ((*name).to_owned(), object(text))).collect()
}

fn object(text: &str) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    take_fields(text, &mut properties, &mut required);
    json!({ "type": "object", "required": required, "properties": properties })
}

fn take_fields(text: &str, properties: &mut Map<String, Value>, required: &mut Vec<String>) {
    for part in text.split_whitespace() {
        if let Some(other) = part.strip_prefix('+') {
            let shape = SHAPES.iter().find(|(name, _)| *name == other);
            take_fields(shape.map_or("", |(_, text)| text), properties, required);
            continue;
        }
        let (name, kind) = part.split_once(':').unwrap_or((part, ""));
        let bare = name.strip_suffix('?');
        if bare.is_none() {
            required.push(name.to_owned());
        }
        properties.insert(bare.unwrap_or(name).to_owned(), schema(kind));
    }
}

fn schema(kind: &str) -> Value {
    if let Some(kind) = kind.strip_suffix('~') {
        return json!({ "anyOf": [schema(kind), { "type": "null" }] });
    }
    if let Some(of) = kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')) {
        return json!({ "type": "array", "items": schema(of) });
    }
    if kind.contains('|') {
        return json!({ "anyOf": kind.split('|').map(schema).collect::<Vec<_>>() });
    }
    match kind {
        "s" => json!({ "type": "string" }),
        "t" => json!({ "type": "string", "format": "date-time" }),
        "i" => json!({ "type": "integer" }),
        "n" => json!({ "type": "number" }),
        "b" => json!({ "type": "boolean" }),
        "o" => json!({ "type": "object" }),
        name => reference(name),
    }
}

/// The shape of this name.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_read_and_every_name_in_one_is_a_shape() {
        let schemas = schemas();
        assert_eq!(schemas.len(), SHAPES.len(), "two shapes have one name");
        let names: Vec<&str> = SHAPES.iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted(), "a shape is found by its name");
        let text = serde_json::to_string(&schemas).unwrap();
        for named in text.split("#/components/schemas/").skip(1) {
            let name = named.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        for (_, text) in SHAPES {
            for part in text.split_whitespace().filter_map(|part| part.strip_prefix('+')) {
                assert!(names.contains(&part), "{part}");
            }
        }
        let sent = &schemas["Numbered"];
        assert_eq!(sent["properties"]["file"], reference("Brought"));
        assert!(sent["required"].as_array().unwrap().contains(&json!("lamport")), "{sent}");
        assert!(!sent["required"].as_array().unwrap().contains(&json!("kind")), "{sent}");
    }
}
