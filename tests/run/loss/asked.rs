//! Whoever wants the end while a run with workers ends: once, and the exit code is that of the result; twice, and
//! all of it is gone at once.

use nix::sys::signal::Signal;
use tokio::runtime::Handle;

use super::stage::{Phase, Stage};
use crate::run::rig::{readable, real};

/// Asks so often while the nodes leave; the exit code, and whether the run comes to its orderly end.
struct Asked {
    signal: Signal,
    times: usize,
    code: u8,
    in_order: bool,
}

/// Each of a run of its own, side by side: they wait more than they work.
async fn check(asked: &[Asked]) {
    let (brokers, handle) = (real().await, Handle::current());
    std::thread::scope(|scope| {
        for asked in asked {
            let (brokers, handle) = (&brokers, &handle);
            scope.spawn(move || asked.check(Stage::reach(Phase::Stop, brokers, handle)));
        }
    });
}

impl Asked {
    fn check(&self, stage: Stage) {
        let Stage { folder, program, .. } = stage;
        program.signal(self.signal);
        program.wait_until_said("Ctrl-C again ends at once");
        for _ in 1..self.times {
            program.signal(self.signal);
        }
        let ended = program.end();
        let (left, said) = (readable(folder.path()), &ended.said);
        let summary = &left.summary;
        let has_end = left.lines("events.jsonl").iter().any(|event| event["kind"] == "end");
        assert_eq!((has_end, summary.partial), (self.in_order, !self.in_order), "{said}");
        let code = if self.in_order {
            assert!(summary.workers.iter().all(|worker| worker.lost.is_none()), "{said}");
            assert_eq!(left.code_on_a_quiet_machine(), self.code, "{said}");
            summary.exit_code
        } else {
            self.code
        };
        assert_eq!(ended.code, Some(i32::from(code)), "{said}");
        assert_eq!(summary.waves.len(), 1, "what was measured is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nodes_leave_the_exit_code_is_that_of_the_result() {
    let [interrupted, terminated] = [Signal::SIGINT, Signal::SIGTERM].map(|signal| Asked {
        signal,
        times: 1,
        code: 0,
        in_order: true,
    });
    check(&[interrupted, terminated]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_time_while_nodes_leave_ends_workers_and_brokers_at_once() {
    let twice = |(signal, code)| Asked { signal, times: 2, code, in_order: false };
    check(&[(Signal::SIGINT, 130), (Signal::SIGTERM, 143)].map(twice)).await;
}
