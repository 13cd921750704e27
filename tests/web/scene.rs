//! A desk's afternoon, made up for the page: posts, alerts, stages and a hostile post.

use std::sync::Arc;

use bellwether::event::{
    Abstention, Action, Alert, AlertState, AnswerRecord, Evidence, ModelId, Origin, ScoredPost, Severity, Subject,
    SubjectLink, TopicRecord,
};
use bellwether::time::Timestamp;
use bellwether::web::{Board, DeadLetterLine};

pub const HOSTILE: &str = "<img src=x onerror=\"document.title='owned by a post'\"><script>document.title='owned by a post'</script> $GME to the moon";

pub fn at(clock: &str) -> Timestamp {
    Timestamp::parse(&format!("2026-03-02T{clock}Z")).unwrap()
}

fn origin(offset: i64) -> Origin {
    Origin { topic: Arc::from("posts.news"), partition: 3, offset }
}

/// A post of the afternoon; `sentiment` is negative, neutral, positive.
pub fn post(number: i64, text: &str, (kind, source): (&str, &str), sentiment: [f32; 3]) -> ScoredPost {
    let labels = ["negative", "neutral", "positive"];
    let (best, confidence) =
        sentiment.iter().enumerate().fold((0, 0.0), |best, (at, p)| if *p > best.1 { (at, *p) } else { best });
    let unsure = confidence < 0.5;
    let probabilities = labels.iter().zip(sentiment).map(|(label, p)| (Arc::from(*label), p)).collect();
    let seconds = 41 - number;
    ScoredPost {
        id: format!("posts.news+3+{number}"),
        post_id: Arc::from(format!("p{number}")),
        revision: at("14:32:00"),
        action: Action::Created,
        published_at: at("14:32:00").plus(std::time::Duration::from_secs(u64::try_from(seconds.max(0)).unwrap())),
        appended_at: at("14:32:40"),
        scored_at: at("14:32:41"),
        text: text.to_owned(),
        original_text: None,
        truncated: false,
        lang: Some("eng".to_owned()),
        declared_lang: None,
        source: Arc::from(source),
        kind: Arc::from(kind),
        author: None,
        url: None,
        sentiment: AnswerRecord {
            label: (!unsure).then(|| Arc::from(labels[best])),
            probabilities,
            confidence,
            abstained: unsure,
            reason: unsure.then_some(Abstention::LowConfidence),
        },
        topic: topic(Some("earnings")),
        subjects: subjects(&["market"]),
        model: ModelId { name: Arc::from("finance-en"), version: Arc::from("1"), variant: Arc::from("int8") },
        origin: origin(number),
    }
}

fn topic(label: Option<&str>) -> TopicRecord {
    TopicRecord {
        label: label.map(Arc::from),
        probabilities: [(Arc::from(label.unwrap_or("other")), 0.41)].into(),
        confidence: 0.41,
        abstained: label.is_none(),
        reason: label.is_none().then_some(Abstention::LowConfidence),
        distribution: [(Arc::from(label.unwrap_or("other")), 0.41)].into(),
    }
}

fn subjects(names: &[&str]) -> Vec<SubjectLink> {
    names.iter().map(|name| SubjectLink { subject: Subject::parse(name).unwrap(), relevance: 0.8 }).collect()
}

/// A firing alert.
pub fn alert(subject: &str, severity: &str, summary: &str) -> Alert {
    Alert {
        id: format!("market.mentions+1+88+{subject}"),
        fingerprint: format!("f-{subject}"),
        rule: Arc::from("sentiment-collapse"),
        subject: Subject::parse(subject).unwrap(),
        state: AlertState::Firing,
        severity: match severity {
            "critical" => Severity::Critical,
            "warning" => Severity::Warning,
            _ => Severity::Info,
        },
        starts_at: at("14:18:22"),
        ends_at: None,
        fired_at: Some(at("14:28:22")),
        at: at("14:28:22"),
        value: Some(-0.712),
        threshold: -0.5,
        summary: summary.to_owned(),
        evidence: Vec::new(),
        origin: origin(88),
        traceparent: None,
    }
}

fn evidence(excerpt: &str, (source, url): (&str, Option<&str>), score: f32, weight: f32) -> Evidence {
    Evidence {
        post_id: Arc::from(excerpt),
        excerpt: Arc::from(excerpt),
        url: url.map(Arc::from),
        source: Arc::from(source),
        score,
        weight,
        published_at: at("14:17:05"),
    }
}

/// A board in the middle of a busy afternoon.
pub fn busy() -> Arc<Board> {
    let board = Board::new("market");
    board.model("finance-en/1/int8");
    stages(&board);
    alerts(&board);
    posts(&board);
    board.dead_letter(DeadLetterLine {
        at: at("14:30:12"),
        stage: "score",
        reason: "malformed".into(),
        message: "the value is not JSON: expected `,` or `}` at column 117".into(),
    });
    board.dead_letter(DeadLetterLine {
        at: at("14:31:55"),
        stage: "score",
        reason: "missing_field".into(),
        message: "the field `published_at` is missing: give it in RFC 3339, or map another field in [[sources]]".into(),
    });
    Arc::new(board)
}

fn stages(board: &Board) {
    for (stage, before, rate, partitions, lag) in
        [("score", 180_000, 422, 12, 38), ("signal", 505_400, 1_180, 6, 9), ("archive", 184_000, 402, 12, 1_204)]
    {
        board.stage(stage, true, "");
        board.progress(stage, partitions, Some(lag));
        board.committed(stage, before, at("14:00:00"));
        for second in 32..42 {
            board.committed(stage, rate, at(&format!("14:32:{second}")));
        }
    }
}

fn alerts(board: &Board) {
    let mut chip = alert(
        "XNAS:NVDA",
        "critical",
        "XNAS:NVDA sentiment fell to −0.71 over 30m (46 mentions, bound −0.50): weightiest “Regulators open an inquiry into \
         the chip maker's export licences”",
    );
    chip.evidence = vec![
        evidence(
            "Regulators open an inquiry into the chip maker's export licences",
            ("wire", Some("https://example.com/inquiry")),
            -0.91,
            0.34,
        ),
        evidence("Two large customers are said to pause orders until the inquiry ends", ("desk", None), -0.78, 0.21),
        evidence(HOSTILE, ("forum", Some("javascript:alert(1)")), -0.4, 0.08),
    ];
    let mut staff = alert(
        "topic:layoffs",
        "warning",
        "topic:layoffs sentiment fell to −0.58 over 1h (19 mentions, bound −0.45): weightiest “Retailer to close forty shops \
         and cut 2,300 jobs”",
    );
    staff.value = Some(-0.58);
    staff.threshold = -0.45;
    staff.rule = Arc::from("topic-turns");
    staff.starts_at = at("13:55:10");
    staff.evidence = vec![evidence(
        "Retailer to close forty shops and cut 2,300 jobs",
        ("wire", Some("https://example.com/shops")),
        -0.83,
        0.52,
    )];
    let mut market = alert("market", "info", "market sentiment rose to 0.36 over 2h (8,214 mentions, bound 0.35)");
    market.value = Some(0.36);
    market.threshold = 0.35;
    market.rule = Arc::from("broad-optimism");
    let mut over = alert("XNYS:BA", "warning", "XNYS:BA sentiment fell to −0.53 over 30m (16 mentions, bound −0.50)");
    let mut soon = chip.clone();
    soon.state = AlertState::Pending;
    soon.at = at("14:18:22");
    soon.summary =
        "XNAS:NVDA sentiment fell to −0.55 over 30m (21 mentions, bound −0.50), an alert if it lasts 10m".into();
    for alert in [&soon, &over, &market, &staff, &chip] {
        board.alert(alert);
    }
    over.state = AlertState::Resolved;
    over.at = at("14:31:00");
    over.summary = "XNYS:BA sentiment is back at −0.22 over 30m (17 mentions, bound −0.50)".into();
    over.ends_at = Some(at("14:31:00"));
    board.alert(&over);
}

fn posts(board: &Board) {
    type Row<'a> = (&'a str, (&'a str, &'a str), [f32; 3], Option<&'a str>, &'a [&'a str]);
    let rows: [Row; 9] = [
        (
            "Regulators open an inquiry into the chip maker's export licences; the company says that it cooperates",
            ("news", "wire"),
            [0.94, 0.05, 0.01],
            Some("regulation"),
            &["XNAS:NVDA", "topic:regulation", "market"],
        ),
        (
            "$AAPL services revenue beats every estimate, buyback raised by a tenth",
            ("news", "wire"),
            [0.01, 0.04, 0.95],
            Some("earnings"),
            &["XNAS:AAPL", "topic:earnings", "market"],
        ),
        (HOSTILE, ("social", "forum"), [0.3, 0.34, 0.36], None, &["XNYS:GME", "market"]),
        (
            "Central bank leaves its rate where it is, as everybody expected",
            ("news", "agency"),
            [0.06, 0.88, 0.06],
            Some("monetary-policy"),
            &["topic:monetary-policy", "market"],
        ),
        (
            "Why is nobody talking about $TSLA inventory? Lots are full again, saw it with my own eyes this morning",
            ("social", "feed"),
            [0.66, 0.3, 0.04],
            Some("sales"),
            &["XNAS:TSLA", "topic:sales", "market"],
        ),
        (
            "Oil majors and refiners: $XOM $CVX and others rally after the outage",
            ("social", "feed"),
            [0.03, 0.2, 0.77],
            Some("commodities"),
            &["XNYS:XOM", "XNYS:CVX", "XNYS:PSX", "XNYS:VLO", "topic:commodities", "market"],
        ),
        (
            "Retailer to close forty shops and cut 2,300 jobs",
            ("news", "wire"),
            [0.88, 0.1, 0.02],
            Some("layoffs"),
            &["topic:layoffs", "market"],
        ),
        ("lol", ("social", "forum"), [0.33, 0.4, 0.27], None, &["market"]),
        (
            "Aeroplane maker delivers 44 jets in February, one more than a year ago",
            ("news", "agency"),
            [0.02, 0.43, 0.55],
            Some("sales"),
            &["XNYS:BA", "topic:sales", "market"],
        ),
    ];
    for (number, (text, from, sentiment, label, about)) in rows.into_iter().enumerate().rev() {
        let mut post = post(i64::try_from(number).unwrap(), text, from, sentiment);
        post.topic = topic(label);
        post.subjects = subjects(about);
        post.url = match number {
            0 => Some("https://example.com/inquiry".to_owned()),
            2 => Some("javascript:alert(document.domain)".to_owned()),
            _ => None,
        };
        board.scored(&post);
    }
}
