//! `regua simulate` as a command: lines of JSON that say the same for the same seed, and an exit status.

use regua_e2e::{Cli, Done};
use serde_json::Value;

async fn simulate(arguments: &[&str]) -> Done {
    let folder = tempfile::tempdir().unwrap();
    let environment = [("PATH".to_owned(), std::env::var("PATH").unwrap_or_default())].into();
    let cli = Cli { environment, folder: folder.path().to_owned() };
    let done = cli.run(&[&["simulate"], arguments].concat()).await;
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "a simulation leaves nothing behind: {left:?}");
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_prints_a_line_per_day_and_one_that_adds_them_up_the_same_for_the_same_seed() {
    let arguments = ["--days", "4", "--customers", "150", "--from", "2026-12-24", "--json"];
    let (first, second) = tokio::join!(simulate(&arguments), simulate(&arguments));
    let lines = |done: Done| -> Vec<Value> {
        let mut lines: Vec<Value> = done.good().out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.last_mut().unwrap()["seconds"] = Value::Null;
        lines
    };
    let (first, second) = (lines(first), lines(second));
    assert_eq!(first, second);
    let (total, days) = first.split_last().unwrap();
    let marks: Vec<_> = days.iter().map(|day| (day["weekday"].as_str().unwrap(), day["holiday"].is_null())).collect();
    assert_eq!(marks, [("Thu", true), ("Fri", false), ("Sat", true), ("Sun", true)]);
    let sent = |line: &Value| line["sent"].as_object().unwrap().values().map(|number| number.as_i64().unwrap()).sum::<i64>();
    assert!(sent(&days[0]) > 0 && days[1..].iter().all(|day| sent(day) == 0), "{days:?}");
    assert_eq!((sent(total), total["provider_distinct"].as_i64().unwrap()), (sent(&days[0]), sent(&days[0])));
    assert_eq!((&total["conserved"], &total["days"]), (&Value::Bool(true), &Value::from(4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_refuses_a_file_that_is_wrong_or_missing_and_says_which() {
    simulate(&["--days", "1", "--config", "/nonexistent/own.toml"]).await.refused(2, "/nonexistent/own.toml can't be read");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[caps]\nper_day = 0\n").unwrap();
    simulate(&["--days", "1", "--config", file.path().to_str().unwrap()]).await.refused(2, "per_day");
}
