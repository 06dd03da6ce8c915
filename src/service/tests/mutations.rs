//! The built-in definitions, damaged at random: each is refused with its path and, where it can be told, a line that
//! there is, or it is a Service that renders what it is given or says why not.

use proptest::prelude::*;

use super::ENV;
use crate::domain::trials::trials;
use crate::service::Service;
use crate::service::catalogue::EMBEDDED;

/// One thing done to a text.
#[derive(Debug, Clone)]
enum Damage {
    Cut(usize, usize),
    Put(usize, String),
    Swap(usize, usize),
    Twice(usize),
    Word(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = || 0usize..100_000;
    let put = prop_oneof![
        "(?s).{1,4}",
        prop::sample::select(
            [
                "{{",
                "}}",
                "{{#if a}}",
                "{{/if}}",
                "{{else}}",
                "\"",
                "'''",
                "\n[",
                "]]",
                "= {",
                "\\",
                "\n",
                "#",
                "{{a.b}}",
                "{{> x}}",
                "{{{x}}}",
                "(eq a ",
                ")",
                "1e999",
                "-1",
                "nan",
                "[request]\n",
                "{{params}}",
                "\u{202e}",
                "{{extra}}",
            ]
            .map(str::to_owned)
            .to_vec()
        ),
        (1usize..300).prop_map(|deep| "(eq ".repeat(deep)),
        (1usize..300).prop_map(|deep| "[".repeat(deep)),
    ];
    prop_oneof![
        (at(), 1usize..20).prop_map(|(at, count)| Damage::Cut(at, count)),
        (at(), put).prop_map(|(at, text)| Damage::Put(at, text)),
        (at(), at()).prop_map(|(one, other)| Damage::Swap(one, other)),
        at().prop_map(Damage::Twice),
        (at(), at()).prop_map(|(one, other)| Damage::Word(one, other)),
    ]
}

fn damaged(source: &str, damages: &[Damage]) -> String {
    let mut text = source.to_owned();
    for damage in damages {
        let chars: Vec<char> = text.chars().collect();
        let count = chars.len().max(1);
        let lines: Vec<&str> = text.lines().collect();
        text = match damage {
            Damage::Cut(at, much) => {
                let at = at % count;
                chars.iter().enumerate().filter(|(n, _)| !(at..at + much).contains(n)).map(|(_, c)| *c).collect()
            }
            Damage::Put(at, more) => {
                let (head, tail) = chars.split_at(at % count);
                head.iter().collect::<String>() + more + &tail.iter().collect::<String>()
            }
            Damage::Swap(one, other) if !lines.is_empty() => {
                let mut lines = lines.clone();
                let (one, other) = (one % lines.len(), other % lines.len());
                lines.swap(one, other);
                lines.join("\n")
            }
            Damage::Twice(at) if !lines.is_empty() => {
                let mut lines = lines.clone();
                lines.insert(at % lines.len(), lines[at % lines.len()]);
                lines.join("\n")
            }
            Damage::Word(one, other) => {
                let mut words: Vec<&str> = text.split(' ').collect();
                let (one, other) = (one % words.len(), other % words.len());
                words.swap(one, other);
                words.join(" ")
            }
            _ => text,
        };
    }
    text
}

proptest! {
    #![proptest_config(trials(2000))]

    #[test]
    fn a_damaged_definition_is_refused_or_works(
        which in 0..EMBEDDED.len(), damages in prop::collection::vec(damage(), 1..4), now: i64, random: u128,
    ) {
        let source = damaged(EMBEDDED[which].1, &damages);
        match Service::parse("some/where.toml", &source) {
            Err(error) => {
                prop_assert!(error.to_string().starts_with("some/where.toml:") && !error.reason.is_empty(), "{}", error);
                let lines = source.split('\n').count();
                prop_assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{} of {}", error, lines);
            }
            Ok(service) => {
                let env = crate::service::RenderEnv { now: crate::domain::time::Timestamp(now), random, ..ENV };
                for example in &service.examples {
                    // It may well be refused now; it must only not panic.
                    let _ = service.render(&example.params, &ENV);
                    let _ = service.render(&example.params, &env);
                    let _ = service.destination(&example.params);
                }
                // Damage to an example is told as a difference.
                let _ = service.check_examples();
            }
        }
    }
}
