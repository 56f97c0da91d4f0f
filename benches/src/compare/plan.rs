//! The workloads, under the names they have in the design notes.

use crate::server::Workload;

/// How long a run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Two seconds a run, jobs at their full length.
    Full,
    /// Half a second a run, broadcasts of a tenth of the rounds.
    Short,
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Measure,
    Verify,
}

/// One workload and its parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) workload: Workload,
    pub(crate) conns: u32,
    depth: u32,
    /// Bytes of payload.
    size: u32,
    /// Frames that a job asks for on each connection.
    count: u64,
    seconds: f64,
}

/// All workloads in the order of the notes.
pub(crate) fn all(scale: Scale) -> Vec<Plan> {
    const KIB: u32 = 1024;
    let seconds = match scale {
        Scale::Full => 2.0,
        Scale::Short => 0.5,
    };
    // A broadcast to a thousand connections takes ten seconds where each frame wakes a task.
    let rounds = match scale {
        Scale::Full => 1_000,
        Scale::Short => 100,
    };
    let echo = |name, conns, depth, size| Plan {
        name,
        workload: Workload::Echo,
        conns,
        depth,
        size,
        count: 1,
        seconds,
    };
    let produce = |name, workload, conns, size, count| Plan {
        name,
        workload,
        conns,
        depth: 1,
        size,
        count,
        seconds,
    };
    vec![
        echo("W1", 1, 1, 32),
        echo("W2a", 1, 64, 32),
        echo("W2b", 64, 64, 32),
        echo("W2c", 1, 64, KIB),
        echo("W2d", 64, 64, KIB),
        // One to four MiB in flight: enough that neither side waits for the other.
        echo("W3a", 1, 16, 64 * KIB),
        echo("W3b", 1, 4, KIB * KIB),
        produce("W4a", Workload::Push, 1, 64, 1_000_000),
        produce("W4b", Workload::Broadcast, 1_000, 64, rounds),
        produce("W6", Workload::Stream, 1, 128, 1_000_000),
    ]
}

impl Plan {
    /// Longest frame that a server has to take.
    pub(crate) const fn max_frame(&self) -> u32 {
        self.size + 64
    }

    /// Whether figures are given as throughput rather than as frames.
    pub(crate) const fn is_bulk(&self) -> bool {
        self.size >= 64 * 1024
    }

    /// What the load generator is told, address and waiting apart.
    pub(crate) fn load_arguments(&self, purpose: Purpose) -> Vec<String> {
        let mut arguments: Vec<String> = [
            ("--workload", self.workload.name().to_owned()),
            ("--conns", self.conns.to_string()),
            ("--depth", self.depth.to_string()),
            ("--size", self.size.to_string()),
            ("--count", self.count.to_string()),
            ("--seconds", self.seconds.to_string()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        if purpose == Purpose::Verify {
            arguments.push("--verify".to_owned());
        }
        arguments
    }

    /// A heading that tells what it does.
    pub(crate) fn describe(&self) -> String {
        let Self {
            name,
            conns,
            depth,
            size,
            count,
            ..
        } = self;
        match self.workload {
            Workload::Echo => format!("{name} echo {conns} × {depth}, {size} B"),
            Workload::Push => format!("{name} push {count}, {size} B"),
            Workload::Broadcast => format!("{name} broadcast {conns} × {count}, {size} B"),
            Workload::Stream => format!("{name} stream {count}, {size} B"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Purpose, Scale, all};

    #[test]
    fn every_frame_fits_its_limit_and_every_name_is_its_own() {
        let plans = all(Scale::Full);
        for (index, plan) in plans.iter().enumerate() {
            assert!(plan.max_frame() > plan.size + 16);
            assert!(plans[..index].iter().all(|other| other.name != plan.name));
        }
    }

    #[test]
    fn a_verifying_run_says_so() {
        let plan = all(Scale::Short)[0];
        let verify = "--verify".to_owned();
        assert!(plan.load_arguments(Purpose::Verify).contains(&verify));
        assert!(!plan.load_arguments(Purpose::Measure).contains(&verify));
    }
}
