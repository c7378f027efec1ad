use crate::{App, router};
use std::io;
use tokio::net::TcpListener;
use tokio::signal;

/// Answers requests until Ctrl-C, then lets those under way finish.
pub async fn serve(listener: TcpListener, app: App) -> io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "serving");
    axum::serve(listener, router(app)).with_graceful_shutdown(interrupted()).await
}

async fn interrupted() {
    if let Err(error) = signal::ctrl_c().await {
        tracing::warn!(%error, "Ctrl-C will not be noticed");
        std::future::pending::<()>().await;
    }
}
