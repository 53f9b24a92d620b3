//! Invariant 2 as a comparison that can fail: what the runs say, what the messages are, what the provider saw.

use crate::Ledger;
use crate::error::LedgerError;
use crate::queries::Counts;
use regua_domain::ids::MessageId;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// Rows that one page of a comparison reads.
const PAGE: u32 = 5000;

/// A part of invariant 2 that doesn't hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The runs' own sums and the messages disagree.
    RunsAndMessages {
        /// Σ over runs.
        evaluated: u64,
        /// Σ over states.
        messages: u64,
    },
    /// A message counts as sent, but the provider never took it.
    SentButNotAtProvider(MessageId),
    /// The provider took a message that is neither sent nor had a doubtful attempt.
    AtProviderButNotSent(MessageId),
    /// The provider took a message twice without a recorded `--resend`.
    Duplicate(MessageId),
    /// The provider took something that names no message of ours.
    Unnamed,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunsAndMessages { evaluated, messages } => {
                write!(f, "the runs wrote {evaluated} messages, the ledger has {messages}")
            }
            Self::SentButNotAtProvider(id) => write!(f, "message {id} counts as sent, the provider never took it"),
            Self::AtProviderButNotSent(id) => write!(f, "message {id} is at the provider, but neither sent nor in doubt"),
            Self::Duplicate(id) => write!(f, "message {id} is at the provider more than once"),
            Self::Unnamed => write!(f, "the provider took a message that names no message of ours"),
        }
    }
}

/// What the ledger says about each message that may be at the provider.
#[derive(Clone, Debug, Default)]
pub struct LedgerSide {
    /// The counts.
    pub counts: Counts,
    /// Messages that were sent, or better.
    pub sent: HashSet<MessageId>,
    /// Messages with an attempt in doubt, settled by evidence or a person or not at all.
    pub doubtful: HashSet<MessageId>,
    /// How often a person had a message sent again.
    pub resent: HashMap<MessageId, u32>,
}

/// Compares the ledger with what the provider accepted, one entry per request, in any order.
pub fn compare(ledger: &LedgerSide, provider: impl Iterator<Item = Option<MessageId>>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let (evaluated, messages) = (ledger.counts.evaluated, ledger.counts.total());
    if evaluated != messages {
        violations.push(Violation::RunsAndMessages { evaluated, messages });
    }
    let mut seen: HashMap<MessageId, u32> = HashMap::new();
    for entry in provider {
        let Some(id) = entry else {
            violations.push(Violation::Unnamed);
            continue;
        };
        let times = seen.entry(id).or_default();
        *times += 1;
        if *times == 1 && !ledger.sent.contains(&id) && !ledger.doubtful.contains(&id) {
            violations.push(Violation::AtProviderButNotSent(id));
        }
        if *times == 2 + ledger.resent.get(&id).copied().unwrap_or(0) {
            violations.push(Violation::Duplicate(id));
        }
    }
    violations.extend(ledger.sent.iter().filter(|id| !seen.contains_key(id)).map(|id| Violation::SentButNotAtProvider(*id)));
    violations
}

impl Ledger {
    /// The ledger's side of the comparison. It holds one id per message sent: meant for demos and tests.
    pub async fn conservation(&self) -> Result<LedgerSide, LedgerError> {
        let mut side = LedgerSide { counts: self.counts().await?, ..LedgerSide::default() };
        let mut after = uuid::Uuid::nil();
        loop {
            let rows = self
                .db
                .read()
                .await?
                .fetch(
                    sql!(
                        "SELECT m.id, (m.state IN ('sent', 'delivered', 'read')) AS is_sent,
                                (m.state = 'in_doubt' OR COALESCE(m.reason, '') = 'doubt_expired' OR EXISTS (SELECT 1 FROM attempts a WHERE a.message_id = m.id
                                    AND (a.outcome = 'doubt' OR (a.outcome IS NULL AND m.state <> 'sending')))
                                 OR EXISTS (SELECT 1 FROM resolutions r WHERE r.message_id = m.id)) AS is_doubtful,
                                (SELECT count(*) FROM resolutions r WHERE r.message_id = m.id AND r.how = 'resend') AS resent
                         FROM messages m WHERE m.id > $1 AND m.state NOT IN ('held') ORDER BY m.id LIMIT $2"
                    ),
                    values![after, PAGE],
                )
                .await?;
            for row in &rows {
                let id = MessageId(row.id("id")?);
                after = id.0;
                if row.flag("is_sent")? {
                    side.sent.insert(id);
                }
                if row.flag("is_doubtful")? {
                    side.doubtful.insert(id);
                }
                let resent = row.small("resent")?;
                if resent > 0 {
                    side.resent.insert(id, resent);
                }
            }
            if rows.len() < PAGE as usize {
                return Ok(side);
            }
        }
    }
}
