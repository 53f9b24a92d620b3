//! `regua opt-out`: who asked not to be written to. No answer repeats a number.

use crate::operator::{Answer, REMARKS_MAX};
use crate::opt_out_file::{self, FILE_BYTES_MAX, Line};
use regua_domain::consent::{OptOutScope, OptOutSource};
use regua_ledger::audit::By;
use regua_ledger::people::{NewOptOut, OptOutCounts, OptOutOrigin};
use regua_ledger::{Ledger, LedgerError};
use serde_json::json;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Notes typed numbers: all of them, or none if one can't be read.
pub async fn add(ledger: &Ledger, phones: &[String], why: &str, scope: &str, by: String) -> Result<Answer, LedgerError> {
    let Some(scope) = scope_named(ledger, scope).await? else { return Ok(unknown(scope)) };
    let mut opt_outs = Vec::new();
    for (place, typed) in (1..).zip(phones) {
        match opt_out_file::phone_keys(typed) {
            Ok(keys) => opt_outs.extend(keys.into_iter().map(|phone| NewOptOut { phone, since_at: None, why: why.to_owned() })),
            Err(reason) => return Ok(Answer::refused(format!("number {place}: {reason}"))),
        }
    }
    let given = opt_outs.len();
    let origin = OptOutOrigin { scope, source: OptOutSource::Command, added_by: by };
    let counts = ledger.add_opt_outs(opt_outs, origin).await?;
    let text = format!("{} of {given} are new", counts.new);
    Ok(Answer::done(text, json!({ "added": counts.new, "given": given })))
}

/// Notes the numbers of a file. The good lines are kept, and the bad ones told, unless it is all or nothing.
pub async fn import(
    ledger: &Ledger,
    path: &Path,
    why: &str,
    scope: &str,
    all_or_nothing: bool,
    by: String,
) -> Result<Answer, LedgerError> {
    let Some(scope) = scope_named(ledger, scope).await? else { return Ok(unknown(scope)) };
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(reason) => return Ok(Answer::refused(reason)),
    };
    let settings = ledger.settings().await?;
    // The provider's calendar: of nobody in particular.
    let window = settings.times().of(None, None);
    let (lines, bad) = opt_out_file::parse(&bytes, window.local_date(ledger.now().await?));
    let new = |Line { phones, since_on, why: said }: Line| {
        let (since_at, why) = (since_on.map(|day| window.start_of_day(day)), said.unwrap_or_else(|| why.to_owned()));
        phones.into_iter().map(move |phone| NewOptOut { phone, since_at, why: why.clone() })
    };
    let opt_outs: Vec<NewOptOut> = lines.into_iter().flat_map(new).collect();
    let (given, kept) = (opt_outs.len(), bad.is_empty() || !all_or_nothing);
    let origin = OptOutOrigin { scope, source: OptOutSource::File, added_by: by };
    let counts = if kept { ledger.add_opt_outs(opt_outs, origin).await? } else { OptOutCounts::default() };
    let remarks: Vec<String> = bad.iter().take(REMARKS_MAX).map(ToString::to_string).collect();
    let not_kept = if kept { "" } else { "; nothing is kept: --all-or-nothing" };
    let summary = format!(
        "{} of {given} are new, {} have an earlier date now, {} bad lines{not_kept}",
        counts.new,
        counts.earlier,
        bad.len()
    );
    let text = remarks.iter().cloned().chain([summary]).collect::<Vec<_>>().join("\n");
    let data = json!({
        "added": counts.new, "earlier": counts.earlier, "given": given, "bad": bad.len(), "kept": kept, "remarks": remarks,
    });
    Ok(Answer { done: bad.is_empty(), text, data })
}

/// Removes a person's opt-outs, of one scope or of all.
pub async fn remove(ledger: &Ledger, phone: &str, scope: Option<&str>, by: By) -> Result<Answer, LedgerError> {
    let scope = match scope {
        None => None,
        Some(name) => match scope_named(ledger, name).await? {
            Some(scope) => Some(scope),
            None => return Ok(unknown(name)),
        },
    };
    match opt_out_file::listed_phone_key(phone) {
        Ok(key) => {
            let removed = ledger.remove_opt_out(key, scope, by).await?;
            let text = if removed > 0 {
                "removed: what was skipped for it comes back when it is evaluated again"
            } else {
                "there was none"
            };
            Ok(Answer::done(text, json!({ "removed": removed > 0 })))
        }
        Err(reason) => Ok(Answer::refused(reason)),
    }
}

async fn scope_named(ledger: &Ledger, name: &str) -> Result<Option<OptOutScope>, LedgerError> {
    if name == "all" {
        return Ok(Some(OptOutScope::All));
    }
    Ok(ledger.business_named(name).await?.map(OptOutScope::Business))
}

fn unknown(scope: &str) -> Answer {
    Answer::refused(format!(
        "--scope {scope:?}: there is no business of this name; write all, or one that `regua config export` shows"
    ))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    let size = file
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    if size as u64 > FILE_BYTES_MAX {
        return Err(format!("{} is larger than {} MiB: split it", path.display(), FILE_BYTES_MAX >> 20));
    }
    Ok(bytes)
}
