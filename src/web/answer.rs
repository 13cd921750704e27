//! The answers: one function a route, and the headers that every answer carries.

use axum::Router;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;

use super::{Parts, Snapshot};

const PAGE: &str = include_str!("page/index.html");
const SCRIPT: &str = include_str!("page/page.js");
const STYLE: &str = include_str!("page/page.css");
const ICON: &str = include_str!("page/page.svg");

/// Nothing from elsewhere, nothing inline, no frame around it, and no text that turns into markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Every route; each takes GET alone. Where `is_full` says so, an answer is the last one on its connection.
pub(super) fn routes(parts: Parts, is_full: impl Fn() -> bool + Clone + Send + Sync + 'static) -> Router {
    Router::new()
        .route("/", get(|| async { embedded("text/html; charset=utf-8", PAGE) }))
        .route("/page.js", get(|| async { embedded("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/page.css", get(|| async { embedded("text/css; charset=utf-8", STYLE) }))
        .route("/page.svg", get(|| async { embedded("image/svg+xml", ICON) }))
        .route("/live", get(live))
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .fallback(|| async { (StatusCode::NOT_FOUND, "nothing is here; the page is at /") })
        .layer(map_response(move |response: Response| with_headers(response, is_full())))
        .with_state(parts)
}

fn embedded(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind)], text)
}

async fn live(State(parts): State<Parts>) -> Json<Snapshot> {
    Json(Snapshot { at: parts.time.now(), ..parts.board.snapshot(&*parts.clock) })
}

async fn metrics(State(parts): State<Parts>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (parts.metrics)())
}

async fn readyz(State(parts): State<Parts>) -> (StatusCode, String) {
    match parts.board.readiness(&*parts.clock) {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn with_headers(mut response: Response, is_last: bool) -> Response {
    if is_last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
