//! The HTTP client: the one place where a request to the ERP is made.

use super::answer::{Listing, read_listing};
use super::config::{ConfigError, IxcConfig};
use super::error::IxcError;
use super::query::{DateForm, Filter, Operator, Query, Resource};
use crate::columns::{Scalar, columns};
use crate::problem::FieldProblem;
use crate::record::{Record, sealed::Sealed};
use crate::value::Origin;
use regua_domain::configuration::url::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The most ids in one request.
pub(super) const IDS_PER_REQUEST: usize = 200;

/// A reader of one ERP. Clones share the connections.
///
/// It follows no redirects, retries nothing, drops connections idle for 3 s, and bounds bodies and times. A process that reads
/// `https` addresses installs rustls' default provider first.
#[derive(Clone)]
pub struct IxcClient {
    shared: Arc<Shared>,
}

struct Shared {
    http: reqwest::Client,
    base: Url,
    user: String,
    secret: SecretString,
    body_bytes_max: usize,
    page_size: usize,
    date_form: OnceLock<DateForm>,
}

impl std::fmt::Debug for IxcClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IxcClient").field("base", &self.shared.base.as_str()).finish_non_exhaustive()
    }
}

impl IxcClient {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    /// [`ConfigError`] for what is wrong by itself: the address, the token's form, a bound.
    pub fn new(config: &IxcConfig) -> Result<Self, ConfigError> {
        config.check_bounds()?;
        let base = config.base()?;
        let (user, secret) = config.user_and_secret()?;
        let shared = Shared {
            http: http(config).build().map_err(ConfigError::Client)?,
            base,
            user,
            secret,
            body_bytes_max: config.body_bytes_max,
            page_size: usize::from(config.page_size),
            date_form: OnceLock::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Asks the cheapest list there is, one row of `empresa`: the ERP has no health endpoint (contracts §2.1).
    ///
    /// # Errors
    /// Any [`IxcError`] of a list.
    pub async fn probe(&self) -> Result<(), IxcError> {
        let query = Query::new(Resource::Companies, Filter::new("id", Operator::Greater, 0), 1);
        self.list::<Company>(&query).await.map(|_| ())
    }

    /// Rows per page.
    pub(super) fn page_size(&self) -> usize {
        self.shared.page_size
    }

    /// The written form of dates in filters, once it is known.
    pub(super) fn known_date_form(&self) -> &OnceLock<DateForm> {
        &self.shared.date_form
    }

    /// Lists one answer's rows.
    pub(super) async fn list<T: Record>(&self, query: &Query) -> Result<Listing<T>, IxcError> {
        debug_assert_eq!(T::RESOURCE, query.resource.table(), "a record is read from its own resource");
        let body = self.post(query.resource.table(), query.body().expect("strings are serialisable"), None).await?;
        read_listing(&body, query.rows_max)
    }

    /// The only request of this crate. The header makes it a list; without it the same URL may insert a record. `within` takes the place of the
    /// configured time-out.
    pub(super) async fn post(
        &self,
        resource: &'static str,
        body: Vec<u8>,
        within: Option<Duration>,
    ) -> Result<Vec<u8>, IxcError> {
        let shared = &*self.shared;
        let mut url = shared.base.clone();
        url.path_segments_mut().expect("an http address has a path").push(resource);
        let mut request = shared.http.post(url);
        if let Some(within) = within {
            request = request.timeout(within);
        }
        let answer = request
            .basic_auth(&shared.user, Some(shared.secret.expose_secret()))
            .header("ixcsoft", HeaderValue::from_static("listar"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .body(body)
            .send()
            .await
            .map_err(transport_error)?;
        let status = answer.status();
        match status.as_u16() {
            200..=299 => read_bounded(answer, shared.body_bytes_max).await,
            300..=399 => Err(IxcError::Redirected { status: status.as_u16() }),
            401 | 403 => Err(IxcError::Unauthorized { status: status.as_u16() }),
            status => Err(IxcError::Status { status }),
        }
    }
}

fn http(config: &IxcConfig) -> reqwest::ClientBuilder {
    regua_outbound::builder(config.allow_private).connect_timeout(config.connect_timeout).timeout(config.request_timeout)
}

async fn read_bounded(mut answer: reqwest::Response, bytes_max: usize) -> Result<Vec<u8>, IxcError> {
    if answer.content_length().is_some_and(|length| length > bytes_max as u64) {
        return Err(IxcError::BodyTooLarge { bytes_max });
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(transport_error)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(IxcError::BodyTooLarge { bytes_max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Tells what happened without the URL: it is in the configuration, and logs need it once only.
fn transport_error(error: reqwest::Error) -> IxcError {
    let error = error.without_url();
    if regua_outbound::leads_inside(&error) {
        IxcError::PrivateAddress
    } else if error.is_connect() {
        IxcError::Unreachable(error)
    } else if error.is_timeout() {
        IxcError::TimedOut(error)
    } else {
        IxcError::Interrupted(error)
    }
}

columns! {
    /// `empresa`: only whether it can be listed matters.
    CompanyColumns { id }
}

/// A company of the provider; none of its columns is needed.
struct Company;

impl Sealed for Company {}
impl Record for Company {
    type Columns = CompanyColumns;
    const RESOURCE: &'static str = Resource::Companies.table();

    fn id_column(columns: &CompanyColumns) -> &Scalar {
        &columns.id
    }

    fn from_columns(_: &CompanyColumns, _: Origin) -> Result<Self, FieldProblem> {
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_public_name_that_leads_into_the_own_network_is_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("it can be asked");
        let port = listener.local_addr().expect("its port").port();
        let config = IxcConfig::new("https://erp.example", "1:abc".to_owned().into());
        let http = http(&config).tls_backend_preconfigured(test_tls()).build().expect("a client");
        let error = http.get(format!("https://localhost:{port}/")).send().await.expect_err("a refusal");
        assert!(matches!(transport_error(error), IxcError::PrivateAddress));
        assert!(listener.accept().is_err(), "nobody came");
        let error = http.get(format!("http://127.0.0.1:{port}/")).send().await.expect_err("a refusal");
        assert!(error.is_builder() && listener.accept().is_err(), "nor unencrypted: {error:?}");
    }

    fn test_tls() -> rustls::ClientConfig {
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth()
    }
}
