//! The changes feed. A sequence belongs to a node and names it: `7-1.…` is a sequence of the node 1.

use http::StatusCode;

use super::{
    state::{Inner, Life, NODES},
    wire::{Answer, Call},
};

impl Inner {
    /// Answers from the node of the sequence. If that node is away, or goes while it answers, another one answers from
    /// the beginning.
    pub(super) async fn changes(&self, at: usize, db: &str, call: &Call) -> Answer {
        let feed = call.parameter("feed").unwrap_or_default();
        if matches!(feed.as_str(), "continuous" | "live" | "eventsource") {
            let reason = "the model of a cluster has no continuous feeds";
            return Answer::error(StatusCode::NOT_IMPLEMENTED, "not_implemented", reason);
        }
        let since = call.parameter("since").unwrap_or_default();
        let marked = unmark(since.trim_matches('"'));
        loop {
            let nodes = self.nodes_with(db);
            let (node, call) = match &marked {
                Some((node, since)) if nodes.contains(node) => {
                    (*node, call.with_parameter("since", since))
                }
                Some(_) => (
                    self.pick(&nodes).unwrap_or(at),
                    call.with_parameter("since", "0"),
                ),
                None => (self.pick(&nodes).unwrap_or(at), call.clone()),
            };
            let pulse = self.pulse(node);
            if pulse.life != Life::Live {
                self.until_changed(node, pulse).await;
                continue;
            }
            tokio::select! {
                answer = self.ask(node, &call) => {
                    let text = String::from_utf8_lossy(&answer.body);
                    let text = mark(&text, "\n{\"seq\":\"", node);
                    let text = mark(&text, "\n\"last_seq\":\"", node);
                    return answer.with_body(text);
                }
                () = self.until_changed(node, pulse) => {}
            }
        }
    }
}

/// Names the node in the sequences of information about databases.
pub(super) fn mark_info(answer: Answer, node: usize) -> Answer {
    let text = String::from_utf8_lossy(&answer.body);
    let text = mark(&text, "\"update_seq\":\"", node);
    let text = mark(&text, "\"purge_seq\":\"", node);
    answer.with_body(text)
}

/// Names the node in each sequence that follows `before`. The text is not parsed: documents in it stay byte for byte.
fn mark(text: &str, before: &str, node: usize) -> String {
    let mut parts = text.split(before);
    let mut marked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        marked.push_str(before);
        match part.split_once('-') {
            Some((number, rest)) => marked.push_str(&format!("{number}-{node}.{rest}")),
            None => marked.push_str(part),
        }
    }
    marked
}

/// The node of a sequence, and the sequence as the node knows it.
fn unmark(since: &str) -> Option<(usize, String)> {
    let (number, rest) = since.split_once('-')?;
    let (node, rest) = rest.split_once('.')?;
    let node = node.parse().ok().filter(|node| *node < NODES)?;
    Some((node, format!("{number}-{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_names_its_node() {
        let text = "{\"results\":[\n{\"seq\":\"3-ab\",\"id\":\"x\"}\n],\n\"last_seq\":\"4-ab\"}";
        let marked = mark(&mark(text, "\n{\"seq\":\"", 2), "\n\"last_seq\":\"", 2);
        let expected =
            "{\"results\":[\n{\"seq\":\"3-2.ab\",\"id\":\"x\"}\n],\n\"last_seq\":\"4-2.ab\"}";
        assert_eq!(marked, expected);
        assert_eq!(unmark("4-2.ab"), Some((2, "4-ab".to_owned())));
        assert_eq!(unmark("now"), None);
        assert_eq!(unmark("4-3.ab"), None);
    }
}
