//! Who is linked with whom, as lines.
//! Owns: the words for a link and for whose word it is.
//! Must not know: who was asked.
//! Invariants: of a link between two others it is said who told of it.
//! Start reading at: [`lines`].

use std::collections::BTreeMap;

use crate::protocol::{LinkView, LinksView, ToldLink, Transport, Vantage};
use crate::text::one_line;

/// The answer to `/links`.
pub(super) fn lines(view: &LinksView) -> Vec<String> {
    let mut lines: Vec<String> =
        view.own.iter().map(own).chain(view.others.iter().map(other)).collect();
    let is_relayed = |link: &&LinkView| link.transport == Transport::Relay;
    let relayed = view.own.iter().filter(is_relayed).count()
        + view.others.iter().filter(|link| link.is_relayed).count();
    lines.push(format!("{} direct, {relayed} relayed", lines.len().saturating_sub(relayed)));
    if !view.untold.is_empty() {
        lines.push(format!("who is linked with these is not known: {}", names(&view.untold)));
    }
    lines
}

/// At which addresses others see this machine.
pub(super) fn seen(vantage: &Vantage) -> Vec<String> {
    let mut by: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for it in &vantage.seen_at {
        by.entry(&it.seen.address).or_default().push(it.by.clone());
    }
    let line =
        |(at, by): (&str, Vec<String>)| format!("seen at {} by {}", one_line(at), names(&by));
    by.into_iter().map(line).collect()
}

fn own(link: &LinkView) -> String {
    let is_relayed = link.transport == Transport::Relay;
    format!("you and {}: {}", one_line(&link.name), said(is_relayed, link.rtt_micros))
}

fn other(link: &ToldLink) -> String {
    let [one, other] = &link.between;
    let said = said(link.is_relayed, link.rtt_micros);
    let by = names(&link.told_by);
    format!("{} and {}: {said}, by the word of {by}", one_line(one), one_line(other))
}

fn said(is_relayed: bool, rtt_micros: Option<u64>) -> String {
    let way = if is_relayed { "relayed" } else { "direct" };
    format!("{way}, round trip {}", rtt(rtt_micros))
}

/// A round-trip time for people.
pub(super) fn rtt(micros: Option<u64>) -> String {
    match micros {
        Some(micros) => format!("{}.{:03} ms", micros / 1_000, micros % 1_000),
        None => "not measured".to_owned(),
    }
}

fn names(names: &[String]) -> String {
    names.iter().map(|name| one_line(name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_linked_with_whom_and_by_whose_word() {
        let own = |name: &str, transport, rtt_micros| LinkView {
            name: name.to_owned(),
            transport,
            address: "/ip4/192.0.2.1/tcp/1".to_owned(),
            rtt_micros,
            unacknowledged: 0,
        };
        let told = ToldLink {
            between: ["bob".to_owned(), "carol\u{7}".to_owned()],
            is_relayed: true,
            rtt_micros: Some(20_050),
            told_by: vec!["bob".to_owned(), "carol\u{7}".to_owned()],
        };
        let view = LinksView {
            own: vec![own("bob", Transport::Quic, Some(412)), own("carol", Transport::Tcp, None)],
            others: vec![told],
            untold: vec!["dave".to_owned(), "eve".to_owned()],
        };
        assert_eq!(
            lines(&view),
            [
                "you and bob: direct, round trip 0.412 ms",
                "you and carol: direct, round trip not measured",
                "bob and carol\\u{7}: relayed, round trip 20.050 ms, by the word of bob, carol\\u{7}",
                "2 direct, 1 relayed",
                "who is linked with these is not known: dave, eve",
            ]
        );
        assert_eq!(lines(&LinksView::default()), ["0 direct, 0 relayed"]);
    }
}
