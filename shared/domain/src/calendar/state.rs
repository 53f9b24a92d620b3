//! The holidays of each state's own law, as they stand from 2024 on.
//!
//! A year in [`Rule::from`] is the first one of the day as it is written here. What a state kept before and has given up,
//! such as 20 November until it became national, is not written down: nothing is sent into the past.

use super::rule::{Day, Rule};
use crate::place::Uf;

/// The holidays that are the state's and not the country's.
pub(super) const fn rules(uf: Uf) -> &'static [Rule] {
    match uf {
        Uf::Ac => ACRE,
        Uf::Al => ALAGOAS,
        Uf::Am => AMAZONAS,
        Uf::Ap => AMAPA,
        Uf::Ba => BAHIA,
        Uf::Ce => CEARA,
        Uf::Df => DISTRITO_FEDERAL,
        Uf::Es => ESPIRITO_SANTO,
        Uf::Go => GOIAS,
        Uf::Ma => MARANHAO,
        Uf::Mg => MINAS_GERAIS,
        Uf::Ms => MATO_GROSSO_DO_SUL,
        Uf::Mt => &[],
        Uf::Pa => PARA,
        Uf::Pb => PARAIBA,
        Uf::Pe => PERNAMBUCO,
        Uf::Pi => PIAUI,
        Uf::Pr => PARANA,
        Uf::Rj => RIO_DE_JANEIRO,
        Uf::Rn => RIO_GRANDE_DO_NORTE,
        Uf::Ro => RONDONIA,
        Uf::Rr => RORAIMA,
        Uf::Rs => RIO_GRANDE_DO_SUL,
        Uf::Sc => SANTA_CATARINA,
        Uf::Se => SERGIPE,
        Uf::Sp => SAO_PAULO,
        Uf::To => TOCANTINS,
    }
}

/// Lei estadual 2.126/2009 moves to the Friday whatever falls on a Tuesday, Wednesday or Thursday, except the state's
/// birthday. The *Dia do Católico* is of Lei estadual 3.137/2016; in some years (2020, 2026) a decree put it on another day of
/// its week, which belongs into the configuration.
const ACRE: &[Rule] = &[
    Rule::new("Dia do Católico", Day::FridayIfMidweek { month: 1, day: 20 }).from(2017),
    Rule::new("Dia do Evangélico", Day::FridayIfMidweek { month: 1, day: 23 }).from(2009),
    Rule::new("Dia Internacional da Mulher", Day::FridayIfMidweek { month: 3, day: 8 }).from(2009),
    Rule::fixed("Aniversário do Acre", 6, 15),
    Rule::new("Dia da Amazônia", Day::FridayIfMidweek { month: 9, day: 5 }).from(2009),
    Rule::new("Assinatura do Tratado de Petrópolis", Day::FridayIfMidweek { month: 11, day: 17 }).from(2009),
];

const ALAGOAS: &[Rule] = &[
    Rule::fixed("São João", 6, 24),
    Rule::fixed("São Pedro", 6, 29),
    Rule::fixed("Emancipação Política de Alagoas", 9, 16),
    Rule::fixed("Dia do Evangélico", 11, 30).from(2013),
];

const AMAZONAS: &[Rule] = &[Rule::fixed("Elevação do Amazonas à categoria de província", 9, 5)];

/// Without *São Tiago* (25 July): the Supreme Court annulled its Lei estadual 1.696/2012 on 20 September 2018 (ADI 4.820).
const AMAPA: &[Rule] = &[Rule::fixed("São José", 3, 19).from(2003), Rule::fixed("Criação do Território Federal", 9, 13)];

const BAHIA: &[Rule] = &[Rule::fixed("Independência da Bahia", 7, 2)];

const CEARA: &[Rule] = &[
    Rule::fixed("São José", 3, 19),
    Rule::fixed("Abolição da escravidão no Ceará", 3, 25),
    Rule::fixed("Nossa Senhora da Assunção", 8, 15).from(2004),
];

const DISTRITO_FEDERAL: &[Rule] = &[Rule::fixed("Fundação de Brasília", 4, 21), Rule::fixed("Dia do Evangélico", 11, 30)];

/// Lei estadual 11.010/2019.
const ESPIRITO_SANTO: &[Rule] = &[Rule::new("Nossa Senhora da Penha", Day::AfterEaster { days: 8 }).from(2020)];

const GOIAS: &[Rule] = &[Rule::fixed("Fundação da cidade de Goiás", 7, 26), Rule::fixed("Pedra fundamental de Goiânia", 10, 24)];

const MARANHAO: &[Rule] = &[Rule::fixed("Adesão do Maranhão à independência do Brasil", 7, 28)];

const MINAS_GERAIS: &[Rule] = &[Rule::fixed("Execução de Tiradentes", 4, 21)];

const MATO_GROSSO_DO_SUL: &[Rule] = &[Rule::fixed("Criação do Estado", 10, 11)];

const PARA: &[Rule] = &[Rule::fixed("Adesão do Grão-Pará à independência do Brasil", 8, 15)];

const PARAIBA: &[Rule] = &[Rule::fixed("Fundação do Estado", 8, 5)];

/// Lei estadual 16.059/2017: before, it was the first Sunday of March.
const PERNAMBUCO: &[Rule] = &[Rule::fixed("Revolução Pernambucana de 1817", 3, 6).from(2018)];

const PIAUI: &[Rule] = &[Rule::fixed("Dia do Piauí", 10, 19)];

/// Lei estadual 18.384/2014 ended the *Emancipação do Paraná* (19 December).
const PARANA: &[Rule] = &[Rule::fixed("Nossa Senhora do Rocio", 11, 15).from(2014)];

/// Lei estadual 5.243/2008 (Carnival) and Lei estadual 5.198/2008 (*São Jorge*).
const RIO_DE_JANEIRO: &[Rule] =
    &[Rule::new("Carnaval", Day::AfterEaster { days: -47 }).from(2009), Rule::fixed("São Jorge", 4, 23).from(2008)];

const RIO_GRANDE_DO_NORTE: &[Rule] =
    &[Rule::fixed("Dia do Rio Grande do Norte", 8, 7).from(2000), Rule::fixed("Mártires de Cunhaú e Uruaçu", 10, 3).from(2007)];

/// Without the *Dia do Evangélico* (18 June): the Supreme Court annulled its Lei estadual 1.026/2001 in March 2020 (ADI 3.940).
const RONDONIA: &[Rule] = &[Rule::fixed("Criação do Estado", 1, 4)];

const RORAIMA: &[Rule] = &[Rule::fixed("Criação do Estado", 10, 5)];

const RIO_GRANDE_DO_SUL: &[Rule] = &[Rule::fixed("Dia do Gaúcho", 9, 20)];

/// Both days are kept on a Sunday, and so never close a weekday.
const SANTA_CATARINA: &[Rule] = &[
    Rule::new("Dia do Estado de Santa Catarina", Day::SundayFrom { month: 8, day: 11 }).from(2005),
    Rule::new("Dia de Santa Catarina de Alexandria", Day::SundayFrom { month: 11, day: 25 }).from(2005),
];

const SERGIPE: &[Rule] = &[Rule::fixed("Emancipação política de Sergipe", 7, 8)];

/// Lei estadual 9.497/1997.
const SAO_PAULO: &[Rule] = &[Rule::fixed("Revolução Constitucionalista", 7, 9).from(1997)];

const TOCANTINS: &[Rule] = &[
    Rule::fixed("Dia da Autonomia", 3, 18).from(1998),
    Rule::fixed("Nossa Senhora da Natividade", 9, 8),
    Rule::fixed("Criação do Estado", 10, 5),
];
