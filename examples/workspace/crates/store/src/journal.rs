use crate::Event;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// Where the events go: a JSON Lines file, or nowhere for a shelf that lives in memory only.
#[derive(Debug)]
pub struct Journal(Option<Open>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
}

/// Why the journal could not be read or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The journal.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A line before the last is not an event.
    #[error("{}:{line}: {source}", path.display())]
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Journal {
    /// A journal that forgets.
    pub fn in_memory() -> Self {
        Self(None)
    }

    /// Opens the file, or creates it, and returns what it holds. A last line without its newline is what a crash
    /// leaves behind: it is cut off.
    pub async fn open(path: &Path) -> Result<(Self, Vec<Event>), JournalError> {
        let failed = |source| JournalError::Io { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).await.map_err(failed)?;
        let mut reader = BufReader::new(file);
        let (events, whole) = replay(path, &mut reader).await?;
        let file = reader.into_inner();
        if file.metadata().await.map_err(failed)?.len() > whole {
            tracing::warn!(path = %path.display(), "cut off an unfinished last line");
            file.set_len(whole).await.map_err(failed)?;
        }
        Ok((Self(Some(Open { path: path.to_owned(), file })), events))
    }

    /// Returns what an existing file holds and changes nothing about it.
    pub async fn read(path: &Path) -> Result<Vec<Event>, JournalError> {
        let failed = |source| JournalError::Io { path: path.to_owned(), source };
        let file = File::open(path).await.map_err(failed)?;
        let (events, _) = replay(path, &mut BufReader::new(file)).await?;
        Ok(events)
    }

    /// Writes one event; it has reached the operating system when this returns.
    pub async fn append(&mut self, event: &Event) -> Result<(), JournalError> {
        let Some(Open { path, file }) = &mut self.0 else { return Ok(()) };
        let failed = |source| JournalError::Io { path: path.clone(), source };
        let mut line = serde_json::to_vec(event).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        file.write_all(&line).await.map_err(failed)?;
        file.flush().await.map_err(failed)
    }
}

/// The events of all whole lines, and how many bytes those lines take.
async fn replay(path: &Path, reader: &mut BufReader<File>) -> Result<(Vec<Event>, u64), JournalError> {
    let mut events = Vec::new();
    let mut text = String::new();
    let mut whole = 0;
    for line in 1.. {
        text.clear();
        let read = reader.read_line(&mut text).await;
        let read = read.map_err(|source| JournalError::Io { path: path.to_owned(), source })?;
        if read == 0 || !text.ends_with('\n') {
            break;
        }
        let event = serde_json::from_str(&text);
        events.push(event.map_err(|source| JournalError::Corrupt { path: path.to_owned(), line, source })?);
        whole += read as u64;
    }
    Ok((events, whole))
}
