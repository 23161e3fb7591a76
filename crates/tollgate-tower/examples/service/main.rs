//! A whole service: API keys and limits in front of an HTTP API. README.md tells how to use it.
//!
//! ```sh
//! TOLLGATE_PEPPER=$(openssl rand -hex 32) cargo run -p tollgate-tower --example service --features axum,metrics
//! ```

mod admin;
mod app;
mod config;
mod daily;
mod database;
mod error;
mod items;
mod limits;
mod metrics;
mod pepper;
mod row;
mod seed;
mod server;
mod shutdown;
mod store;
mod tiers;
mod usage;

use std::{env, error::Error, process::ExitCode};

use crate::{app::App, config::Config};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("service: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let config = Config::from_env()?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => server::run(App::open(&config)?, &config).await,
        ["seed", count] => seed::run(&App::open(&config)?, count.parse()?),
        _ => Err("usage: service [seed COUNT]".into()),
    }
}
