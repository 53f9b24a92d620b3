//! Failure schedules: the interleavings that break weaker designs of such a pipeline (F1, F2 …), played step by step on the ledger.
//!
//! A test's name begins with its schedule's number. Many a schedule is a rule's own test: it then stands with that rule, under the same kind of
//! name; here are those that take several rules together. `ops/docs/guarantees.md` tells what each schedule is and names all of its tests.

mod facts;
mod hints;
mod runs;
mod slots;
mod unknown_ends;
