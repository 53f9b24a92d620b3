//! The processes: two schedulers, two billing-evaluators, three dispatchers, each known by its place.

use regua_e2e::{Program, SOON, Service, World, within};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a service may take to end when it is asked to: its grace is 25 s.
const END_MAX: Duration = Duration::from_secs(40);
/// Where Debian's package libfaketime puts what gives one process another clock, below the architecture's folder.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// Where a process stands in the crew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

impl Place {
    /// Every place: schedulers, evaluators, dispatchers.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PLACES.len()).map(Self)
    }

    /// The places of a program.
    pub fn of(program: Program) -> Vec<Self> {
        Self::all().filter(|place| place.program() == program).collect()
    }

    /// The place with this number.
    pub fn numbered(number: usize) -> Option<Self> {
        (number < PLACES.len()).then_some(Self(number))
    }

    /// Its number, which barriers know it by.
    pub fn number(self) -> usize {
        self.0
    }

    /// What runs there.
    pub fn program(self) -> Program {
        PLACES[self.0]
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.program().name(), self.0)
    }
}

const PLACES: [Program; 7] = [
    Program::Scheduler,
    Program::Scheduler,
    Program::BillingEvaluator,
    Program::BillingEvaluator,
    Program::Dispatcher,
    Program::Dispatcher,
    Program::Dispatcher,
];

/// The running processes of a world.
pub struct Crew {
    environment: BTreeMap<String, String>,
    folder: PathBuf,
    services: Vec<Option<Service>>,
    frozen: Vec<Place>,
}

impl Crew {
    /// Starts everybody and waits until all are ready; the first scheduler makes the ledger.
    pub async fn start(world: &World) -> Self {
        let services = Place::all().map(|_| None).collect();
        let mut crew = Self { environment: world.environment.clone(), folder: world.folder(), services, frozen: Vec::new() };
        for place in Place::all() {
            crew.start_again(place);
            if place.number() == 0 {
                crew.service(place).ready().await;
            }
        }
        within(SOON, "the crew is ready", async || crew.is_ready().await.then_some(())).await;
        crew
    }

    /// The process at a place.
    pub fn service(&mut self, place: Place) -> &mut Service {
        self.services[place.0].as_mut().expect("nobody asks for a process that was killed before it is started again")
    }

    /// The places of a program whose processes are there and awake.
    pub fn awake(&self, program: Program) -> Vec<Place> {
        let is_awake = |place: &Place| self.services[place.0].is_some() && !self.frozen.contains(place);
        Place::of(program).into_iter().filter(is_awake).collect()
    }

    /// Suspends the process at a place.
    pub fn freeze(&mut self, place: Place) {
        self.service(place).freeze();
        self.frozen.push(place);
    }

    /// Lets it go on, if it is still there.
    pub fn thaw(&mut self, place: Place) {
        self.frozen.retain(|frozen| *frozen != place);
        if let Some(service) = &self.services[place.0] {
            service.thaw();
        }
    }

    /// Starts what is missing at a place.
    pub fn start_again(&mut self, place: Place) {
        self.spawn(place, &[]);
    }

    fn spawn(&mut self, place: Place, more: &[(&str, String)]) {
        let mut environment = self.environment.clone();
        // Barriers in the database ask whose connection it is.
        let url = environment.get_mut("REGUA_DATABASE_URL").expect("a world has a ledger");
        *url = format!("{url}%20-c%20chaos.place%3D{}", place.0);
        environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self.services[place.0] = Some(Service::spawn(place.program(), &[], &environment, &self.folder));
    }

    /// Kills the process at a place (`KILL`); its id.
    pub fn kill(&mut self, place: Place) -> u32 {
        let id = self.service(place).id();
        self.service(place).kill();
        self.services[place.0] = None;
        self.frozen.retain(|frozen| *frozen != place);
        id
    }

    /// Asks it to end and waits until it has; its exit code.
    pub async fn end(&mut self, place: Place) -> Option<i32> {
        self.service(place).terminate();
        let code = self.service(place).end(END_MAX).await;
        self.services[place.0] = None;
        code
    }

    /// Whether every process says that it is ready. Places without a process don't count.
    pub async fn is_ready(&mut self) -> bool {
        for service in self.services.iter_mut().flatten() {
            if service.get("/readyz").await.is_none_or(|(status, _)| status != 200) {
                return false;
            }
        }
        true
    }

    /// Whether any process of these places says that it isn't ready.
    pub async fn notices(&mut self, places: &[Place]) -> bool {
        for place in places {
            if let Some(service) = &mut self.services[place.0]
                && service.get("/readyz").await.is_some_and(|(status, _)| status == 503)
            {
                return true;
            }
        }
        false
    }

    /// Starts the process at a place anew on a host whose clock can be stepped; `false` where libfaketime isn't installed.
    pub async fn start_with_own_clock(&mut self, place: Place) -> bool {
        let Some(library) = faketime() else { return false };
        self.end(place).await;
        self.step_clock(place, 0);
        let clock = self.clock(place);
        let text = |path: &Path| path.display().to_string();
        // Durations stay right, as they do on a host whose clock is set.
        let more = [
            ("LD_PRELOAD", text(&library)),
            ("FAKETIME_TIMESTAMP_FILE", text(&clock)),
            ("FAKETIME_CACHE_DURATION", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
        ];
        self.spawn(place, &more);
        self.service(place).ready().await;
        true
    }

    /// Sets that host's clock so many seconds off.
    pub fn step_clock(&self, place: Place, seconds: i64) {
        fs::write(self.clock(place), format!("{seconds:+}s\n")).expect("the folder can be written to");
    }

    fn clock(&self, place: Place) -> PathBuf {
        self.folder.join(format!("clock-{}", place.0))
    }
}

fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    folders.map(|folder| folder.join(FAKETIME)).find(|path| path.is_file())
}

/// Whether a process can be given a clock of its own.
pub fn clocks_can_be_stepped() -> bool {
    faketime().is_some()
}
