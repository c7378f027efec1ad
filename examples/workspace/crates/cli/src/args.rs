use clap::{Parser, Subcommand};
use shelf_model::{Address, Tag};
use shelf_slug::Slug;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A shelf of links: short names, tags and full-text search.
#[derive(Debug, Parser)]
#[command(name = "shelf", version)]
pub(crate) struct Args {
    /// The journal that holds the links.
    #[arg(long, global = true, env = "SHELF_FILE", default_value = "shelf.jsonl")]
    pub(crate) file: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer HTTP requests until Ctrl-C.
    Serve {
        /// Where to listen.
        #[arg(long, env = "SHELF_LISTEN", default_value = "127.0.0.1:7420")]
        listen: SocketAddr,
    },
    /// Put a page on the shelf and print its name.
    Add {
        /// The page.
        url: Address,
        /// What it is called; its site if not given.
        #[arg(long, default_value = "")]
        title: String,
        /// A label; may be repeated.
        #[arg(long = "tag")]
        tags: Vec<Tag>,
        /// Its name; a suggested one if not given.
        #[arg(long)]
        slug: Option<Slug>,
    },
    /// Print the links that match, best first.
    Search {
        /// All must match: word, "a phrase", tag:word, /pattern/, -word.
        #[arg(allow_hyphen_values = true)]
        query: Vec<String>,
        /// At most this many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Take a link off the shelf.
    Remove {
        /// Its name.
        slug: Slug,
    },
    /// Print the names that pages would be given; touches no journal.
    Slug {
        /// The pages.
        #[arg(required = true)]
        urls: Vec<Address>,
    },
}

#[cfg(test)]
mod tests {
    use super::Args;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
