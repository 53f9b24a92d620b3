//! What the broker can't do, in words that never hold the URL.

/// Why the broker couldn't be opened or asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// The URL is malformed. `fault` is one of a closed list of texts, so no part of the URL can be in it.
    #[error(
        "the broker URL {fault}: expected `memory:`, or `amqp://` or `amqps://` and then `user:password@host:port/vhost` \
         (special characters percent-encoded; only the host is required)"
    )]
    Url {
        /// What is wrong, as the predicate of "the broker URL".
        fault: &'static str,
    },
    /// The prefix of the names can't be one.
    #[error("the broker's name prefix must be 1 to 64 of `a-z A-Z 0-9 . _ -`")]
    Prefix,
    /// The server can't be asked now; it is tried again in the background.
    #[error("the broker is not available: {problem}")]
    Unavailable {
        /// What is wrong, for a person.
        problem: String,
    },
    /// The broker was closed by this process.
    #[error("the broker was closed by this process")]
    Closed,
}

/// Why a publish did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Nothing was published; the server is tried again in the background. Retryable.
    #[error("nothing was published, the broker is not available: {problem}")]
    Unavailable {
        /// What is wrong, for a person.
        problem: String,
    },
    /// Some were published without a confirm: they may or may not arrive. Ambiguous, and harmless to repeat.
    #[error("{count} of the batch were not confirmed by the broker")]
    Unconfirmed {
        /// How many.
        count: usize,
    },
    /// Nothing was published: the broker was closed by this process. Terminal.
    #[error("nothing was published, the broker was closed by this process")]
    Closed,
}
