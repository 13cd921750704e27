//! The inputs: `[[source]]` with `[source.fields]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::reader::Section;
use super::setting::quoted;
use crate::codec::{FieldMap, Pointers, SourceSettings};
use crate::pipeline::Topics;

/// Reads all sources of the pipeline `name`.
pub(super) fn read(sections: Vec<Section<'_>>, name: &str) -> Vec<SourceSettings> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut sources = Vec::new();
    for mut section in sections {
        let topic: Option<String> = section.required("topic", "\"posts.news\"");
        if let Some(topic) = &topic {
            check_topic(&section, topic, name);
            let here = section.place("topic").to_string();
            if let Some(first) = seen.insert(topic.clone(), here) {
                let message = format!("{} is read already at {first}", quoted(topic));
                section.problem("topic", message, "a topic is the input of one source; remove one of them");
            }
        }
        let kind = section.or("kind", "posts".to_owned());
        if !super::is_kafka_name(&kind, 32) {
            let message = format!("{} is no kind", quoted(&kind));
            section.problem("kind", message, "one word such as \"news\" or \"social\": it labels metrics");
        }
        let fields = fields(section.section("fields"));
        section.finish();
        sources.push(SourceSettings { topic: Arc::from(topic.unwrap_or_default()), kind: Arc::from(kind), fields });
    }
    sources
}

fn check_topic(section: &Section<'_>, topic: &str, name: &str) {
    if !super::is_kafka_name(topic, 249) {
        let message = format!("{} cannot be a topic's name", quoted(topic));
        section.problem("topic", message, "use letters, digits, `.`, `_` and `-`, at most 249");
    }
    let own = Topics::of(name);
    let own = [&own.scored, &own.mentions, &own.index, &own.alerts, &own.dead_letters, &own.labels];
    if own.iter().any(|mine| ***mine == *topic) {
        let message = format!("{} is written by this pipeline itself", quoted(topic));
        section.problem("topic", message, "read the topic of another system, or rename the pipeline");
    }
}

fn fields(mut section: Section<'_>) -> FieldMap {
    let is = FieldMap::default();
    let map = FieldMap {
        id: pointers(&mut section, "id", is.id),
        text: pointers(&mut section, "text", is.text),
        published_at: pointers(&mut section, "published_at", is.published_at),
        updated_at: pointers(&mut section, "updated_at", is.updated_at),
        lang: pointers(&mut section, "lang", is.lang),
        source: pointers(&mut section, "source", is.source),
        author: pointers(&mut section, "author", is.author),
        url: pointers(&mut section, "url", is.url),
        symbols: pointers(&mut section, "symbols", is.symbols),
        action: pointers(&mut section, "action", is.action),
    };
    section.finish();
    map
}

fn pointers(section: &mut Section<'_>, key: &'static str, default: Pointers) -> Pointers {
    let pointers = section.or(key, default);
    for pointer in &pointers {
        if !is_pointer(pointer) {
            let message = format!("{} is no JSON pointer", quoted(pointer));
            let remedy = format!("start it with a slash, such as {}", quoted(&format!("/{pointer}")));
            section.problem(key, message, remedy);
        }
    }
    if pointers.is_empty() {
        section.problem(key, "the list is empty", "name one JSON pointer or leave the key out");
    }
    pointers
}

/// RFC 6901: starts with a slash; a tilde stands only in `~0` and `~1`.
fn is_pointer(text: &str) -> bool {
    let tildes_escape = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.starts_with('/') && tildes_escape
}
