//! TLS between nodes: both sides show a certificate, and both check it against one authority.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{LinkTls, LinksError};

#[derive(Clone)]
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    pub(super) connector: TlsConnector,
}

fn refused(path: &Path, problem: impl ToString) -> LinksError {
    LinksError::Tls {
        path: path.display().to_string(),
        problem: problem.to_string(),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LinksError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| refused(path, error))?
        .collect();
    match found {
        Ok(certificates) if certificates.is_empty() => {
            Err(refused(path, "it holds no certificate"))
        }
        found => found.map_err(|error| refused(path, error)),
    }
}

/// Reads the files, and checks that key and certificate belong together.
pub(super) fn load(files: &LinkTls) -> Result<Tls, LinksError> {
    let chain = certificates(&files.cert)?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| refused(&files.key, error))?;
    let mut authority = RootCertStore::empty();
    for certificate in certificates(&files.ca)? {
        authority
            .add(certificate)
            .map_err(|error| refused(&files.ca, error))?;
    }
    let authority = Arc::new(authority);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&authority), Arc::clone(&provider))
            .build()
            .map_err(|error| refused(&files.ca, error))?;
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| refused(&files.cert, error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(|error| refused(&files.cert, error))?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| refused(&files.cert, error))?
        .with_root_certificates(authority)
        .with_client_auth_cert(chain, key)
        .map_err(|error| refused(&files.cert, error))?;
    Ok(Tls {
        acceptor: TlsAcceptor::from(Arc::new(server)),
        connector: TlsConnector::from(Arc::new(client)),
    })
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// An end of TLS at which every handshake fails.
pub(super) fn closed() -> Option<TlsAcceptor> {
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .ok()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(NoCertificate));
    Some(TlsAcceptor::from(Arc::new(config)))
}
