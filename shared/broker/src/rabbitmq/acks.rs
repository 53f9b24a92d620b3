//! Which acks to write: tags come back in any order, and a run from the oldest unacked one on is written as one `multiple`.

use std::collections::BTreeSet;

/// The deliveries of one link that are out, and those of them that were acked here but not yet written. Pure.
///
/// Both sets are bounded by the prefetch.
#[derive(Debug, Default)]
pub(super) struct AckBook {
    out: BTreeSet<u64>,
    acked: BTreeSet<u64>,
}

/// What to write to the channel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AckPlan {
    /// All that is out up to and including this tag, by one `multiple`.
    pub(super) up_to: Option<u64>,
    /// These one by one, because an older one is still unacked.
    pub(super) singles: Vec<u64>,
}

impl AckBook {
    /// A delivery came; tags ascend.
    pub(super) fn delivered(&mut self, tag: u64) {
        self.out.insert(tag);
    }

    /// A delivery was acked by its holder. A tag that isn't out is ignored: RabbitMQ closes a channel that acks one it doesn't know.
    pub(super) fn ack(&mut self, tag: u64) {
        if self.out.contains(&tag) {
            self.acked.insert(tag);
        }
    }

    /// How many are acked but not written.
    pub(super) fn pending(&self) -> usize {
        self.acked.len()
    }

    /// Whether nothing else is out, so that waiting for more acks would gain nothing.
    pub(super) fn is_all_pending(&self) -> bool {
        self.acked.len() == self.out.len()
    }

    /// Takes everything that is pending.
    pub(super) fn take(&mut self) -> AckPlan {
        let mut up_to = None;
        while let Some(oldest) = self.out.first().copied()
            && self.acked.remove(&oldest)
        {
            self.out.remove(&oldest);
            up_to = Some(oldest);
        }
        let singles: Vec<u64> = std::mem::take(&mut self.acked).into_iter().collect();
        for tag in &singles {
            self.out.remove(tag);
        }
        AckPlan { up_to, singles }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(delivered: &[u64], acked: &[u64], up_to: Option<u64>, singles: &[u64]) -> AckBook {
        let mut book = AckBook::default();
        for tag in delivered {
            book.delivered(*tag);
        }
        for tag in acked {
            book.ack(*tag);
        }
        assert_eq!(book.take(), AckPlan { up_to, singles: singles.to_vec() }, "{delivered:?} acked {acked:?}");
        assert_eq!(book.pending(), 0);
        book
    }

    #[test]
    fn a_run_from_the_oldest_is_one_multiple_and_the_rest_goes_singly() {
        check(&[], &[], None, &[]);
        check(&[1, 2, 3], &[], None, &[]);
        check(&[1, 2, 3], &[3, 1, 2], Some(3), &[]);
        check(&[1, 2, 3, 4], &[4, 1, 2], Some(2), &[4]);
        check(&[1, 2, 3], &[2, 3], None, &[2, 3]);
        // 2 was dead-lettered and never entered.
        check(&[1, 3, 4], &[1, 3], Some(3), &[]);
    }

    #[test]
    fn an_older_gap_that_closes_lets_the_later_ones_be_multiple_again() {
        let mut book = check(&[1, 2, 3, 4], &[2], None, &[2]);
        book.ack(3);
        book.ack(1);
        assert_eq!(book.take(), AckPlan { up_to: Some(3), singles: vec![] });
    }

    #[test]
    fn a_multiple_never_covers_a_tag_that_was_not_acked() {
        for acked in 0..1_u32 << 10 {
            let mut book = AckBook::default();
            (0..10).for_each(|tag| book.delivered(tag));
            (0..10).filter(|tag| acked & (1 << tag) != 0).for_each(|tag| book.ack(tag));
            let plan = book.take();
            let written: BTreeSet<u64> = (0..10).filter(|tag| plan.up_to >= Some(*tag) || plan.singles.contains(tag)).collect();
            assert_eq!(written, (0..10).filter(|tag| acked & (1 << tag) != 0).collect(), "{acked:b}");
        }
    }

    #[test]
    fn a_tag_that_is_not_out_is_ignored() {
        let mut book = check(&[1, 2], &[7, 1, 1], Some(1), &[]);
        book.ack(1);
        assert_eq!(book.pending(), 0);
        assert!(!book.is_all_pending());
        book.ack(2);
        assert!(book.is_all_pending());
    }
}
