//! How many cases the tests of hostile input run: the same few thousand each time, or others and more if
//! `PROPTEST_CASES` asks for more.

use proptest::test_runner::{Config, RngSeed};

/// What `proptest!` runs with.
pub fn trials(usual: u32) -> Config {
    let asked = Config::default();
    let more = asked.cases > usual;
    let rng_seed = if more { asked.rng_seed } else { RngSeed::Fixed(0xfa_fa) };
    Config { cases: asked.cases.max(usual), rng_seed, failure_persistence: None, ..asked }
}
