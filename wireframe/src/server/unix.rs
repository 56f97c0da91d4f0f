//! Listening on sockets of the file system.

use std::{
    fs, io,
    os::unix::{fs::FileTypeExt, net::UnixListener},
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::ListenOptions;

/// The file of a socket, which goes when nobody listens any more.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl SocketFile {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "cannot remove a socket");
        }
    }
}

/// Listens there. A file that a server has left behind, so that nobody listens, is replaced.
pub(super) fn listen(
    path: &Path,
    options: &ListenOptions,
) -> io::Result<(UnixListener, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse || !is_abandoned(path) {
            return Err(error);
        }
        fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    let file = SocketFile(path.to_owned());
    socket.listen(options.backlog.into())?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), file))
}

/// Whether the file is a socket that nobody listens on.
fn is_abandoned(path: &Path) -> bool {
    // To connect to a file that is no socket is refused, too.
    let is_socket = fs::metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && connect(path).is_err_and(refused)
}

/// Connects without waiting for a server whose queue is full.
fn connect(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}
