//! Names of cities and states: the ERP's customers often carry ids in their place (contracts §2.3, sample `ixc-cliente-list.json`).

use super::client::IxcClient;
use super::error::IxcError;
use super::query::{Filter, Operator, Query, Resource};
use crate::columns::{Scalar, columns};
use crate::problem::FieldProblem;
use crate::record::{Record, field, id, is_state, sealed::Sealed};
use crate::value::{self, Origin};
use regua_domain::mirror::Customer;
use std::collections::{BTreeSet, HashMap};

/// Brazil has fewer than 6000 cities; ids beyond this many are forgotten and asked again.
const CITIES_MAX: usize = 20_000;

/// The most states listed: 27, and room for what an installation adds.
const STATES_MAX: usize = 500;

/// What is known of cities and states by their ids. Keep one per source; it is filled as ids are met.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Two letters by id; `None` until the list was read.
    states: Option<HashMap<String, String>>,
    /// Name by id; empty for an id that the ERP doesn't know.
    cities: HashMap<String, String>,
}

impl Places {
    /// Puts names where the customer has ids. An id that is not known becomes empty, which is unknown; a name stays.
    fn apply(&self, customer: &mut Customer) {
        if value::is_digits(&customer.city) {
            customer.city = self.cities.get(&customer.city).cloned().unwrap_or_default();
        }
        let state = customer.state.to_ascii_uppercase();
        customer.state = if value::is_digits(&state) {
            self.states.as_ref().and_then(|states| states.get(&state)).cloned().unwrap_or_default()
        } else if is_state(&state) {
            state
        } else {
            String::new()
        };
    }
}

impl IxcClient {
    /// Puts the names of cities and states where these customers have ids, asking the ERP's lists for ids not met before.
    ///
    /// # Errors
    /// Any [`IxcError`]; the customers are then unchanged.
    pub async fn resolve_places(&self, places: &mut Places, customers: &mut [Customer]) -> Result<(), IxcError> {
        if places.states.is_none() && customers.iter().any(|customer| value::is_digits(&customer.state)) {
            places.states = Some(self.states().await?);
        }
        if places.cities.len() > CITIES_MAX {
            places.cities.clear();
        }
        let is_new = |id: &&str| value::erp_number(id).is_some() && !places.cities.contains_key(*id);
        let new: BTreeSet<String> =
            customers.iter().map(|customer| customer.city.as_str()).filter(is_new).map(str::to_owned).collect();
        let found = self.by_id::<City>(Resource::Cities, new.iter().map(String::as_str)).await?;
        places.cities.extend(new.into_iter().map(|id| (id, String::new())));
        places.cities.extend(found.rows.into_iter().map(|city| (city.id, city.name)));
        for customer in customers {
            places.apply(customer);
        }
        Ok(())
    }

    /// Two letters by id.
    async fn states(&self) -> Result<HashMap<String, String>, IxcError> {
        let query = Query::new(Resource::States, Filter::new("id", Operator::Greater, 0), STATES_MAX);
        let listing = self.list::<State>(&query).await?;
        Ok(listing.rows.into_iter().filter_map(|listed| listed.row.ok()).map(|state| (state.id, state.letters)).collect())
    }
}

columns! {
    /// The columns of `uf` that are read.
    StateColumns { id, sigla }
}

struct State {
    id: String,
    letters: String,
}

impl Sealed for State {}
impl Record for State {
    type Columns = StateColumns;
    const RESOURCE: &'static str = Resource::States.table();

    fn id_column(columns: &StateColumns) -> &Scalar {
        &columns.id
    }

    fn from_columns(c: &StateColumns, origin: Origin) -> Result<Self, FieldProblem> {
        let letters = field!(c.sigla, origin);
        let text = letters.text()?.to_ascii_uppercase();
        if !is_state(&text) {
            return Err(letters.problem("two letters"));
        }
        Ok(Self { id: id(field!(c.id, origin))?, letters: text })
    }
}

columns! {
    /// The columns of `cidade` that are read.
    CityColumns { id, nome }
}

struct City {
    id: String,
    name: String,
}

impl Sealed for City {}
impl Record for City {
    type Columns = CityColumns;
    const RESOURCE: &'static str = Resource::Cities.table();

    fn id_column(columns: &CityColumns) -> &Scalar {
        &columns.id
    }

    fn from_columns(c: &CityColumns, origin: Origin) -> Result<Self, FieldProblem> {
        Ok(Self { id: id(field!(c.id, origin))?, name: field!(c.nome, origin).text()? })
    }
}
