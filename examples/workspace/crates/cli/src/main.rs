//! `shelf`: keeps links, gives them short names, finds them again.

mod args;
mod commands;

use args::{Args, Command};
use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.command {
        Command::Serve { listen } => commands::serve(&args.file, listen).await,
        Command::Add { url, title, tags, slug } => commands::add(&args.file, url, title, tags, slug).await,
        Command::Search { query, limit, json } => commands::search(&args.file, &query.join(" "), limit, json).await,
        Command::Remove { slug } => commands::remove(&args.file, &slug).await,
        Command::Slug { urls } => commands::slug(&urls),
    }
}
