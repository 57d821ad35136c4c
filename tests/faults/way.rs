//! The way to one backend: a server of the test's own, or a double, with a proxy in front of it.

use std::sync::Arc;

use faktor::config::Secret;

use crate::cloudinary_double::CloudinaryDouble;
use crate::own_server::OwnServer;
use crate::s3_double::S3Double;
use crate::sign_on::SignOn;
use crate::support::backends::backend;
use crate::support::fault_proxy::{FaultProxy, host_of};

/// What each node of these tests stands on besides.
const OTHERS: [&str; 6] = ["POSTGRES", "MONGO", "REDIS", "KAFKA", "SMTP", "SMTP_API"];

/// What is at the end of the way.
pub(crate) enum Server {
    /// Can be killed.
    Own(OwnServer),
    S3(Arc<S3Double>),
    Cloudinary(Arc<CloudinaryDouble>),
    SignOn(SignOn),
}

pub(crate) struct Way {
    pub(crate) server: Server,
    pub(crate) proxy: FaultProxy,
    /// The server's address by way of the proxy.
    pub(crate) url: String,
}

impl Way {
    /// None when a server is missing: then the test is skipped.
    pub(crate) async fn to(name: &str) -> Option<Self> {
        for other in OTHERS {
            backend(other)?;
        }
        Some(match name {
            "S3" => Self::to_s3().await,
            "CLOUDINARY" => Self::to_cloudinary().await,
            "OIDC" => Self::to_issuer().await,
            "KAFKA" => Self::to_kafka().await,
            name => {
                backend(name)?;
                Self::to_own(name).await
            }
        })
    }

    async fn to_own(name: &str) -> Self {
        let own = OwnServer::start(name).await;
        let address = own.address(name);
        let proxy = FaultProxy::before(host_of(&address)).await;
        let url = proxy.url(&address);
        let server = Server::Own(own);
        Self { server, proxy, url }
    }

    /// The broker tells who comes by the proxy to go there again.
    async fn to_kafka() -> Self {
        let own = OwnServer::start("KAFKA").await;
        let (listen, behind) = (
            own.address("KAFKA_FAULT"),
            own.address("KAFKA_BEHIND_FAULT"),
        );
        let proxy = FaultProxy::at(&listen, &behind).await;
        let (url, server) = (format!("kafka://{listen}"), Server::Own(own));
        Self { server, proxy, url }
    }

    async fn to_s3() -> Self {
        let double = S3Double::start().await;
        let proxy = FaultProxy::before(host_of(&double.address)).await;
        let by_proxy = proxy.url(&double.address);
        let url = double.url().replace(&double.address, &by_proxy);
        let server = Server::S3(double);
        Self { server, proxy, url }
    }

    async fn to_cloudinary() -> Self {
        let double = CloudinaryDouble::start().await;
        let proxy = FaultProxy::before(host_of(&double.address)).await;
        let by_proxy = proxy.url(&double.address);
        let url = double.url().replace(&double.address, &by_proxy);
        let server = Server::Cloudinary(double);
        Self { server, proxy, url }
    }

    async fn to_issuer() -> Self {
        let (sign_on, proxy) = SignOn::behind_a_proxy().await;
        let url = sign_on.issuer.url.clone();
        let server = Server::SignOn(sign_on);
        Self { server, proxy, url }
    }

    pub(crate) fn secret(&self) -> Secret {
        Secret::new(self.url.clone())
    }

    /// The server, when the test may kill it.
    pub(crate) fn own(&self) -> Option<&OwnServer> {
        match &self.server {
            Server::Own(own) => Some(own),
            _ => None,
        }
    }

    pub(crate) fn sign_on(&self) -> Option<&SignOn> {
        match &self.server {
            Server::SignOn(sign_on) => Some(sign_on),
            _ => None,
        }
    }
}
