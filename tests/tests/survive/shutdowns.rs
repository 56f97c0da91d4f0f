//! Shutdowns at any moment, under a load of pushes.

use std::{
    collections::{BTreeMap, HashSet},
    net::TcpStream,
    sync::mpsc,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use fastrand::Rng;
use socket2::SockRef;

use crate::server::{Client, Server, is_long};

/// Clients of each server.
const CLIENTS: usize = 8;

/// What was pushed on a connection, as its server says.
#[derive(Clone, Copy, Debug)]
struct Account {
    /// Pushes that producers tried, and those that were accepted as far as they know.
    tried: u64,
    accepted: u64,
    /// The library's account.
    stats: [u64; 8],
}

impl Account {
    const fn sent(&self) -> u64 {
        self.stats[1]
    }

    const fn dead_lettered(&self) -> u64 {
        self.stats[2]
    }

    const fn unsent_at_end(&self) -> u64 {
        self.stats[6]
    }

    fn check(&self) {
        let [
            accepted,
            sent,
            dead_lettered,
            policy,
            unencodable,
            closed,
            _,
            queued,
        ] = self.stats;
        assert_eq!(accepted, self.accepted, "{self:?}");
        let sum = sent + dead_lettered + policy + unencodable + closed;
        assert_eq!((accepted, queued), (sum, 0), "{self:?}");
    }
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Takes all there is.
    Listens,
    /// Asks, too.
    Asks,
    /// Takes nothing until the server has ended.
    Stalls,
    /// Takes a few frames and is gone.
    Leaves,
    /// Takes a few frames and is gone with a reset.
    Resets,
}

/// What a client has seen.
struct Heard {
    habit: Habit,
    /// The connection, if anything came, and the numbers of what did.
    pushed: Vec<(u64, u64)>,
    /// It has seen the end of the server's output.
    to_the_end: bool,
}

/// Takes frames, at most so many; says what came, and whether that was all.
fn listen(client: &mut Client, most: usize, asks: bool) -> (Vec<(u64, u64)>, bool) {
    let (mut pushed, mut is_whole) = (Vec::new(), true);
    while pushed.len() < most {
        match client.next() {
            Ok(Some(frame)) if frame.id == 9 => {
                let (index, rest) = frame.payload.split_at(4);
                let number = |bytes: &[u8]| bytes.iter().fold(0, |n, &b| n << 8 | u64::from(b));
                pushed.push((number(index), number(&rest[..8])));
                if asks && pushed.len() % 4 == 0 {
                    // A reset that this hears of looks like an end to who reads.
                    is_whole &= client.ask(b"and?").is_ok();
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return (pushed, is_whole),
            Err(_) => break,
        }
    }
    (pushed, false)
}

fn behave(mut client: Client, habit: Habit, few: usize, ended: &mpsc::Receiver<()>) -> Heard {
    if habit == Habit::Stalls {
        // Fails when the sender is gone.
        let _ = ended.recv();
    }
    let most = match habit {
        Habit::Leaves | Habit::Resets => few,
        _ => usize::MAX,
    };
    let (pushed, to_the_end) = listen(&mut client, most, habit == Habit::Asks);
    if habit == Habit::Resets {
        // It may be gone already.
        let _ = SockRef::from(&client.0).set_linger(Some(std::time::Duration::ZERO));
    }
    Heard {
        habit,
        pushed,
        to_the_end,
    }
}

/// One server from its start to its end.
fn round(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let runtime = ["tokio", "smol", "async-std"][rng.usize(..3)];
    let mut options = vec![
        ("seed", rng.u64(..)),
        ("pushes", rng.u64(1..3000)),
        ("slots", rng.u64(1..64)),
        ("close", rng.u64(1..100)),
    ];
    if rng.u8(..4) > 0 {
        options.push(("letters", rng.u64(1..2000)));
    }
    let server = Server::start(runtime, &options);
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let habit = match rng.u8(..8) {
            // Somebody is there for as long as the server is.
            _ if n == 0 => Habit::Listens,
            0..=1 => Habit::Listens,
            2..=3 => Habit::Asks,
            4..=5 => Habit::Stalls,
            6 => Habit::Leaves,
            _ => Habit::Resets,
        };
        // It may have ended by now.
        let Ok(stream) = TcpStream::connect(("127.0.0.1", server.port)) else {
            break;
        };
        let (few, (ends, ended)) = (rng.usize(..200), mpsc::channel());
        let client = Client::over(stream);
        let client = thread::spawn(move || behave(client, habit, few, &ended));
        clients.push((client, ends));
    }
    let lines = server.process.lines_to("ended ");
    let heard = clients.into_iter().map(|(client, ends)| {
        drop(ends);
        client.join().expect("a client does not panic")
    });
    let heard: Vec<_> = heard.collect();
    check(&lines, &heard);
}

fn numbers(line: &str) -> Vec<u64> {
    let numbers = line.split(' ').skip(1);
    numbers.map(|n| n.parse().expect("a number")).collect()
}

fn check(lines: &[String], heard: &[Heard]) {
    let mut accounts = BTreeMap::new();
    let mut letters: BTreeMap<u64, HashSet<u64>> = BTreeMap::new();
    for line in lines {
        match (line.split(' ').next(), &numbers(line)[..]) {
            (Some("connection"), &[index, tried, accepted, ref stats @ ..]) => {
                let stats = stats.try_into().expect("eight numbers");
                let account = Account {
                    tried,
                    accepted,
                    stats,
                };
                account.check();
                accounts.insert(index, account);
            }
            (Some("letter"), &[index, number]) => {
                let is_new = letters.entry(index).or_default().insert(number);
                assert!(is_new, "push {number} is a dead letter twice");
            }
            (Some("unbalanced"), times) => assert_eq!(times, [0], "an account does not add up"),
            (Some("ended"), &[.., undelivered]) => check_report(undelivered, &accounts, heard),
            _ => {}
        }
    }
    for (index, account) in &accounts {
        let letters = letters.get(index).map_or(0, HashSet::len);
        assert_eq!(letters as u64, account.dead_lettered(), "{account:?}");
    }
    for heard in heard {
        check_heard(heard, &accounts, &letters);
    }
}

/// The report counts the connections that the shutdown has found, those of whoever stays
/// among them.
fn check_report(undelivered: u64, accounts: &BTreeMap<u64, Account>, heard: &[Heard]) {
    let unsent = |index: &u64| accounts.get(index).map_or(0, Account::unsent_at_end);
    let of_all: u64 = accounts.keys().map(unsent).sum();
    let gone = heard
        .iter()
        .filter(|heard| matches!(heard.habit, Habit::Leaves | Habit::Resets))
        .filter_map(|heard| heard.pushed.first());
    let of_gone: u64 = gone.map(|(index, _)| unsent(index)).sum();
    // Who has gone before anything came is not known.
    let unknown = heard.iter().any(|heard| heard.pushed.is_empty());
    assert!(undelivered <= of_all, "{undelivered} of {of_all}");
    assert!(
        unknown || undelivered + of_gone >= of_all,
        "{undelivered} and {of_gone} of {of_all}"
    );
}

fn check_heard(
    heard: &Heard,
    accounts: &BTreeMap<u64, Account>,
    letters: &BTreeMap<u64, HashSet<u64>>,
) {
    let Some((index, _)) = heard.pushed.first() else {
        return;
    };
    let account = accounts.get(index).expect("the server knows it");
    let mut numbers = HashSet::new();
    for (whose, number) in &heard.pushed {
        assert_eq!(whose, index, "a push of another connection");
        assert!(*number < account.tried, "nobody has pushed {number}");
        assert!(numbers.insert(*number), "push {number} came twice");
    }
    let came = numbers.len() as u64;
    if heard.to_the_end {
        assert_eq!(came, account.sent(), "{account:?}");
    }
    assert!(came <= account.sent(), "{came} came, {account:?}");
    if let Some(letters) = letters.get(index) {
        assert!(numbers.is_disjoint(letters), "a dead letter came, too");
    }
}

/// Says which round it was that failed.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("SURVIVE_SEED={} repeats what failed", self.0);
        }
    }
}

#[test]
fn a_shutdown_at_any_moment_loses_no_push_uncounted() {
    // rule: PUSH-9, SHUT-3, SHUT-4, SHUT-5
    if let Ok(seed) = std::env::var("SURVIVE_SEED") {
        return round(seed.parse().expect("a number"));
    }
    let rounds = if is_long() { 1_000 } else { 50 };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is later");
    let mut seeds = Rng::with_seed(now.subsec_nanos().into());
    for _ in 0..rounds {
        let seed = seeds.u64(..);
        let _told = Told(seed);
        round(seed);
    }
    println!("{rounds} shutdowns");
}
