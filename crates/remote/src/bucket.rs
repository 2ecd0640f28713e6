//! What a folder of a bucket holds.

use std::collections::BTreeMap;

use super::client::{Ask, Client};
use super::error::{Error, Trouble};
use super::hub::{MOST_FILES, is_plain};
use super::place::{Bucket, Facts};
use super::url::{decode, encode_name};
use super::xml;

/// Pages of a listing, of a thousand objects each.
const MOST_PAGES: usize = 200;

/// The objects below a folder, by their paths from there.
///
/// # Errors
/// The bucket may not be listed, or is not there.
pub fn list(client: &Client, bucket: &Bucket, folder: &str) -> Result<BTreeMap<String, Option<Facts>>, Error> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{}/", folder.trim_matches('/')) };
    let mut files = BTreeMap::new();
    let mut token: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let mut url = bucket.url("");
        let go_on = token.as_deref().map(|token| format!("&continuation-token={}", encode_name(token)));
        let go_on = go_on.unwrap_or_default();
        url.query = Some(format!("encoding-type=url&list-type=2{go_on}&prefix={}", encode_name(&prefix)));
        let answer = client.send(&Ask { url: &url, auth: &bucket.auth(), range: None, if_range: None })?;
        if answer.status != 200 {
            if bucket.learns(&answer) {
                continue;
            }
            return Err(bucket.explain(answer, client));
        }
        let text = answer.text(client)?;
        if !text.contains("<ListBucketResult") {
            let what = "the server's listing is none of S3's; AWS_ENDPOINT_URL may name something else";
            return Err(Error::new(Trouble::Answer, url.to_string(), what));
        }
        for object in xml::elements(&text, "Contents") {
            let Some(key) = xml::first(object, "Key").map(|key| decode(&key.replace('+', " "))) else { continue };
            let Some(path) = key.strip_prefix(&prefix).filter(|path| is_plain(path)) else { continue };
            let length = xml::first(object, "Size").and_then(|size| size.parse().ok());
            let version = xml::first(object, "ETag").unwrap_or_default();
            files.insert(path.to_owned(), length.map(|length| Facts { length, version }));
        }
        if files.len() > MOST_FILES {
            let what = format!("it lists more than {MOST_FILES} objects; name a folder in it, or the object");
            return Err(Error::new(Trouble::Answer, url.to_string(), what));
        }
        token = xml::first(&text, "NextContinuationToken").filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(files);
        }
    }
    let what = format!("its listing does not end after {MOST_PAGES} pages; name a folder in it, or the file");
    Err(Error::new(Trouble::Answer, format!("s3://{}/{prefix}", bucket.name), what))
}
