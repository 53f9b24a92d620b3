//! An invented customer with an invoice, for notices that are tried before anybody owes anything.

use crate::ids::{CustomerId, InvoiceId};
use crate::mirror::{Customer, Invoice};
use crate::money::Centavos;
use crate::variables::Totals;
use chrono::{Days, NaiveDate};

/// The example of a static Pix code in BACEN's "Manual de Padrões para Iniciação do Pix", section 2: nobody's.
const PIX_CODE: &str = "00020126580014br.gov.bcb.pix0136123e4567-e12b-12d1-a456-4266554400005204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***63041D3D";
/// Banco do Brasil's own example of a boleto, due in 2007.
const DIGITABLE_LINE: &str = "00190.50095 40144.816069 06809.350314 3 37370000000100";

/// What a notice is tried with.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Somebody who says that they are a test.
    pub customer: Customer,
    /// An invoice over R$123,00 that was due three days ago.
    pub invoice: Invoice,
    /// That one and another.
    pub totals: Totals,
    /// When its renegotiation is due.
    pub renegotiated_to: NaiveDate,
}

/// The sample of a day.
pub fn sample(today: NaiveDate) -> Sample {
    let customer = Customer {
        trade_name: "TESTE".into(),
        tax_id: "123.456.789-09".into(),
        person_type: "F".into(),
        city: "São Paulo".into(),
        state: "SP".into(),
        ..Customer::new(CustomerId("0".into()), "TESTE da Silva")
    };
    let days_ago = |days| today.checked_sub_days(Days::new(days)).unwrap_or(today);
    let invoice = Invoice {
        number: "TESTE".into(),
        issued_on: Some(days_ago(13)),
        contract_id: "TESTE".into(),
        receipt_type: "Boleto".into(),
        digitable_line: DIGITABLE_LINE.into(),
        pix_code: PIX_CODE.into(),
        payment_link: "https://example.com/teste".into(),
        ..Invoice::open(InvoiceId("0".into()), customer.id.clone(), Centavos(12_300), days_ago(3))
    };
    let renegotiated_to = today.checked_add_days(Days::new(10)).unwrap_or(today);
    Sample { customer, invoice, totals: Totals { open_amount: Centavos(24_600), invoices: 2 }, renegotiated_to }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Identity, Provider};
    use crate::variables::{Circumstances, Facts, Variable, parse, render};

    #[test]
    fn a_sample_has_a_value_for_every_variable() {
        let today = "2026-03-09".parse().expect("a date");
        let Sample { customer, invoice, totals, renegotiated_to } = sample(today);
        let all = || "x".to_owned();
        let head = Identity { name: all(), trade_name: all(), tax_id: all(), address: all(), phone: all(), pix_key: None };
        let provider = Provider { head, ..Provider::default() };
        let renegotiated_to = Some(renegotiated_to);
        let circumstances = Circumstances { today, provider: &provider, totals: Some(totals), renegotiated_to };
        for variable in Variable::ALL {
            let entries = parse(&variable.to_string()).expect("it is known");
            let values = render(&entries, &Facts { customer: &customer, invoice: Some(&invoice), circumstances });
            assert!(values.is_ok(), "{variable}: {values:?}");
        }
    }
}
