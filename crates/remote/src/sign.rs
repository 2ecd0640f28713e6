//! Signature version 4, with which S3 is asked.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::basics::Secret;
use super::time::Moment;
use super::url::Url;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The access key's id.
    pub key: String,
    /// The secret that belongs to it.
    pub secret: Secret,
    /// The token of a session, with temporary credentials.
    pub session: Option<String>,
}

/// What a signature is for.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    /// The region that the server is in.
    pub region: &'a str,
    /// The service: `s3`.
    pub service: &'a str,
    /// When.
    pub at: Moment,
}

/// The hash of nothing, which is what a GET sends.
pub const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The headers that sign a GET of an address: those that are signed, and the signature.
pub fn headers(url: &Url, credentials: &Credentials, scope: &Scope<'_>) -> Vec<(&'static str, String)> {
    let mut signed = vec![("x-amz-content-sha256", NOTHING.to_owned()), ("x-amz-date", scope.at.basic())];
    signed.extend(credentials.session.clone().map(|session| ("x-amz-security-token", session)));
    let mut named: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let host = url.authority();
    named.push(("host", &host));
    let authorization = authorization("GET", url, &named, NOTHING, credentials, scope);
    signed.push(("authorization", authorization));
    signed
}

/// The value of the header `Authorization`, for headers whose names are in small letters.
fn authorization(
    method: &str,
    url: &Url,
    headers: &[(&str, &str)],
    payload: &str,
    credentials: &Credentials,
    scope: &Scope<'_>,
) -> String {
    let mut headers = headers.to_vec();
    headers.sort_unstable();
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let mut query: Vec<String> = url.query.iter().flat_map(|query| query.split('&')).map(with_sign).collect();
    query.sort_unstable();
    let request = [method, &url.path, &query.join("&"), &lines, &names, payload].join("\n");
    let Scope { region, service, at } = scope;
    let day = at.day();
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", at.basic(), hex(&Sha256::digest(request.as_bytes())));
    let first = format!("AWS4{}", credentials.secret.0).into_bytes();
    let key = [day.as_str(), region, service, "aws4_request"].iter().fold(first, |key, part| hmac(&key, part));
    let signature = hex(&hmac(&key, &text));
    format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", credentials.key)
}

/// A parameter without a value has an empty one.
fn with_sign(parameter: &str) -> String {
    if parameter.contains('=') { parameter.to_owned() } else { format!("{parameter}=") }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length is one.
    let Ok(mut code) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    code.update(text.as_bytes());
    code.finalize().into_bytes().to_vec()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn signature(authorization: &str) -> &str {
        authorization.rsplit("Signature=").next().unwrap()
    }

    /// AWS's own test suite of signature version 4: access key AKIDEXAMPLE, 2015-08-30 12:36:00, us-east-1, `service`.
    fn of_suite(target: &str, more: &[(&str, &str)]) -> String {
        let secret = Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned());
        let credentials = Credentials { key: "AKIDEXAMPLE".to_owned(), secret, session: None };
        let at = Moment::of_seconds(1_440_938_160);
        assert_eq!(at.basic(), "20150830T123600Z");
        let url = Url::parse(&format!("https://example.amazonaws.com{target}")).unwrap();
        let mut headers = vec![("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        headers.extend(more);
        let scope = Scope { region: "us-east-1", service: "service", at };
        signature(&authorization("GET", &url, &headers, NOTHING, &credentials, &scope)).to_owned()
    }

    #[test]
    fn the_signatures_are_those_of_the_published_suite() {
        // get-vanilla
        assert_eq!(of_suite("/", &[]), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
        // get-vanilla-empty-query-key
        let query = of_suite("/?Param1=value1", &[]);
        assert_eq!(query, "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb");
        // get-vanilla-query-order-key-case
        let query = of_suite("/?Param2=value2&Param1=value1", &[]);
        assert_eq!(query, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
        // get-header-value-trim
        let trimmed = of_suite("/", &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")]);
        assert_eq!(trimmed, "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
    }

    #[test]
    fn s3s_own_example_is_signed_as_there() {
        let secret = Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned());
        let credentials = Credentials { key: "AKIAIOSFODNN7EXAMPLE".to_owned(), secret, session: None };
        let at = Moment::of_seconds(1_369_353_600);
        let scope = Scope { region: "us-east-1", service: "s3", at };
        let host = "examplebucket.s3.amazonaws.com";
        let headers = [
            ("host", host),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", NOTHING),
            ("x-amz-date", "20130524T000000Z"),
        ];
        let url = Url::parse(&format!("https://{host}/test.txt")).unwrap();
        let got = authorization("GET", &url, &headers, NOTHING, &credentials, &scope);
        assert_eq!(signature(&got), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
        // Listing objects: a query.
        let url = Url::parse(&format!("https://{host}/?max-keys=2&prefix=J")).unwrap();
        let got = super::headers(&url, &credentials, &scope);
        let got = &got.iter().find(|(name, _)| *name == "authorization").unwrap().1;
        assert_eq!(signature(got), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
        let session = Credentials { session: Some("token".to_owned()), ..credentials };
        let with = super::headers(&url, &session, &scope);
        let is_signed =
            |value: &str| value.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,");
        assert!(with.iter().any(|(name, value)| *name == "authorization" && is_signed(value)));
    }
}
