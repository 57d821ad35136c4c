//! `/v1/organization`: the issuer and its settings.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{resource, resource_unless_known, to_json};
use super::conditional::{IfMatch, IfNoneMatch};
use super::error::ApiError;
use super::extract::{Authenticated, Params, Payload};
use super::input::{Field, Object, Patch};
use super::invoices::content::{TaxInput, join};
use super::openapi::{ReadErrors, WriteErrors};
use super::party::AddressInput;
use super::show::{At, Number};
use super::{App, AppState};
use crate::domain::ids::{FileId, OrganizationId};
use crate::domain::invoice::validate;
use crate::domain::limits;
use crate::domain::money::Currency;
use crate::domain::party::{Address, Locale, MailTexts, Organization, PageSize, Rounding};
use crate::domain::permission::Permission;
use crate::domain::problem::{Problem, Problems};
use crate::domain::tax::TaxCategory;
use crate::store::StoreError;

mod logo;
mod png;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(read, change))
        .merge(logo::routes())
}

/// How long settings are taken from memory: a change by another process is seen after this.
const CACHED_FOR: Duration = Duration::from_secs(5);
const CACHED_AT_MOST: u64 = 10_000;

/// The organizations' settings, so that making a draft reads nothing from the store.
pub(super) type Organizations = Cache<OrganizationId, Arc<Organization>>;

pub(super) fn cache() -> Organizations {
    Cache::builder()
        .max_capacity(CACHED_AT_MOST)
        .time_to_live(CACHED_FOR)
        .build()
}

impl AppState {
    /// The caller's organization, at most a few seconds old.
    pub async fn organization(&self, id: OrganizationId) -> Result<Arc<Organization>, ApiError> {
        if let Some(known) = self.organizations.get(&id) {
            return Ok(known);
        }
        let found = Arc::new(self.organization_now(id).await?);
        self.organizations.insert(id, Arc::clone(&found));
        Ok(found)
    }

    async fn organization_now(&self, id: OrganizationId) -> Result<Organization, ApiError> {
        let found = self.stores.directory.organization(id).await?;
        found.ok_or_else(|| ApiError::internal("a caller's organization does not exist"))
    }
}

/// A sentence of an organization's own in its mails.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MailTexts)]
struct MailTextsInput {
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    subject: Patch<Field<String>>,
    /// Stands above the invoice's summary.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    introduction: Patch<Field<String>>,
    /// Stands at the end.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    closing: Patch<Field<String>>,
}

/// Settings: what is given replaces, null clears or brings back the default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OrganizationInput, example = json!({
    "legal_name": "Example GmbH", "tax_id": "DE123456789", "iban": "DE89370400440532013000",
    "number_pattern": "{YYYY}-{0000}", "currency": "EUR", "locale": "de",
    "default_tax": {"category": "S", "rate": "19"}
}))]
struct OrganizationInput {
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    legal_name: Patch<Field<String>>,
    #[schema(value_type = Option<AddressInput>)]
    #[serde(default)]
    address: Patch<Object<AddressInput>>,
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    email: Patch<Field<String>>,
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    phone: Patch<Field<String>>,
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    tax_id: Patch<Field<String>>,
    /// The entry in a public register.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    registration: Patch<Field<String>>,
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    iban: Patch<Field<String>>,
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    bic: Patch<Field<String>>,
    /// Only null, which takes the logo away; `PUT /v1/organization/logo` sets one.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    logo: Patch<Field<FileId>>,
    /// en, de, fr, es, it, nl, pl, pt or vi.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    locale: Patch<Field<Locale>>,
    /// `a4` or `letter`.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    page_size: Patch<Field<PageSize>>,
    /// For drafts that name none.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    currency: Patch<Field<Currency>>,
    /// `{YYYY}`, `{YY}`, `{MM}` and one run of zeros in braces.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    number_pattern: Patch<Field<String>>,
    /// Days from issue to due date, at most 3650.
    #[schema(value_type = Option<u16>)]
    #[serde(default)]
    due_in_days: Patch<Field<u16>>,
    /// A sentence printed under the totals.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    payment_terms: Patch<Field<String>>,
    /// `per_rate` or `per_line`.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    rounding: Patch<Field<Rounding>>,
    /// For lines that name no tax.
    #[schema(value_type = Option<TaxInput>)]
    #[serde(default)]
    default_tax: Patch<Object<TaxInput>>,
    #[schema(value_type = Option<MailTextsInput>)]
    #[serde(default)]
    mail_texts: Patch<Object<MailTextsInput>>,
}

/// The organization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Organization)]
pub struct OrganizationBody<'a> {
    #[schema(value_type = String, example = "org_0192f0c1a2b37c1e8d5f6a7b8c9d0e1f")]
    id: OrganizationId,
    #[schema(example = "organization")]
    object: &'static str,
    /// Counts changes; the resource's `ETag`.
    version: u64,
    legal_name: &'a str,
    #[schema(value_type = Option<AddressInput>)]
    address: Option<&'a Address>,
    email: Option<&'a str>,
    phone: Option<&'a str>,
    tax_id: Option<&'a str>,
    registration: Option<&'a str>,
    iban: Option<&'a str>,
    bic: Option<&'a str>,
    /// The logo's id; `GET /v1/organization/logo` gives it.
    #[schema(value_type = Option<String>)]
    logo: Option<FileId>,
    #[schema(value_type = String)]
    locale: Locale,
    #[schema(value_type = String)]
    page_size: PageSize,
    #[schema(value_type = String, example = "EUR")]
    currency: Currency,
    #[schema(example = "{YYYY}-{0000}")]
    number_pattern: &'a str,
    due_in_days: u16,
    payment_terms: Option<&'a str>,
    #[schema(value_type = String)]
    rounding: Rounding,
    #[schema(value_type = TaxInput)]
    default_tax: DefaultTaxBody<'a>,
    #[schema(value_type = MailTextsInput)]
    mail_texts: MailTextsBody<'a>,
    #[schema(value_type = String)]
    created_at: At,
    #[schema(value_type = String)]
    updated_at: At,
}

#[derive(Debug, Serialize)]
struct DefaultTaxBody<'a> {
    category: TaxCategory,
    rate: Number,
    exemption_reason: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct MailTextsBody<'a> {
    subject: Option<&'a str>,
    introduction: Option<&'a str>,
    closing: Option<&'a str>,
}

fn show(organization: &Organization) -> OrganizationBody<'_> {
    let issuer = &organization.issuer;
    let texts = &organization.mail_texts;
    OrganizationBody {
        id: organization.id,
        object: "organization",
        version: organization.version,
        legal_name: &issuer.legal_name,
        address: issuer.address.as_ref(),
        email: issuer.email.as_deref(),
        phone: issuer.phone.as_deref(),
        tax_id: issuer.tax_id.as_deref(),
        registration: issuer.registration.as_deref(),
        iban: issuer.iban.as_deref(),
        bic: issuer.bic.as_deref(),
        logo: issuer.logo,
        locale: organization.locale,
        page_size: organization.page_size,
        currency: organization.currency,
        number_pattern: &organization.number_pattern,
        due_in_days: organization.due_in_days,
        payment_terms: organization.payment_terms.as_deref(),
        rounding: organization.rounding,
        default_tax: DefaultTaxBody {
            category: organization.default_tax.category,
            rate: Number(organization.default_tax.rate),
            exemption_reason: organization.default_tax.exemption_reason.as_deref(),
        },
        mail_texts: MailTextsBody {
            subject: texts.subject.as_deref(),
            introduction: texts.introduction.as_deref(),
            closing: texts.closing.as_deref(),
        },
        created_at: At(organization.created_at),
        updated_at: At(organization.updated_at),
    }
}

impl OrganizationInput {
    /// Lays what is given over the settings and checks the whole.
    fn apply(self, organization: &mut Organization) -> Result<(), Vec<Problem>> {
        let mut found = Problems::new();
        let problems = &mut found;
        let issuer = &mut organization.issuer;
        self.legal_name
            .apply_required(&mut issuer.legal_name, "legal_name", problems);
        match self.address {
            Patch::Absent => {}
            Patch::Null => issuer.address = None,
            Patch::Value(Object(address)) => {
                issuer.address = Some(problems.within("address", |found| address.read(found)));
            }
        }
        self.email.apply(&mut issuer.email, "email", problems);
        self.phone.apply(&mut issuer.phone, "phone", problems);
        self.tax_id.apply(&mut issuer.tax_id, "tax_id", problems);
        self.registration
            .apply(&mut issuer.registration, "registration", problems);
        self.iban.apply(&mut issuer.iban, "iban", problems);
        self.bic.apply(&mut issuer.bic, "bic", problems);
        let logo = issuer.logo;
        self.logo.apply(&mut issuer.logo, "logo", problems);
        if issuer.logo.is_some() && issuer.logo != logo {
            problems.add(
                "logo",
                "unknown_file",
                "set a logo by PUT /v1/organization/logo",
            );
        }
        self.locale
            .apply_or(&mut organization.locale, Locale::En, "locale", problems);
        self.page_size.apply_or(
            &mut organization.page_size,
            PageSize::A4,
            "page_size",
            problems,
        );
        self.currency
            .apply_required(&mut organization.currency, "currency", problems);
        self.number_pattern.apply_required(
            &mut organization.number_pattern,
            "number_pattern",
            problems,
        );
        self.due_in_days
            .apply_required(&mut organization.due_in_days, "due_in_days", problems);
        self.payment_terms
            .apply(&mut organization.payment_terms, "payment_terms", problems);
        self.rounding.apply_or(
            &mut organization.rounding,
            Rounding::PerRate,
            "rounding",
            problems,
        );
        match self.default_tax {
            Patch::Absent => {}
            Patch::Null => problems.add("default_tax", "required", "this field can't be cleared"),
            Patch::Value(Object(tax)) => {
                organization.default_tax = problems.within("default_tax", |found| tax.read(found));
            }
        }
        match self.mail_texts {
            Patch::Absent => {}
            Patch::Null => organization.mail_texts = MailTexts::default(),
            Patch::Value(Object(texts)) => {
                problems.within("mail_texts", |found| {
                    let own = &mut organization.mail_texts;
                    texts.subject.apply(&mut own.subject, "subject", found);
                    texts
                        .introduction
                        .apply(&mut own.introduction, "introduction", found);
                    texts.closing.apply(&mut own.closing, "closing", found);
                });
            }
        }
        organization.issuer = validate::normalized_issuer(&organization.issuer);
        let all = join(found.into_vec(), check(organization));
        if all.is_empty() { Ok(()) } else { Err(all) }
    }
}

/// Every rule for settings.
fn check(organization: &Organization) -> Vec<Problem> {
    let mut problems = Problems::new();
    if organization.due_in_days > limits::DUE_IN_DAYS {
        let detail = format!("at most {} days", limits::DUE_IN_DAYS);
        problems.add("due_in_days", "out_of_range", detail);
    }
    let terms = organization.payment_terms.as_deref().unwrap_or_default();
    if terms.chars().count() > limits::TEXT_CHARS {
        let detail = format!("at most {} characters", limits::TEXT_CHARS);
        problems.add("payment_terms", "too_long", detail);
    }
    let mut found = problems.into_vec();
    for checked in [
        validate::issuer(&organization.issuer),
        validate::number_pattern(&organization.number_pattern),
        validate::tax("default_tax", &organization.default_tax),
        validate::mail_texts(&organization.mail_texts),
        crate::render::mail::check_mail_texts(&organization.mail_texts),
    ] {
        found.extend(checked.err().unwrap_or_default());
    }
    found
}

/// Reads the caller's organization.
#[utoipa::path(
    get, path = "/v1/organization", tag = "organization", operation_id = "get_organization",
    params(("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "The organization", body = OrganizationBody,
            headers(("ETag" = String))),
        (status = 304, description = "The caller has this version"),
        ReadErrors
    )
)]
async fn read(
    State(app): State<App>,
    caller: Authenticated,
    known: IfNoneMatch,
    params: Params,
) -> Result<Response, ApiError> {
    params.finish()?;
    let organization = app.organization_now(caller.organization).await?;
    resource_unless_known(&known, organization.version, || {
        to_json(&show(&organization))
    })
}

/// Changes settings. Issued invoices keep what they say.
#[utoipa::path(
    patch, path = "/v1/organization", tag = "organization", operation_id = "update_organization",
    params(("If-Match" = Option<String>, Header)),
    request_body = OrganizationInput,
    responses(
        (status = 200, description = "The organization", body = OrganizationBody,
            headers(("ETag" = String))),
        WriteErrors
    )
)]
async fn change(
    State(app): State<App>,
    caller: Authenticated,
    if_match: IfMatch,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::UserUpdate)?;
    let input: OrganizationInput = payload.json()?;
    let organization = update(&app, caller.organization, &if_match, |settings| {
        input.apply(settings)
    })
    .await?;
    Ok(resource(
        StatusCode::OK,
        organization.version,
        to_json(&show(&organization))?,
    ))
}

/// Reads the settings, changes them and writes them back, if nobody else did in between.
async fn update(
    app: &App,
    id: OrganizationId,
    if_match: &IfMatch,
    change: impl FnOnce(&mut Organization) -> Result<(), Vec<Problem>>,
) -> Result<Organization, ApiError> {
    let before = app.organization_now(id).await?;
    if_match.check(before.version)?;
    let mut organization = before.clone();
    change(&mut organization)?;
    if organization == before {
        return Ok(organization);
    }
    organization.version += 1;
    organization.updated_at = app.clock.now();
    let written = app
        .stores
        .directory
        .update_organization(&organization)
        .await;
    app.organizations.invalidate(&id);
    match written {
        Ok(()) => Ok(organization),
        Err(StoreError::Conflict) if *if_match != IfMatch::Any => {
            Err(ApiError::version_mismatch(before.version))
        }
        Err(error) => Err(error.into()),
    }
}
