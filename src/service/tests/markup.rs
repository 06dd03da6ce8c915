//! Conversions between text, Markdown and HTML.

use super::{body, service};
use serde_json::json;

/// What a helper makes of a content in a format.
fn converted(helper: &str, content: &str, format: &str) -> String {
    let source = format!(
        "[params]\ncontent = {{ type = \"text\" }}\nformat = {{ type = \"string\" }}\n[request]\nurl = \"http://h/\"\ntext = \"{{{{{helper} content{}}}}}\"\n",
        if helper.starts_with("as_") { " format" } else { "" }
    );
    body(&service(&source), json!({"content": content, "format": format}))
}

fn check(helper: &str, format: &str, table: &[(&str, &str)]) {
    for (content, expected) in table {
        assert_eq!(converted(helper, content, format), *expected, "{helper} {format} {content:?}");
    }
}

#[test]
fn markdown_to_html_lets_no_html_through() {
    check(
        "md_to_html",
        "",
        &[
            ("**b** <b>x</b>", "<p><strong>b</strong> &lt;b&gt;x&lt;/b&gt;</p>\n"),
            ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"),
            ("[a](javascript:alert(1)) [b](HTTPS://h/)", "<p><a href=\"\">a</a> <a href=\"HTTPS://h/\">b</a></p>\n"),
            ("![i](data:text/html,x)", "<p><img src=\"\" alt=\"i\" /></p>\n"),
            ("one\ntwo", "<p>one<br />\ntwo</p>\n"),
        ],
    );
    check("as_html", "text", &[("a < b\n\"c\"", "a &lt; b<br>\n&quot;c&quot;")]);
    check("as_html", "html", &[("<p>x</p>", "<p>x</p>")]);
}

#[test]
fn markdown_to_text() {
    let table = [
        ("# Head\n\nText *it* **bold** `code`", "Head\n\nText it bold code"),
        ("one\ntwo", "one\ntwo"),
        ("- a\n- b\n  - c\n\nend", "- a\n- b\n  - c\n\nend"),
        ("3. a\n4. b", "3. a\n4. b"),
        ("> quoted\n> lines", "> quoted\n> lines"),
        ("> a\n>\n> > b\n\nc", "> a\n> \n> > b\n\nc"),
        ("> > deep\n> > lines", "> > deep\n> > lines"),
        ("[docs](https://h/) <https://h/>", "docs (https://h/) https://h/"),
        ("```\na\n  b\n```", "a\n  b"),
        ("|a|b|\n|-|-|\n|1|2|", "a b\n1 2"),
        ("a\n\n---\n\nb", "a\n\n---\n\nb"),
    ];
    check("md_to_text", "", &table);
    check("as_text", "markdown", &table);
    check("as_text", "text", &[("*a* <b>\n", "*a* <b>\n")]);
}

#[test]
fn markdown_to_slack_and_telegram() {
    check(
        "md_to_slack",
        "",
        &[
            ("# H & **b**", "*H &amp; b*"),
            ("**b** *i* ~~s~~ `x<y`", "*b* _i_ ~s~ `x&lt;y`"),
            ("[t](https://h/?a=1&b=2)", "<https://h/?a=1&amp;b=2|t>"),
            ("[t](javascript:x)", "t"),
            ("- a\n- b", "• a\n• b"),
            ("> q", "> q"),
        ],
    );
    check("as_slack", "text", &[("<!channel> & *x*", "&lt;!channel&gt; &amp; *x*")]);
    check(
        "md_to_telegram",
        "",
        &[
            ("# H\n\n**b** <i>", "<b>H</b>\n\n<b>b</b> &lt;i&gt;"),
            ("[t](https://h/?a='1')", "<a href=\"https://h/?a='1'\">t</a>"),
            ("[t](https://h/?a=1&b=2)", "<a href=\"https://h/?a=1&amp;b=2\">t</a>"),
            ("> q\n> r", "<blockquote>q\nr</blockquote>"),
            ("```\nx<y\n```", "<pre>x&lt;y</pre>"),
        ],
    );
}

#[test]
fn html_to_the_rest() {
    check(
        "html_to_text",
        "",
        &[
            ("<p>a  b\n c</p><p>d</p>", "a b c\n\nd"),
            ("a<br>b<br/>c", "a\nb\nc"),
            ("&lt;b&gt; &amp;amp; &#x4f60;&#22909; &nope; &", "<b> &amp; 你好 &nope; &"),
            ("<style>p{}</style><script>if (a<b) x()</script>t<!-- c -->u", "tu"),
            ("<ol start=2><li>x<li>y</ol>", "2. x\n3. y"),
            ("<a href='https://h/'>t</a> <a href=\"javascript:x\">u</a>", "t (https://h/) u"),
            ("<img alt=\"pic\" src=https://h/i.png>", "pic (https://h/i.png)"),
            ("1 < 2 and <unknown>x</unknown> <b", "1 < 2 and x <b"),
            ("<pre>a\n  b</pre>", "a\n  b"),
            ("<!DOCTYPE html><?xml x?>a <! b <!-- c", "a <! b"),
            ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ],
    );
    check("html_to_markdown", "", &[("<h2>T</h2><b>b</b> <i>i</i><br>x", "## T\n\n**b** *i*  \nx")]);
    check(
        "as_telegram",
        "html",
        &[
            ("<div onclick=x><b>a</div>b", "<b>a</b>\nb"),
            ("<b><i>x</b></i>", "<b><i>x</i></b>"),
            ("<u>u</u><s>s</s> &lt;", "<u>u</u><s>s</s> &lt;"),
        ],
    );
    check("escape_markdown", "", &[("*a*", "\\*a\\*")]);
    check("as_markdown", "text", &[("*a*\n  b", "*a*\n  b")]);
    check("as_markdown", "html", &[("<a href=\"https://h/(x)\">t</a>", "[t](https://h/(x%29)")]);
}

#[test]
fn hostile_markup_ends_and_stays_balanced() {
    let deep = "<b>".repeat(5_000);
    assert_eq!(converted("as_telegram", &format!("{deep}x"), "html"), "<b>x</b>");
    let unclosed = format!("{}</x>", "<a href=\"https://h/\">".repeat(2_000));
    let written = converted("as_telegram", &unclosed, "html");
    assert_eq!(written.matches("<a ").count(), written.matches("</a>").count());
    for source in ["> ".repeat(20_000), format!("{}x", "- ".repeat(20_000)), "<blockquote>".repeat(5_000)] {
        for helper in ["as_text", "as_slack", "as_telegram", "as_markdown"] {
            for format in ["markdown", "html"] {
                let written = converted(helper, &source, format);
                assert!(written.len() < 400_000, "{helper} {format}: {}", written.len());
            }
        }
    }
}
