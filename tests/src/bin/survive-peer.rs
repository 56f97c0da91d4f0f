//! A client in a process of its own that stops in the middle of a frame and waits to be killed:
//! `survive-peer PORT CONNECTIONS BYTES`, of which so many bytes of a frame of twice as many.

use std::{
    env,
    io::{self, Read, Write},
    net::TcpStream,
};

fn main() {
    let mut given = env::args().skip(1).map(|argument| argument.parse::<u32>());
    let mut next = || given.next().expect("an argument").expect("a number");
    let (port, connections, bytes) = (next(), next(), next());
    let port = u16::try_from(port).expect("a port");
    let start = [
        &(2 * bytes).to_be_bytes()[..],
        &vec![7; usize::try_from(bytes).expect("few bytes")],
    ];
    let start = start.concat();
    let mut streams = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a server listens");
        stream.write_all(&start).expect("it takes bytes");
        streams.push(stream);
    }
    println!("begun");
    // Until it is killed, or whoever started it is gone.
    let _ = io::stdin().read_to_end(&mut Vec::new());
}
