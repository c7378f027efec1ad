use anyhow::Context;
use shelf_model::{Address, NewLink, Tag};
use shelf_server::{App, system_clock};
use shelf_slug::Slug;
use shelf_store::{Journal, Shelf};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::RwLock;
use tracing_subscriber::EnvFilter;

async fn open(file: &Path) -> anyhow::Result<Shelf> {
    let (journal, events) = Journal::open(file).await?;
    Ok(Shelf::new(journal, events))
}

pub(crate) async fn serve(file: &Path, listen: SocketAddr) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let app = App { shelf: Arc::new(RwLock::new(open(file).await?)), clock: system_clock() };
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    shelf_server::serve(listener, app).await.context("the server stopped")
}

pub(crate) async fn add(
    file: &Path,
    url: Address,
    title: String,
    tags: Vec<Tag>,
    slug: Option<Slug>,
) -> anyhow::Result<()> {
    let new = NewLink { url, slug, title, tags: tags.into_iter().collect(), note: String::new() };
    let mut shelf = open(file).await?;
    let found = shelf.add(new, system_clock()()).await?;
    Ok(writeln!(io::stdout(), "{}", found.link.slug)?)
}

pub(crate) async fn search(file: &Path, query: &str, limit: usize, json: bool) -> anyhow::Result<()> {
    let query = query.parse().context("the query cannot be understood")?;
    let shelf = Shelf::new(Journal::in_memory(), Journal::read(file).await?);
    let mut out = io::stdout().lock();
    for found in shelf.search(&query).take(limit) {
        if json {
            writeln!(out, "{}", serde_json::to_string(&found)?)?;
        } else {
            writeln!(out, "{:<20} {:<34} {}", found.link.slug, found.link.title, found.link.url)?;
        }
    }
    Ok(())
}

pub(crate) async fn remove(file: &Path, slug: &Slug) -> anyhow::Result<()> {
    Ok(open(file).await?.remove(slug).await?)
}

pub(crate) fn slug(urls: &[Address]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for url in urls {
        writeln!(out, "{:<20} {url}", Slug::suggest(url.as_str(), 0))?;
    }
    Ok(())
}
