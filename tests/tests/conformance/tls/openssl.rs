//! OpenSSL as the client: what it finds right is right for others.

use std::{
    fs::{self, File},
    io::{self, Write},
    net::SocketAddr,
    process::{Command, Stdio},
};

use wireframe::{ConnectionHandle, WireframeApp, rt::Runtime, tls::TlsAcceptor};
use wireframe_tests::{Authority, Identity, Lines, Notes, Process, Scratch, Serving, aside, wire};

use super::serve;
use crate::support::patient;

scenarios! {
    it_trusts_the_server_and_the_server_knows_who_it_is
    it_refuses_an_authority_that_it_does_not_trust
    it_is_refused_without_a_certificate_where_one_is_required
}

/// Both have a handshake of their own.
const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

/// A client that is a process.
struct Openssl {
    process: Process,
    errors: Scratch,
    /// What it reads meanwhile.
    _files: Vec<Scratch>,
}

impl Openssl {
    /// Connects to a server whose certificate has to be of that authority, as somebody or
    /// nobody.
    fn connect(
        address: SocketAddr,
        version: &str,
        trusted: &Authority,
        identity: Option<&Identity>,
    ) -> Self {
        let authority = Scratch::with("authority", &trusted.pem());
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-no_ign_eof", version]);
        command.args(["-servername", "db.example", "-alpn", "wireframe"]);
        command.args(["-verify_return_error", "-verify_hostname", "db.example"]);
        command.arg("-CAfile").arg(authority.as_ref());
        command.arg("-connect").arg(address.to_string());
        let mut files = vec![authority];
        if let Some(identity) = identity {
            let file = Scratch::with("identity", &identity.pem());
            command.arg("-cert").arg(file.as_ref());
            command.arg("-key").arg(file.as_ref());
            files.push(file);
        }
        let errors = Scratch::new("errors");
        command.stderr(File::create(&errors).expect("room for a file"));
        Self {
            process: Process::start(&mut command),
            errors,
            _files: files,
        }
    }

    /// Waits for its end, which has to be a failure, and says what it complained of.
    fn fails(mut self) -> String {
        let status = self.process.wait();
        let errors = fs::read_to_string(&self.errors).expect("it was created");
        assert!(!status.success(), "{errors}");
        errors
    }
}

/// Whether there is an OpenSSL. That a test is skipped for want of it is said past the
/// harness, which shows nothing of tests that pass.
fn is_there() -> bool {
    let mut command = Command::new("openssl");
    let command = command.arg("version").stdout(Stdio::null());
    let there = command.status().is_ok_and(|status| status.success());
    if !there {
        let skipped = "SKIPPED: a test with `openssl`, which is not installed";
        writeln!(io::stderr(), "{skipped}").expect("somebody reads");
    }
    there
}

/// Says by which name TLS knows the peer, on a line of its own.
async fn who(connection: ConnectionHandle) -> String {
    let tls = connection.tls().expect("it is over TLS");
    assert_eq!(tls.alpn_protocol.as_deref(), Some(&b"wireframe"[..]));
    let certificate = tls.peer_certificates.first().expect("it is required");
    let is_somebody = certificate.windows(8).any(|part| part == b"somebody");
    let name = if is_somebody {
        "somebody"
    } else {
        "a stranger"
    };
    format!("you are {name}\n")
}

async fn it_trusts_the_server_and_the_server_knows_who_it_is<R: Runtime>() {
    // rule: TLS-1, TLS-3, TLS-4
    if !is_there() {
        return;
    }
    let authority = Authority::new();
    let app = WireframeApp::with_protocol(Lines::new()).route(2, who);
    let tls = authority.server(true);
    let server = serve::<R, _>(app.config(patient()), tls).await;
    let address = server.address;
    let talked = aside(move || {
        let identity = authority.sign("somebody");
        for version in VERSIONS {
            let mut client = Openssl::connect(address, version, &authority, Some(&identity));
            let request = String::from_utf8(wire("2 who am I\n")).expect("text");
            client.process.say(request.trim_end());
            let answer = client.process.line_with("\0\0\0\x05hello\0\0\0\x13");
            assert_eq!(answer, "2=you are somebody", "{version}");
            client.process.end_input();
            assert!(client.process.wait().success(), "{version}");
        }
    });
    talked.await;
    assert_eq!(server.handle.failed_handshakes(), 0);
    server.end().await;
}

/// A server, and what its protocol heard.
async fn noting<R: Runtime>(tls: TlsAcceptor) -> (Serving, Notes) {
    let protocol = Lines::new();
    let notes = protocol.notes.clone();
    let app = WireframeApp::with_protocol(protocol);
    (serve::<R, _>(app, tls).await, notes)
}

async fn it_refuses_an_authority_that_it_does_not_trust<R: Runtime>() {
    // rule: TLS-2
    if !is_there() {
        return;
    }
    let authority = Authority::new();
    let (server, notes) = noting::<R>(authority.server(false)).await;
    let address = server.address;
    let refused = aside(move || {
        for version in VERSIONS {
            let errors = Openssl::connect(address, version, &Authority::new(), None).fails();
            assert!(errors.contains("certificate verify failed"), "{errors}");
        }
    });
    refused.await;
    server.end().await;
    assert!(notes.all().is_empty(), "{:?}", notes.all());
}

async fn it_is_refused_without_a_certificate_where_one_is_required<R: Runtime>() {
    // rule: TLS-2
    if !is_there() {
        return;
    }
    let authority = Authority::new();
    let (server, notes) = noting::<R>(authority.server(true)).await;
    let (handle, address) = (server.handle.clone(), server.address);
    let refused = aside(move || {
        for version in VERSIONS {
            let errors = Openssl::connect(address, version, &authority, None).fails();
            assert!(errors.contains("alert certificate required"), "{errors}");
        }
    });
    refused.await;
    server.end().await;
    assert_eq!(handle.failed_handshakes(), 2);
    assert!(notes.all().is_empty(), "{:?}", notes.all());
}
