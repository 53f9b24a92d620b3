//! `ixc-simulator`: a server that answers as IXC Provedor does. See `--help`.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::NaiveDate;
use clap::Parser;
use regua_simulators::ixc::OwnSender;
use regua_simulators::{IxcOptions, IxcSimulator, run_until_terminated};

/// A simulated IXC Provedor for tests and demonstrations.
///
/// Prints `listening on http://ADDR` and serves until SIGTERM. The webservice is below /webservice/v1. The same seed, customers
/// and date give the same provider; nothing of it is stored, so a million customers need no more memory than ten.
///
/// Administration: POST /_admin/day `{"date":"YYYY-MM-DD"}`, POST /_admin/pay `{"invoices":[1,2]}` or
/// `{"count":10,"status":"R"}` (or P, partly), POST /_admin/cancel `{"invoice":1}`, POST /_admin/renegotiate `{"invoice":1}`,
/// POST /_admin/own-sender `{"regua":true,"crm":false,"gateways":["https://…"]}` (or null: not readable),
/// POST|GET|DELETE /_admin/faults, GET /_admin/log (every request, JSON Lines), GET /_admin/stats.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 means any free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    listen: SocketAddr,
    /// Decides everybody and everything
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// How many customers; each has one or two titles a month
    #[arg(long, default_value_t = 2000, value_name = "N")]
    customers: u64,
    /// The date to begin with; today in Brasília if absent
    #[arg(long, value_name = "YYYY-MM-DD")]
    today: Option<NaiveDate>,
    /// Days from the date on which most titles fall due, -25 to 10
    #[arg(long, value_name = "DAYS", value_delimiter = ',', allow_hyphen_values = true, default_value = "3,0,-3")]
    due_offsets: Vec<i64>,
    /// The token that is accepted, of the form USER:SECRET
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Filters understand only dates like 2026-03-10, not 10/03/2026
    #[arg(long)]
    iso_dates_only: bool,
    /// Closes keep-alive connections idle for so long; never if absent
    #[arg(long, value_name = "MS")]
    idle_close_ms: Option<u64>,
    /// Lets `parametros` and `gateway_omnichannel` be read, and says which of its own senders the ERP has on; not readable if absent
    #[arg(long, value_name = "WHICH", value_parser = ["off", "regua", "crm"])]
    own_sender: Option<String>,
    /// The address of an omnichannel gateway of the ERP; may be given more than once
    #[arg(long, value_name = "URL", requires = "own_sender")]
    own_gateway: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let default = IxcOptions::default();
    let simulator = IxcSimulator::start(IxcOptions {
        listen: arguments.listen,
        seed: arguments.seed,
        customers: arguments.customers,
        today: arguments.today.unwrap_or(default.today),
        due_offsets: arguments.due_offsets,
        by_hand: false,
        token: arguments.token.unwrap_or(default.token),
        iso_dates_only: arguments.iso_dates_only,
        idle_close: arguments.idle_close_ms.map(Duration::from_millis),
        own_sender: arguments.own_sender.map(|which| OwnSender {
            regua: which == "regua",
            crm: which == "crm",
            gateways: arguments.own_gateway,
        }),
    })
    .await?;
    run_until_terminated(&simulator.url()).await?;
    simulator.shutdown().await;
    Ok(())
}
