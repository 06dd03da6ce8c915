//! What the loader refuses: each with path, line and reason.

use super::{HEAD, mail_source};
use crate::service::Service;
use crate::service::template::{Leaf, MAX_LEAF, Names};

/// The error of a definition, as people see it. The text after the head begins on line 6.
fn refusal(rest: &str) -> String {
    Service::parse("t.toml", &format!("{HEAD}{rest}")).map(|_| ()).unwrap_err().to_string()
}

fn leaf(source: &str) -> String {
    match Leaf::compile(source, Names { params: &[], accepts_any: true }) {
        Ok(_) => panic!("taken: {source:.60}"),
        Err(reason) => reason,
    }
}

#[test]
fn every_refusal_has_path_line_and_reason() {
    let request = "[request]\nurl = \"http://h/\"\n";
    for (rest, expected) in [
        ("colour = 1\n", "t.toml:6: unknown field `colour`"),
        ("open = \"yes\"\n", "t.toml:6: open: invalid type: string \"yes\", expected a boolean"),
        ("[request\n", "t.toml:6: "),
        ("[params.a]\ntype = \"strnig\"\n", "t.toml:7: params.a.type: unknown variant `strnig`"),
        ("[params.a]\ntype = \"string\"\nsecert = true\n", "t.toml:8: params.a: unknown field `secert`"),
        ("[params.A]\ntype = \"string\"\n", "t.toml:6: params.A: is not a name"),
        ("[params.delay]\ntype = \"string\"\n", "t.toml:6: params.delay: is a reserved name"),
        ("[params.json]\ntype = \"string\"\n", "t.toml:6: params.json: is a reserved name"),
        ("accepts_any = true\n[params.extra]\ntype = \"string\"\n", "t.toml:7: params.extra: is a reserved name"),
        ("[params.a]\ntype = \"enum\"\n", "t.toml:6: params.a: `enum` lists the words"),
        ("[params.a]\ntype = \"text\"\nenum = [\"x\"]\n", "t.toml:6: params.a: `enum` lists the words"),
        ("[params.a]\ntype = \"text\"\nmin = 1\n", "t.toml:6: params.a: `min` and `max` are for numbers"),
        ("[params.a]\ntype = \"integer\"\nmin = 2\nmax = 1\n", "t.toml:6: params.a: `min` is above `max`"),
        ("[params.a]\ntype = \"text\"\nmax_length = 0\n", "t.toml:6: params.a: `max_length` is zero"),
        ("[params.a]\ntype = \"text\"\naccepts = [\"https\"]\n", "t.toml:6: params.a: `accepts` lists the schemes"),
        ("[params.a]\ntype = \"text\"\nitems = \"text\"\n", "t.toml:6: params.a: `items` is for lists"),
        ("[params.a]\ntype = \"list\"\nitems = \"list\"\n", "t.toml:6: params.a: `items` is the type of single values"),
        ("[params.a]\ntype = \"list\"\nitems = \"mail\"\n", "t.toml:8: params.a.items: unknown variant `mail`"),
        ("[params.a]\ntype = \"list\"\nitems = \"enum\"\n", "t.toml:6: params.a: `enum` lists the words"),
        ("[params.a]\ntype = \"list\"\nmin = 1\n", "t.toml:6: params.a: `min` and `max` are for numbers"),
        (
            "[params.a]\ntype = \"list\"\nitems = \"integer\"\ndefault = [\"x\"]\n",
            "t.toml:6: params.a: the default is not of the declared type",
        ),
        ("[params.a]\ntype = \"text\"\nrequired = true\ndefault = \"x\"\n", "t.toml:6: params.a: a required parameter"),
        (
            "[params.a]\ntype = \"integer\"\ndefault = \"x\"\n",
            "t.toml:6: params.a: the default is not of the declared type",
        ),
        (
            "[params.a]\ntype = \"integer\"\nmax = 2\ndefault = 3\n",
            "t.toml:6: params.a: the default is not of the declared type",
        ),
        (
            "[params.a]\ntype = \"url\"\naccepts = [\"https\"]\ndefault = \"http://h\"\n",
            "t.toml:6: params.a: the default is not",
        ),
        ("", "t.toml:5: transport: `http` needs [request]"),
        ("[request]\nurl = \"ftp://h/\"\n", "t.toml:7: request.url: begins neither with"),
        (
            "[params.a]\ntype = \"string\"\n[request]\nurl = \"{{a}}/x\"\n",
            "t.toml:9: request.url: `a` begins the address",
        ),
        (
            "[params.a]\ntype = \"string\"\n[request]\nurl = \"{{concat \\\"http://\\\" a}}/x\"\n",
            "t.toml:9: request.url: `a` begins",
        ),
        (
            "[params.a]\ntype = \"url\"\n[request]\nurl = \"{{a}}{{a}}\"\n",
            "t.toml:9: request.url: what follows the base address",
        ),
        ("[request]\nurl = \"http://h/\"\nmethod = \"get\"\n", "t.toml:8: request.method: is none of GET"),
        (
            "[request]\nurl = \"http://h/\"\nheaders = { Host = \"x\" }\n",
            "t.toml:8: request.headers: `Host` is a header that cannot",
        ),
        (
            "[request]\nurl = \"http://h/\"\nheaders = { \"a b\" = \"x\" }\n",
            "t.toml:8: request.headers: `a…` is not the name",
        ),
        (
            "[request]\nurl = \"http://h/\"\n[request.query]\na = [1]\n",
            "t.toml:9: request.query.a: holds a list or a table",
        ),
        (
            "[request]\nurl = \"http://h/\"\n[request.json]\na = { b = [\"x\", \"{{titel}}\"] }\n",
            "t.toml:9: request.json.a.b.1: `titel` is not a declared parameter",
        ),
        (
            "[request]\nurl = \"http://h/\"\n[request.json]\n\"{{a}}\" = 1\n",
            "t.toml:9: request.json.{{a}}: a key cannot be a template",
        ),
        ("[request]\nurl = \"http://h/\"\njson = { a = 2026-11-21 }\n", "t.toml:8: request.json.a: a date has to be"),
        (
            "[request]\nurl = \"http://h/\"\njson = { a = \"x\" }\nkeep = [\"json.b\"]\n",
            "t.toml:9: request.keep: `json.b` is no leaf",
        ),
        (
            "[request]\nurl = \"http://h/\"\n[request.sign]\nwith = \"magic\"\nkey = \"k\"\n",
            "t.toml:9: request.sign.with: unknown variant `magic`",
        ),
        (&format!("{request}[response]\ncode = \"errcode\"\n"), "t.toml:9: response.code: is not a JSON pointer"),
        (
            &format!("{request}[response]\nstatus = [\"ok\"]\n"),
            "t.toml:9: response.status: invalid type: string \"ok\", expected a whole number from 0 to 65535",
        ),
        (
            &format!("{request}[[response.retry_after]]\nheader = 7\n"),
            "t.toml:9: response.retry_after.0.header: invalid type: integer `7`, expected a string",
        ),
        (&format!("{request}[response]\nmessage = \"/a~2\"\n"), "t.toml:9: response.message: is not a JSON pointer"),
        (
            &format!("{request}[[response.success]]\npointer = \"/a\"\n"),
            "t.toml:8: response.success.0: a pointer goes with one of",
        ),
        (
            &format!("{request}[[response.success]]\nequals = 1\n"),
            "t.toml:8: response.success.0: needs one of `pointer`",
        ),
        (
            &format!("{request}[[response.retry_after]]\nunit = \"ms\"\n"),
            "t.toml:8: response.retry_after.0: needs one of",
        ),
        (&format!("{request}[response.errors]\n1 = \"No Such\"\n"), "t.toml:9: response.errors.1: is not a word"),
        (&format!("{request}[[examples]]\nname = \"x\"\nparms = {{}}\n"), "t.toml:10: examples: unknown field `parms`"),
    ] {
        let refusal = refusal(rest);
        assert!(refusal.starts_with(expected), "{rest}\ngives {refusal}\nnot   {expected}");
    }
}

#[test]
fn what_means_nothing_for_a_mail_is_refused() {
    let response = |key: &str| format!("response.{key}: is not asked about a mail");
    let statuses = |key: &str| format!("response.{key}: a relay refuses with a status from 400 to 599");
    let errors = |key: &str| format!("response.errors.{key}: is not `smtp_` and a status from 400 to 599");
    for (rest, line, expected) in [
        ("[response]\nstatus = [250]\n", 15, response("status")),
        ("[response]\ncode = \"\"\n", 15, response("code")),
        ("[response]\nmessage = \"/m\"\n", 15, response("message")),
        ("[[response.success]]\nbody_begins = \"2.0.0\"\n", 14, response("success")),
        ("[[response.retry_after]]\nfixed = 60\n", 14, response("retry_after")),
        ("[response.retry]\nstatus = [550]\ncodes = [1]\n", 16, response("retry.codes")),
        ("[response.final]\ncodes = [\"x\"]\n", 15, response("final.codes")),
        ("[response.retry]\nstatus = [450, 250]\n", 15, statuses("retry.status")),
        ("[response.final]\nstatus = [600]\n", 15, statuses("final.status")),
        ("[response.errors]\nsmtp_550 = \"a\"\nhttp_404 = \"b\"\n", 16, errors("http_404")),
        ("[response.errors]\n550 = \"a\"\n", 15, errors("550")),
        ("[response.errors]\nsmtp_250 = \"a\"\n", 15, errors("smtp_250")),
        ("[response.errors]\nsmtp_0550 = \"a\"\n", 15, errors("smtp_0550")),
        ("[response.errors]\n\"smtp_+550\" = \"a\"\n", 15, errors("smtp_+550")),
        ("[response.errors]\n\"smtp_5.1.1\" = \"a\"\n", 15, errors("smtp_5.1.1")),
    ] {
        let error = Service::parse("m.toml", &mail_source(rest)).map(|_| ()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("m.toml:{line}: {expected}")),
            "{rest}\ngives {error}\nnot   {line}: {expected}"
        );
    }
    let errors = "[response.errors]\nsmtp_400 = \"a\"\nsmtp_599 = \"b\"\n";
    let taken = format!("[response.retry]\nstatus = [550]\n[response.final]\nstatus = [400, 599]\n{errors}");
    assert!(Service::parse("m.toml", &mail_source(&taken)).is_ok());
}

#[test]
fn a_head_is_checked() {
    for (from, to, expected) in [
        ("id = \"t\"", "id = \"T-1\"", "t.toml:1: id: is not a slug"),
        ("name = \"T\"", "name = \" \"", "t.toml:2: name: is empty"),
        ("https://example.com/", "example.com", "t.toml:3: docs: is not a web address"),
        ("category = \"push\"", "category = \"Push it\"", "t.toml:4: category: is not a word"),
        ("\"http\"", "\"pigeon\"", "t.toml:5: transport: unknown variant `pigeon`"),
    ] {
        let source = format!("{HEAD}[request]\nurl = \"http://h/\"\n").replace(from, to);
        let error = Service::parse("t.toml", &source).map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn templates_that_could_recurse_or_reach_out_are_refused_before_they_are_parsed() {
    for (source, reason) in [
        ("{{> x}}", "partials"),
        ("{{ > x}}", "partials"),
        ("{{~> x}}", "partials"),
        ("{{#> x}}{{/x}}", "partials"),
        ("{{# > x}}{{/x}}", "partials"),
        ("{{#*inline \"x\"}}{{> x}}{{/inline}}", "decorators"),
        ("{{*x}}", "decorators"),
        ("{{{extra}}}", "unescaped"),
        ("{{~{extra}}}", "unescaped"),
        ("{{&extra}}", "unescaped"),
        ("{{{{raw}}}}{{{{/raw}}}}", "unescaped"),
        ("\\{{extra}}", "backslash"),
        ("{{! note }}", "comments"),
        ("{{@root}}", "private paths"),
        ("{{lower @key}}", "private paths"),
        ("{{lower [a]}}", "lists, objects"),
        ("{{lower {\"a\": 1}}}", "lists, objects"),
        ("{{^}}", "{{else}}"),
        ("{{extra", "without `}}`"),
        ("{{lower \"}}", "without `}}`"),
        ("{{#if extra}}x", "not a template"),
        ("{{lower (extra}}", "not a template"),
    ] {
        let refused = leaf(source);
        assert!(refused.contains(reason), "{source}: {refused}");
    }
}

#[test]
fn depth_and_length_are_capped() {
    let nested = |depth: usize| format!("{{{{{}extra{}}}}}", "(lower ".repeat(depth), ")".repeat(depth));
    let blocks = |depth: usize| format!("{}x{}", "{{#if extra}}".repeat(depth), "{{/if}}".repeat(depth));
    let chain = |length: usize| format!("{{{{#if extra}}}}a{}{{{{/if}}}}", "{{else if extra}}b".repeat(length));
    for make in [nested as fn(usize) -> String, blocks, chain] {
        assert!(Leaf::compile(&make(7), Names { params: &[], accepts_any: true }).is_ok(), "{}", make(7));
        assert_eq!(leaf(&make(9)), "nested deeper than 8");
        assert!(matches!(leaf(&make(100)).as_str(), "nested deeper than 8"));
    }
    assert!(leaf(&format!("{{{{{}", "(".repeat(4_000))).contains("without `}}`"));
    assert_eq!(leaf(&"x".repeat(MAX_LEAF + 1)), "longer than 4096 bytes");
    assert_eq!(leaf(&nested(5_000)), "longer than 4096 bytes");
}

#[test]
fn unknown_names_and_misused_helpers_are_refused() {
    for (source, reason) in [
        ("{{shell \"ls\"}}", "unknown helper `shell`"),
        ("{{lower (env \"HOME\")}}", "unknown helper `env`"),
        ("{{lookup extra \"a\"}}", "unknown helper `lookup`"),
        ("{{log extra}}", "unknown helper `log`"),
        ("{{#each extra}}x{{/each}}", "unknown block helper `each`"),
        ("{{#with extra}}x{{/with}}", "unknown block helper `with`"),
        ("{{#if}}x{{/if}}", "`if` takes one condition"),
        ("{{#if extra includeZero=true}}x{{/if}}", "`if` takes one condition and nothing else"),
        ("{{title}}", "`title` is not a declared parameter"),
        ("{{lower title}}", "`title` is not a declared parameter"),
        ("{{extra.a}}", "`extra.a` is not a declared parameter"),
        ("{{../extra}}", "is not a declared parameter"),
        ("{{this}}", "`this` is not a declared parameter"),
        ("{{lower uuid}}", "`uuid` is not a declared parameter"),
        ("{{truncate extra}}", "helper `truncate` takes 2 to 3 arguments, not 1"),
        ("{{lower extra extra}}", "helper `lower` takes 1 arguments, not 2"),
        ("{{lower extra x=1}}", "helper `lower` has no option `x`"),
        ("{{truncate extra 5 \"words\"}}", "argument 3 must be one of chars, bytes"),
        ("{{md5 extra encode=\"rot13\"}}", "option `encode` must be one of"),
        ("{{regex_capture extra extra}}", "the pattern must be written out"),
        ("{{regex_capture extra \"(\"}}", "the pattern is not valid"),
        ("{{regex_capture extra \"(a{1000}){1000}\"}}", "the pattern is not valid"),
        ("{{now extra}}", "the format must be written out"),
        ("{{now \"x\"}}", "the format is s, ms, rfc3339"),
        ("{{now \"%Q\"}}", "the format is s, ms, rfc3339"),
        ("{{now \"%Y\" offset=\"8\"}}", "the offset is written like +08:00"),
    ] {
        let refused = leaf(source);
        assert!(refused.contains(reason), "{source}: {refused}");
    }
}
