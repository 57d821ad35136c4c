//! `/v1/customers`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answer::{json, no_content, resource, resource_unless_known, to_json};
use super::conditional::{IfMatch, IfNoneMatch};
use super::error::ApiError;
use super::extract::{Authenticated, Id, Params, Payload};
use super::idempotency::{Answer, Key, idempotent};
use super::input::{Field, Object, Patch};
use super::invoices::content::join;
use super::openapi::{ReadErrors, WriteErrors};
use super::paging::{List, take_page};
use super::party::AddressInput;
use super::show::At;
use crate::domain::ids::CustomerId;
use crate::domain::invoice::validate;
use crate::domain::party::{Address, Customer, Locale, Metadata, Party};
use crate::domain::permission::Permission;
use crate::domain::problem::{Problem, Problems};
use crate::store::StoreError;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(read, change, delete))
}

/// A customer, as given: on change, what is given replaces and null clears.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CustomerInput, example = json!({
    "name": "Ada GmbH", "email": "ap@ada.example", "tax_id": "DE123456789", "locale": "de",
    "address": {"line1": "Ring 1", "city": "Berlin", "postal_code": "10115", "country": "DE"},
    "metadata": {"crm": "4711"}
}))]
struct CustomerInput {
    #[schema(value_type = String, example = "Ada GmbH")]
    #[serde(default)]
    name: Patch<Field<String>>,
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    email: Patch<Field<String>>,
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    phone: Patch<Field<String>>,
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    tax_id: Patch<Field<String>>,
    #[schema(value_type = Option<AddressInput>)]
    #[serde(default)]
    address: Patch<Object<AddressInput>>,
    /// The language of documents and mails: en, de, fr, es, it, nl, pl, pt or vi.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    locale: Patch<Field<Locale>>,
    /// At most 50 keys.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    #[serde(default)]
    metadata: Patch<Field<Metadata>>,
}

impl CustomerInput {
    /// Lays what is given over a customer and checks the whole.
    fn apply(self, customer: &mut Customer) -> Result<(), Vec<Problem>> {
        let mut found = Problems::new();
        let problems = &mut found;
        let party = &mut customer.party;
        self.name.apply_required(&mut party.name, "name", problems);
        self.email.apply(&mut party.email, "email", problems);
        self.phone.apply(&mut party.phone, "phone", problems);
        self.tax_id.apply(&mut party.tax_id, "tax_id", problems);
        match self.address {
            Patch::Absent => {}
            Patch::Null => party.address = None,
            Patch::Value(Object(address)) => {
                party.address = Some(problems.within("address", |found| address.read(found)));
            }
        }
        self.locale.apply(&mut customer.locale, "locale", problems);
        self.metadata.apply_or(
            &mut customer.metadata,
            Metadata::new(),
            "metadata",
            problems,
        );
        let mut of_rules = validate::party(&customer.party).err().unwrap_or_default();
        of_rules.extend(
            validate::metadata(&customer.metadata)
                .err()
                .unwrap_or_default(),
        );
        let all = join(found.into_vec(), of_rules);
        if all.is_empty() { Ok(()) } else { Err(all) }
    }
}

/// A customer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Customer)]
pub struct CustomerBody<'a> {
    #[schema(value_type = String, example = "cus_0192f0c1a2b37c1e8d5f6a7b8c9d0e1f")]
    id: CustomerId,
    #[schema(example = "customer")]
    object: &'static str,
    /// Counts changes; the resource's `ETag`.
    version: u64,
    name: &'a str,
    email: Option<&'a str>,
    phone: Option<&'a str>,
    tax_id: Option<&'a str>,
    #[schema(value_type = Option<AddressInput>)]
    address: Option<&'a Address>,
    #[schema(value_type = Option<String>)]
    locale: Option<Locale>,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    metadata: &'a Metadata,
    #[schema(value_type = String)]
    created_at: At,
    #[schema(value_type = String)]
    updated_at: At,
}

fn show(customer: &Customer) -> CustomerBody<'_> {
    CustomerBody {
        id: customer.id,
        object: "customer",
        version: customer.version,
        name: &customer.party.name,
        email: customer.party.email.as_deref(),
        phone: customer.party.phone.as_deref(),
        tax_id: customer.party.tax_id.as_deref(),
        address: customer.party.address.as_ref(),
        locale: customer.locale,
        metadata: &customer.metadata,
        created_at: At(customer.created_at),
        updated_at: At(customer.updated_at),
    }
}

/// Makes a customer.
#[utoipa::path(
    post, path = "/v1/customers", tag = "customers", operation_id = "create_customer",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = CustomerInput,
    responses(
        (status = 201, description = "The customer", body = CustomerBody,
            headers(("ETag" = String), ("Location" = String))),
        WriteErrors
    )
)]
async fn create(
    State(app): State<App>,
    caller: Authenticated,
    key: Key,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceCreate)?;
    let organization = caller.organization;
    idempotent(&app, organization, &key, &payload, async {
        let input: CustomerInput = payload.json()?;
        let now = app.clock.now();
        let mut customer = Customer {
            id: CustomerId::new(key.new_id(organization, "customer")),
            organization,
            version: 1,
            party: Party::default(),
            locale: None,
            metadata: Metadata::new(),
            created_at: now,
            updated_at: now,
        };
        input.apply(&mut customer)?;
        match app.stores.directory.insert_customer(&customer).await {
            Ok(()) => {}
            // Made before, but the answer was lost before it was kept.
            Err(StoreError::Conflict | StoreError::Taken { .. }) if key.0.is_some() => {
                customer = existing(&app, &caller, customer.id).await?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Answer::json(StatusCode::CREATED, &show(&customer))?
            .at(format!("/v1/customers/{}", customer.id))
            .at_version(customer.version))
    })
    .await
}

async fn existing(app: &App, caller: &Authenticated, id: CustomerId) -> Result<Customer, ApiError> {
    let found = app
        .stores
        .directory
        .customer(caller.organization, id)
        .await?;
    found.ok_or_else(|| ApiError::not_found("customer"))
}

/// Lists customers, newest first.
#[utoipa::path(
    get, path = "/v1/customers", tag = "customers", operation_id = "list_customers",
    params(
        ("q" = Option<String>, Query, description = "Part of name or email"),
        ("limit" = Option<u16>, Query, description = "1–100, default 20"),
        ("starting_after" = Option<String>, Query, description = "A customer's id")
    ),
    responses((status = 200, description = "A part of the list", body = List<CustomerBody>), ReadErrors)
)]
async fn list(
    State(app): State<App>,
    caller: Authenticated,
    mut params: Params,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceGetAll)?;
    let q = params.take_text("q");
    let page = take_page(&mut params);
    params.finish()?;
    let directory = &app.stores.directory;
    let found = directory
        .customers(caller.organization, q.as_deref(), &page)
        .await?;
    let shown = List {
        data: found.data.iter().map(show).collect(),
        has_more: found.has_more,
        next: found
            .data
            .last()
            .filter(|_| found.has_more)
            .map(|last| last.id.to_string()),
    };
    json(StatusCode::OK, &shown)
}

/// Reads a customer.
#[utoipa::path(
    get, path = "/v1/customers/{id}", tag = "customers", operation_id = "get_customer",
    params(("id" = String, Path), ("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "The customer", body = CustomerBody, headers(("ETag" = String))),
        (status = 304, description = "The caller has this version"),
        ReadErrors
    )
)]
async fn read(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<CustomerId>,
    known: IfNoneMatch,
    params: Params,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceGetById)?;
    params.finish()?;
    let customer = existing(&app, &caller, id).await?;
    resource_unless_known(&known, customer.version, || to_json(&show(&customer)))
}

/// Changes a customer; invoices keep what they say.
#[utoipa::path(
    patch, path = "/v1/customers/{id}", tag = "customers", operation_id = "update_customer",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = CustomerInput,
    responses(
        (status = 200, description = "The customer", body = CustomerBody, headers(("ETag" = String))),
        WriteErrors
    )
)]
async fn change(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<CustomerId>,
    if_match: IfMatch,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceUpdate)?;
    let input: CustomerInput = payload.json()?;
    let mut customer = existing(&app, &caller, id).await?;
    if_match.check(customer.version)?;
    let before = customer.clone();
    input.apply(&mut customer)?;
    if customer != before {
        customer.version += 1;
        customer.updated_at = app.clock.now();
        match app.stores.directory.update_customer(&customer).await {
            Err(StoreError::Conflict) if if_match != IfMatch::Any => {
                return Err(ApiError::version_mismatch(customer.version));
            }
            written => written?,
        }
    }
    Ok(resource(
        StatusCode::OK,
        customer.version,
        to_json(&show(&customer))?,
    ))
}

/// Deletes a customer; its invoices stay.
#[utoipa::path(
    delete, path = "/v1/customers/{id}", tag = "customers", operation_id = "delete_customer",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "Deleted"), WriteErrors)
)]
async fn delete(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<CustomerId>,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceDelete)?;
    if if_match != IfMatch::Any {
        if_match.check(existing(&app, &caller, id).await?.version)?;
    }
    if app
        .stores
        .directory
        .delete_customer(caller.organization, id)
        .await?
    {
        Ok(no_content())
    } else {
        Err(ApiError::not_found("customer"))
    }
}
