//! The bare axum servers that ours is compared with: what somebody would write who wants just this
//! one route.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bytes::Bytes;
use faktor::clock;
use faktor::domain::ids::{EventId, InvoiceId};
use faktor::domain::invoice::Invoice;
use faktor::domain::invoice::entry::{Entry, Recorded};
use faktor::domain::invoice::event::PublicEvent;
use faktor::http::invoices::content::ContentInput;
use faktor::http::invoices::representation::{self, Links};
use faktor::store::sql::{SqliteOptions, SqliteStore};
use faktor::store::{Commit, Epoch, Stores};
use serde::{Deserialize, Serialize};

/// Makes this program a bare server.
pub(crate) const ARGUMENT: &str = "bare-server";

/// What a create wrote and answered, once.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Template {
    pub(crate) invoice: Invoice,
    pub(crate) recorded: Vec<Recorded>,
    pub(crate) events: Vec<PublicEvent>,
    pub(crate) answer: String,
}

/// `create DIRECTORY TEMPLATE`, `create-json DIRECTORY TEMPLATE` or `read FILE`.
pub(crate) fn run(arguments: &[String]) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let router = match arguments {
            [kind, directory, template] if kind.starts_with("create") => {
                let template = std::fs::read(template).unwrap();
                let template = serde_json::from_slice(&template).unwrap();
                creating(directory.into(), template, kind == "create-json").await
            }
            [kind, file] if kind == "read" => reading(std::fs::read(file).unwrap().into()),
            _ => panic!("{arguments:?}"),
        };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        println!("{}", listener.local_addr().unwrap());
        std::io::stdout().flush().unwrap();
        axum::serve(listener, router).await.unwrap();
    });
}

struct Creating {
    stores: Stores,
    template: Template,
    answer: Bytes,
    /// Reads its body and writes its answer, instead of taking neither for what it is.
    json: bool,
}

async fn creating(directory: PathBuf, template: Template, json: bool) -> Router {
    let (stores, _) = SqliteStore::open(&directory, SqliteOptions::default())
        .await
        .unwrap();
    let answer = template.answer.clone().into();
    let state = Arc::new(Creating {
        stores,
        template,
        answer,
        json,
    });
    Router::new()
        .route("/v1/invoices", post(create))
        .with_state(state)
}

async fn create(State(state): State<Arc<Creating>>, body: Bytes) -> impl IntoResponse {
    assert!(!body.is_empty());
    if state.json {
        let content: ContentInput = serde_json::from_slice(&body).unwrap();
        assert!(content.customer().is_none());
    }
    let id = InvoiceId::new(clock::new_uuid());
    let mut template = state.template.clone();
    template.invoice.id = id;
    for recorded in &mut template.recorded {
        if let Entry::Created { id: created, .. } = &mut recorded.entry {
            *created = id;
        }
    }
    for event in &mut template.events {
        event.id = EventId::new(clock::new_uuid());
        event.invoice = id;
    }
    let invoice = Arc::new(template.invoice);
    let commit = Commit {
        invoice: Arc::clone(&invoice),
        before: None,
        epoch: Epoch(1),
        recorded: template.recorded,
        events: template.events,
    };
    state.stores.invoices.commit(commit).await.unwrap();
    let links = Links {
        public_url: "http://faktor.example",
    };
    let answer = if state.json {
        representation::bytes(&invoice, links).unwrap()
    } else {
        state.answer.clone()
    };
    let json = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::CREATED, json, answer)
}

fn reading(answer: Bytes) -> Router {
    Router::new()
        .route("/v1/invoices/{id}", get(read))
        .with_state(answer)
}

async fn read(State(answer): State<Bytes>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], answer)
}
