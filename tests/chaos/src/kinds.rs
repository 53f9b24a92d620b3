//! What can go wrong: the closed set, by name.

/// When in a round a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// While a run reads the ERP and decides.
    Deciding,
    /// While messages are sent.
    Sending,
    /// Either, as drawn.
    Any,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $moment:ident;)+) => {
        /// What goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($(#[$doc])* $kind,)+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// The name in the table and on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// When it strikes.
            pub const fn moment(self) -> Moment {
                match self { $(Self::$kind => Moment::$moment,)+ }
            }
        }
    };
}

kinds! {
    /// An evaluator is killed with a batch inserted and not committed.
    KillInserting = "kill-evaluator-in-batch", Deciding;
    /// An evaluator sleeps past its run's lease, in the middle of a batch.
    FreezeEvaluator = "freeze-evaluator-past-lease", Deciding;
    /// A scheduler is killed between the commit of a top-up and its hints.
    KillMarked = "kill-scheduler-before-hints", Sending;
    /// A dispatcher is killed between the commit of a start and the request.
    KillStarted = "kill-dispatcher-before-request", Sending;
    /// A dispatcher is killed between the provider's answer and the commit of the finish.
    KillFinishing = "kill-dispatcher-before-finish", Sending;
    /// A dispatcher is killed between the commit of the finish and the ack.
    KillFinished = "kill-dispatcher-before-ack", Sending;
    /// A dispatcher sleeps past its lease between the commit of a start and the request, and wakes.
    FreezeDispatcher = "freeze-dispatcher-past-lease", Sending;
    /// A scheduler is killed.
    KillScheduler = "kill-scheduler", Any;
    /// An evaluator is killed.
    KillEvaluator = "kill-evaluator", Any;
    /// A dispatcher is killed.
    KillDispatcher = "kill-dispatcher", Sending;
    /// A scheduler sleeps.
    FreezeScheduler = "freeze-scheduler", Any;
    /// Every dispatcher ends, and the hints that wait for them are purged.
    QueuePurged = "queue-purged", Sending;
    /// The provider takes connections and says nothing.
    ProviderHangs = "provider-hangs", Sending;
    /// The provider resets connections after it has taken the message.
    ProviderResets = "provider-resets", Sending;
    /// The provider cuts its answer off after it has taken the message.
    ProviderCuts = "provider-cuts-answer", Sending;
    /// The provider answers one byte a second.
    ProviderTrickles = "provider-trickles", Sending;
    /// The provider throttles: 429 with Retry-After.
    ProviderThrottles = "provider-429", Sending;
    /// The provider fails, before or after it has taken the message: 500.
    ProviderFails = "provider-500", Sending;
    /// The provider is overloaded: 503.
    ProviderUnavailable = "provider-503", Sending;
    /// The provider answers what can't be understood.
    ProviderMumbles = "provider-invalid-body", Sending;
    /// The ERP closes every connection.
    ErpDown = "erp-down", Deciding;
    /// The ERP takes its time.
    ErpSlow = "erp-slow", Deciding;
    /// The ERP answers 502.
    ErpFails = "erp-5xx", Deciding;
    /// The ERP answers HTML with 200.
    ErpHtml = "erp-html-200", Deciding;
    /// A program's processes are restarted one after another, as a deployment does.
    Roll = "rolling-restart", Any;
    /// One host's clock is set wrong.
    ClockStepped = "clock-stepped", Any;
    /// Every queue is deleted.
    QueuesDeleted = "queues-deleted", Any;
    /// The broker is stopped.
    BrokerStopped = "broker-stopped", Any;
    /// The broker is killed and its queues are gone.
    BrokerKilled = "broker-killed-queues-lost", Any;
    /// The database is stopped.
    DatabaseStopped = "database-stopped", Any;
    /// The database crashes.
    DatabaseCrashed = "database-crashed", Any;
    /// The database crashes for good, and a synchronous standby takes its place.
    DatabaseFailedOver = "database-failed-over", Any;
}

impl Kind {
    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}
