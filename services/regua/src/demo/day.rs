//! The demo's day: read the ERP, decide, let some pay meanwhile, release, send.

use crate::demo::Demo;
use anyhow::bail;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use regua_domain::consent::{OptOutScope, OptOutSource};
use regua_domain::ids::RunId;
use regua_domain::message::State;
use regua_domain::phone;
use regua_domain::schedule::TaskKind;
use regua_ledger::people::{NewOptOut, OptOutOrigin};
use regua_simulators::ixc::Payment;
use std::time::Duration;

/// How often the ledger is looked at for the bars.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Titles that are paid between the decision and the release.
const PAID_MEANWHILE: usize = 25;
/// Every so many customers, one has opted out.
const OPTED_OUT_EVERY: u64 = 97;
/// A part of the day that takes longer than this is given up.
const PART_MAX: Duration = Duration::from_mins(10);

/// Plays the day.
pub async fn play(demo: &mut Demo) -> anyhow::Result<()> {
    let options = &demo.options;
    let narrator = Narrator { quiet: options.json };
    narrator.say(&format!(
        "régua demo: {} customers, seed {}, {} 10:00 in São Paulo; one WhatsApp number, at most 200 messages per second",
        options.customers, options.seed, options.today
    ));
    opt_some_out(demo, &narrator).await?;
    update_collections(demo, &narrator, "Atualizar cobranças: reads IXC, decides").await?;
    let paid = demo.ixc.pay_open(PAID_MEANWHILE, Payment::Full).len();
    narrator.say(&format!("{paid} invoices are paid meanwhile"));
    update_collections(demo, &narrator, "Atualizar cobranças: sees the payments").await?;
    let run = plan(demo, TaskKind::SendQueuedMessages).await?;
    finish(demo, run).await?;
    send(demo, &narrator).await
}

/// Some customers have asked not to be written to, as `regua opt-out add` notes it.
async fn opt_some_out(demo: &Demo, narrator: &Narrator) -> anyhow::Result<()> {
    let provider = demo.provider();
    let numbers = (1..=u64::from(demo.options.customers)).step_by(usize::try_from(OPTED_OUT_EVERY)?);
    let phones = numbers.filter_map(|id| provider.mobile_of(id)).filter_map(|number| phone::parse(&number).ok());
    let opt_outs = phones.map(|phone| NewOptOut { phone: phone.key(), since_at: None, why: "asked".into() }).collect();
    let origin = OptOutOrigin { scope: OptOutScope::All, source: OptOutSource::Command, added_by: "demo".into() };
    let added = demo.pipeline.ledger.add_opt_outs(opt_outs, origin).await?;
    narrator.say(&format!("{} people have opted out", added.new));
    Ok(())
}

async fn plan(demo: &Demo, kind: TaskKind) -> anyhow::Result<RunId> {
    let now = demo.pipeline.ledger.now().await?;
    let (run, _) = demo.pipeline.ledger.plan_run(kind.as_str().to_owned(), kind, now, None).await?;
    Ok(run)
}

async fn update_collections(demo: &Demo, narrator: &Narrator, what: &str) -> anyhow::Result<()> {
    let run = plan(demo, TaskKind::UpdateCollections).await?;
    let bar = narrator.spinner(what);
    let mut looked = 0;
    loop {
        let (titles, customers) = demo.pipeline.ledger.mirror_size().await?;
        let Some(state) = demo.pipeline.ledger.run(run).await? else { bail!("the run is gone") };
        bar.set_message(format!("{titles} invoices of {customers} customers read, {} messages decided", state.evaluated));
        match state.state.as_str() {
            "done" => break,
            "failed" => bail!("update-collections failed: {}", state.note.unwrap_or_default()),
            _ => wait(demo, &mut looked).await?,
        }
    }
    bar.finish();
    Ok(())
}

async fn finish(demo: &Demo, run: RunId) -> anyhow::Result<()> {
    let mut looked = 0;
    while demo.pipeline.ledger.run(run).await?.is_none_or(|run| run.finished_at.is_none()) {
        wait(demo, &mut looked).await?;
    }
    Ok(())
}

/// Waits until no message is on its way any more.
async fn send(demo: &Demo, narrator: &Narrator) -> anyhow::Result<()> {
    let all = demo.pipeline.ledger.counts().await?.total();
    let bar = narrator.bar("Envia mensagens Omnichannel da fila", all);
    let mut looked = 0;
    loop {
        let counts = demo.pipeline.ledger.counts().await?;
        bar.set_position(all.saturating_sub(counts.live()));
        bar.set_message(format!(
            "{} sent, {} skipped, {} waiting",
            counts.of(State::Sent),
            counts.of(State::Skipped),
            counts.live()
        ));
        if counts.live() == 0 {
            break;
        }
        wait(demo, &mut looked).await?;
    }
    bar.finish();
    Ok(())
}

/// Waits a look long; not for ever.
async fn wait(demo: &Demo, looked: &mut u32) -> anyhow::Result<()> {
    if demo.is_ending() {
        bail!("ended before the day was over");
    }
    if LOOK_EVERY * *looked > PART_MAX {
        bail!("this part of the day took longer than {} s", PART_MAX.as_secs());
    }
    *looked += 1;
    tokio::time::sleep(LOOK_EVERY).await;
    Ok(())
}

/// Says on standard error what happens: bars on a terminal, lines elsewhere, nothing beside JSON.
struct Narrator {
    quiet: bool,
}

impl Narrator {
    fn say(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    fn spinner(&self, what: &str) -> ProgressBar {
        self.dressed(ProgressBar::no_length(), "{spinner} {prefix}: {msg}", what)
    }

    fn bar(&self, what: &str, length: u64) -> ProgressBar {
        self.dressed(ProgressBar::new(length), "{bar:30} {pos}/{len} {prefix}: {msg}", what)
    }

    fn dressed(&self, bar: ProgressBar, template: &str, what: &str) -> ProgressBar {
        self.say_plainly(what);
        if self.quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        bar
    }

    /// Where there is no terminal, a bar draws nothing: the step is said once.
    fn say_plainly(&self, what: &str) {
        use std::io::IsTerminal as _;
        if !std::io::stderr().is_terminal() {
            self.say(what);
        }
    }
}
