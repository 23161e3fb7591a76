//! API keys: the public promise of each file in `src/keys/`.
#![cfg(all(feature = "keys", not(loom)))]

mod credit;
mod digest;
mod gate;
mod issue;
mod keyring;
mod leak;
mod presented;
mod quotas;
mod record;
mod record_limiter;
mod rotate;
mod scope;
mod secret;
mod store;
mod token;
mod usage;
mod verify;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tollgate::keys::{Digester, Issued, NewKey, Prefix, UnixTime};

const PREFIX: Prefix = Prefix::literal("tg_live");
const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

fn generator(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn issue(digester: &Digester, seed: u64) -> Issued {
    NewKey::new(PREFIX, "acme").issue(digester, &mut generator(seed)).expect("the generator does not fail")
}

const fn secs(seconds: u64) -> UnixTime {
    UnixTime::from_secs(seconds)
}
