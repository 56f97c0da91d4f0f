use crate::proxy::Network;

fn network(text: &str) -> Network {
    text.parse().unwrap()
}

#[test]
fn a_network_has_the_addresses_that_begin_as_it_does() {
    // rule: PROXY-1
    for (net, inside, outside) in [
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
        ("10.1.128.0/17", "10.1.128.1", "10.1.127.255"),
        ("192.168.0.1", "192.168.0.1", "192.168.0.0"),
        ("192.168.0.1/32", "192.168.0.1", "192.168.0.3"),
        ("0.0.0.0/0", "1.2.3.4", "::1"),
        ("::/0", "fe80::1", "1.2.3.4"),
        ("fe80::/10", "febf::1", "fec0::"),
        ("::1", "::1", "::2"),
        ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"),
        ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
    ] {
        let [inside, outside] = [inside, outside].map(|text| text.parse().unwrap());
        assert!(network(net).contains(inside), "{inside} in {net}");
        assert!(!network(net).contains(outside), "{outside} in {net}");
    }
}

#[test]
fn a_network_is_written_as_it_is_read() {
    for (text, same) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.1/32"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::/0", "::/0"),
    ] {
        assert_eq!(network(text).to_string(), same);
        assert_eq!(network(same), network(text));
    }
}

#[test]
fn what_is_no_network_is_refused() {
    for (text, what) in [
        ("", "expected a network such as 10.0.0.0/8 or ::1, got \"\""),
        (
            "localhost",
            "expected a network such as 10.0.0.0/8 or ::1, got \"localhost\"",
        ),
        (
            "10.0.0.0/",
            "expected a network such as 10.0.0.0/8 or ::1, got \"10.0.0.0/\"",
        ),
        (
            "10.0.0.0/-1",
            "expected a network such as 10.0.0.0/8 or ::1, got \"10.0.0.0/-1\"",
        ),
        (
            "10.0.0.0/33",
            "expected a prefix of at most 32 bits, got 33",
        ),
        ("::/129", "expected a prefix of at most 128 bits, got 129"),
        (
            "10.0.0.1/8",
            "the network is 10.0.0.0/8: the address has bits set behind it",
        ),
        (
            "::1/0",
            "the network is ::/0: the address has bits set behind it",
        ),
    ] {
        let refused = text.parse::<Network>().expect_err(text);
        assert_eq!(refused.to_string(), what);
    }
}
