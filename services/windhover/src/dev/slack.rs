//! Slack messages as text: blocks (or the text, where there are none), then attachments.

use anstyle::{AnsiColor, Color, Style};
use serde_json::Value;

use crate::cli::style::{BOLD, DIM, paint, safe};

/// A message that can be shown.
#[derive(Debug)]
pub(super) struct Message {
    /// Where it goes and from whom, e.g. ` to #alerts from windhover`; may be empty.
    pub(super) about: String,
    pub(super) lines: Vec<String>,
}

/// The message in a body; `None` when it is none.
pub(super) fn message(body: &Value) -> Option<Message> {
    let blocks = list(body, "blocks");
    let attachments = list(body, "attachments");
    let text = text(body, "text");
    if blocks.is_empty() && attachments.is_empty() && text.is_empty() {
        return None;
    }
    let mut about = String::new();
    for (word, key) in [("to", "channel"), ("from", "username")] {
        let value = self::text(body, key);
        if !value.is_empty() {
            about.push_str(&format!(" {word} {}", safe(value)));
        }
    }
    let plain = Style::new();
    let mut lines = Vec::new();
    // As in Slack: the text is for notifications when there are blocks.
    if blocks.is_empty() {
        lines.extend(barred(plain, &styled(text)));
    }
    for block in blocks {
        lines.extend(barred(plain, &self::block(block)));
    }
    for attachment in attachments {
        lines.extend(barred(colour(self::text(attachment, "color")), &self::attachment(attachment)));
    }
    Some(Message { about, lines })
}

fn block(block: &Value) -> String {
    let mut parts = Vec::new();
    match text(block, "type") {
        "divider" => parts.push("────────".to_owned()),
        "header" => parts.push(paint(BOLD, &safe(inner_text(block)))),
        "image" => parts.push(format!("image: {}", safe(text(block, "image_url")))),
        _ => parts.push(styled(inner_text(block))),
    }
    // Sections have fields, contexts and actions elements.
    for part in list(block, "fields").iter().chain(list(block, "elements")) {
        parts.push(button(part).unwrap_or_else(|| styled(own_or_inner_text(part))));
    }
    parts.extend(block.get("accessory").and_then(button));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn attachment(attachment: &Value) -> String {
    let mut parts = vec![styled(text(attachment, "pretext"))];
    let title = safe(text(attachment, "title"));
    if !title.is_empty() {
        let link = text(attachment, "title_link");
        let link = if link.is_empty() { String::new() } else { format!(" ({})", safe(link)) };
        parts.push(format!("{}{link}", paint(BOLD, &title)));
    }
    parts.push(styled(text(attachment, "text")));
    for field in list(attachment, "fields") {
        let value = match field.get("value") {
            Some(Value::String(text)) => styled(text),
            Some(other) => safe(&other.to_string()).into_owned(),
            None => String::new(),
        };
        parts.push(format!("{} {value}", paint(DIM, &format!("{}:", safe(text(field, "title"))))));
    }
    parts.extend(list(attachment, "blocks").iter().map(block));
    parts.push(styled(text(attachment, "footer")));
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() {
        parts.push(styled(text(attachment, "fallback")));
    }
    parts.join("\n")
}

/// `[Details] https://…`
fn button(element: &Value) -> Option<String> {
    let url = text(element, "url");
    let label = inner_text(element);
    (text(element, "type") == "button").then(|| format!("[{}] {}", safe(label), safe(url)).trim_end().to_owned())
}

fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// `{"text": {"type": "mrkdwn", "text": …}}`
fn inner_text(of: &Value) -> &str {
    of.get("text").map(|inner| text(inner, "text")).unwrap_or_default()
}

/// `{"type": "mrkdwn", "text": …}`, with or without one more level.
fn own_or_inner_text(of: &Value) -> &str {
    let own = text(of, "text");
    if own.is_empty() { inner_text(of) } else { own }
}

fn barred(style: Style, text: &str) -> Vec<String> {
    text.lines().map(|line| format!("{} {line}", paint(style, "┃"))).collect()
}

fn colour(name: &str) -> Style {
    let colour = match name {
        "good" => AnsiColor::Green,
        "warning" => AnsiColor::Yellow,
        "danger" => AnsiColor::Red,
        _ => return Style::new(),
    };
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

/// Slack's markup: `*bold*`, `<url|text>`, `<!here>`, `&lt;`.
fn styled(markup: &str) -> String {
    let lines: Vec<String> = safe(markup).lines().map(|line| entities(&bold(&links(line)))).collect();
    lines.join("\n")
}

fn links(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        let Some((inside, behind)) = after.split_once('>') else {
            out.push('<');
            rest = after;
            continue;
        };
        out.push_str(&match inside.split_once('|') {
            Some(("", name)) => name.to_owned(),
            Some((url, name)) => format!("{name} ({url})"),
            None => inside.strip_prefix('!').map_or_else(|| inside.to_owned(), |word| format!("@{word}")),
        });
        rest = behind;
    }
    out + rest
}

/// Pairs of asterisks; an odd one means that they are not markup.
fn bold(line: &str) -> String {
    let parts: Vec<&str> = line.split('*').collect();
    if parts.len().is_multiple_of(2) || parts.len() == 1 {
        return line.to_owned();
    }
    let turn = |(index, part): (usize, &&str)| if index % 2 == 1 { paint(BOLD, part) } else { (*part).to_owned() };
    parts.iter().enumerate().map(turn).collect()
}

fn entities(line: &str) -> String {
    line.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(body: &Value) -> Option<String> {
        let message = message(body)?;
        let lines = anstream::adapter::strip_str(&message.lines.join("\n")).to_string();
        Some(format!("{}\n{lines}", message.about))
    }

    #[test]
    fn the_message_of_an_execution_reads_as_in_slack() {
        let body = json!({
            "text": "*<http://ui/e1|[company.analytics] fails ➛ FAILED>*\n> Failed on task `x` after 00:00:00.017",
            "blocks": [
                {"type": "section", "text": {"type": "mrkdwn", "text": "Look &amp; see"}},
                {"type": "section",
                 "text": {"type": "mrkdwn", "text": "*<http://ui/e1|[company.analytics] fails ➛ FAILED>*\n> Failed on task `x`"},
                 "accessory": {"type": "button", "text": {"type": "plain_text", "text": "Details"}, "url": "http://ui/e1"}}],
            "attachments": [{"color": "danger", "ts": 1,
                "fields": [{"title": "Namespace", "value": "company.analytics", "short": true}, {"title": "Tries", "value": 3}]}],
            "channel": "#alerts", "username": "windhover"
        });
        assert_eq!(
            shown(&body).unwrap(),
            " to #alerts from windhover\n┃ Look & see\n┃ [company.analytics] fails ➛ FAILED (http://ui/e1)\n\
             ┃ > Failed on task `x`\n┃ [Details] http://ui/e1\n┃ Namespace: company.analytics\n┃ Tries: 3"
        );
    }

    #[test]
    fn text_alone_is_a_message_and_other_json_is_none() {
        assert_eq!(shown(&json!({"text": "2 * 3 <!here>\n*a* b"})).unwrap(), "\n┃ 2 * 3 @here\n┃ a b");
        for other in [json!({"text": 1}), json!({"a": "b"}), json!([]), json!("text"), json!({"blocks": []})] {
            assert_eq!(shown(&other), None, "{other}");
        }
    }
}
