//! The long form: `cargo xtask chaos [--seed S] [--faults N] [--only KIND]… [--minutes M]`.

use regua_chaos::{Kind, Options, clocks_can_be_stepped, run};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FAULTS: usize = 200;
const MINUTES: u64 = 60;

#[tokio::main]
async fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            eprintln!("{why}\nusage: chaos [--seed S] [--faults N] [--only KIND]… [--minutes M]\nkinds: {}", kinds.join(", "));
            return ExitCode::from(2);
        }
    };
    let table = run(&options).await;
    println!("\nseed {}\n{table}", options.seed);
    if options.kinds.contains(&Kind::ClockStepped) && !clocks_can_be_stepped() {
        println!("{}: not run, the package libfaketime is not installed", Kind::ClockStepped.name());
    }
    if table.struck() < options.faults {
        println!("{} faults of {} struck", table.struck(), options.faults);
    }
    if table.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let mut options = Options { seed: since, faults: FAULTS, kinds: Vec::new(), limit: Duration::from_mins(MINUTES) };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name}: no value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} {value}: not a number"));
        match name.as_str() {
            "--seed" => options.seed = number()?,
            "--faults" => options.faults = number()?.try_into().map_err(|_| format!("{name} {value}: too many"))?,
            "--minutes" => options.limit = Duration::from_mins(number()?),
            "--only" => options.kinds.push(Kind::named(&value).ok_or_else(|| format!("{name} {value}: no such kind"))?),
            _ => return Err(format!("{name}: no such option")),
        }
    }
    if options.kinds.is_empty() {
        options.kinds = Kind::ALL.to_vec();
    }
    Ok(options)
}
