//! `opa-simulator`: a server that answers as Opa! Suite does. See `--help`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use regua_simulators::{OpaOptions, OpaSimulator, run_until_terminated};

/// A simulated Opa! Suite for tests and demonstrations.
///
/// Prints `listening on http://ADDR` and serves until SIGTERM. The API is below /api/v1. Channels and templates are always the
/// same; GET /api/v1/canal-comunicacao lists them.
///
/// Every accepted send opens an atendimento, whatever its client was told, or goes on with the open one if
/// allowSendingToStartedCustomerService is true and it is among the newest 10000. GET /api/v1/atendimento lists them (filters protocolo,
/// status, `id_cliente`, dataInicialAbertura, dataFinalAbertura, dataInicialEncerramento, dataFinalEncerramento), GET
/// /api/v1/atendimento/mensagem their messages (filter `id_rota`); an id after either gives one. They are read back from the log.
///
/// Administration: POST|GET|DELETE /_admin/faults, GET /_admin/log (every accepted send, JSON Lines), GET /_admin/stats,
/// POST /_admin/in-service with the members phones (a list) and `in_service` (true or false, which finishes their atendimentos),
/// POST /_admin/customer-message with phone, channel and text: the customer writes into the open atendimento (the newest 1000 such
/// messages are kept), POST /_admin/webhook with the members of a webhook, or null.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 means any free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    listen: SocketAddr,
    /// Decides ids, the faults' draws and which phones are in service
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// The API token that is accepted
    #[arg(long, default_value = "opa-simulator-token", value_name = "TOKEN")]
    token: String,
    /// Messages per second and channel, above it 429 with code 130429; no limit if absent
    #[arg(long, value_name = "N")]
    per_second: Option<u32>,
    /// Least time between two messages to one phone, sooner is 429 with code 131056; no limit if absent
    #[arg(long, value_name = "MS")]
    pair_interval_ms: Option<u64>,
    /// Share of phones in service with an attendant, 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    in_service: f64,
    /// Shows each space of a value twice in the records of messages
    #[arg(long)]
    double_spaces: bool,
    /// The daily allowance that WhatsApp channels report; none if absent
    #[arg(long, value_name = "N")]
    daily_limit: Option<u64>,
    /// Closes keep-alive connections idle for so long; never if absent
    #[arg(long, value_name = "MS")]
    idle_close_ms: Option<u64>,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("{share} is outside 0 to 1")) }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let simulator = OpaSimulator::start(OpaOptions {
        listen: arguments.listen,
        seed: arguments.seed,
        token: arguments.token,
        per_second: arguments.per_second,
        pair_interval: arguments.pair_interval_ms.map(Duration::from_millis),
        in_service_share: arguments.in_service,
        double_spaces: arguments.double_spaces,
        daily_limit: arguments.daily_limit,
        idle_close: arguments.idle_close_ms.map(Duration::from_millis),
        ..OpaOptions::default()
    })
    .await?;
    run_until_terminated(&simulator.url()).await?;
    simulator.shutdown().await;
    Ok(())
}
