//! Each dialect, on successes and refusals, alone and nested.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{Router, response::AppendHeaders, routing::get as route};
use tollgate::{Carry, Composite, IpKey, KeyedLimiter, Live, ManualClock, Quota, RateLimiter, Tiers, TokenBucket};
use tollgate_tower::{
    Dialect, Policy,
    identity::{ClientAddress, by},
};

use crate::support::*;

fn app() -> Router {
    Router::new().route("/", route(async || "ok"))
}

/// The headers of all dialects.
const ALL: [&str; 8] = [
    "ratelimit",
    "ratelimit-policy",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

fn names(answer: &Answer) -> Vec<&'static str> {
    ALL.into_iter().filter(|name| answer.header(name).is_some()).collect()
}

#[tokio::test]
async fn structured_is_the_default() {
    let clock = ManualClock::new();
    let server = serve(app().layer(layer([global("minute", Quota::per_minute(2), &clock)]))).await;

    let first = get(server, "/").await;
    assert_eq!((first.status, names(&first)), (200, vec!["ratelimit", "ratelimit-policy"]));
    assert_eq!(first.list("ratelimit"), [item("minute", &[("r", 1), ("t", 30)])]);
    assert_eq!(first.list("ratelimit-policy"), [item("minute", &[("q", 2), ("w", 60)])]);
    assert_eq!(first.header("retry-after"), None);

    clock.advance(secs(10));
    assert_eq!(get(server, "/").await.list("ratelimit"), [item("minute", &[("r", 0), ("t", 50)])]);

    let refused = get(server, "/").await;
    assert_eq!((refused.status, names(&refused)), (429, vec!["ratelimit", "ratelimit-policy"]));
    // When it passes, not when all is as new: no later than `Retry-After`.
    assert_eq!(refused.list("ratelimit"), [item("minute", &[("r", 0), ("t", 20)])]);
    assert_eq!(refused.list("ratelimit-policy"), [item("minute", &[("q", 2), ("w", 60)])]);
    assert_eq!(refused.header("retry-after"), Some("20"));
}

#[tokio::test]
async fn three_headers_with_the_reset_in_seconds() {
    for (dialect, prefix) in [(Dialect::ThreeFields, "ratelimit"), (Dialect::XSeconds, "x-ratelimit")] {
        let clock = ManualClock::new();
        let limits = layer([global("minute", Quota::per_minute(2), &clock)]).dialect(dialect);
        let server = serve(app().layer(limits)).await;
        let names = ["limit", "remaining", "reset"].map(|name| format!("{prefix}-{name}"));
        for expected in [(200, ["2", "1", "30"]), (200, ["2", "0", "60"]), (429, ["2", "0", "30"])] {
            let answer = get(server, "/").await;
            let told = names.each_ref().map(|name| answer.header(name).unwrap());
            assert_eq!((answer.status, told), expected, "{dialect:?}");
            assert_eq!(self::names(&answer), names, "{dialect:?}");
            assert_eq!(answer.header("retry-after"), (answer.status == 429).then_some("30"));
        }
    }
}

#[tokio::test]
async fn three_headers_with_the_reset_as_a_time() {
    let clock = ManualClock::new();
    // Half a second into a second: who waits until the time that is told must have waited long enough.
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
    let limits = layer([global("minute", Quota::per_minute(2), &clock)]).dialect(Dialect::XEpoch).calendar(move || now);
    let server = serve(app().layer(limits)).await;
    for (status, remaining, reset) in [(200, "1", "1700000031"), (200, "0", "1700000061"), (429, "0", "1700000031")] {
        let answer = get(server, "/").await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("x-ratelimit-limit"), Some("2"));
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(remaining));
        assert_eq!(answer.header("x-ratelimit-reset"), Some(reset));
        assert_eq!(names(&answer), &ALL[5..]);
    }
}

#[tokio::test]
async fn without_headers_a_refusal_still_says_when_to_retry() {
    let clock = ManualClock::new();
    let limits = layer([global("minute", Quota::per_minute(1), &clock)]).dialect(Dialect::None);
    let server = serve(app().layer(limits)).await;
    let (allowed, refused) = (get(server, "/").await, get(server, "/").await);
    assert_eq!((allowed.status, names(&allowed)), (200, vec![]));
    assert_eq!((refused.status, names(&refused)), (429, vec![]));
    assert_eq!((allowed.header("retry-after"), refused.header("retry-after")), (None, Some("60")));
}

#[tokio::test]
async fn names_units_and_numbers_that_are_hard_to_write() {
    let clock = ManualClock::new();
    let name = r#"a "name"; r=1, \ "#;
    let quota = Quota::per_second(4_000_000_000_000);
    let odd = Policy::custom(name, quota, RateLimiter::with_clock(TokenBucket::new(quota).unwrap(), clock))
        .unwrap()
        .unit(r#"x"y"#)
        .unwrap();
    let huge = Policy::custom("huge", Quota::new(u64::MAX, Duration::from_millis(2_500)), no_limit()).unwrap();
    let answer = through(&layer([odd, huge]), request("::1", &[])).await;
    let told = answer.list("ratelimit-policy");
    assert_eq!((&*told[0].name, &*told[0].params["qu"]), (name, r#"x"y"#));
    // The largest integer of a structured field; and no more is promised than passes.
    assert_eq!(told[1], item("huge", &[("q", 999_999_999_999_999), ("w", 3)]));
    assert_eq!(answer.list("ratelimit")[0].name, name);
    let alone = through(&layer([Policy::custom("huge", quota, no_limit()).unwrap()]), request("::1", &[])).await;
    assert_eq!(alone.list("ratelimit"), [item("huge", &[("r", 999_999_999_999_999), ("t", 0)])]);
}

/// Everything passes, and there is more left than a structured field can say.
fn no_limit() -> Composite<Vec<RateLimiter<TokenBucket>>> {
    Composite::new(Vec::new())
}

#[tokio::test]
async fn of_several_policies_the_tightest_is_told_and_all_are_listed() {
    let clock = ManualClock::new();
    let limits = layer([
        window("day", Quota::per_day(5), &clock),
        window("hour", Quota::per_hour(3), &clock),
        window("minute", Quota::per_minute(3), &clock),
    ]);
    let listed = [
        item("day", &[("q", 5), ("w", 86_400)]),
        item("hour", &[("q", 3), ("w", 3_600)]),
        item("minute", &[("q", 3), ("w", 60)]),
    ];
    let server = serve(app().layer(limits)).await;
    // As few are left of the hour as of the minute; the hour lasts longer.
    let answer = get(server, "/").await;
    assert_eq!(answer.list("ratelimit"), [item("hour", &[("r", 2), ("t", 3_600)])]);
    assert_eq!(answer.list("ratelimit-policy"), listed);
    clock.advance(secs(3_600));
    for _ in 0..2 {
        get(server, "/").await;
    }
    clock.advance(secs(3_600));
    let answer = get(server, "/").await;
    assert_eq!(answer.list("ratelimit"), [item("day", &[("r", 1), ("t", 86_400 - 7_200)])]);
    assert_eq!(answer.list("ratelimit-policy"), listed);
}

#[tokio::test]
async fn nested_layers_tell_once() {
    let clock = ManualClock::new();
    for (outer, inner, tightest) in [(2, 9, "outer"), (9, 2, "inner"), (5, 5, "inner")] {
        let [outer, inner] = [("outer", outer), ("inner", inner)]
            .map(|(name, limit)| layer([window(name, Quota::per_day(limit), &clock)]));
        let server = serve(app().layer(inner).layer(outer)).await;
        let answer = get(server, "/").await;
        let told = answer.list("ratelimit");
        assert_eq!((told.len(), &*told[0].name), (1, tightest));
        let names: Vec<_> = answer.list("ratelimit-policy").into_iter().map(|item| item.name).collect();
        assert_eq!(names, ["outer", "inner"]);
    }
}

#[tokio::test]
async fn nested_layers_tell_once_in_three_headers_too() {
    let clock = ManualClock::new();
    for dialect in [Dialect::ThreeFields, Dialect::XSeconds, Dialect::XEpoch] {
        for (outer, inner, limit) in [(2, 9, "2"), (9, 2, "2"), (3, 3, "3")] {
            let [outer, inner] =
                [outer, inner].map(|limit| layer([window("x", Quota::per_day(limit), &clock)]).dialect(dialect));
            let server = serve(app().layer(inner).layer(outer)).await;
            let answer = get(server, "/").await;
            let told = ALL.into_iter().filter(|name| name.ends_with("-limit")).find_map(|name| answer.header(name));
            assert_eq!((told, names(&answer).len()), (Some(limit), 3), "{dialect:?}");
        }
    }
}

#[tokio::test]
async fn what_an_inner_layer_says_when_it_refuses_stays() {
    let clock = ManualClock::new();
    // The inner refuses with 2 left, of which the outer has none.
    let [outer, inner] = [("outer", 6), ("inner", 5)]
        .map(|(name, limit)| layer([window(name, Quota::per_day(limit), &clock)]).cost(|_| 3));
    let server = serve(app().layer(inner).layer(outer)).await;
    assert_eq!(get(server, "/").await.status, 200);
    let refused = get(server, "/").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.list("ratelimit"), [item("inner", &[("r", 2), ("t", 86_400)])]);
    assert_eq!(refused.list("ratelimit-policy").len(), 2);
}

/// A job that is not done yet says when to ask again, which is not that a limit was reached.
#[tokio::test]
async fn a_handler_that_says_when_to_retry_hides_no_limit() {
    let handler = async || ([("retry-after", "30")], "working on it");
    for (dialect, header, left) in [
        (Dialect::Structured, "ratelimit", r#""x";r=1;t=86400"#),
        (Dialect::ThreeFields, "ratelimit-remaining", "1"),
        (Dialect::XSeconds, "x-ratelimit-remaining", "1"),
    ] {
        let clock = ManualClock::new();
        let [outer, inner] = [2, 9].map(|limit| layer([window("x", Quota::per_day(limit), &clock)]).dialect(dialect));
        let server = serve(Router::new().route("/", route(handler)).layer(inner).layer(outer)).await;
        let answer = get(server, "/").await;
        assert_eq!((answer.header("retry-after"), answer.header(header)), (Some("30"), Some(left)), "{dialect:?}");
    }
}

#[tokio::test]
async fn headers_of_a_handler_are_not_there_twice() {
    // As a proxy has them that passes on what another server has said.
    for (theirs, stays) in [
        (r#""upstream";r=1;t=9"#, true),
        (r#""up, \"stream";r=1;t=9, "other";r=7;t=1"#, true),
        (r#""upstream";r=7;t=9"#, false),
        ("limit=5, remaining=0, reset=7", false),
        ("", false),
        (r#"""#, false),
    ] {
        let clock = ManualClock::new();
        let limits = layer([window("day", Quota::per_day(5), &clock)]);
        let handler =
            async move || (AppendHeaders([("ratelimit", theirs), ("ratelimit-policy", "\"upstream\";q=9")]), "ok");
        let server = serve(Router::new().route("/", route(handler)).layer(limits)).await;
        let answer = get(server, "/").await;
        let expected = if stays { theirs } else { r#""day";r=4;t=86400"# };
        assert_eq!(answer.header("ratelimit"), Some(expected), "{theirs}");
        assert_eq!(answer.header("ratelimit-policy"), Some(r#""day";q=5;w=86400, "upstream";q=9"#));
    }
}

#[tokio::test]
async fn each_key_is_told_the_quota_of_its_tier() {
    let tiers = Tiers::new([1, 7].map(|limit| TokenBucket::new(Quota::per_hour(limit)).unwrap()), |key: &bool| {
        usize::from(*key)
    });
    let limiter = KeyedLimiter::<bool, _, _>::with_clock(tiers.unwrap(), 100, ManualClock::new());
    let paid = by(|request: &tollgate_tower::RequestHead<'_>| Ok(request.uri.path() == "/paid"));
    let limits = layer([Policy::keyed("tier", paid, limiter).unwrap()]);
    let server = serve(app().route("/paid", route(async || "ok")).layer(limits)).await;
    for (path, limit) in [("/", 1), ("/paid", 7)] {
        let answer = get(server, path).await;
        assert_eq!(answer.list("ratelimit-policy"), [item("tier", &[("q", limit), ("w", 3_600)])]);
        assert_eq!(answer.list("ratelimit")[0].params["r"], (limit - 1).to_string());
    }
    let refused = get(server, "/").await;
    assert_eq!((refused.status, refused.list("ratelimit-policy")[0].params["q"].as_str()), (429, "1"));
}

/// What was told of a quota when the layer was built, and not of the one that there is.
#[tokio::test]
async fn a_quota_that_was_changed_is_told_as_it_is() {
    let [before, after] = [Quota::per_hour(5), Quota::per_minute(9)];
    let live = || Live::<TokenBucket>::new(before).unwrap();
    let each = Arc::new(KeyedLimiter::<IpKey, _, _>::with_clock(live(), 100, ManualClock::new()));
    let all = Arc::new(RateLimiter::with_clock(live(), ManualClock::new()));
    let limits = layer([
        Policy::keyed("each", ClientAddress::peer(), Arc::clone(&each)).unwrap(),
        Policy::global("all", Arc::clone(&all)).unwrap(),
    ]);
    let told = async || through(&limits, request("192.0.2.1", &[])).await.list("ratelimit-policy");
    let both = |quota, window| ["each", "all"].map(|name| item(name, &[("q", quota), ("w", window)]));
    assert_eq!(told().await, both(5, 3_600));
    each.set_quota(after, Carry::Absolute).unwrap();
    all.set_quota(after, Carry::Absolute).unwrap();
    assert_eq!(told().await, both(9, 60));
}
