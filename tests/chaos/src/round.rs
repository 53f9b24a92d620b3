//! One round: an hour of the provider's. Work, faults in the middle of it, healing, a fresh message, the operator, the verdict.

use crate::faults::{Drawn, Inflicted};
use crate::kinds::{Kind, Moment};
use crate::operator;
use crate::stage::{Goal, Stage};
use crate::table::Table;
use crate::verdict::{Finding, judge};
use chrono::Timelike;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};

/// Titles issued in a round.
const TITLES: usize = 75;
/// Of those, how many are paid before anything is released.
const PAID: usize = 3;
/// When in the hour at the latest: what was decided is released at half past.
const PAID_BY_MINUTE: u32 = 25;
/// Faults of one round, at least and at most.
const FAULTS_MIN: usize = 2;
const FAULTS_MAX: usize = 4;
/// The provider takes at most so many of a round's messages before the first fault.
const BEFORE_MAX: u64 = 25;
/// How long a fault waits for its moment; then it strikes anyway.
const MOMENT_MAX: Duration = Duration::from_secs(4);

/// What a round was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its faults, in the order in which they strike.
    pub faults: [Option<Drawn>; FAULTS_MAX],
}

/// Draws the rounds: the same seed, the same faults and targets.
pub struct Deck {
    generator: SmallRng,
    kinds: Vec<Kind>,
    left: Vec<Kind>,
}

impl Deck {
    /// A deck of these kinds. Every kind comes once before any comes again.
    pub fn new(seed: u64, kinds: &[Kind]) -> Self {
        Self { generator: SmallRng::seed_from_u64(seed), kinds: kinds.to_vec(), left: Vec::new() }
    }

    /// The next round's, at most `limit` faults.
    pub fn draw(&mut self, limit: usize) -> Plan {
        let number = self.generator.random_range(FAULTS_MIN..=FAULTS_MAX).min(limit);
        let mut drawn: Vec<Drawn> = (0..number).map(|_| self.draw_one()).collect();
        // Those that hold somebody at a point in the database come first, those that take it away last.
        drawn.sort_by_key(|fault| (!fault.while_deciding, fault.kind));
        let mut faults = [None; FAULTS_MAX];
        faults.iter_mut().zip(drawn).for_each(|(place, fault)| *place = Some(fault));
        Plan { faults }
    }

    fn draw_one(&mut self) -> Drawn {
        if self.left.is_empty() {
            self.left.clone_from(&self.kinds);
        }
        let kind = self.left.swap_remove(self.generator.random_range(0..self.left.len()));
        let coin = self.generator.random_bool(0.5);
        let while_deciding = match kind.moment() {
            Moment::Deciding => true,
            Moment::Sending => false,
            Moment::Any => coin,
        };
        let target = self.generator.random_range(0..1000);
        Drawn { kind, while_deciding, target, number: self.generator.random_range(1..=BEFORE_MAX) }
    }
}

/// Plays a round; `false` once something isn't as promised.
pub async fn play(stage: &mut Stage, table: &mut Table, round: usize, plan: Plan) -> bool {
    let began = Instant::now();
    let findings = match hour(stage, table, round, plan).await {
        Ok(()) => verdict(stage, table).await,
        Err(what) => {
            let finding = Finding::NotRecovered(what);
            table.judge(&[], &[], &[(finding.clone(), None)]);
            vec![finding]
        }
    };
    println!("round {round:>3}  {} s", began.elapsed().as_secs());
    for finding in &findings {
        println!("  NOT AS PROMISED: {finding}");
    }
    findings.is_empty()
}

async fn hour(stage: &mut Stage, table: &mut Table, round: usize, plan: Plan) -> Result<(), String> {
    let faults: Vec<Drawn> = plan.faults.into_iter().flatten().collect();
    let of = |while_deciding| faults.iter().copied().filter(move |fault| fault.while_deciding == while_deciding);
    let titles = stage.load.issue(&stage.world.ixc, round, TITLES);
    let done = stage.runs_done().await;
    stage.next_hour().await;
    suffer(stage, table, round, of(true).collect(), Goal::Decided(done + 1)).await?;

    // Unless healing took so long that they may have been released.
    if stage.now().await.minute() < PAID_BY_MINUTE {
        stage.load.pay(&stage.world.ixc, &titles[..PAID]);
        task(stage, "update-collections").await?;
    }
    stage.half_past().await;
    suffer(stage, table, round, of(false).collect(), Goal::Quiet).await?;

    operator::settle(stage).await?;
    stage.reach(Goal::Quiet).await
}

/// Inflicts faults one after another, heals them, and waits until the goal is met and a fresh message has come through.
async fn suffer(stage: &mut Stage, table: &mut Table, round: usize, faults: Vec<Drawn>, goal: Goal) -> Result<(), String> {
    let first = stage.wounds.len();
    let accepted = stage.world.opa.stats().accepted;
    let mut inflicted: Vec<Inflicted> = Vec::new();
    for fault in faults {
        if inflicted.iter().any(Inflicted::is_database_down) {
            // Whoever takes the database away must be the last.
            heal(stage, round, &mut inflicted).await;
        }
        if goal == Goal::Quiet {
            let under_way = async |stage: &mut Stage| stage.world.opa.stats().accepted >= accepted + fault.number;
            stage.sees(MOMENT_MAX, under_way).await;
        }
        let at = stage.now().await.format("%Y-%m-%d %H:%M:%S%.3fZ");
        let struck = fault.inflict(stage).await;
        let target = struck.as_ref().map_or("found nothing to strike", |struck| struck.target.as_str());
        println!("round {round:>3}  {at}  {:<32}{target}", fault.kind.name());
        let row = table.row(fault.kind.name());
        if struck.is_some() {
            row.times += 1;
        } else {
            row.missed += 1;
        }
        inflicted.extend(struck);
    }
    heal(stage, round, &mut inflicted).await;
    stage.reach(goal).await?;
    if goal == Goal::Quiet {
        fresh(stage, round).await?;
    }
    let now = stage.now_us().await;
    for wound in &stage.wounds[first..] {
        table.row(wound.kind).recoveries_s.push((now - wound.until) / 1_000_000);
    }
    Ok(())
}

async fn heal(stage: &mut Stage, round: usize, inflicted: &mut Vec<Inflicted>) {
    // The last first: what is healed before it may need it.
    while let Some(fault) = inflicted.pop() {
        let wound = fault.heal(stage, round).await;
        stage.wounds.push(wound);
    }
}

/// A new invoice is decided, released and taken by the provider.
async fn fresh(stage: &mut Stage, round: usize) -> Result<(), String> {
    let ids = stage.load.issue(&stage.world.ixc, round, 1);
    task(stage, "update-collections").await?;
    task(stage, "send-queued-messages").await?;
    stage.reach(Goal::Quiet).await?;
    let invoice = ids[0].to_string();
    let is_taken = stage.log().iter().any(|sent| sent.variaveis.positional().first() == Some(&invoice));
    if is_taken { Ok(()) } else { Err(format!("the fresh notice of invoice {invoice} never arrived")) }
}

/// Runs a task as an operator does.
async fn task(stage: &Stage, kind: &str) -> Result<(), String> {
    let done = stage.world.cli().run(&["run", kind, "--json"]).await;
    if done.code == Some(0) { Ok(()) } else { Err(format!("`regua run {kind}`: {done:?}")) }
}

async fn verdict(stage: &Stage, table: &mut Table) -> Vec<Finding> {
    let evidence = stage.evidence().await;
    let (findings, explained) = judge(&evidence);
    let round_of = |finding: &Finding| {
        let (Finding::Lost { invoice, .. } | Finding::Duplicated { invoice, .. }) = finding else { return None };
        evidence.due.iter().find(|due| due.invoice == *invoice).map(|due| due.round)
    };
    let placed: Vec<_> = findings.iter().map(|finding| (finding.clone(), round_of(finding))).collect();
    table.judge(&evidence.wounds, &explained, &placed);
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_faults_and_every_kind_once_before_any_twice() {
        let draw = |seed| {
            let mut deck = Deck::new(seed, Kind::ALL);
            let plans: Vec<Plan> = (0..40).map(|_| deck.draw(3)).collect();
            plans
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let mut kinds: Vec<Kind> =
            draw(7).iter().flat_map(|plan| plan.faults.into_iter().flatten()).map(|fault| fault.kind).collect();
        kinds.truncate(Kind::ALL.len() - FAULTS_MAX);
        let number = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), number);
    }
}
