//! Boleto lines and Pix codes with the right shape and check digits, of no bank that would take them.

use chrono::NaiveDate;

use super::value::written_cents;

/// The 47 digits of a boleto (contracts §2.2: `linha_digitavel`).
pub(crate) fn boleto_line(id: u64, cents: i64, due_on: NaiveDate) -> String {
    let free = format!("{id:025}");
    let tail = format!("{:04}{cents:010}", due_factor(due_on));
    let check = mod_11(&format!("2379{tail}{free}"));
    let field = |digits: &str| format!("{digits}{}", mod_10(digits));
    let first = field(&format!("2379{}", &free[..5]));
    format!("{first}{}{}{check}{tail}", field(&free[5..15]), field(&free[15..25]))
}

/// A Pix "copia e cola" (EMV) code: begins with 000201, ends with its own CRC (contracts §2.2, §2.4).
pub(crate) fn pix_code(id: u64, cents: i64) -> String {
    let account = format!("{}{}", tlv("00", "br.gov.bcb.pix"), tlv("25", &format!("pix.example.invalid/qr/v2/{}", pix_txid(id))));
    let code = [
        tlv("00", "01"),
        tlv("26", &account),
        tlv("52", "0000"),
        tlv("53", "986"),
        tlv("54", &written_cents(cents)),
        tlv("58", "BR"),
        tlv("59", "PROVEDOR SIMULADO"),
        tlv("60", "CHAPECO"),
        tlv("62", &tlv("05", "***")),
    ]
    .concat()
        + "6304";
    let crc = crc_16(code.as_bytes());
    format!("{code}{crc:04X}")
}

/// The transaction id of a title's Pix charge.
pub(crate) fn pix_txid(id: u64) -> String {
    format!("SIMIXC{id:026}")
}

fn tlv(tag: &str, value: &str) -> String {
    format!("{tag}{:02}{value}", value.len())
}

/// Days since 1997-10-07, starting again at 1000 after 9999 (2025-02-22).
fn due_factor(due_on: NaiveDate) -> i64 {
    let base = NaiveDate::from_ymd_opt(1997, 10, 7).expect("a date of the calendar");
    let days = (due_on - base).num_days();
    if days < 1000 { days } else { (days - 1000) % 9000 + 1000 }
}

fn mod_10(digits: &str) -> u32 {
    let doubled = digits.bytes().rev().enumerate().map(|(place, byte)| {
        let product = u32::from(byte - b'0') * if place % 2 == 0 { 2 } else { 1 };
        product / 10 + product % 10
    });
    (10 - doubled.sum::<u32>() % 10) % 10
}

fn mod_11(digits: &str) -> u32 {
    let weighted = digits.bytes().rev().zip((2..=9).cycle()).map(|(byte, weight): (u8, u32)| u32::from(byte - b'0') * weight);
    match 11 - weighted.sum::<u32>() % 11 {
        0 | 10 | 11 => 1,
        digit => digit,
    }
}

/// CRC-16/CCITT-FALSE.
fn crc_16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_those_of_known_examples() {
        assert_eq!(crc_16(b"123456789"), 0x29B1);
        assert_eq!(mod_10("001905009"), 5);
        assert_eq!(mod_10("4014481606"), 9);
        assert_eq!(mod_11("0019373700000001000500940144816060680935031"), 3);
    }

    #[test]
    fn the_due_factor_starts_again_after_9999() {
        let date = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).expect("a date");
        assert_eq!(due_factor(date(2025, 2, 21)), 9999);
        assert_eq!(due_factor(date(2025, 2, 22)), 1000);
    }

    #[test]
    fn a_boleto_has_47_digits_and_a_pix_begins_with_000201() {
        let line = boleto_line(123, 9990, NaiveDate::from_ymd_opt(2026, 3, 10).expect("a date"));
        assert!(line.len() == 47 && line.bytes().all(|byte| byte.is_ascii_digit()), "{line}");
        let pix = pix_code(123, 9990);
        assert!(pix.starts_with("000201") && pix.contains("540599.90"), "{pix}");
    }
}
