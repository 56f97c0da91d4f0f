//! Certificates, made as they are needed, and configurations of TLS with them.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use wireframe::tls::{TlsAcceptor, TlsConnector};

/// The name of all servers.
const SERVER: &str = "db.example";

/// Who signs certificates.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate, and the key that it is about.
#[derive(Debug)]
pub struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Identity {
    /// The certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// Certificate and key, as text.
    pub fn pem(&self) -> String {
        self.certificate.pem() + &self.key.serialize_pem()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// One that nobody knows yet.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its own certificate, as text.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for that name.
    pub fn sign(&self, name: &str) -> Identity {
        self.sign_until(name, 4096)
    }

    /// One that is of no use any more.
    pub fn sign_expired(&self, name: &str) -> Identity {
        self.sign_until(name, 2001)
    }

    fn sign_until(&self, name: &str, year: i32) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name = named(name);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity { certificate, key }
    }

    /// A server of this authority, which may ask for certificates of it.
    pub fn server(&self, clients: bool) -> TlsAcceptor {
        TlsAcceptor::new(self.server_config(clients))
    }

    /// A server with an expired certificate.
    pub fn expired_server(&self) -> TlsAcceptor {
        TlsAcceptor::new(self.server_config_as(&self.sign_expired(SERVER), false))
    }

    /// What such a server is configured with.
    pub fn server_config(&self, clients: bool) -> Arc<ServerConfig> {
        self.server_config_as(&self.sign(SERVER), clients)
    }

    fn server_config_as(&self, identity: &Identity, clients: bool) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(provider());
        let config = config.with_safe_default_protocol_versions().expect("some");
        let config = match clients {
            true => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(self.trusted(), provider());
                config.with_client_cert_verifier(verifier.build().expect("an authority"))
            }
            false => config.with_no_client_auth(),
        };
        let mut config = config
            .with_single_cert(vec![identity.certificate()], identity.key())
            .expect("a certificate");
        config.alpn_protocols = vec![b"wireframe".to_vec()];
        Arc::new(config)
    }

    /// What a client needs that trusts this authority, and may have a certificate.
    pub fn client(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(provider());
        let config = config.with_safe_default_protocol_versions().expect("some");
        let config = config.with_root_certificates(self.trusted());
        let mut config = match identity {
            Some(identity) => config
                .with_client_auth_cert(vec![identity.certificate()], identity.key())
                .expect("a certificate"),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"wireframe".to_vec()];
        Arc::new(config)
    }

    /// A client that trusts this authority, and may have a certificate.
    pub fn connector(&self, identity: Option<&Identity>) -> TlsConnector {
        let name = SERVER.try_into().expect("a name");
        TlsConnector::new(self.client(identity), name)
    }

    fn trusted(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        Arc::new(roots)
    }
}

/// Whose name is that of the issuer has signed itself, as OpenSSL sees it.
fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
