//! Ends inside what TLS encloses.

use wireframe::testing::Fault;
use wireframe_tests::{Authority, wire};

use crate::{Peer, Serving};

#[test]
fn an_end_inside_a_record_is_a_failure_also_between_frames() {
    // rule: TLS-4
    let authority = Authority::new();
    let frame = wire("~control");
    // A header, the text, its kind and the tag.
    let record = 5 + frame.len() + 1 + 16;
    for cut in 0..=record {
        let (serving, mut links) = Serving::start(&authority.server(false), 1, 4000);
        let link = links.pop().expect("one");
        let script = link.script();
        let mut peer = Peer::greeted(&serving, &authority, link);
        script.write_fault(cut, Fault::Stall);
        peer.send(&frame);
        drop(peer);
        serving.simulation.run();
        let failed = "transport failed: read: the peer ended the connection inside a record of TLS";
        let end = if cut % record == 0 {
            "closed by the peer"
        } else {
            failed
        };
        assert_eq!(serving.ends(), [end], "cut at {cut} of {record}");
        let heard = serving
            .protocol
            .notes
            .all()
            .contains(&"control ~control".to_owned());
        assert_eq!(heard, cut == record);
        serving.end();
    }
}
