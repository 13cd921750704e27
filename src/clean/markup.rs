//! HTML taken out of a text: entities become characters, tags go.
//!
//! Only tags that HTML knows are tags: `<AAPL>`, `x <y and z> 3` and `<3` stay. Feeds often encode twice
//! (`&amp;lt;b&amp;gt;`), so a decoded `&` may begin the next entity. This is no HTML parser and repairs nothing.

/// Longer than the longest name of an entity (`CounterClockwiseContourIntegral`).
const ENTITY_BYTES_MAX: usize = 40;

/// Tags that stand inside a word or a line; they vanish, all others leave a space.
const INLINE: [&str; 24] = [
    "a", "abbr", "b", "bdi", "cite", "code", "del", "em", "font", "i", "ins", "kbd", "mark", "q", "s", "small", "span",
    "strike", "strong", "sub", "sup", "time", "u", "wbr",
];

/// Tags that break a line.
const BLOCK: [&str; 59] = [
    "address",
    "article",
    "aside",
    "audio",
    "blockquote",
    "body",
    "br",
    "button",
    "canvas",
    "caption",
    "center",
    "col",
    "dd",
    "div",
    "dl",
    "dt",
    "embed",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "iframe",
    "img",
    "input",
    "label",
    "li",
    "link",
    "main",
    "meta",
    "nav",
    "noscript",
    "object",
    "ol",
    "option",
    "p",
    "picture",
    "pre",
    "section",
    "select",
    "source",
    "svg",
    "table",
    "tbody",
    "td",
    "th",
    "title",
    "tr",
    "ul",
    "video",
];

/// Elements whose content is no text.
const SILENT: [&str; 2] = ["script", "style"];

/// Replaces every entity that ends with `;` by its character, also when it was encoded more than once.
pub(super) fn decode_entities(text: String) -> String {
    if !text.contains('&') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        rest = after;
        loop {
            let Some((value, behind)) = entity(rest) else {
                out.push('&');
                break;
            };
            rest = behind;
            if value != "&" {
                out.push_str(&value);
                break;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The entity whose name starts at `rest` (behind its `&`), and what follows it.
fn entity(rest: &str) -> Option<(String, &str)> {
    let end = rest.bytes().take(ENTITY_BYTES_MAX).position(|byte| !byte.is_ascii_alphanumeric() && byte != b'#')?;
    let behind = rest.get(end..)?.strip_prefix(';')?;
    let whole = format!("&{};", rest.get(..end)?);
    let value = html_escape::decode_html_entities(&whole).into_owned();
    (value != whole).then_some((value, behind))
}

/// Removes tags, comments, the content of scripts and styles, and the marks of CDATA sections.
pub(super) fn strip_tags(text: String) -> String {
    if !text.contains('<') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    let mut closes = Closes { comment: true, silent: true };
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        rest = match markup(after, &mut closes) {
            Some((gap, behind)) => {
                out.push_str(gap);
                behind
            }
            None => {
                out.push('<');
                after
            }
        };
    }
    out.push_str(rest);
    out
}

/// Whether an end is still to be hoped for; each is looked for in vain at most once, which keeps the time linear.
struct Closes {
    comment: bool,
    silent: bool,
}

/// What the markup that starts at `rest` (behind its `<`) leaves, and the text behind it; `None` when it is no markup.
fn markup<'a>(rest: &'a str, closes: &mut Closes) -> Option<(&'static str, &'a str)> {
    if let Some(comment) = rest.strip_prefix("!--") {
        if !closes.comment {
            return None;
        }
        let end = comment.split_once("-->");
        closes.comment = end.is_some();
        return end.map(|(_, behind)| (" ", behind));
    }
    if let Some(content) = rest.strip_prefix("![CDATA[") {
        return Some((" ", content));
    }
    let closing = rest.starts_with('/');
    let body = rest.strip_prefix(['/', '!', '?']).unwrap_or(rest);
    let length = body.bytes().take(12).position(|byte| !byte.is_ascii_alphanumeric())?;
    let name = body.get(..length)?.to_ascii_lowercase();
    let behind = behind_tag(body.get(length..)?)?;
    if SILENT.contains(&name.as_str()) {
        return Some((" ", if closing { behind } else { behind_silent(behind, &name, closes) }));
    }
    if INLINE.contains(&name.as_str()) {
        return Some(("", behind));
    }
    (BLOCK.contains(&name.as_str()) || name == "doctype" || name == "xml").then_some((" ", behind))
}

/// The text behind the tag whose attributes start at `rest`; `None` when it does not end before the next `<`.
fn behind_tag(rest: &str) -> Option<&str> {
    if !rest.starts_with(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/' || c == '?') {
        return None;
    }
    let mut quote = None;
    let mut before = b' ';
    for (at, byte) in rest.bytes().enumerate() {
        match (quote, byte) {
            (_, b'<') => return None,
            (None, b'>') => return rest.get(at + 1..),
            (None, b'"' | b'\'') if before == b'=' => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            before = byte;
        }
    }
    None
}

/// The text behind the end of a script or style; without an end only the opening tag goes.
fn behind_silent<'a>(content: &'a str, name: &str, closes: &mut Closes) -> &'a str {
    if !closes.silent {
        return content;
    }
    let end = content.match_indices("</").find_map(|(at, _)| {
        let tag = content.get(at + 2..)?;
        let found = tag.get(..name.len())?;
        if found.eq_ignore_ascii_case(name) { behind_tag(tag.get(name.len()..)?) } else { None }
    });
    closes.silent = end.is_some();
    end.unwrap_or(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> String {
        decode_entities(text.to_owned())
    }

    fn stripped(text: &str) -> String {
        strip_tags(text.to_owned())
    }

    #[test]
    fn entities_are_decoded_however_often_they_were_encoded() {
        assert_eq!(decoded("Oak &amp; Sons"), "Oak & Sons");
        assert_eq!(decoded("Oak &amp;amp;amp; Sons"), "Oak & Sons");
        assert_eq!(decoded("&amp;lt;b&amp;gt; &#8217;&#x2019;"), "<b> ’’");
        assert_eq!(decoded("R&D; AT&T &nosuch; &; &#; &"), "R&D; AT&T &nosuch; &; &#; &");
    }

    #[test]
    fn only_tags_that_html_knows_are_removed() {
        assert_eq!(stripped("<p class=\"a>b\">Up <b>5</b>%<br/>today</p>"), " Up 5% today ");
        assert_eq!(stripped("margin <3% and x <y and z> 3 <AAPL>"), "margin <3% and x <y and z> 3 <AAPL>");
        assert_eq!(stripped("<!-- hidden --><![CDATA[shown"), "  shown");
        assert_eq!(stripped("a<script>var x = '<b>';</script>b<STYLE>p{}</STYLE >c"), "a b c");
        assert_eq!(stripped("a<script>b"), "a b");
        assert_eq!(stripped("cut off <a href=\"x"), "cut off <a href=\"x");
    }

    #[test]
    fn hostile_markup_takes_linear_time() {
        for unit in ["<!--", "<script>", "<a \"", "<a b='", "&amp;", "<", "&#", "<script></"] {
            let text = unit.repeat(65_536 / unit.len());
            let _ = strip_tags(decode_entities(text));
        }
    }
}
