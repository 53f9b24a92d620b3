//! The holidays of the whole country.

use super::rule::{Day, Rule};

/// Lei 662/1949 (1 January, 1 May, 7 September, 15 November, 25 December) with Lei 10.607/2002 (21 April, 2 November),
/// Lei 6.802/1980 (12 October) and Lei 14.759/2023 (20 November).
///
/// Good Friday is the holy day that Lei 9.093/1995 names; every municipality keeps it. Carnival and Corpus Christi are days
/// off of public offices (*ponto facultativo*) and no holidays, unless a state's or a city's law makes them one.
pub(super) const RULES: &[Rule] = &[
    Rule::fixed("Confraternização Universal", 1, 1),
    Rule::new("Sexta-feira Santa", Day::AfterEaster { days: -2 }),
    Rule::fixed("Tiradentes", 4, 21),
    Rule::fixed("Dia do Trabalhador", 5, 1),
    Rule::fixed("Independência do Brasil", 9, 7),
    Rule::fixed("Nossa Senhora Aparecida", 10, 12),
    Rule::fixed("Finados", 11, 2),
    Rule::fixed("Proclamação da República", 11, 15),
    Rule::fixed("Dia Nacional de Zumbi e da Consciência Negra", 11, 20).from(2024),
    Rule::fixed("Natal", 12, 25),
];
