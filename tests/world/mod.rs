//! Tasks that wait by a clock which is moved by hand. A task is polled only if it was woken, so one that is forgotten shows.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tollgate::{Allowed, Clock, ManualClock, Timer, Timestamp, WaitError};

/// The timers that are set, and the clock that they go by.
#[derive(Clone, Debug)]
pub(crate) struct Timers {
    pub(crate) clock: ManualClock,
    set: Arc<Mutex<Vec<(Timestamp, Waker)>>>,
}

pub(crate) struct Sleep {
    until: Timestamp,
    timers: Timers,
}

impl Timer for Timers {
    type Sleep = Sleep;

    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep { until: self.clock.now() + duration, timers: self.clone() }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.timers.clock.now() >= self.until {
            return Poll::Ready(());
        }
        self.timers.set.lock().unwrap().push((self.until, context.waker().clone()));
        Poll::Pending
    }
}

/// Says that it was woken.
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn raised() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

pub(crate) type Outcome = Result<Allowed, WaitError>;

struct Task<'a> {
    future: Option<Pin<Box<dyn Future<Output = Outcome> + 'a>>>,
    woken: Arc<Flag>,
    outcome: Option<(Duration, Outcome)>,
}

/// Tasks, timers, a clock.
pub(crate) struct World<'a> {
    pub(crate) timers: Timers,
    start: Timestamp,
    tasks: Vec<Task<'a>>,
    /// The tasks that passed, in that order.
    pub(crate) passed: Vec<usize>,
}

impl<'a> World<'a> {
    pub(crate) fn new(clock: &ManualClock) -> Self {
        let timers = Timers { clock: clock.clone(), set: Arc::default() };
        Self { timers, start: clock.now(), tasks: Vec::new(), passed: Vec::new() }
    }

    /// How much time has gone by.
    pub(crate) fn elapsed(&self) -> Duration {
        self.timers.clock.now() - self.start
    }

    pub(crate) fn spawn(&mut self, future: impl Future<Output = Outcome> + 'a) -> usize {
        self.tasks.push(Task { future: Some(Box::pin(future)), woken: Flag::raised(), outcome: None });
        self.run();
        self.tasks.len() - 1
    }

    /// Polls whoever was woken, until nobody is.
    pub(crate) fn run(&mut self) {
        let mut idle = false;
        while !idle {
            idle = true;
            for number in 0..self.tasks.len() {
                let elapsed = self.elapsed();
                let task = &mut self.tasks[number];
                if task.future.is_none() || !task.woken.take() {
                    continue;
                }
                idle = false;
                let waker = Waker::from(task.woken.clone());
                let future = task.future.as_mut().unwrap();
                if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    task.future = None;
                    task.outcome = Some((elapsed, outcome));
                    if outcome.is_ok() {
                        self.passed.push(number);
                    }
                }
            }
        }
    }

    /// Drops the future of a task.
    pub(crate) fn drop_task(&mut self, number: usize) {
        self.tasks[number].future = None;
        self.run();
    }

    /// Lets time go by, from timer to timer.
    pub(crate) fn advance(&mut self, duration: Duration) {
        let end = self.timers.clock.now() + duration;
        loop {
            let next = self.timers.set.lock().unwrap().iter().map(|(until, _)| *until).min();
            let Some(next) = next.filter(|&next| next <= end) else { break };
            self.timers.clock.set(next.max(self.timers.clock.now()));
            let mut due = Vec::new();
            self.timers.set.lock().unwrap().retain(|(until, waker)| {
                if *until <= next {
                    due.push(waker.clone());
                }
                *until > next
            });
            due.into_iter().for_each(Waker::wake);
            self.run();
        }
        self.timers.clock.set(end);
    }

    /// What became of a task, and when; nothing, if it waits, or was dropped.
    pub(crate) fn outcome(&self, number: usize) -> Option<(Duration, Outcome)> {
        self.tasks[number].outcome
    }

    pub(crate) fn is_waiting(&self, number: usize) -> bool {
        self.tasks[number].future.is_some()
    }

    /// When each task passed.
    pub(crate) fn times(&self) -> Vec<Option<Duration>> {
        self.tasks.iter().map(|task| task.outcome.and_then(|(at, outcome)| outcome.ok().map(|_| at))).collect()
    }
}
