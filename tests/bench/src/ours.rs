//! The three parts as Régua does them, with its own services.

use crate::raw::RELEASE_BATCH;
use crate::world::{self, World};
use anyhow::{Context as _, anyhow, bail, ensure};
use regua_broker::{Envelope, Tick};
use regua_domain::ids::{ChannelId, RunId};
use regua_domain::message::State;
use regua_domain::schedule::TaskKind;
use regua_pipeline::Pipeline;
use regua_telemetry::service::Process;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often an end is looked for: adds half of it to a measurement, on average.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How often a scheduler tops up.
const TOP_UP_EVERY: Duration = Duration::from_millis(200);
/// A part that takes longer has failed.
const PART_MAX: Duration = Duration::from_mins(10);

/// (a) From a tick of update-collections to its run's end, by a running evaluator.
pub(crate) async fn evaluate(world: &World) -> anyhow::Result<Duration> {
    let process = world::process()?;
    let evaluator = tokio::spawn(billing_evaluator::run(world.pipeline.clone(), process.clone()));
    // One tick ahead, so that the evaluator is connected when the clock starts.
    let warm_up = world.plan_run("warm-up", TaskKind::Reserved).await?;
    tick(&world.pipeline, warm_up).await?;
    let run = world.plan_run("update-collections", TaskKind::UpdateCollections).await?;
    let began = Instant::now();
    tick(&world.pipeline, run).await?;
    let took = began.elapsed();
    process.shutdown.begin();
    evaluator.await?.map_err(|failure| anyhow!("the evaluator failed: {failure:?}"))?;
    let held = world.pipeline.ledger.counts().await?.of(State::Held);
    ensure!(held == u64::from(world.invoices), "{held} of {} invoices were written as messages", world.invoices);
    Ok(took)
}

async fn tick(pipeline: &Pipeline, run: RunId) -> anyhow::Result<()> {
    pipeline.broker.publish_ticks(&[Envelope::from(Tick { run })]).await?;
    let began = Instant::now();
    while began.elapsed() < PART_MAX {
        match pipeline.ledger.run(run).await?.context("a planned run exists")?.state.as_str() {
            "done" => return Ok(()),
            "failed" => bail!("the run failed"),
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
    bail!("the run took longer than {} s", PART_MAX.as_secs())
}

/// (b) From the watermark to the last hint's confirm, the bound lifted; in batches of what a channel without a limit is topped up to.
pub(crate) async fn release(world: &World, channels: &[ChannelId]) -> anyhow::Result<Duration> {
    let Pipeline { ledger, .. } = &world.pipeline;
    let began = Instant::now();
    ledger.release_through(ledger.now().await?).await?;
    let mut hints = 0;
    for channel in channels {
        let mut bound = 0;
        loop {
            bound += u32::try_from(RELEASE_BATCH)?;
            let released = regua_pipeline::release_channel(&world.pipeline, *channel, Some(bound)).await?;
            hints += released.published;
            if !released.more {
                break;
            }
        }
    }
    let took = began.elapsed();
    ensure!(hints == u64::from(world.invoices), "{hints} of {} hints were published", world.invoices);
    Ok(took)
}

/// How a dispatch went.
pub(crate) struct Dispatched {
    pub took: Duration,
    /// Attempts per message: above 1 where slots were missed and given back.
    pub attempts: f64,
}

/// (c) From published hints to the last message `sent`, by so many running dispatchers and the top-up that a scheduler does beside them.
pub(crate) async fn dispatch(world: &World, dispatchers: usize) -> anyhow::Result<Dispatched> {
    let process = world::process()?;
    let mut pipelines = Vec::new();
    for _ in 0..dispatchers {
        pipelines.push(world.another_pipeline().await?);
    }
    let attempts_before = world.raw.attempts().await?;
    let mut services = JoinSet::new();
    let began = Instant::now();
    for pipeline in &pipelines {
        let (pipeline, process) = (pipeline.clone(), process.clone());
        services.spawn(async move { dispatcher::run(pipeline, process).await.map_err(|failure| anyhow!("{failure:?}")) });
    }
    services.spawn(top_up(world.pipeline.clone(), process.clone()));
    wait_until_sent(world, &mut services, began).await?;
    let took = began.elapsed();
    process.shutdown.begin();
    while let Some(ended) = services.join_next().await {
        ended??;
    }
    #[allow(clippy::cast_precision_loss, reason = "attempts are counted in thousands")]
    let attempts = (world.raw.attempts().await? - attempts_before) as f64 / f64::from(world.invoices);
    for pipeline in pipelines.into_iter().filter(|pipeline| !pipeline.ledger.is_embedded()) {
        pipeline.broker.close().await;
        pipeline.ledger.close().await;
    }
    Ok(Dispatched { took, attempts })
}

async fn wait_until_sent(world: &World, services: &mut JoinSet<anyhow::Result<()>>, began: Instant) -> anyhow::Result<()> {
    while began.elapsed() < PART_MAX {
        if let Some(ended) = services.try_join_next() {
            ended??;
            bail!("a service ended by itself");
        }
        if world.accepted() >= u64::from(world.invoices) && world.raw.unsent().await? == 0 {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let counts = world.pipeline.ledger.counts().await?;
    bail!("not everything was sent within {} s: {:?}", PART_MAX.as_secs(), counts.by_state)
}

/// What a scheduler does for release: messages that were given back are hinted at again.
async fn top_up(pipeline: Pipeline, process: Process) -> anyhow::Result<()> {
    let mut every = tokio::time::interval(TOP_UP_EVERY);
    loop {
        tokio::select! {
            () = process.shutdown.begun() => return Ok(()),
            _ = every.tick() => regua_pipeline::release(&pipeline).await?,
        };
    }
}
