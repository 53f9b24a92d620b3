//! What the configuration calls things stays here: a support bundle says `channel 1`, the same in every part of it.

use regua_domain::configuration::Configuration;
use std::collections::BTreeMap;

/// The names that were met, and what stands for them.
#[derive(Default)]
pub struct Names(BTreeMap<(&'static str, String), usize>);

impl Names {
    /// Those of a configuration, numbered in its own order.
    pub fn of(configuration: &Configuration) -> Self {
        let mut names = Self::default();
        configuration.integrations.iter().for_each(|one| drop(names.alias("integration", &one.name)));
        configuration.businesses.iter().for_each(|one| drop(names.alias("business", &one.name)));
        configuration.channels.iter().for_each(|one| drop(names.alias("channel", &one.name)));
        configuration.notices.iter().for_each(|one| drop(names.alias("notice", &one.name)));
        configuration.policies.iter().for_each(|one| drop(names.alias("policy", &one.name)));
        configuration.tasks.iter().for_each(|one| drop(names.alias("task", &one.name)));
        configuration.sources.iter().for_each(|one| drop(names.alias("source", &one.name)));
        names
    }

    /// What stands for a name of a kind; one that wasn't met yet gets the next number.
    pub fn alias(&mut self, kind: &'static str, name: &str) -> String {
        let next = 1 + self.0.keys().filter(|(known, _)| *known == kind).count();
        format!("{kind} {}", self.0.entry((kind, name.to_owned())).or_insert(next))
    }

    /// What stands for a name whose kind isn't told: that of the configuration, if it has the name.
    pub fn any(&mut self, name: &str) -> String {
        let known = self.0.iter().find(|((_, known), _)| known == name).map(|((kind, _), number)| format!("{kind} {number}"));
        known.unwrap_or_else(|| self.alias("other", name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_of_its_kind_wherever_it_is_met() {
        let mut names = Names::default();
        assert_eq!(names.alias("channel", "Cobrança"), "channel 1");
        assert_eq!(names.alias("channel", "Vendas"), "channel 2");
        assert_eq!(names.alias("policy", "Cobrança"), "policy 1");
        assert_eq!(names.alias("channel", "Cobrança"), "channel 1");
        assert_eq!(names.any("Vendas"), "channel 2");
        assert_eq!(names.any("Maria"), "other 1");
    }
}
