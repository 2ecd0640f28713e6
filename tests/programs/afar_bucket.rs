//! Buckets: signed and public, as objects and as folders, against a server that checks the signature by itself.

use sha2::{Digest, Sha256};

use super::afar::{User, told};
use crate::common::server::{Asked, Reply, Server};
use crate::common::{archive, json, stderr};

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// HMAC by its definition (RFC 2104): the program's comes from a library.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > 64 { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block.resize(64, 0);
    let pad = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([pad(0x36), text.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The signature that a request must have, by the steps of the published description.
fn signature(asked: &Asked, region: &str) -> String {
    let authorization = asked.header("authorization").unwrap();
    let names = authorization.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
    let headers: String = names.split(';').map(|name| format!("{name}:{}\n", asked.header(name).unwrap())).collect();
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let mut query: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
    query.sort_unstable();
    let payload = asked.header("x-amz-content-sha256").unwrap();
    let request = format!("GET\n{path}\n{}\n{headers}\n{names}\n{payload}", query.join("&"));
    let date = asked.header("x-amz-date").unwrap();
    let scope = format!("{}/{region}/s3/aws4_request", &date[..8]);
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(request.as_bytes())));
    let key = hmac(format!("AWS4{SECRET}").as_bytes(), &date.as_bytes()[..8]);
    let key = [region, "s3", "aws4_request"].iter().fold(key, |key, part| hmac(&key, part.as_bytes()));
    hex(&hmac(&key, text.as_bytes()))
}

fn refusal(status: u16, code: &str) -> Reply {
    Reply::new(
        status,
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No &amp; no.</Message></Error>"),
    )
}

/// A bucket `models` in a region, whose objects are for those who sign, unless it is public.
fn bucket(region: &'static str, public: bool) -> Server {
    let objects: Vec<(&str, Vec<u8>)> = vec![
        ("a b/model-00001-of-00002.safetensors", archive::safetensors(&[("a.weight", &[64, 64])])),
        ("a b/model-00002-of-00002.safetensors", archive::safetensors(&[("b.weight", &[64, 64])])),
        (
            "a b/model.safetensors.index.json",
            br#"{"weight_map": {"a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.safetensors"}}"#.to_vec(),
        ),
        ("a b/config.json", br#"{"model_type": "llama"}"#.to_vec()),
        ("single.safetensors", archive::safetensors(&[("a.weight", &[64, 64])])),
    ];
    Server::start(move |asked| {
        if !public {
            let Some(authorization) = asked.header("authorization") else { return refusal(403, "AccessDenied") };
            if !authorization.contains(&format!("Credential={KEY}/")) {
                return refusal(403, "InvalidAccessKeyId");
            }
            if !authorization.contains(&format!("/{region}/s3/aws4_request")) {
                return refusal(400, "AuthorizationHeaderMalformed").with("x-amz-bucket-region", region);
            }
            if !authorization.ends_with(&format!("Signature={}", signature(asked, region))) {
                return refusal(403, "SignatureDoesNotMatch");
            }
        }
        let path = asked.path().replace("%20", " ");
        let Some(key) = path.strip_prefix("/models/") else { return refusal(404, "NoSuchBucket") };
        if key.is_empty() {
            let prefix = asked.target.split("prefix=").nth(1).unwrap().replace("%20", " ").replace("%2F", "/");
            let from: usize = asked
                .target
                .split("continuation-token=")
                .nth(1)
                .map_or(0, |from| from.split('&').next().unwrap().parse().unwrap());
            let found: Vec<_> = objects.iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
            let listed: String = found
                .iter()
                .skip(from)
                .take(2)
                .map(|(key, content)| {
                    format!(
                        "<Contents><Key>{}</Key><ETag>&quot;e{}&quot;</ETag><Size>{}</Size></Contents>",
                        key.replace(' ', "+"),
                        content.len(),
                        content.len()
                    )
                })
                .collect();
            let next = if from + 2 < found.len() {
                format!("<NextContinuationToken>{}</NextContinuationToken>", from + 2)
            } else {
                String::new()
            };
            return Reply::new(
                200,
                format!("<?xml version=\"1.0\"?><ListBucketResult xmlns=\"x\">{next}{listed}</ListBucketResult>")
                    .replace("<ListBucketResult xmlns=\"x\">", "<ListBucketResult>"),
            );
        }
        match objects.iter().find(|(known, _)| *known == key) {
            Some((_, content)) => Reply::file(asked, content, &format!("\"e{}\"", content.len())),
            None => refusal(404, "NoSuchKey"),
        }
    })
}

#[test]
fn who_has_keys_signs() {
    let user = User::new();
    let server = bucket("eu-west-3", false);
    let inspect = |address: &str, variables: &[(&str, &str)]| {
        let mut program = user.program();
        program.env("AWS_ENDPOINT_URL", server.url("")).envs(variables.iter().copied());
        program.args(["inspect", address, "--format", "json"]).output().unwrap()
    };
    let keys = [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_REGION", "eu-west-3")];
    let output = inspect("s3://models/single.safetensors", &keys);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(json(&output)["checkpoint"]["path"], "s3://models/single.safetensors");
    assert!(told(&output).contains("s3://models/single.safetensors: fetched "));
    // A folder, with a blank in its name, in pages.
    for address in ["s3://models/a b/", "s3://models/a b", "s3://models/a b/model.safetensors.index.json"] {
        let output = inspect(address, &keys);
        assert!(output.status.success(), "{address}: {}", stderr(&output));
        assert_eq!(json(&output)["tensors"].as_array().unwrap().len(), 2, "{address}");
    }
    // Of another region than thought the server says which.
    let lost = [keys[0], keys[1], ("AWS_REGION", "us-east-1")];
    assert!(inspect("s3://models/single.safetensors", &lost).status.success());
    assert!(inspect("s3://models/a b/", &lost).status.success());
    // A session's token is signed too.
    let session = [keys[0], keys[1], keys[2], ("AWS_SESSION_TOKEN", "the-session")];
    server.take();
    assert!(inspect("s3://models/single.safetensors", &session).status.success());
    let asked = server.take();
    assert!(asked.iter().all(|asked| asked.header("x-amz-security-token") == Some("the-session")));
    assert!(asked[0].header("authorization").unwrap().contains("x-amz-security-token"));
    // From the files of a profile.
    std::fs::create_dir(user.path(".aws")).unwrap();
    std::fs::write(
        user.path(".aws/credentials"),
        format!("[work]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"),
    )
    .unwrap();
    std::fs::write(user.path(".aws/config"), "[profile work]\nregion = eu-west-3\n").unwrap();
    assert!(inspect("s3://models/single.safetensors", &[("AWS_PROFILE", "work")]).status.success());
}

#[test]
fn refusals_name_the_way_out() {
    let user = User::new();
    let server = bucket("us-east-1", false);
    let words = |address: &str, variables: &[(&str, &str)]| {
        let mut program = user.program();
        program.env("AWS_ENDPOINT_URL", server.url("")).envs(variables.iter().copied());
        let output = program.args(["inspect", address]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{address}");
        stderr(&output)
    };
    let keys = [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let none = words("s3://models/single.safetensors", &[]);
    assert!(none.contains("is not public, or has no such object: set AWS_ACCESS_KEY_ID"), "{none}");
    assert!(none.contains("(S3 says: AccessDenied: No & no.)"), "{none}");
    let wrong = words("s3://models/single.safetensors", &[keys[0], ("AWS_SECRET_ACCESS_KEY", "wrong")]);
    assert!(wrong.contains("check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") && !wrong.contains("wrong"), "{wrong}");
    let missing = words("s3://models/other.safetensors", &keys);
    assert!(missing.contains("the bucket `models` has no such object"), "{missing}");
    let missing = words("s3://others/other.safetensors", &keys);
    assert!(missing.contains("there is no bucket `others`"), "{missing}");
    let profile = words("s3://models/single.safetensors", &[("AWS_PROFILE", "nobody")]);
    assert!(profile.contains("AWS_PROFILE=nobody: there is no such profile"), "{profile}");
}

#[test]
fn a_public_bucket_needs_no_keys() {
    let user = User::new();
    let server = bucket("us-east-1", true);
    let mut program = user.program();
    program.env("AWS_ENDPOINT_URL", server.url("")).args(["inspect", "s3://models/a b", "--format", "json"]);
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(json(&output)["checkpoint"]["format"], "hf-folder");
    assert!(server.take().iter().all(|asked| asked.header("authorization").is_none()));
}
