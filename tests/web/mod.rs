//! Promise: the page, metrics and health say what is so, and what posts say stays text. A real browser looks at the
//! page; `BELLWETHER_TEST_PICTURES=folder` makes it leave pictures there.

mod browser;
mod scene;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bellwether::time::{Clock, Timestamp};
use bellwether::web::{Board, DeadLetterLine, Parts, Running, Server, WebError, WebSettings};
use browser::Browser;
use scene::at;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// A server on a free port, with the runtime that it lives on.
struct Site {
    runtime: Runtime,
    running: Option<Running>,
    shutdown: CancellationToken,
    clock: Arc<Countdown>,
    url: String,
}

/// Stands still, but for pauses; cancels the token once it was asked what time it is `calls` times.
struct Countdown {
    calls: AtomicUsize,
    paused_s: AtomicU64,
    shutdown: CancellationToken,
}

impl Clock for Countdown {
    fn now(&self) -> Timestamp {
        if self.calls.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shutdown.cancel();
        }
        at("14:32:41")
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.paused_s.load(Ordering::SeqCst))
    }

    fn pause(&self, span: Duration) {
        self.paused_s.fetch_add(span.as_secs(), Ordering::SeqCst);
    }
}

impl Site {
    fn new(board: Arc<Board>) -> Self {
        Self::ending_after(board, usize::MAX)
    }

    fn ending_after(board: Arc<Board>, pictures: usize) -> Self {
        let runtime = Runtime::new().unwrap();
        let shutdown = CancellationToken::new();
        let clock = Arc::new(Countdown {
            calls: AtomicUsize::new(pictures),
            paused_s: AtomicU64::default(),
            shutdown: shutdown.clone(),
        });
        let metrics = Arc::new(|| "# TYPE bellwether_up gauge\nbellwether_up 1\n".to_owned());
        let parts = Parts { board, metrics, time: clock.clone(), clock: clock.clone() };
        let running = runtime.block_on(Server::start(&free_port(), parts, shutdown.clone())).unwrap();
        let url = format!("http://{}", running.address);
        Self { runtime, running: Some(running), shutdown, clock, url }
    }

    fn get(&self, path: &str) -> Answer {
        ask("GET", &format!("{}{path}", self.url))
    }

    fn live(&self) -> Value {
        serde_json::from_str(&self.get("/live").body).unwrap()
    }
}

fn free_port() -> WebSettings {
    WebSettings { listen: "127.0.0.1:0".parse().unwrap() }
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

fn ask(method: &str, url: &str) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .into();
    let mut answer = match method {
        "GET" => agent.get(url).call().unwrap(),
        "POST" => agent.post(url).send_empty().unwrap(),
        _ => agent.delete(url).call().unwrap(),
    };
    let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    Answer {
        status: answer.status().as_u16(),
        headers: headers.collect(),
        body: answer.body_mut().read_to_string().unwrap(),
    }
}

const ROUTES: [(&str, u16, &str); 9] = [
    ("/", 200, "text/html"),
    ("/page.js", 200, "text/javascript"),
    ("/page.css", 200, "text/css"),
    ("/page.svg", 200, "image/svg+xml"),
    ("/live", 200, "application/json"),
    ("/metrics", 200, "text/plain; version=0.0.4"),
    ("/livez", 200, "text/plain"),
    ("/readyz", 503, "text/plain"),
    ("/etc/passwd", 404, "text/plain"),
];

#[test]
fn every_route_answers_get_alone_and_carries_the_headers_of_safety() {
    let site = Site::new(Arc::new(Board::new("market")));
    for (path, status, kind) in ROUTES {
        let answer = site.get(path);
        assert_eq!(answer.status, status, "{path}");
        let header = |name: &str| answer.headers.get(name).unwrap_or_else(|| panic!("{path} has no {name}")).clone();
        assert!(header("content-type").starts_with(kind), "{path}: {}", header("content-type"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        if status != 404 {
            for method in ["POST", "DELETE"] {
                assert_eq!(ask(method, &format!("{}{path}", site.url)).status, 405, "{method} {path}");
            }
        }
    }
    assert_eq!(site.get("/metrics").body, "# TYPE bellwether_up gauge\nbellwether_up 1\n");
    assert_eq!(site.get("/livez").body, "ok");
}

#[test]
fn the_page_names_no_other_host_and_holds_no_script_or_style_of_its_own() {
    let site = Site::new(Arc::new(Board::new("market")));
    let page = site.get("/").body;
    assert!(!page.contains("style=") && !page.contains("<style") && !page.contains(" on"), "inline style or script");
    assert_eq!(page.matches("<script").count(), 1);
    for path in ["/", "/page.js", "/page.css"] {
        let text = site.get(path).body.replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("://"), "{path} names another host");
        for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!text.contains(way), "{path} uses {way}");
        }
    }
}

#[test]
fn readiness_turns_from_red_to_green_and_back_and_says_why() {
    let board = Arc::new(Board::new("market"));
    let site = Site::new(board.clone());
    let ready = || (site.get("/readyz").status, site.get("/readyz").body);
    assert_eq!(ready(), (503, "no stage has started yet".to_owned()));
    board.stage("score", true, "");
    board.stage("signal", false, "reads 14,200 mentions back");
    assert_eq!(ready(), (503, "signal: reads 14,200 mentions back".to_owned()));
    assert_eq!(site.live()["waiting"], "signal: reads 14,200 mentions back");
    board.stage("signal", true, "");
    assert_eq!(ready(), (200, "ok".to_owned()));
    assert_eq!(site.live()["waiting"], Value::Null);
    board.stage("score", false, "the source has not polled for 31 s");
    assert_eq!(ready(), (503, "score: the source has not polled for 31 s".to_owned()));
    board.stage("score", true, "");
    site.clock.pause(Duration::from_secs(60));
    board.seen("score", Some(site.clock.monotonic()));
    assert_eq!(ready(), (200, "ok".to_owned()));
    site.clock.pause(Duration::from_secs(16));
    assert_eq!(ready(), (503, "score: its thread has stood still for 16 s".to_owned()), "whatever it said last");
    assert_eq!(site.live()["waiting"], "score: its thread has stood still for 16 s");
    board.seen("score", None);
    assert_eq!(ready(), (200, "ok".to_owned()));
    assert_eq!(site.get("/livez").status, 200);
}

#[test]
fn a_picture_has_a_bounded_size_whatever_the_posts_are() {
    let board = Arc::new(Board::new("market"));
    let huge = "<>&\u{1F40F}".repeat(50_000);
    for number in 0..1_000 {
        let mut post = scene::post(number, &huge, ("news", "wire"), [0.1, 0.2, 0.7]);
        post.url = Some(format!("https://example.com/{huge}"));
        post.original_text = Some(huge.clone());
        board.scored(&post);
        let mut alert = scene::alert("XNAS:AAPL", "warning", &huge);
        alert.fingerprint = format!("{number}");
        board.alert(&alert);
        board.dead_letter(DeadLetterLine {
            at: at("14:00:00"),
            stage: "score",
            reason: "malformed".into(),
            message: huge.clone(),
        });
    }
    let site = Site::new(board);
    let body = site.get("/live").body;
    assert!(body.len() < 1_500_000, "{} bytes", body.len());
    let live: Value = serde_json::from_str(&body).unwrap();
    let lengths = ["posts", "alerts", "firing", "dead_letters"].map(|part| live[part].as_array().unwrap().len());
    assert_eq!(lengths, [50, 100, 100, 20]);
    assert_eq!(live["posts"][0]["text"].as_str().unwrap().chars().count(), 320);
    assert_eq!(live["posts"][0]["url"], Value::Null);
}

#[test]
fn the_index_of_those_who_are_spoken_of_most_is_shown_and_who_is_not_spoken_of_leaves() {
    let board = Arc::new(Board::new("market"));
    let index = |subject: &str, value: Option<f32>, mentions: u32| bellwether::event::Index {
        id: format!("market.mentions+0+1+{subject}"),
        subject: bellwether::event::Subject::parse(subject).unwrap(),
        value,
        mentions,
        dispersion: value.map(|_| 0.2),
        at: at("14:00:00"),
    };
    board.index(&index("XNAS:AAPL", Some(0.4), 12));
    board.index(&index("market", None, 3));
    board.index(&index("XNAS:AAPL", Some(-0.25), 40));
    board.index(&index("XNYS:GE", Some(0.1), 9));
    for number in 0..5_000 {
        board.index(&index(&format!("XNAS:A{number}"), Some(0.0), 1));
    }
    board.index(&index("XNYS:GE", None, 0));
    let live = Site::new(board).live();
    let shown = live["indices"].as_array().unwrap();
    assert_eq!((shown.len(), &shown[0]["subject"], &shown[0]["value"]), (16, &"XNAS:AAPL".into(), &(-0.25).into()));
    assert!(shown.iter().all(|index| index["subject"] != "XNYS:GE"), "{shown:?}");
}

#[test]
fn the_worst_alert_comes_first_and_a_resolved_one_leaves() {
    let site = Site::new(scene::busy());
    let firing = |live: &Value| -> Vec<String> {
        live["firing"].as_array().unwrap().iter().map(|line| line["subject"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(firing(&site.live()), ["XNAS:NVDA", "topic:layoffs", "market"]);
    let live = site.live();
    assert_eq!(live["alerts"].as_array().unwrap().last().unwrap()["state"], "pending");
    assert!(live["alerts"].as_array().unwrap().iter().any(|line| line["state"] == "resolved"));
    assert_eq!(live["stages"]["score"]["rows"], 184_220);
    assert!(live["stages"]["score"]["rows_per_second"].as_f64().unwrap() > 400.0);
}

#[test]
fn an_address_that_is_taken_is_an_error_that_names_it_and_the_remedy() {
    let site = Site::new(Arc::new(Board::new("market")));
    let address = site.running.as_ref().unwrap().address;
    let parts = Parts {
        board: Arc::new(Board::new("market")),
        metrics: Arc::new(String::new),
        clock: Arc::new(bellwether::time::SystemClock::new()),
        time: Arc::new(bellwether::time::SystemClock::new()),
    };
    let settings = WebSettings { listen: address };
    let began = std::time::Instant::now();
    let starting = Server::start(&settings, parts, CancellationToken::new());
    let starting = async { tokio::time::timeout(Duration::from_secs(20), starting).await };
    let error = site.runtime.block_on(starting).expect("it gives up").unwrap_err();
    assert!(began.elapsed() >= Duration::from_secs(2), "it gave up after {:?}", began.elapsed());
    assert!(matches!(error, WebError::Bind { .. }));
    let message = error.to_string();
    assert!(message.contains(&address.to_string()) && message.contains("BELLWETHER__WEB__LISTEN"), "{message}");
}

#[test]
fn an_address_that_is_still_taken_for_a_moment_is_waited_for() {
    let runtime = Runtime::new().unwrap();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = WebSettings { listen: holder.local_addr().unwrap() };
    let parts = Parts {
        board: Arc::new(Board::new("market")),
        metrics: Arc::new(String::new),
        clock: Arc::new(bellwether::time::SystemClock::new()),
        time: Arc::new(bellwether::time::SystemClock::new()),
    };
    let started = runtime.block_on(async {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(holder);
        });
        Server::start(&settings, parts, CancellationToken::new()).await
    });
    assert_eq!(started.expect("the port is free soon").address, settings.listen);
}

#[test]
fn a_reader_that_hangs_does_not_hold_the_end_up() {
    let mut site = Site::new(Arc::new(Board::new("market")));
    let running = site.running.take().unwrap();
    let mut reader = std::net::TcpStream::connect(running.address).unwrap();
    reader.write_all(b"GET /live HTTP/1.1\r\nHost: here\r\nX-Slow: ").unwrap();
    assert_eq!(site.get("/livez").status, 200);
    site.shutdown.cancel();
    let ended = site.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), running.task).await });
    ended.expect("it ends within its grace").unwrap().unwrap();
}

/// As many as the server lets in at once.
const CONNECTIONS: usize = 64;

/// A connection that asks with `text` and reads nothing yet.
fn caller(address: SocketAddr, text: &str) -> TcpStream {
    let mut caller = TcpStream::connect(address).unwrap();
    caller.write_all(text.as_bytes()).unwrap();
    caller
}

/// What comes within `limit`, up to the end of the connection; whether that came, too.
fn answer(caller: &mut TcpStream, limit: Duration) -> (String, bool) {
    let until = Instant::now() + limit;
    let (mut text, mut part) = (Vec::new(), [0; 4_096]);
    let has_ended = loop {
        caller
            .set_read_timeout(Some(until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))))
            .unwrap();
        match caller.read(&mut part) {
            Ok(0) => break true,
            Ok(count) => text.extend(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break false,
            // Shown out while something of it was not read yet.
            Err(_) => break true,
        }
    };
    (String::from_utf8(text).unwrap(), has_ended)
}

const PROBE: &str = "GET /livez HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";

const QUESTION: &str = "GET /livez HTTP/1.1\r\nHost: here\r\n\r\n";

#[test]
fn who_comes_beyond_the_bound_is_served_once_another_connection_closes() {
    let site = Site::new(Arc::new(Board::new("market")));
    let address = site.running.as_ref().unwrap().address;
    let mut inside: Vec<TcpStream> = (0..CONNECTIONS).map(|_| caller(address, "")).collect();
    let mut next = caller(address, PROBE);
    assert_eq!(answer(&mut next, Duration::from_secs(1)), (String::new(), false), "there was room for one more");
    drop(inside.pop());
    let (text, has_ended) = answer(&mut next, Duration::from_secs(5));
    assert!(text.starts_with("HTTP/1.1 200 OK") && has_ended, "{text}");
}

#[test]
fn who_asks_all_the_time_makes_room_where_there_is_none_left() {
    let site = Site::new(Arc::new(Board::new("market")));
    let address = site.running.as_ref().unwrap().address;
    let mut busy = caller(address, QUESTION);
    let (text, has_ended) = answer(&mut busy, Duration::from_secs(1));
    assert!(text.starts_with("HTTP/1.1 200 OK") && !has_ended && !text.contains("close"), "{text}");
    let _others: Vec<TcpStream> = (1..CONNECTIONS).map(|_| caller(address, "")).collect();
    let mut next = caller(address, PROBE);
    assert_eq!(answer(&mut next, Duration::from_secs(1)), (String::new(), false), "there was room for one more");
    busy.write_all(QUESTION.as_bytes()).unwrap();
    let (text, has_ended) = answer(&mut busy, Duration::from_secs(5));
    assert!(text.starts_with("HTTP/1.1 200 OK") && has_ended && text.contains("connection: close"), "{text}");
    let (text, has_ended) = answer(&mut next, Duration::from_secs(5));
    assert!(text.starts_with("HTTP/1.1 200 OK") && has_ended, "{text}");
}

#[test]
fn connections_that_ask_nothing_or_too_slowly_do_not_shut_probes_out() {
    let site = Site::new(Arc::new(Board::new("market")));
    let address = site.running.as_ref().unwrap().address;
    let kinds = ["", "GET /livez HT", "GET /livez HTTP/1.1\r\nHost: "];
    let mut idle: Vec<TcpStream> =
        (0..CONNECTIONS).map(|number| caller(address, kinds[number % kinds.len()])).collect();
    let mut slow = idle.swap_remove(2);
    let dripping = std::thread::spawn(move || {
        let began = Instant::now();
        // A header that never ends is no request.
        while slow.write_all(b"x").is_ok() && began.elapsed() < Duration::from_secs(40) {
            drop(answer(&mut slow, Duration::from_millis(500)));
        }
        began.elapsed()
    });
    let (text, has_ended) = answer(&mut caller(address, PROBE), Duration::from_secs(25));
    assert!(text.starts_with("HTTP/1.1 200 OK") && has_ended, "{text}");
    assert!(dripping.join().unwrap() < Duration::from_secs(30), "one byte after the other kept it open");
    assert!(idle.iter_mut().all(|stream| answer(stream, Duration::from_secs(20)).1), "somebody stays for good");
}

#[test]
fn who_asks_again_and_again_stays_and_who_does_not_read_goes() {
    let board = scene::busy();
    let site = Site::new(board);
    let address = site.running.as_ref().unwrap().address;
    let deaf = std::thread::spawn(move || {
        // Its answers fill every buffer between, and then it is shown out in the middle of one.
        let mut deaf = caller(address, "");
        deaf.set_write_timeout(Some(Duration::from_secs(40))).unwrap();
        let began = Instant::now();
        while deaf.write_all(b"GET /live HTTP/1.1\r\nHost: here\r\n\r\n").is_ok() {
            assert!(began.elapsed() < Duration::from_secs(60));
        }
        began.elapsed()
    });
    let mut patient = caller(address, "");
    for _ in 0..14 {
        patient.write_all(QUESTION.as_bytes()).unwrap();
        let (text, has_ended) = answer(&mut patient, Duration::from_secs(1));
        assert!(text.starts_with("HTTP/1.1 200 OK") && !has_ended, "{text}");
    }
    let took = deaf.join().unwrap();
    assert!(took < Duration::from_secs(35), "it went after {took:?}");
}

#[test]
fn the_browser_shows_stages_alerts_and_posts_and_turns_no_text_into_markup() {
    let site = Site::new(scene::busy());
    let browser = Browser::find();
    let page = browser.dom(&site.url, 3_000);
    for text in [
        "XNAS:NVDA sentiment fell to −0.71",
        "Regulators open an inquiry into the chip maker",
        ">score<",
        ">signal<",
        ">archive<",
        "finance-en/1/int8",
        "abstained: low confidence",
        "14:32:41",
        "malformed",
    ] {
        assert!(page.contains(text), "`{text}` is not on the page:\n{page}");
    }
    assert!(page.contains("&lt;img src=x onerror="), "the hostile post is not there as text:\n{page}");
    assert!(!page.contains("<img src=x") && !page.contains("<img src=\"x\""), "a post became an element:\n{page}");
    assert!(!page.contains("owned by a post</title>"), "a post's script ran");
    assert!(!page.contains("href=\"javascript:"), "a post's link runs a script");
    assert!(page.contains("href=\"https://example.com/inquiry\"") && page.contains("noopener"));
    browser.pictures(&site.url, "busy");
}

#[test]
fn an_empty_page_says_what_will_come_and_a_finished_one_that_it_is_through() {
    let board = Arc::new(Board::new("market"));
    let site = Site::new(board.clone());
    let browser = Browser::find();
    let page = browser.dom(&site.url, 3_000);
    for text in
        ["No stage has started yet", "No alert is firing", "No post has been scored yet", "<strong>none</strong>"]
    {
        assert!(page.contains(text), "`{text}` is not on the page:\n{page}");
    }
    browser.pictures(&site.url, "empty");
    for stage in ["score", "signal", "archive"] {
        board.stage(stage, false, "finished");
    }
    board.finish();
    browser.pictures(&site.url, "finished");
    let page = browser.dom(&site.url, 3_000);
    assert!(page.contains("The input is through") && !page.contains("Not ready"), "{page}");
}

#[test]
fn the_page_says_that_it_lost_the_process() {
    let browser = Browser::find();
    let site = Site::ending_after(scene::busy(), 2);
    let page = browser.dom(&site.url, 12_000);
    assert!(page.contains("No connection to bellwether"), "{page}");
    assert!(page.contains("The figures below are those of 14:32:41 UTC"), "{page}");
}
