-- The ledger: the only truth. Instants are whole microseconds since 1970-01-01 UTC (…_at), dates are text YYYY-MM-DD (…_on),
-- money is in the JSON of `record`, whole centavos. One text serves both databases but for the types and storage options.

CREATE TABLE ledger (
    one             INTEGER PRIMARY KEY DEFAULT 1 CONSTRAINT there_is_one_ledger_row CHECK (one = 1),
    id              TEXT   NOT NULL,
    clock_offset_us INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL
) STRICT;

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE businesses (
    id                 TEXT PRIMARY KEY,
    name               TEXT NOT NULL CONSTRAINT a_business_has_its_own_name UNIQUE,
    recipients_per_24h INTEGER
) STRICT;

-- How many different people a business wrote to for the first time, by five minutes: the moving 24 hours are their sum.
CREATE TABLE budget_buckets (
    business_id TEXT   NOT NULL REFERENCES businesses (id),
    bucket_at   INTEGER NOT NULL,
    recipients  INTEGER NOT NULL CONSTRAINT a_bucket_is_never_negative CHECK (recipients >= 0),
    PRIMARY KEY (business_id, bucket_at)
) STRICT;

CREATE TABLE integrations (
    id                  TEXT PRIMARY KEY,
    name                TEXT    NOT NULL CONSTRAINT an_integration_has_its_own_name UNIQUE,
    description         TEXT    NOT NULL,
    gateway             TEXT    NOT NULL,
    url                 TEXT    NOT NULL,
    token_kind          TEXT    NOT NULL CONSTRAINT a_token_is_only_referred_to CHECK (token_kind IN ('env', 'file')),
    token_ref           TEXT    NOT NULL,
    is_default          INTEGER NOT NULL,
    release             TEXT    NOT NULL CONSTRAINT release_is_on_task_or_immediate CHECK (release IN ('on-task', 'immediate')),
    released_through_at INTEGER
) STRICT;

CREATE TABLE channels (
    id             TEXT PRIMARY KEY,
    name           TEXT NOT NULL CONSTRAINT a_channel_has_its_own_name UNIQUE,
    integration_id TEXT NOT NULL REFERENCES integrations (id),
    provider_id    TEXT NOT NULL,
    per_second     INTEGER CONSTRAINT a_limit_is_positive CHECK (per_second > 0),
    business_id    TEXT NOT NULL REFERENCES businesses (id)
) STRICT;

-- One row per channel: who holds its lock gives out the next instant to send.
CREATE TABLE gates (
    channel_id   TEXT PRIMARY KEY REFERENCES channels (id),
    next_free_at INTEGER NOT NULL,
    paused_until INTEGER,
    pause_reason TEXT,
    CONSTRAINT a_pause_has_its_reason CHECK ((paused_until IS NULL) = (pause_reason IS NULL))
) STRICT;

CREATE TABLE stops (
    id        TEXT PRIMARY KEY,
    scope     TEXT   NOT NULL CONSTRAINT the_scopes_are_closed
                     CHECK (scope IN ('everything', 'business', 'integration', 'channel', 'template', 'policy', 'stage')),
    target    TEXT   NOT NULL,
    raised_by TEXT   NOT NULL,
    why       TEXT   NOT NULL,
    since_at  INTEGER NOT NULL,
    until_at  INTEGER,
    lifted_at INTEGER,
    lifted_by TEXT
) STRICT;
CREATE UNIQUE INDEX one_open_stop_per_scope_target_and_author ON stops (scope, target, raised_by) WHERE lifted_at IS NULL;

CREATE TABLE notices (
    id             TEXT PRIMARY KEY,
    name           TEXT NOT NULL CONSTRAINT a_notice_has_its_own_name UNIQUE,
    integration_id TEXT NOT NULL REFERENCES integrations (id),
    channel_id     TEXT NOT NULL REFERENCES channels (id),
    template_id    TEXT NOT NULL,
    variables      TEXT NOT NULL
) STRICT;

CREATE TABLE policies (
    id           TEXT PRIMARY KEY,
    name         TEXT    NOT NULL CONSTRAINT a_policy_has_its_own_name UNIQUE,
    priority     INTEGER  NOT NULL,
    enabled      INTEGER NOT NULL,
    activated_on TEXT    NOT NULL
) STRICT;

CREATE TABLE policy_stages (
    policy_id TEXT    NOT NULL REFERENCES policies (id),
    stage     TEXT    NOT NULL,
    days      INTEGER,
    notice_id TEXT    NOT NULL REFERENCES notices (id),
    enabled   INTEGER NOT NULL,
    PRIMARY KEY (policy_id, stage)
) STRICT;

CREATE TABLE tasks (
    id                TEXT PRIMARY KEY,
    name              TEXT    NOT NULL CONSTRAINT a_task_has_its_own_name UNIQUE,
    kind              TEXT    NOT NULL,
    minute            TEXT    NOT NULL,
    hour              TEXT    NOT NULL,
    day_of_month      TEXT    NOT NULL,
    month             TEXT    NOT NULL,
    day_of_week       TEXT    NOT NULL,
    zone              TEXT    NOT NULL,
    enabled           INTEGER NOT NULL,
    effective_from_at INTEGER  NOT NULL
) STRICT;

-- `complete_at` is when the requests of the newest complete sync began: the mirror's age. `lease_…`: one sync at a time.
CREATE TABLE sources (
    id               TEXT PRIMARY KEY,
    name             TEXT   NOT NULL CONSTRAINT a_source_has_its_own_name UNIQUE,
    kind             TEXT   NOT NULL,
    url              TEXT   NOT NULL,
    token_kind       TEXT   NOT NULL,
    token_ref        TEXT   NOT NULL,
    max_age_s        INTEGER NOT NULL,
    days_back        INTEGER NOT NULL,
    days_ahead       INTEGER NOT NULL,
    enabled          INTEGER NOT NULL,
    generation       INTEGER NOT NULL DEFAULT 0,
    complete_at      INTEGER,
    lease_owner      TEXT,
    lease_expires_at INTEGER
) STRICT;

CREATE TABLE runs (
    id               TEXT PRIMARY KEY,
    task_name        TEXT   NOT NULL,
    kind             TEXT   NOT NULL,
    planned_at       INTEGER NOT NULL,
    state            TEXT   NOT NULL CONSTRAINT the_states_of_a_run_are_closed CHECK (state IN ('planned', 'running', 'done', 'failed')),
    tries            INTEGER NOT NULL DEFAULT 0,
    lease_owner      TEXT,
    lease_expires_at INTEGER,
    next_try_at      INTEGER NOT NULL,
    evaluates_on     TEXT,
    cursor_source    TEXT,
    cursor_due_on    TEXT,
    cursor_invoice   TEXT,
    evaluated        INTEGER NOT NULL DEFAULT 0,
    held             INTEGER NOT NULL DEFAULT 0,
    skipped          INTEGER NOT NULL DEFAULT 0,
    revived          INTEGER NOT NULL DEFAULT 0,
    superseded       INTEGER NOT NULL DEFAULT 0,
    blocked          INTEGER NOT NULL DEFAULT 0,
    note             TEXT,
    trace            TEXT,
    created_at       INTEGER NOT NULL,
    finished_at      INTEGER,
    CONSTRAINT one_run_per_task_and_instant UNIQUE (task_name, planned_at),
    CONSTRAINT a_running_run_is_leased CHECK ((state = 'running') = (lease_owner IS NOT NULL) AND (lease_owner IS NULL) = (lease_expires_at IS NULL)),
    CONSTRAINT a_finished_run_says_when CHECK ((state IN ('done', 'failed')) = (finished_at IS NOT NULL)),
    CONSTRAINT what_was_evaluated_was_held_or_skipped CHECK (evaluated = held + skipped)
) STRICT;
CREATE INDEX unfinished_runs ON runs (planned_at) WHERE state IN ('planned', 'running');

CREATE TABLE customers (
    source_id   TEXT   NOT NULL REFERENCES sources (id),
    id          TEXT NOT NULL,
    record      TEXT   NOT NULL,
    observed_at INTEGER NOT NULL,
    PRIMARY KEY (source_id, id)
) STRICT;

CREATE TABLE invoices (
    source_id   TEXT    NOT NULL REFERENCES sources (id),
    id          TEXT NOT NULL,
    customer_id TEXT,
    is_open     INTEGER NOT NULL,
    due_on      TEXT NOT NULL,
    record      TEXT    NOT NULL,
    observed_at INTEGER  NOT NULL,
    generation  INTEGER  NOT NULL,
    PRIMARY KEY (source_id, id)
) STRICT;
CREATE INDEX open_invoices_by_due_date ON invoices (source_id, due_on, id) WHERE is_open;

-- What happened to an invoice between two syncs, written with the mirror, consumed with the message it causes.
CREATE TABLE invoice_events (
    id          TEXT   PRIMARY KEY,
    source_id   TEXT   NOT NULL REFERENCES sources (id),
    invoice_id  TEXT   NOT NULL,
    kind        TEXT   NOT NULL CONSTRAINT the_kinds_of_events_are_closed CHECK (kind IN ('settled', 'cancelled', 'renegotiated', 'reopened')),
    details     TEXT   NOT NULL,
    observed_at INTEGER NOT NULL,
    consumed_by TEXT
) STRICT;
CREATE INDEX unconsumed_events ON invoice_events (source_id, id) WHERE consumed_by IS NULL;

CREATE TABLE messages (
    id               TEXT   PRIMARY KEY,
    source_id        TEXT   NOT NULL REFERENCES sources (id),
    subject          TEXT NOT NULL,
    stage            TEXT NOT NULL,
    stage_rank       INTEGER NOT NULL,
    occasion         TEXT NOT NULL,
    due_on           TEXT,
    state            TEXT   NOT NULL CONSTRAINT the_states_of_a_message_are_closed CHECK
                            (state IN ('held', 'scheduled', 'queued', 'sending', 'sent', 'delivered', 'read', 'skipped', 'failed', 'in_doubt')),
    reason           TEXT,
    policy_id        TEXT   NOT NULL REFERENCES policies (id),
    notice_id        TEXT   NOT NULL REFERENCES notices (id),
    channel_id       TEXT   NOT NULL REFERENCES channels (id),
    phone_key        TEXT,
    run_id           TEXT   NOT NULL REFERENCES runs (id),
    run_planned_at   INTEGER NOT NULL,
    next_attempt_at  INTEGER,
    queued_at        INTEGER,
    expires_at       INTEGER NOT NULL,
    attempts         INTEGER NOT NULL DEFAULT 0 CONSTRAINT attempts_are_never_negative CHECK (attempts >= 0),
    attempt_id       TEXT,
    lease_expires_at INTEGER,
    phone_slot_at    INTEGER,
    facts_version    TEXT   NOT NULL,
    provider_id      TEXT,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    CONSTRAINT one_message_per_subject_stage_and_occasion UNIQUE (source_id, subject, stage, occasion),
    CONSTRAINT a_scheduled_message_has_its_next_time CHECK (state <> 'scheduled' OR next_attempt_at IS NOT NULL),
    CONSTRAINT a_queued_message_says_since_when CHECK ((state = 'queued') = (queued_at IS NOT NULL)),
    CONSTRAINT a_sending_message_has_its_attempt_and_lease CHECK
        ((state = 'sending') = (lease_expires_at IS NOT NULL) AND (state <> 'sending' OR attempt_id IS NOT NULL)),
    CONSTRAINT a_live_message_has_a_phone CHECK (state NOT IN ('held', 'scheduled', 'queued', 'sending') OR phone_key IS NOT NULL),
    CONSTRAINT an_unsent_or_doubtful_end_has_its_reason CHECK (state NOT IN ('skipped', 'failed', 'in_doubt') OR reason IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX one_live_dated_message_per_invoice ON messages (source_id, subject)
    WHERE due_on IS NOT NULL AND state IN ('held', 'scheduled', 'queued', 'sending');
CREATE INDEX live_messages_best_first ON messages (state, channel_id, stage_rank DESC, due_on, id)
    WHERE state IN ('held', 'scheduled', 'queued', 'sending');

-- The cold half: what the customer will read, one row per message that has a text.
CREATE TABLE message_texts (
    message_id          TEXT PRIMARY KEY REFERENCES messages (id),
    phone               TEXT NOT NULL,
    provider_channel_id TEXT NOT NULL,
    template_id         TEXT NOT NULL,
    variables           TEXT NOT NULL
) STRICT;

CREATE TABLE attempts (
    id                TEXT   PRIMARY KEY,
    message_id        TEXT   NOT NULL REFERENCES messages (id),
    number            INTEGER NOT NULL CONSTRAINT attempts_are_counted_from_one CHECK (number >= 1),
    channel_id        TEXT   NOT NULL,
    dispatcher        TEXT   NOT NULL,
    slot_at           INTEGER NOT NULL,
    lease_expires_at  INTEGER NOT NULL,
    recipient_before  TEXT   NOT NULL,
    outcome           TEXT,
    reason            TEXT,
    http_status       INTEGER,
    provider_code     TEXT,
    provider_id       TEXT,
    latency_ms        INTEGER,
    finished_at       INTEGER,
    CONSTRAINT a_finished_attempt_has_an_outcome CHECK ((finished_at IS NULL) = (outcome IS NULL))
) STRICT;
CREATE INDEX attempts_of_a_message ON attempts (message_id, number);

CREATE TABLE recipients (
    business_id     TEXT   NOT NULL REFERENCES businesses (id),
    phone_key       TEXT NOT NULL,
    last_start_at   INTEGER,
    reserved_at     INTEGER,
    day             TEXT,
    sent_today      INTEGER NOT NULL DEFAULT 0,
    counted_at      INTEGER,
    last_attempt_id TEXT,
    PRIMARY KEY (business_id, phone_key)
) STRICT;

-- What a person decided about a doubtful message: the only way that an id may stand twice in the provider's log.
CREATE TABLE resolutions (
    id          TEXT   PRIMARY KEY,
    message_id  TEXT   NOT NULL REFERENCES messages (id),
    how         TEXT   NOT NULL CONSTRAINT the_ways_to_resolve_doubt_are_closed CHECK (how IN ('sent', 'resend', 'drop')),
    resolved_by TEXT   NOT NULL,
    why         TEXT   NOT NULL,
    resolved_at INTEGER NOT NULL
) STRICT;

CREATE TABLE opt_outs (
    phone_key TEXT PRIMARY KEY,
    since_at  INTEGER NOT NULL,
    added_by  TEXT   NOT NULL,
    why       TEXT   NOT NULL
) STRICT;

-- What an operator asked for while `regua up` holds the file.
CREATE TABLE commands (
    id         TEXT   PRIMARY KEY,
    command    TEXT   NOT NULL,
    asked_at   INTEGER NOT NULL,
    done_at    INTEGER,
    answer     TEXT,
    CONSTRAINT a_done_command_has_its_answer CHECK ((done_at IS NULL) = (answer IS NULL))
) STRICT;
CREATE INDEX waiting_commands ON commands (asked_at) WHERE done_at IS NULL;
