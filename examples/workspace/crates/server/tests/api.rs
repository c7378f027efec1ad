//! The API as a client sees it, without a socket.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};
use shelf_server::{App, router};
use shelf_store::{Journal, Shelf};
use std::sync::Arc;
use tokio::sync::RwLock;
use tower::ServiceExt;

fn app() -> App {
    App {
        shelf: Arc::new(RwLock::new(Shelf::new(Journal::in_memory(), []))),
        clock: Arc::new(|| Timestamp::UNIX_EPOCH),
    }
}

async fn send(app: &App, method: Method, path: &str, body: Value) -> Response {
    let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = request.body(body).expect("the request is well-formed");
    router(app.clone()).oneshot(request).await.expect("the router never fails")
}

async fn json_of(response: Response) -> Value {
    let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("the body is small");
    serde_json::from_slice(&bytes).expect("the body is JSON")
}

#[tokio::test]
async fn a_link_is_added_found_followed_and_removed() {
    let app = app();
    let new = json!({"url": "https://tokio.rs/", "title": "Tokio", "tags": ["Rust", "async"], "slug": "tokio"});
    let added = send(&app, Method::POST, "/links", new).await;
    assert_eq!(added.status(), StatusCode::CREATED);
    assert_eq!(added.headers()[header::LOCATION], "/links/tokio");

    let followed = send(&app, Method::GET, "/tokio", Value::Null).await;
    assert_eq!(followed.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(followed.headers()[header::LOCATION], "https://tokio.rs/");

    let found = json_of(send(&app, Method::GET, "/links?q=tag:rust", Value::Null).await).await;
    assert_eq!(found[0]["slug"], "tokio");
    assert_eq!(found[0]["visits"], 1);
    assert_eq!(found[0]["added"], "1970-01-01T00:00:00Z");

    let removed = send(&app, Method::DELETE, "/links/tokio", Value::Null).await;
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    let gone = send(&app, Method::GET, "/tokio", Value::Null).await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    assert_eq!(json_of(gone).await, json!({"error": "there is no tokio"}));
}

#[tokio::test]
async fn a_name_is_suggested_when_none_is_chosen() {
    let app = app();
    let added = send(&app, Method::POST, "/links", json!({"url": "https://example.com", "title": ""})).await;
    let link = json_of(added).await;
    assert_eq!(link["slug"], shelf_slug::Slug::suggest("https://example.com/", 0).as_str());
    assert_eq!(link["title"], "example.com");
}

#[tokio::test]
async fn refusals_say_why() {
    let app = app();
    let unclosed = send(&app, Method::GET, "/links?q=%22open", Value::Null).await;
    assert_eq!(unclosed.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json_of(unclosed).await, json!({"error": "\" at byte 0 is never closed"}));

    let scheme = send(&app, Method::POST, "/links", json!({"url": "file:///etc/passwd", "title": "x"})).await;
    assert_eq!(scheme.status(), StatusCode::BAD_REQUEST);
    let message = json_of(scheme).await["error"].to_string();
    assert!(message.contains("only http and https links are kept, not file"), "{message}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let large = json!({"url": "https://example.com", "title": "x".repeat(70_000)});
    let refused = send(&app(), Method::POST, "/links", large).await;
    assert!(refused.status().is_client_error(), "{}", refused.status());
}

#[tokio::test]
async fn health_counts_the_links() {
    let app = app();
    send(&app, Method::POST, "/links", json!({"url": "https://example.com", "title": ""})).await;
    let health = json_of(send(&app, Method::GET, "/healthz", Value::Null).await).await;
    assert_eq!(health["links"], 1);
}
