//! The hours that the collection laws of the states allow, as far as they are known to us (contracts §4). Not legal advice.

use super::{Span, WeekHours};
use crate::place::Uf;

/// The hours in which a state's law allows collection messages; `None` where no such law is known to us. Holidays are closed everywhere.
///
/// SP: Lei 15.426/2014. RJ: Lei 7.868/2018. ES: Lei 10.626/2017. AM: Lei 306/2016, which only says until when; it opens at 9 here. AL: Lei
/// 7.782/2016, which names text messages. CE: Lei 16.836/2019, which names WhatsApp.
pub fn law_hours(uf: Uf) -> Option<WeekHours> {
    let (weekdays, saturday) = match uf {
        Uf::Sp | Uf::Al => ((8, 20), Some((8, 14))),
        Uf::Rj | Uf::Am => ((9, 19), None),
        Uf::Es => ((8, 19), None),
        Uf::Ce => ((8, 18), None),
        _ => return None,
    };
    let span = |(from, to)| Span::hours(from, to);
    Some(WeekHours::weekdays(span(weekdays), saturday.map(span)))
}
