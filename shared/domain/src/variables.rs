//! The variables of a notice: what fills a template's placeholders, in order.
//!
//! The seed writes them as `#cliente_razao#,#areceber_valor#,#areceber_data_vencimento#`: entries with commas
//! between, one for each placeholder of the template in order of appearance.

use crate::mirror::{Customer, Invoice};
use crate::stage::Stage;
use chrono::NaiveDate;
use std::fmt;
use thiserror::Error;

/// The most characters of one rendered value. The body of a message bears 1024 in all (contracts §3.2).
pub const VALUE_CHARS_MAX: usize = 512;
/// The platform refuses a value with this many spaces in a row (contracts §1.2).
const SPACES_REFUSED: usize = 4;

macro_rules! variables {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)+) => {
        /// A fact of a customer or an invoice that a notice may name, as `#name#`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Variable {$(
            $(#[$doc])*
            $variant,
        )+}

        impl Variable {
            /// Every variable.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name between the `#` signs.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

variables! {
    /// The legal or full name.
    CustomerName = "cliente_razao";
    /// The trade name.
    CustomerTradeName = "cliente_fantasia";
    /// The first word of the name, `João` even where the ERP writes `JOÃO`.
    CustomerFirstName = "cliente_primeiro_nome";
    /// The invoice's number as the customer sees it.
    InvoiceNumber = "areceber_numero";
    /// The invoice's amount: `R$1.234,56`.
    InvoiceAmount = "areceber_valor";
    /// What is still owed of it: `R$1.234,56`.
    InvoiceOpenAmount = "areceber_valor_aberto";
    /// The due date: `19/07/2023`.
    InvoiceDueOn = "areceber_data_vencimento";
    /// Where it can be paid.
    InvoiceLink = "areceber_link";
    /// The boleto's digits for typing.
    DigitableLine = "linha_digitavel";
    /// The Pix code for copying.
    PixCode = "pix_copia_e_cola";
    /// When the first open title of the renegotiation is due that replaced the invoice: `19/07/2023`.
    RenegotiatedDueOn = "renegociacao_vencimento";
}

impl Variable {
    /// The variable of a name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|variable| variable.as_str().eq_ignore_ascii_case(name))
    }

    /// The first known variable that contains the name, else the one that takes the fewest changes of a letter.
    fn nearest(name: &str) -> Self {
        let name = name.to_lowercase();
        let distance = |variable: &Self| {
            if variable.as_str().contains(&name) { 0 } else { 1 + edit_distance(&name, variable.as_str()) }
        };
        Self::ALL.iter().copied().min_by_key(distance).expect("there are variables")
    }

    /// The value as the ERP has it; empty where it has none.
    fn value(self, facts: &Facts<'_>) -> String {
        let Facts { customer, invoice, renegotiated_to } = facts;
        let of_invoice = |value: fn(&Invoice) -> String| invoice.map(value).unwrap_or_default();
        match self {
            Self::CustomerName => customer.name.clone(),
            Self::CustomerTradeName => customer.trade_name.clone(),
            Self::CustomerFirstName => first_name(&customer.name),
            Self::InvoiceNumber => of_invoice(|invoice| invoice.number.clone()),
            Self::InvoiceAmount => of_invoice(|invoice| invoice.amount.format_brl()),
            Self::InvoiceOpenAmount => of_invoice(|invoice| invoice.open_amount.format_brl()),
            Self::InvoiceDueOn => of_invoice(|invoice| written(invoice.due_on)),
            Self::InvoiceLink => of_invoice(|invoice| invoice.payment_link.clone()),
            Self::DigitableLine => of_invoice(|invoice| invoice.digitable_line.clone()),
            Self::PixCode => of_invoice(|invoice| invoice.pix_code.clone()),
            Self::RenegotiatedDueOn => renegotiated_to.map(written).unwrap_or_default(),
        }
    }

    /// Whether a message of this stage can ever have a value for it: what concerns a customer as such has no invoice.
    pub const fn is_known_at(self, stage: Stage) -> bool {
        match self {
            Self::CustomerName | Self::CustomerTradeName | Self::CustomerFirstName => true,
            Self::RenegotiatedDueOn => matches!(stage, Stage::Renegotiated),
            Self::InvoiceNumber
            | Self::InvoiceAmount
            | Self::InvoiceOpenAmount
            | Self::InvoiceDueOn
            | Self::InvoiceLink
            | Self::DigitableLine
            | Self::PixCode => !matches!(stage, Stage::BureauRemoved),
        }
    }
}

/// A date as Brazil writes it.
fn written(date: NaiveDate) -> String {
    date.format("%d/%m/%Y").to_string()
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}#", self.as_str())
    }
}

/// What fills one placeholder: text and variables, at least one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

impl Entry {
    /// The variables in it, in order.
    pub fn variables(&self) -> impl Iterator<Item = Variable> + '_ {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Variable(variable) => Some(*variable),
        })
    }
}

/// Why a `variables` field isn't understood. Entries are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VariablesError {
    /// Nothing between two commas, or only blanks.
    #[error("entry {entry} of the variables is empty; remove its comma or write `\\,` for a comma in the text")]
    EmptyEntry {
        /// Which entry.
        entry: usize,
    },
    /// A `#` without its second.
    #[error("entry {entry} of the variables opens a `#` and never closes it; write `\\#` for a number sign in the text")]
    Unclosed {
        /// Which entry.
        entry: usize,
    },
    /// No such variable.
    #[error("entry {entry} of the variables names #{name}#, which is not known; is {nearest} meant?")]
    Unknown {
        /// Which entry.
        entry: usize,
        /// What stands between the `#` signs.
        name: String,
        /// The known variable that is spelled most alike.
        nearest: Variable,
    },
}

/// Reads the `variables` field of a notice: entries separated by commas, each of text and `#variables#`. `\,`, `\#`
/// and `\\` stand for the signs themselves. A blank field has no entries, for a template without placeholders.
///
/// # Errors
/// An empty entry, an unclosed `#`, and a variable that isn't known.
pub fn parse(field: &str) -> Result<Vec<Entry>, VariablesError> {
    if field.trim().is_empty() {
        return Ok(Vec::new());
    }
    let signs = signs(field);
    let is_comma = |sign: &Sign| *sign == Sign::Active(',');
    signs.split(is_comma).zip(1..).map(|(signs, entry)| parse_entry(signs, entry)).collect()
}

/// A character of the field, with or without a meaning of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// Taken as it is.
    Plain(char),
    /// An unescaped `,` or `#`.
    Active(char),
}

impl Sign {
    const fn char(self) -> char {
        match self {
            Self::Plain(c) | Self::Active(c) => c,
        }
    }
}

fn signs(field: &str) -> Vec<Sign> {
    let mut chars = field.chars().peekable();
    let mut signs = Vec::new();
    while let Some(c) = chars.next() {
        signs.push(match c {
            '\\' => Sign::Plain(chars.next_if(|next| matches!(next, ',' | '#' | '\\')).unwrap_or('\\')),
            ',' | '#' => Sign::Active(c),
            _ => Sign::Plain(c),
        });
    }
    signs
}

fn parse_entry(signs: &[Sign], entry: usize) -> Result<Entry, VariablesError> {
    if signs.iter().filter(|sign| **sign == Sign::Active('#')).count() % 2 == 1 {
        return Err(VariablesError::Unclosed { entry });
    }
    let mut parts = Vec::new();
    for (place, piece) in signs.split(|sign| *sign == Sign::Active('#')).enumerate() {
        let text: String = piece.iter().map(|sign| sign.char()).collect();
        if place % 2 == 0 {
            if !text.is_empty() {
                parts.push(Part::Text(text));
            }
        } else {
            let name = text.trim();
            let unknown = || VariablesError::Unknown { entry, name: name.to_owned(), nearest: Variable::nearest(name) };
            parts.push(Part::Variable(Variable::parse(name).ok_or_else(unknown)?));
        }
    }
    let is_blank = |part: &Part| matches!(part, Part::Text(text) if clean(text).is_empty());
    if parts.iter().all(is_blank) { Err(VariablesError::EmptyEntry { entry }) } else { Ok(Entry(parts)) }
}

/// What a text is written from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who is written to.
    pub customer: &'a Customer,
    /// What it is about; `None` for what concerns the customer as such.
    pub invoice: Option<&'a Invoice>,
    /// The due date of what a renegotiation put in the invoice's place.
    pub renegotiated_to: Option<NaiveDate>,
}

/// Why the values of a message could not be written. Says nothing of the facts themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RenderError {
    /// The customer or the invoice has nothing there, and the platform refuses an empty value.
    #[error("{0} is empty for this invoice; fill it in the ERP or take it out of the notice")]
    Empty(Variable),
    /// Longer than [`VALUE_CHARS_MAX`].
    #[error("entry {entry} of the variables has {chars} characters, more than {VALUE_CHARS_MAX}")]
    TooLong {
        /// Which entry, counted from 1.
        entry: usize,
        /// How many characters it has.
        chars: usize,
    },
}

/// Writes one value per entry, as the platform demands them: without line breaks, tabs or long runs of spaces,
/// trimmed, never empty and at most [`VALUE_CHARS_MAX`] characters (contracts §1.2, §3.2). Nothing is cut off: half a
/// Pix code is worse than none.
///
/// # Errors
/// A variable without a value, and a value that is too long.
pub fn render(entries: &[Entry], facts: &Facts<'_>) -> Result<Vec<String>, RenderError> {
    entries.iter().zip(1..).map(|(entry, place)| render_entry(entry, place, facts)).collect()
}

fn render_entry(entry: &Entry, place: usize, facts: &Facts<'_>) -> Result<String, RenderError> {
    let mut written = String::new();
    for part in &entry.0 {
        match part {
            Part::Text(text) => written.push_str(text),
            Part::Variable(variable) => {
                let value = clean(&variable.value(facts));
                if value.is_empty() {
                    return Err(RenderError::Empty(*variable));
                }
                written.push_str(&value);
            }
        }
    }
    let written = clean(&written);
    match written.chars().count() {
        chars if chars > VALUE_CHARS_MAX => Err(RenderError::TooLong { entry: place, chars }),
        _ => Ok(written),
    }
}

/// Blanks and control signs become spaces, a run of four or more spaces becomes one, and the ends are trimmed.
fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut spaces = 0;
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() {
            spaces += 1;
            continue;
        }
        let kept = if spaces >= SPACES_REFUSED { 1 } else { spaces };
        if !cleaned.is_empty() {
            cleaned.extend(std::iter::repeat_n(' ', kept));
        }
        spaces = 0;
        cleaned.push(c);
    }
    cleaned
}

/// The first word with a letter in it; a word all in one case is written with a capital at each part.
fn first_name(name: &str) -> String {
    let word = name.split_whitespace().find(|word| word.chars().any(char::is_alphabetic)).unwrap_or_default();
    if word.chars().any(char::is_lowercase) && word.chars().any(char::is_uppercase) {
        return word.to_owned();
    }
    let mut at_start = true;
    let mut proper = String::with_capacity(word.len());
    for c in word.chars() {
        if at_start {
            proper.extend(c.to_uppercase());
        } else {
            proper.extend(c.to_lowercase());
        }
        at_start = !c.is_alphabetic();
    }
    proper
}

/// Fills a template's placeholders, `{{1}}` or `{{name}}`, with the values in order of appearance: the platform ignores
/// what stands in them (contracts §1.4). A placeholder without a value stays as it is. For previews.
pub fn fill(template_text: &str, values: &[String]) -> String {
    let mut filled = String::with_capacity(template_text.len());
    let mut values = values.iter();
    for piece in pieces(template_text) {
        filled.push_str(match piece {
            Piece::Text(text) => text,
            Piece::Placeholder(text) => values.next().map_or(text, String::as_str),
        });
    }
    filled
}

/// How many values a template expects: its placeholders, a repeated one counted each time.
pub fn placeholders(template_text: &str) -> usize {
    pieces(template_text).filter(|piece| matches!(piece, Piece::Placeholder(_))).count()
}

enum Piece<'a> {
    Text(&'a str),
    /// With its braces.
    Placeholder(&'a str),
}

/// Cuts a template into text and placeholders; braces without a name between them are text.
fn pieces(template_text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = template_text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (start, end) = next_placeholder(rest).unwrap_or((rest.len(), rest.len()));
        let (piece, after) = if start == 0 {
            (Piece::Placeholder(&rest[..end]), &rest[end..])
        } else {
            (Piece::Text(&rest[..start]), &rest[start..])
        };
        rest = after;
        Some(piece)
    })
}

/// Where the first placeholder begins and ends.
fn next_placeholder(text: &str) -> Option<(usize, usize)> {
    text.match_indices("}}").find_map(|(close, braces)| {
        let open = text[..close].rfind("{{")?;
        let has_name = !text[open + 2..close].trim().is_empty();
        has_name.then_some((open, close + braces.len()))
    })
}

/// How many letters must be put in, taken out or changed (Levenshtein).
pub(crate) fn edit_distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.chars().enumerate() {
            let change = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.chars().count()]
}
