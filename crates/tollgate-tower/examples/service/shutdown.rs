//! When to stop.

use tokio::signal;

/// Returns once the process is asked to end: by Ctrl-C, or by SIGTERM where there is such a thing.
pub(crate) async fn requested() {
    let interrupted = async {
        if let Err(error) = signal::ctrl_c().await {
            eprintln!("Ctrl-C cannot be waited for: {error}");
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                eprintln!("SIGTERM cannot be waited for: {error}");
                std::future::pending::<()>().await;
            }
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = interrupted => {}
        () = terminated => {}
    }
}
