//! The work, and what its generator knows of it: which invoice must be told, and which was paid in time.
//!
//! Titles are issued by hand, each due three days ago, to customers about whom nothing is odd: each calls for exactly one notice, *Aviso de
//! cobrança*, on the day it is issued. So the list of what is due needs no rule of Régua's.

use crate::verdict::Due;
use chrono::{Days, NaiveDate};
use regua_e2e::WorldOptions;
use regua_simulators::ixc::{OddCustomer, Payment};
use regua_simulators::{Fault, FaultKind, IxcSimulator};

/// So many that nobody has a second invoice within the seven days that a person's cap looks back on.
const CUSTOMERS: u32 = 20_000;
/// The notice is due so many days after the due date.
const DAYS_LATE: u64 = 3;
/// Messages per second: a round's work lasts for some seconds, so that faults find it under way.
pub const PER_SECOND: u32 = 15;
/// How long the provider takes for an answer when it is well: so that there are requests on the wire.
const LATENCY_MS: u64 = 150;
/// Area codes of the state of São Paulo: one clock and one calendar for everybody.
const AREA_CODES: [&str; 3] = ["+5511", "+5516", "+5519"];

/// The demo's configuration, at a pace and at hours that suit the harness; a text names its invoice.
pub fn options(seed: u64) -> WorldOptions {
    let options = WorldOptions { seed, by_hand: true, ..WorldOptions::customers(CUSTOMERS) };
    options
        .replacing("per_second = 200", &format!("per_second = {PER_SECOND}"))
        .replacing("hour = 8", "hour = \"8-19\"")
        .replacing("day_of_week = \"1-5\"", "day_of_week = \"*\"")
        .replacing("from = \"09:00\"", "from = \"08:00\"")
        .replacing("to = \"18:00\"", "to = \"20:00\"")
        .replacing("#cliente_razao#,#areceber_valor#", "#areceber_numero#,#areceber_valor#")
}

/// What is always so at the provider.
pub fn well() -> Vec<Fault> {
    let latency = Fault::always(FaultKind::LatencyMs { ms: LATENCY_MS });
    vec![Fault { path: Some("/template/send".into()), ..latency }]
}

/// The generator's books.
pub struct Load {
    customers: Vec<u64>,
    next: usize,
    due: Vec<Due>,
}

impl Load {
    /// Chooses the customers.
    pub fn new(ixc: &IxcSimulator) -> Self {
        let provider = ixc.provider();
        let odd = [OddCustomer::SharedPhone, OddCustomer::TwoNumbers, OddCustomer::OutsideDunning];
        let plain = |id: &u64| {
            provider.mobile_of(*id).is_some_and(|phone| AREA_CODES.iter().any(|code| phone.starts_with(code)))
                && !odd.into_iter().any(|odd| provider.is_odd_customer(odd, *id))
                && provider.warnings_of(*id) == Some((true, None))
        };
        let customers: Vec<u64> = (1..=u64::from(CUSTOMERS)).filter(plain).collect();
        assert!(customers.len() > 1000, "{} customers about whom nothing is odd", customers.len());
        Self { customers, next: 0, due: Vec::new() }
    }

    /// Issues so many titles that are due for their notice today; their ids.
    pub fn issue(&mut self, ixc: &IxcSimulator, round: usize, number: usize) -> Vec<u64> {
        let due_on = ixc.today() - Days::new(DAYS_LATE);
        let ids: Vec<u64> = (0..number).map(|_| self.issue_one(ixc, due_on)).collect();
        self.due.extend(ids.iter().map(|id| Due { invoice: id.to_string(), round, is_paid: false }));
        ids
    }

    fn issue_one(&mut self, ixc: &IxcSimulator, due_on: NaiveDate) -> u64 {
        let customer = self.customers[self.next % self.customers.len()];
        self.next += 1;
        ixc.issue(customer, due_on).expect("contracts begin with their customers")
    }

    /// Has these paid, before anything of them is released.
    pub fn pay(&mut self, ixc: &IxcSimulator, ids: &[u64]) {
        ixc.pay(ids, Payment::Full).expect("they are open");
        for id in ids.iter().map(u64::to_string) {
            self.due.iter_mut().filter(|due| due.invoice == id).for_each(|due| due.is_paid = true);
        }
    }

    /// All that was ever due.
    pub fn due(&self) -> &[Due] {
        &self.due
    }
}
