//! Customers and contracts: each a pure function of the seed and its id, with odd cases in known places.

use chrono::{Days, NaiveDate};

use super::people::{City, city_of, cnpj, company_name, cpf, mobile_digits, person_name};
use super::provider::Provider;
use crate::mix::draw;

const ODDITY: u64 = 201;
const KIND: u64 = 202;
const BIRTH: u64 = 203;
const CONTRACT: u64 = 204;

/// What may be odd about a customer. Each but the last three is true of 1 in 100, shared and doubled phones of 2 in 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OddCustomer {
    /// No phone in any field.
    EmptyPhone,
    /// Only a landline, in the mobile's fields.
    Landline,
    /// A mobile with eight digits: the ninth is missing (contracts §3.3).
    MissingNinthDigit,
    /// Words instead of a number.
    Words,
    /// The same mobile as the customer before.
    SharedPhone,
    /// A mobile and a landline in one field.
    TwoNumbers,
    /// `whatsapp` is empty, `telefone_celular` has the number: 3 in 10 of those with a phone.
    OnlyMobileField,
    /// `participa_cobranca` unchecked, which arrives empty (contracts §2.3): 1 in 100.
    OutsideDunning,
    /// `participa_pre_cobranca` N: 1 in 100.
    OutsidePreDue,
}

/// A customer as the ERP knows it.
#[derive(Clone, Debug)]
pub struct Customer {
    /// 1 to the number of customers.
    pub id: u64,
    /// `razao`.
    pub name: String,
    /// A company (`tipo_pessoa` J), else a person (F).
    pub company: bool,
    /// `cnpj_cpf`, punctuated.
    pub tax_id: String,
    /// `whatsapp`, as typed.
    pub whatsapp: String,
    /// `telefone_celular`, as typed.
    pub mobile: String,
    /// `participa_cobranca`.
    pub in_dunning: bool,
    /// `participa_pre_cobranca`.
    pub in_pre_due: bool,
    /// `data_nascimento`: carried as the real record carries it, of no use to a sender.
    pub born_on: NaiveDate,
    pub(crate) city: &'static City,
    /// Where `uf` is filled in.
    pub(crate) state: Option<usize>,
}

/// A contract: what invoices are issued for, month after month.
#[derive(Clone, Debug)]
pub(crate) struct Contract {
    pub id: u64,
    pub customer: u64,
    pub status: &'static str,
    pub warns_of_delay: bool,
    pub no_warning_until: Option<NaiveDate>,
}

impl Provider {
    /// The customer with this id; `None` beyond the last.
    pub fn customer(&self, id: u64) -> Option<Customer> {
        if id == 0 || id > self.customers {
            return None;
        }
        let company = draw(self.seed, KIND, id).is_multiple_of(12);
        let city = city_of(self.seed, id);
        let typed = self.typed_phone(id);
        let only_mobile = self.is_odd_customer(OddCustomer::OnlyMobileField, id);
        Some(Customer {
            id,
            name: if company { company_name(self.seed, id) } else { person_name(self.seed, id) },
            company,
            tax_id: if company { cnpj(self.seed, id) } else { cpf(self.seed, id) },
            whatsapp: if only_mobile { String::new() } else { typed.clone() },
            mobile: typed,
            in_dunning: !self.is_odd_customer(OddCustomer::OutsideDunning, id),
            in_pre_due: !self.is_odd_customer(OddCustomer::OutsidePreDue, id),
            born_on: birth(self.seed, id),
            city,
            // Contracts §2.3 and the sample: `uf` may be "0", the city knows better.
            state: (draw(self.seed, KIND, id) % 10 >= 3).then_some(city.state),
        })
    }

    /// Whether this is true of a customer.
    pub fn is_odd_customer(&self, odd: OddCustomer, id: u64) -> bool {
        let place = (id + draw(self.seed, ODDITY, 0) % 100) % 100;
        match odd {
            OddCustomer::EmptyPhone => place == 7,
            OddCustomer::Landline => place == 19,
            OddCustomer::MissingNinthDigit => place == 31,
            OddCustomer::Words => place == 43,
            OddCustomer::SharedPhone => matches!(place, 55 | 85) && id > 1,
            OddCustomer::TwoNumbers => matches!(place, 67 | 97),
            OddCustomer::OnlyMobileField => place != 7 && draw(self.seed, ODDITY, id) % 10 < 3,
            OddCustomer::OutsideDunning => place == 11,
            OddCustomer::OutsidePreDue => place == 23,
        }
    }

    /// All customers of whom this is true, ascending.
    pub fn odd_customers(&self, odd: OddCustomer) -> impl Iterator<Item = u64> + '_ {
        (1..=self.customers).filter(move |id| self.is_odd_customer(odd, *id))
    }

    /// The mobile of a customer as `+55…`; `None` for those whose phone is no mobile.
    pub fn mobile_of(&self, id: u64) -> Option<String> {
        use OddCustomer::{EmptyPhone, Landline, MissingNinthDigit, SharedPhone, Words};
        if id == 0 || id > self.customers {
            return None;
        }
        if [EmptyPhone, Landline, MissingNinthDigit, Words].into_iter().any(|odd| self.is_odd_customer(odd, id)) {
            return None;
        }
        let owner = if self.is_odd_customer(SharedPhone, id) { id - 1 } else { id };
        Some(format!("+55{}9{}", city_of(self.seed, owner).area_code, mobile_digits(self.seed, owner)))
    }

    fn typed_phone(&self, id: u64) -> String {
        let number = |owner: u64| {
            let digits = mobile_digits(self.seed, owner).to_string();
            format!("({}) 9{}-{}", city_of(self.seed, owner).area_code, &digits[..4], &digits[4..])
        };
        let area_code = city_of(self.seed, id).area_code;
        let digits = mobile_digits(self.seed, id).to_string();
        let landline = format!("({area_code}) 3{}-{}", &digits[1..4], &digits[4..]);
        let odd = |odd| self.is_odd_customer(odd, id);
        if odd(OddCustomer::EmptyPhone) {
            String::new()
        } else if odd(OddCustomer::Landline) {
            landline
        } else if odd(OddCustomer::MissingNinthDigit) {
            format!("({area_code}) {}-{}", &digits[..4], &digits[4..])
        } else if odd(OddCustomer::Words) {
            "falar com a vizinha".to_owned()
        } else if odd(OddCustomer::SharedPhone) {
            number(id - 1)
        } else if odd(OddCustomer::TwoNumbers) {
            format!("{} / {landline}", number(id))
        } else {
            number(id)
        }
    }

    /// The contract with this id; every tenth customer has a second one.
    pub(crate) fn contract(&self, id: u64) -> Option<Contract> {
        let customer = self.customer_of_contract(id)?;
        let draw = draw(self.seed, CONTRACT, id);
        let status = match draw % 100 {
            0..94 => "A",
            94 | 95 => "I",
            96 | 97 => "P",
            98 => "N",
            _ => "D",
        };
        let no_warning_until = (draw >> 40).is_multiple_of(100).then(|| self.opened_on + Days::new(5));
        Some(Contract { id, customer, status, warns_of_delay: !(draw >> 32).is_multiple_of(100), no_warning_until })
    }

    /// What a contract says about warning its customer: `aviso_atraso`, `nao_avisar_ate`. Each keeps 1 in 100 silent.
    pub fn warnings_of(&self, contract: u64) -> Option<(bool, Option<NaiveDate>)> {
        self.contract(contract).map(|contract| (contract.warns_of_delay, contract.no_warning_until))
    }

    pub(crate) fn contracts(&self) -> u64 {
        self.customers + self.customers / 10
    }

    pub(crate) fn customer_of_contract(&self, contract: u64) -> Option<u64> {
        match contract.checked_sub(self.customers) {
            None | Some(0) => (contract > 0).then_some(contract),
            Some(second) => (second <= self.customers / 10).then_some(second * 10 - 5),
        }
    }
}

fn birth(seed: u64, customer: u64) -> NaiveDate {
    let first = NaiveDate::from_ymd_opt(1950, 1, 1).expect("a date of the calendar");
    first + Days::new(draw(seed, BIRTH, customer) % 20_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider() -> Provider {
        Provider::new(5, 1000, NaiveDate::from_ymd_opt(2026, 3, 10).expect("a date"), vec![3, 0, -3])
    }

    #[test]
    fn each_oddity_has_its_share() {
        let provider = provider();
        let count = |odd| provider.odd_customers(odd).count();
        for odd in [OddCustomer::EmptyPhone, OddCustomer::Landline, OddCustomer::MissingNinthDigit, OddCustomer::Words] {
            assert_eq!(count(odd), 10, "{odd:?}");
        }
        assert_eq!(count(OddCustomer::TwoNumbers), 20);
        assert!((19..=20).contains(&count(OddCustomer::SharedPhone)));
        assert!((200..400).contains(&count(OddCustomer::OnlyMobileField)));
    }

    #[test]
    fn a_shared_phone_is_the_one_of_the_customer_before() {
        let provider = provider();
        for id in provider.odd_customers(OddCustomer::SharedPhone) {
            assert!(provider.mobile_of(id).is_some());
            assert_eq!(provider.mobile_of(id), provider.mobile_of(id - 1));
        }
    }

    #[test]
    fn a_phone_as_typed_has_the_digits_of_the_mobile() {
        let provider = provider();
        let shared = |id| provider.is_odd_customer(OddCustomer::SharedPhone, id);
        let plain = (1..=1000).filter(|id| !shared(*id) && !provider.is_odd_customer(OddCustomer::TwoNumbers, *id));
        for (id, mobile) in plain.filter_map(|id| Some((id, provider.mobile_of(id)?))) {
            let customer = provider.customer(id).expect("the customer exists");
            let digits: String = customer.mobile.chars().filter(char::is_ascii_digit).collect();
            assert_eq!(format!("+55{digits}"), mobile);
            assert_eq!(digits.len(), 11);
        }
    }

    #[test]
    fn every_contract_belongs_to_a_customer() {
        let provider = provider();
        let owners = (1..=provider.contracts()).filter_map(|id| provider.customer_of_contract(id));
        assert!(owners.clone().all(|owner| (1..=1000).contains(&owner)));
        assert_eq!(owners.count(), 1100);
        assert_eq!(provider.customer_of_contract(1101), None);
    }
}
