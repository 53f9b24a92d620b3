//! Between instants and the wall clock of a zone: the gaps and repeated hours of a change of the clocks.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// More than any UTC offset, and more than the day that a zone skips when it changes sides of the date line.
const OFFSET_MAX: TimeDelta = TimeDelta::hours(26);
/// Changes of a zone's offset are further apart than this.
const CHANGES_APART: TimeDelta = TimeDelta::days(1);

/// What the zone's wall clock is ahead of UTC at an instant.
pub(crate) fn offset_at(zone: Tz, instant: DateTime<Utc>) -> TimeDelta {
    TimeDelta::seconds(zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc().into())
}

/// What the wall clock shows; at the ends of chrono's range, UTC.
pub(crate) fn local(zone: Tz, instant: DateTime<Utc>) -> NaiveDateTime {
    let utc = instant.naive_utc();
    utc.checked_add_signed(offset_at(zone, instant)).unwrap_or(utc)
}

/// The first instant at which the wall clock shows `naive`, or the end of the gap if it never does.
pub(crate) fn first_instant(zone: Tz, naive: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&naive) {
        MappedLocalTime::Single(only) => only.to_utc(),
        MappedLocalTime::Ambiguous(first, _) => first.to_utc(),
        MappedLocalTime::None => end_of_gap(zone, naive),
    }
}

/// The last instant at which the wall clock shows `naive`, or the end of the gap if it never does.
pub(crate) fn last_instant(zone: Tz, naive: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&naive) {
        MappedLocalTime::Single(only) => only.to_utc(),
        MappedLocalTime::Ambiguous(_, last) => last.to_utc(),
        MappedLocalTime::None => end_of_gap(zone, naive),
    }
}

/// The first change of the zone's offset in (`after`, `until`].
pub(crate) fn next_change(zone: Tz, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let offset = offset_at(zone, after);
    let mut from = after;
    while from < until {
        let to = until.min(from + CHANGES_APART);
        if offset_at(zone, to) != offset {
            return Some(first_second(from, to, |instant| offset_at(zone, instant) != offset));
        }
        from = to;
    }
    None
}

fn end_of_gap(zone: Tz, naive: NaiveDateTime) -> DateTime<Utc> {
    let as_utc = naive.and_utc();
    let from = as_utc.checked_sub_signed(OFFSET_MAX).unwrap_or(DateTime::<Utc>::MIN_UTC);
    let to = as_utc.checked_add_signed(OFFSET_MAX).unwrap_or(DateTime::<Utc>::MAX_UTC);
    first_second(from, to, |instant| local(zone, instant) > naive)
}

/// The first whole second in (`from`, `to`] that `holds`, found by halving; it must not hold at `from`, and stay held.
fn first_second(from: DateTime<Utc>, to: DateTime<Utc>, holds: impl Fn(DateTime<Utc>) -> bool) -> DateTime<Utc> {
    let (mut not_yet, mut held) = (from.timestamp(), to.timestamp());
    while held - not_yet > 1 {
        let middle = not_yet + (held - not_yet) / 2;
        let instant = DateTime::from_timestamp(middle, 0).expect("it lies between two instants");
        if holds(instant) { held = middle } else { not_yet = middle }
    }
    DateTime::from_timestamp(held, 0).expect("it is one of two instants or lies between them")
}
