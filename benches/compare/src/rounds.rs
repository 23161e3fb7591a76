//! How it is measured: all subjects in one process, one batch each per round, so that drift meets them alike.
//!
//! A round draws one list of keys and hands it to every subject, in an order of its own. What is reported of a subject
//! is the median over the rounds; what is reported of two of them is the median of the *paired* ratios, one per round,
//! with their quartiles. A machine that is slow for a while is slow for both halves of a pair.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    keys::Generator,
    subject::{Lane, Subject},
};

/// How long to measure.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// For all rounds of all subjects of a case.
    pub time: Duration,
    /// The largest number of keys to build tables for.
    pub most_keys: u64,
}

impl Effort {
    pub const FULL: Self = Self { rounds: 51, time: Duration::from_millis(2_000), most_keys: 10_000_000 };
    pub const QUICK: Self = Self { rounds: 15, time: Duration::from_millis(250), most_keys: 1_000_000 };

    /// More time in fewer rounds, for what has to refill the caches in each.
    pub fn for_keys(self, keys: u64) -> Self {
        if keys < 100_000 { self } else { Self { rounds: self.rounds.div_ceil(2), time: self.time * 3, ..self } }
    }
}

/// A case for one thread or for several.
pub struct Workload<K> {
    pub lanes: Vec<Lane<K>>,
    /// Draws that many keys.
    pub draw: Box<dyn FnMut(usize) -> Vec<K>>,
    /// What every answer must be; `None` where subjects may differ.
    pub expected: Option<bool>,
    /// How many decisions one key stands for.
    pub decisions: usize,
}

impl<K: Send + Sync> Workload<K> {
    /// Nanoseconds per decision: for each lane, one figure a round.
    pub fn time(&mut self, effort: Effort) -> Vec<Vec<f64>> {
        let probe = (self.draw)(PROBE);
        let batches = self.lanes.iter().map(|lane| lane.subject.batch(&probe, self.expected));
        let per_key = batches.sum::<Duration>().as_secs_f64() / probe.len() as f64;
        let round = effort.time.as_secs_f64() / effort.rounds as f64;
        let count = ((round / per_key) as usize).clamp(PROBE, MOST);

        let mut figures = vec![Vec::new(); self.lanes.len()];
        let mut order = Generator::new(1);
        for _ in 0..effort.rounds {
            // The first part is not timed: it brings the subject's code and some of its state back into the caches.
            let keys = (self.draw)(count + count / 8);
            let (warm_up, timed) = keys.split_at(count / 8);
            for lane in shuffled(self.lanes.len(), &mut order) {
                let subject = &self.lanes[lane].subject;
                subject.batch(warm_up, self.expected);
                let elapsed = subject.batch(timed, self.expected);
                figures[lane].push(elapsed.as_nanos() as f64 / (count * self.decisions) as f64);
            }
        }
        figures
    }

    /// Millions of decisions a second, of `threads` threads together.
    pub fn race(&mut self, effort: Effort, threads: usize) -> Vec<Vec<f64>> {
        let keys: Vec<Vec<K>> = (0..threads).map(|_| (self.draw)(RACED)).collect();
        let turn = effort.time / (effort.rounds * self.lanes.len()) as u32;
        let mut figures = vec![Vec::new(); self.lanes.len()];
        let mut order = Generator::new(1);
        for _ in 0..effort.rounds {
            for lane in shuffled(self.lanes.len(), &mut order) {
                let per_second = race(&*self.lanes[lane].subject, &keys, self.expected, turn);
                figures[lane].push(per_second * self.decisions as f64 / 1e6);
            }
        }
        figures
    }
}

/// Keys in the batch that finds out how long a batch should be, and the fewest in any.
const PROBE: usize = 512;

/// The most keys in a batch.
const MOST: usize = 1 << 22;

/// Keys that each thread of a race goes through, again and again.
const RACED: usize = 1 << 16;

/// Decisions a second, of one thread per list of keys, for `turn`.
fn race<K: Sync>(subject: &dyn Subject<K>, keys: &[Vec<K>], expected: Option<bool>, turn: Duration) -> f64 {
    let (start, stop) = (Barrier::new(keys.len() + 1), AtomicBool::new(false));
    thread::scope(|scope| {
        let run = |keys| {
            start.wait();
            let (since, mut decided) = (Instant::now(), 0);
            for chunk in <[K]>::chunks(keys, PROBE).cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                subject.batch(chunk, expected);
                decided += chunk.len();
            }
            decided as f64 / since.elapsed().as_secs_f64()
        };
        let threads: Vec<_> = keys.iter().map(|keys| scope.spawn(move || run(keys))).collect();
        start.wait();
        thread::sleep(turn);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("a subject answered wrongly")).sum()
    })
}

fn shuffled(len: usize, generator: &mut Generator) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        order.swap(last, generator.below(last as u64 + 1) as usize);
    }
    order
}
