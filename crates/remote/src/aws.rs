//! Credentials and regions of S3, from where AWS's own tools have them: the environment, then the files of a profile.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::basics::{Secret, Variables, text_of};
use super::error::{Error, Trouble};
use super::sign::Credentials;
use super::url::Url;

/// Where buckets are that nothing else is said of.
const REGION: &str = "us-east-1";

/// What is known of the user's S3.
#[derive(Debug, Clone)]
pub struct Aws {
    /// Who asks; nobody in particular where nothing is found: public buckets answer all the same.
    pub credentials: Option<Credentials>,
    /// The region.
    pub region: String,
    /// Another server that speaks S3.
    pub endpoint: Option<Url>,
    /// Where credentials would be, in words, for messages.
    pub why_none: String,
}

impl Aws {
    /// By these variables and the files that they name.
    ///
    /// # Errors
    /// The endpoint is no address, or a profile was asked for that is not there.
    pub fn of(variable: Variables<'_>, home: Option<&Path>) -> Result<Aws, Error> {
        let file = |name: &str, usual: &str| {
            let named = variable(name).map(PathBuf::from);
            named.or_else(|| Some(home?.join(".aws").join(usual))).and_then(|path| text_of(&path)).unwrap_or_default()
        };
        let asked = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"].iter().find_map(|name| variable(name));
        let profile = asked.as_deref().unwrap_or("default");
        let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let config = file("AWS_CONFIG_FILE", "config");
        let section = if profile == "default" { "default".to_owned() } else { format!("profile {profile}") };
        let known = [section_of(&credentials, profile), section_of(&config, &section)];
        let in_files = |key: &str| known.iter().flatten().find_map(|section| section.get(key)).cloned();
        let of_environment = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
        if let (Some(asked), None, [None, None]) = (&asked, &of_environment, &known) {
            let what = "there is no such profile in ~/.aws/credentials or ~/.aws/config";
            return Err(Error::new(Trouble::Asked, format!("AWS_PROFILE={asked}"), what));
        }
        let found = match of_environment {
            Some((key, secret)) => Some((key, secret, variable("AWS_SESSION_TOKEN"))),
            None => in_files("aws_access_key_id")
                .zip(in_files("aws_secret_access_key"))
                .map(|(key, secret)| (key, secret, in_files("aws_session_token"))),
        };
        let elsewhere = ["sso_session", "sso_start_url", "role_arn", "credential_process", "web_identity_token_file"];
        let why_none = match elsewhere.into_iter().find(|key| in_files(key).is_some()) {
            Some(key) => format!(
                "the profile `{profile}` has {key}, which is not followed: `aws configure export-credentials --format env` prints what is to be set"
            ),
            None => "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE".to_owned(),
        };
        let region = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| variable(name));
        let region = region.or_else(|| in_files("region")).unwrap_or_else(|| REGION.to_owned());
        if !region.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-') {
            return Err(Error::new(Trouble::Asked, format!("AWS_REGION={region}"), "no region is called that"));
        }
        let endpoint =
            ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().find_map(|name| Some((*name, variable(name)?)));
        let endpoint = endpoint.or_else(|| Some(("endpoint_url", in_files("endpoint_url")?)));
        let endpoint = endpoint.map(|(name, text)| {
            Url::parse(text.trim_end_matches('/'))
                .map_err(|what| Error::new(Trouble::Asked, format!("{name}={text}"), what))
        });
        Ok(Aws {
            credentials: found.map(|(key, secret, session)| Credentials { key, secret: Secret(secret), session }),
            region,
            endpoint: endpoint.transpose()?,
            why_none,
        })
    }
}

/// The keys of one section of an INI file; `None` where there is no such section.
fn section_of(text: &str, wanted: &str) -> Option<HashMap<String, String>> {
    let mut found: Option<HashMap<String, String>> = None;
    let mut inside = false;
    for line in text.lines() {
        // A line that is set in belongs to the key above: none that is asked for has such.
        if line.starts_with([' ', '\t', '#', ';']) {
            continue;
        }
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            inside = name.split_whitespace().eq(wanted.split_whitespace());
            if inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value)), Some(found)) = (inside, line.split_once('='), &mut found) {
            found.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn aws(folder: &Path, variables: &[(&str, &str)]) -> Result<Aws, Error> {
        let found =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Aws::of(&found, Some(folder))
    }

    #[test]
    fn credentials_come_from_the_environment_then_from_the_profile() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(home.path().join(".aws").join(name), text).unwrap();
        write(
            "credentials",
            "# mine\n[default]\naws_access_key_id = AK\naws_secret_access_key=se=cret\n[work]\naws_access_key_id=WK\naws_secret_access_key=ws\naws_session_token=tok\n",
        );
        write(
            "config",
            "[default]\nregion = eu-west-3\ns3 =\n  region = wrong\n[profile work]\nregion=ap-south-1\n[profile sso]\nsso_session = x\n",
        );
        let usual = aws(home.path(), &[]).unwrap();
        let credentials = usual.credentials.unwrap();
        assert_eq!(
            (credentials.key.as_str(), credentials.secret.0.as_str(), credentials.session),
            ("AK", "se=cret", None)
        );
        assert_eq!((usual.region.as_str(), usual.endpoint), ("eu-west-3", None));
        let work = aws(home.path(), &[("AWS_PROFILE", "work")]).unwrap();
        assert_eq!((work.credentials.unwrap().session.unwrap().as_str(), work.region.as_str()), ("tok", "ap-south-1"));
        let given =
            [("AWS_ACCESS_KEY_ID", "E"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_ENDPOINT_URL", "http://minio:9000/")];
        let given = aws(home.path(), &given).unwrap();
        assert_eq!(
            (given.credentials.unwrap().key.as_str(), given.endpoint.unwrap().authority().as_str()),
            ("E", "minio:9000")
        );
        let sso = aws(home.path(), &[("AWS_PROFILE", "sso")]).unwrap();
        assert!(sso.credentials.is_none() && sso.why_none.contains("sso_session"), "{}", sso.why_none);
        let error = aws(home.path(), &[("AWS_PROFILE", "none")]).unwrap_err().to_string();
        assert!(error.starts_with("AWS_PROFILE=none: there is no such profile"), "{error}");
        assert!(aws(Path::new("/nowhere"), &[("AWS_REGION", "a/b")]).is_err());
        assert_eq!(aws(Path::new("/nowhere"), &[]).unwrap().region, REGION);
    }
}
