//! The page that shows the document of the API to people. It brings all that it needs: nothing is fetched from
//! another place, and its policy forbids it.

use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poem::endpoint::make_sync;
use poem::http::header;
use poem::{Endpoint, Response};
use poem_openapi::OpenApiService;
use sha2::{Digest, Sha256};

const NO_ICON: &str = "<link rel=\"icon\" href=\"data:,\">";

/// The page that shows a finished document. It is made when it is first asked for: most servers never show it, and
/// making it at the start cost 7 MiB.
pub fn page(document: Arc<str>) -> impl Endpoint<Output = Response> + 'static {
    let page = LazyLock::new(move || {
        let html = page_html(&document);
        (page_policy(&html), html)
    });
    make_sync(move |_| {
        let (policy, html) = &*page;
        Response::builder()
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, policy)
            .body(html.clone())
    })
}

fn page_html(document: &str) -> String {
    // The page comes with poem-openapi, made for a document of its own: an empty one, to be replaced by ours.
    let empty = OpenApiService::new((), "Fanfare", "");
    // `<` cannot be part of JSON but within texts; spelled out, no text can end the script that it stands in.
    let ours = document.replace('<', "\\u003c");
    let html = empty.swagger_ui_html().replacen(&empty.spec(), &ours, 1);
    // An icon of nothing keeps browsers from asking for one.
    let head = format!("<title>Fanfare API</title>{NO_ICON}");
    format!("<!DOCTYPE html>{}", html.replacen("<title>Swagger UI</title>", &head, 1))
}

/// Allows the scripts of the page by their digests, and its calls to this server.
fn page_policy(html: &str) -> String {
    let digests: Vec<String> = scripts(html)
        .into_iter()
        .map(|script| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(script.as_bytes()))))
        .collect();
    format!(
        "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digests.join(" ")
    )
}

/// What stands between the tags of each script, as a browser sees it: `<script` within a script is text.
fn scripts(html: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = html;
    while let Some((_, tag)) = rest.split_once("<script") {
        let Some((script, after)) = tag.split_once('>').and_then(|(_, body)| body.split_once("</script>")) else {
            break;
        };
        found.push(script);
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use poem::Request;
    use poem::http::StatusCode;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn the_page_holds_the_document_and_fetches_nothing_from_elsewhere() {
        let note = "Ends </script><script>alert(1)";
        let document = json!({ "openapi": "3.0.0", "info": { "title": note }, "paths": { "/thing/": {} } });
        let response = page(document.to_string().into()).get_response(Request::default()).await;
        assert_eq!(response.status(), StatusCode::OK);
        let policy = response.header("content-security-policy").unwrap().to_owned();
        let html = response.into_body().into_string().await.unwrap();
        assert!(html.contains("let spec = {\"openapi\":"), "the document is not in the page");
        assert!(html.contains("Ends \\u003c/script>"));
        assert!(!html.contains("alert(1)</") && !html.contains("<script>alert"));
        let scripts = scripts(&html);
        assert_eq!(scripts.len(), 2);
        assert!(scripts[0].len() > 1_000_000, "the program is cut short");
        for script in &scripts {
            let digest = STANDARD.encode(Sha256::digest(script.as_bytes()));
            assert!(policy.contains(&format!("'sha256-{digest}'")), "{policy}");
        }
        assert!(scripts[1].contains("SwaggerUIBundle") && scripts[1].contains("/thing/"));
        let page = html.replacen(NO_ICON, "", 1);
        let frame: String = scripts.iter().fold(page, |html, script| html.replacen(script, "", 1));
        assert!(!frame.contains("<link") && !frame.contains(" src="), "{frame}");
    }

    #[test]
    fn a_script_may_name_the_tag_that_it_stands_in() {
        assert_eq!(scripts("<script>a<script>b</script><p><script x>c</script>"), ["a<script>b", "c"]);
    }
}
