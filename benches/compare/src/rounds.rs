//! How it is measured: all subjects in one process, one batch each per round, so that drift meets them alike.
//!
//! A round draws one list of keys and hands it to every subject, in an order of its own. What is reported of a subject
//! is the median over the rounds; what is reported of two of them is the median of the *paired* ratios, one per round,
//! with their quartiles. A machine that is slow for a while is slow for both halves of a pair.

use std::{
    hint,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    keys::Generator,
    report::Figure,
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
    pub const QUICK: Self = Self { rounds: 15, time: Duration::from_millis(200), most_keys: 1_000_000 };

    /// More time in fewer rounds, for what has to refill the caches in each.
    pub fn for_keys(self, keys: u64) -> Self {
        if keys < 100_000 { self } else { Self { rounds: self.rounds.div_ceil(2), time: self.time * 3, ..self } }
    }
}

/// What to measure, on one thread or on several.
pub struct Workload<K> {
    pub lanes: Vec<Lane<K>>,
    /// Draws that many keys.
    pub draw: Box<dyn FnMut(usize) -> Vec<K>>,
    /// What every answer must be; `None` where subjects may differ.
    pub expected: Option<bool>,
    /// How many decisions one key stands for.
    pub decisions: usize,
    pub audit: Option<Audit<K>>,
}

/// Keys that may be admitted `limit` times each, and no more before the run is over.
pub struct Audit<K> {
    pub keys: Vec<K>,
    pub limit: u64,
}

impl<K: Send + Sync> Workload<K> {
    /// The figures of each lane, in their order.
    pub fn measure(&mut self, effort: Effort, threads: usize) -> Vec<Figure> {
        let spent = self.audited(threads);
        let values = if threads == 1 { self.time(effort) } else { self.race(effort, threads) };
        let kept = self.audited(threads);
        let lanes = self.lanes.iter().zip(values).enumerate();
        let over_admitted = |lane: usize| {
            let audit = self.audit.as_ref()?;
            Some((spent[lane] + kept[lane]).saturating_sub(audit.limit * audit.keys.len() as u64))
        };
        lanes.map(|(n, (lane, values))| Figure { name: lane.name, values, over_admitted: over_admitted(n) }).collect()
    }

    /// Asks for twice what the audited keys may be admitted, from all threads at once; how many were, for each lane.
    fn audited(&self, threads: usize) -> Vec<u64> {
        let Some(Audit { keys, limit }) = &self.audit else { return Vec::new() };
        let admitted = |subject: &dyn Subject<K>| -> u64 { (0..2 * limit).map(|_| subject.decide(keys, None)).sum() };
        let race = |lane: &Lane<K>| {
            let start = Barrier::new(threads);
            thread::scope(|scope| {
                let run = || {
                    start.wait();
                    admitted(&*lane.subject)
                };
                let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
            })
        };
        self.lanes.iter().map(race).collect()
    }

    /// Nanoseconds per decision: for each lane, one figure a round.
    fn time(&mut self, effort: Effort) -> Vec<Vec<f64>> {
        let probe = (self.draw)(PROBE);
        let batches = self.lanes.iter().map(|lane| timed(&*lane.subject, &probe, self.expected));
        let per_key = batches.sum::<Duration>().as_secs_f64() / probe.len() as f64;
        let round = effort.time.as_secs_f64() / effort.rounds as f64;
        let count = ((round / per_key) as usize).clamp(PROBE, MOST);

        let mut figures = vec![Vec::new(); self.lanes.len()];
        let mut order = Generator::new(1);
        for _ in 0..effort.rounds {
            // The first part is not timed: it brings the subject's code and some of its state back into the caches.
            let keys = (self.draw)(count + count / 8);
            let (warm_up, batch) = keys.split_at(count / 8);
            for lane in shuffled(self.lanes.len(), &mut order) {
                let subject = &*self.lanes[lane].subject;
                subject.decide(warm_up, self.expected);
                let elapsed = timed(subject, batch, self.expected);
                figures[lane].push(elapsed.as_nanos() as f64 / (count * self.decisions) as f64);
            }
        }
        figures
    }

    /// Millions of decisions a second, of `threads` threads together.
    ///
    /// The threads live through the whole case, so that they have found cores of their own, and begin each turn at once.
    fn race(&mut self, effort: Effort, threads: usize) -> Vec<Vec<f64>> {
        let turn = (effort.time / (effort.rounds * self.lanes.len()) as u32).max(SHORTEST_TURN);
        let mut order = Generator::new(1);
        let turns: Vec<usize> = (0..effort.rounds).flat_map(|_| shuffled(self.lanes.len(), &mut order)).collect();
        let keys: Vec<Vec<K>> = (0..threads).map(|_| (self.draw)(RACED)).collect();
        let (lanes, expected, ready) = (&self.lanes, self.expected, &AtomicUsize::new(0));
        let run = |keys: &[K]| -> Vec<f64> {
            let mut chunks = keys.chunks(PROBE).cycle();
            let mut per_second = |(nth, lane): (usize, &usize)| {
                let subject = &*lanes[*lane].subject;
                ready.fetch_add(1, Ordering::SeqCst);
                while ready.load(Ordering::SeqCst) < (nth + 1) * threads {
                    hint::spin_loop();
                }
                let (start, mut decided) = (Instant::now(), 0);
                while start.elapsed() < turn {
                    decided += chunks.next().map_or(0, |chunk| {
                        subject.decide(chunk, expected);
                        chunk.len()
                    });
                }
                decided as f64 / start.elapsed().as_secs_f64()
            };
            turns.iter().enumerate().map(&mut per_second).collect()
        };
        let rates: Vec<Vec<f64>> = thread::scope(|scope| {
            let threads: Vec<_> = keys.iter().map(|keys| scope.spawn(|| run(keys))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a wrong answer")).collect()
        });
        let mut figures = vec![Vec::new(); lanes.len()];
        for (nth, lane) in turns.iter().enumerate() {
            let per_second: f64 = rates.iter().map(|rates| rates[nth]).sum();
            figures[*lane].push(per_second * self.decisions as f64 / 1e6);
        }
        figures
    }
}

/// Keys in the batch that finds out how long a batch should be, and the fewest in any.
const PROBE: usize = 512;

/// The most keys in a batch.
const MOST: usize = 1 << 22;

/// The shortest turn of a subject in a race: threads that begin together may still have to find a core each.
const SHORTEST_TURN: Duration = Duration::from_millis(5);

/// Keys that each thread of a race goes through, again and again.
const RACED: usize = 1 << 16;

/// How long `subject` takes for all of `keys`.
fn timed<K>(subject: &dyn Subject<K>, keys: &[K], expected: Option<bool>) -> Duration {
    let start = Instant::now();
    subject.decide(keys, expected);
    start.elapsed()
}

fn shuffled(len: usize, generator: &mut Generator) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        order.swap(last, generator.below(last as u64 + 1) as usize);
    }
    order
}
