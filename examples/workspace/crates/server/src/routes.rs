use crate::{ApiError, App};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use shelf_model::NewLink;
use shelf_slug::Slug;
use shelf_store::StoreError;
use std::time::Duration;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

const BODY_LIMIT: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_PAGE: usize = 20;
const LARGEST_PAGE: usize = 100;

/// All routes with their limits.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/links", get(search).post(add))
        .route("/links/{slug}", get(show).delete(remove))
        .route("/{slug}", get(follow))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, TIMEOUT))
        .layer(RequestBodyLimitLayer::new(BODY_LIMIT))
        .layer(TraceLayer::new_for_http())
        .with_state(app)
}

#[derive(Serialize)]
struct Health {
    version: &'static str,
    links: usize,
}

async fn health(State(app): State<App>) -> impl IntoResponse {
    Json(Health { version: env!("CARGO_PKG_VERSION"), links: app.shelf.read().await.len() })
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
    limit: Option<usize>,
}

async fn search(State(app): State<App>, Query(search): Query<Search>) -> Result<impl IntoResponse, ApiError> {
    let query = search.q.parse().map_err(ApiError::bad_request)?;
    let limit = search.limit.unwrap_or(DEFAULT_PAGE).min(LARGEST_PAGE);
    let shelf = app.shelf.read().await;
    let found: Vec<_> = shelf.search(&query).take(limit).collect();
    Ok(Json(found).into_response())
}

async fn add(
    State(app): State<App>,
    body: Result<Json<NewLink>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Json(new) = body.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let mut shelf = app.shelf.write().await;
    let found = shelf.add(new, (app.clock)()).await?;
    let location = format!("/links/{}", found.link.slug);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(found)).into_response())
}

async fn show(State(app): State<App>, Path(slug): Path<Slug>) -> Result<impl IntoResponse, ApiError> {
    let shelf = app.shelf.read().await;
    let found = shelf.get(&slug).ok_or(StoreError::Missing(slug))?;
    Ok(Json(found).into_response())
}

async fn remove(State(app): State<App>, Path(slug): Path<Slug>) -> Result<StatusCode, ApiError> {
    app.shelf.write().await.remove(&slug).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn follow(State(app): State<App>, Path(slug): Path<Slug>) -> Result<Redirect, ApiError> {
    let address = app.shelf.write().await.visit(&slug, (app.clock)()).await?;
    Ok(Redirect::temporary(address.as_str()))
}
