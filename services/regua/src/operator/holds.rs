//! Holds: a customer or an invoice that a person wants left alone to the end of a date.

use crate::operator::Answer;
use chrono::NaiveDate;
use regua_domain::switches::HoldKind;
use regua_ledger::holds::{HoldAnswer, NewHold};
use regua_ledger::{Ledger, LedgerError};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The most characters of an id, as of the files for import.
const ID_MAX: usize = 64;

/// `hold customer|invoice`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HoldRequest {
    /// Customer or invoice.
    pub kind: HoldKind,
    /// Its id in the ERP, as it was typed.
    pub subject: String,
    /// The last day.
    pub until_on: NaiveDate,
    /// Why.
    pub why: String,
    /// The source's name.
    pub source: Option<String>,
    /// Also for an id that no mirror has.
    pub force: bool,
    /// Who.
    pub by: String,
}

/// `hold remove`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiftRequest {
    /// Customer or invoice.
    pub kind: HoldKind,
    /// Its id in the ERP, as it was typed.
    pub subject: String,
    /// Why.
    pub why: String,
    /// The source's name.
    pub source: Option<String>,
    /// Who.
    pub by: String,
}

pub(super) async fn hold(ledger: &Ledger, request: HoldRequest) -> Result<Answer, LedgerError> {
    let HoldRequest { kind, subject, until_on, why, source, force, by } = request;
    let problem = id_problem(kind, &subject).or_else(|| why_problem(&why)).or_else(|| {
        let last = NaiveDate::from_ymd_opt(9999, 12, 31).filter(|last| until_on > *last)?;
        Some(format!("--until {until_on} can't be kept: give a date up to {last}"))
    });
    if let Some(problem) = problem {
        return Ok(Answer::refused(problem));
    }
    let named = source.clone();
    let hold =
        NewHold { source, kind, subject: subject.clone(), until_on, why: why.trim().into(), set_by: by, even_if_unknown: force };
    let refusal = match ledger.set_hold(hold).await? {
        HoldAnswer::Done { source, before } => {
            let instead = before.map(|before| format!(", no longer until {before}")).unwrap_or_default();
            let text = format!("{kind} {subject} of {source} is on hold until {until_on}{instead}: nothing dated is sent");
            let data = json!({ "kind": kind, "id": subject, "source": source, "until": until_on, "before": before });
            return Ok(Answer::done(text, data));
        }
        HoldAnswer::Past { today } => format!("--until {until_on} is past: today is {today}; give today's date or a later one"),
        HoldAnswer::Unknown => format!(
            "no source has {kind} {subject}: check the id in the ERP; it is read when an invoice is open and near its due date, and --force \
             holds it before that"
        ),
        HoldAnswer::NoSource => no_source(named.as_deref()),
        HoldAnswer::WhichSource { names } => which_source(kind, &subject, &names),
    };
    Ok(Answer::refused(refusal))
}

pub(super) async fn lift(ledger: &Ledger, request: LiftRequest) -> Result<Answer, LedgerError> {
    let LiftRequest { kind, subject, why, source, by } = request;
    if let Some(problem) = why_problem(&why) {
        return Ok(Answer::refused(problem));
    }
    let refusal = match ledger.lift_hold(source.clone(), kind, subject.clone(), by, why.trim().into()).await? {
        HoldAnswer::Done { source, before } => {
            let text = format!("{kind} {subject} of {source} is on hold no more: the next run decides afresh");
            return Ok(Answer::done(text, json!({ "kind": kind, "id": subject, "source": source, "before": before })));
        }
        HoldAnswer::Unknown | HoldAnswer::Past { .. } => {
            format!("nothing holds {kind} {subject}: see `regua hold list`")
        }
        HoldAnswer::NoSource => no_source(source.as_deref()),
        HoldAnswer::WhichSource { names } => which_source(kind, &subject, &names),
    };
    Ok(Answer::refused(refusal))
}

fn no_source(name: Option<&str>) -> String {
    format!(
        "--source {}: there is no source of this name that is switched on: see `regua config export`",
        name.unwrap_or_default()
    )
}

fn which_source(kind: HoldKind, subject: &str, names: &[String]) -> String {
    format!("several sources may have {kind} {subject}: say which with --source, one of {}", names.join(", "))
}

fn id_problem(kind: HoldKind, subject: &str) -> Option<String> {
    let is_id =
        (1..=ID_MAX).contains(&subject.len()) && subject.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    (!is_id).then(|| {
        format!("{kind} {subject:?} is no id: give the ERP's own number, of at most {ID_MAX} letters, digits, `.`, `_` or `-`")
    })
}

pub(super) fn why_problem(why: &str) -> Option<String> {
    why.trim().is_empty().then(|| "--why is empty: say why, for whoever wonders later".to_owned())
}
