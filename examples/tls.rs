//! The example `tls`, on any runtime: each adapter's has the `main` to it.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{error::Error, net::SocketAddr, sync::Arc};

use futures_util::future::join;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use wireframe::{
    Client, ConnectionHandle, Envelope, EnvelopeProtocol, WireframeApp,
    rt::Runtime,
    server::{ListenOptions, Server},
    tls::{
        self, TlsAcceptor, TlsConnector,
        rustls::{
            ClientConfig, RootCertStore, ServerConfig,
            crypto::{CryptoProvider, ring},
            pki_types::{CertificateDer, PrivateKeyDer},
            server::WebPkiClientVerifier,
        },
    },
};

const GREET: u32 = 1;

// ANCHOR: handler
/// Greets whoever the certificate names. That it is true was seen to in the handshake.
async fn greet(connection: ConnectionHandle) -> String {
    let tls = connection.tls();
    let certificate = tls.and_then(|tls| tls.peer_certificates.first());
    let name = certificate.and_then(name_in);
    format!("hello {}", name.as_deref().unwrap_or("whoever you are"))
}

/// The first name that the certificate is for.
fn name_in(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    certificate.valid_dns_names().next().map(str::to_owned)
}
// ANCHOR_END: handler

// ANCHOR: server
/// Clients need a certificate of the authority.
fn acceptor(authority: &Authority) -> Result<TlsAcceptor, Box<dyn Error>> {
    let clients = WebPkiClientVerifier::builder_with_provider(authority.trusted()?, provider());
    let (certificate, key) = authority.sign("greeter.example")?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients.build()?)
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::new(Arc::new(config)))
}

async fn bind<R: Runtime>(tls: TlsAcceptor) -> Result<Server<R>, Box<dyn Error>> {
    let mut options = ListenOptions::default();
    options.tls = Some(tls);
    Ok(Server::bind_with("127.0.0.1:0", &options).await?)
}
// ANCHOR_END: server

// ANCHOR: client
/// To a server whose certificate is of the authority; as somebody, or nobody.
fn connector(authority: &Authority, name: Option<&str>) -> Result<TlsConnector, Box<dyn Error>> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authority.trusted()?);
    let config = match name {
        Some(name) => {
            let (certificate, key) = authority.sign(name)?;
            config.with_client_auth_cert(vec![certificate], key)?
        }
        None => config.with_no_client_auth(),
    };
    let server = "greeter.example".try_into()?;
    Ok(TlsConnector::new(Arc::new(config), server))
}

async fn connect<R: Runtime>(
    address: SocketAddr,
    tls: &TlsConnector,
) -> Result<Client, Box<dyn Error>> {
    let client = tls::connect::<R, EnvelopeProtocol>(address, tls, WireframeApp::new());
    Ok(client.await?)
}
// ANCHOR_END: client

/// Runs a server and two clients, of which one has no certificate.
pub(crate) async fn run<R: Runtime>() -> Result<(), Box<dyn Error>> {
    let authority = Authority::new()?;
    let server = bind::<R>(acceptor(&authority)?).await?;
    let (address, handle) = (server.local_addr()?, server.handle());
    println!("server   listens on {address}, over TLS");
    let using = async {
        let used = use_it::<R>(address, &authority).await;
        handle.shutdown();
        used
    };
    let app = WireframeApp::new().route(GREET, greet);
    let (served, used) = join(server.serve(app), using).await;
    used?;
    served?;
    println!(
        "server   handshakes that failed: {}",
        handle.failed_handshakes()
    );
    Ok(())
}

async fn use_it<R: Runtime>(
    address: SocketAddr,
    authority: &Authority,
) -> Result<(), Box<dyn Error>> {
    let ana = connect::<R>(address, &connector(authority, Some("ana.example"))?).await?;
    let reply = ana.call(Envelope::new(GREET, "")).await?;
    println!("ana      {}", String::from_utf8_lossy(&reply.payload));
    if reply.payload != "hello ana.example" {
        return Err("that is not her".into());
    }
    // With TLS 1.3 a client learns only behind the handshake that it is not welcome.
    let refused = match connect::<R>(address, &connector(authority, None)?).await {
        Ok(nobody) => nobody
            .call(Envelope::new(GREET, ""))
            .await
            .err()
            .map(Into::into),
        Err(error) => Some(error),
    };
    let refused = refused.ok_or("nobody was let in")?;
    println!("nobody   {refused}");
    Ok(())
}

/// Who signs certificates. Yours come from files, or from a service.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate()?).map(Self)
    }

    fn trusted(&self) -> Result<Arc<RootCertStore>, Box<dyn Error>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone())?;
        Ok(Arc::new(roots))
    }

    /// A certificate for that name, and its key.
    fn sign(
        &self,
        name: &str,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new([name.to_owned()])?;
        let certificate = params.signed_by(&key, &self.0)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok((certificate.der().clone(), key))
    }
}

/// The cryptography, which is yours to choose.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
