use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;
use url::Url;

/// Query parameters that say where a visitor came from, not what the page is.
const TRACKING: [&str; 4] = ["fbclid", "gclid", "mc_eid", "ref_src"];

/// The canonical address of a web page: `http` or `https`, without credentials and tracking parameters. Two spellings
/// of one page compare equal.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(Url);

/// Why a text is not an address that a shelf takes.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum AddressError {
    /// Not a URL at all.
    #[error("not a URL: {0}")]
    Syntax(#[from] url::ParseError),
    /// A URL, but not of a web page.
    #[error("only http and https links are kept, not {0}")]
    Scheme(String),
    /// The URL holds a user name or a password, which everybody could read.
    #[error("the URL holds credentials")]
    Credentials,
}

impl Address {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host without a leading `www.`; always present in a web address.
    pub fn site(&self) -> &str {
        let host = self.0.host_str().unwrap_or_default();
        host.strip_prefix("www.").unwrap_or(host)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let mut url = Url::parse(text.trim())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AddressError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::Credentials);
        }
        let tracking = |name: &str| name.starts_with("utm_") || TRACKING.contains(&name);
        let kept: Vec<(String, String)> =
            url.query_pairs().filter(|(name, _)| !tracking(name)).map(|(n, v)| (n.into(), v.into())).collect();
        if kept.len() < url.query_pairs().count() {
            url.set_query(None);
            if !kept.is_empty() {
                url.query_pairs_mut().extend_pairs(kept);
            }
        }
        Ok(Self(url))
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0.into()
    }
}

impl AsRef<str> for Address {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, AddressError};

    fn canonical(text: &str) -> String {
        text.parse::<Address>().unwrap().to_string()
    }

    #[test]
    fn spellings_of_one_page_are_one_address() {
        assert_eq!(canonical(" HTTPS://Example.COM:443/a/../b "), "https://example.com/b");
        assert_eq!(canonical("https://bücher.example"), "https://xn--bcher-kva.example/");
    }

    #[test]
    fn tracking_goes_and_the_rest_of_the_query_stays() {
        assert_eq!(canonical("https://example.com/?utm_source=x&gclid=1"), "https://example.com/");
        assert_eq!(canonical("https://example.com/?q=a%20b&utm_medium=y"), "https://example.com/?q=a+b");
        assert_eq!(canonical("https://example.com/?q=a%20b"), "https://example.com/?q=a%20b");
    }

    #[test]
    fn only_public_web_pages_are_taken() {
        let refused = |text: &str| text.parse::<Address>().unwrap_err();
        assert_eq!(refused("javascript:alert(1)"), AddressError::Scheme("javascript".into()));
        assert_eq!(refused("https://me:secret@example.com/"), AddressError::Credentials);
        assert!(matches!(refused("/relative"), AddressError::Syntax(_)));
    }

    #[test]
    fn the_site_is_the_host_without_www() {
        assert_eq!("https://www.rust-lang.org/learn".parse::<Address>().unwrap().site(), "rust-lang.org");
    }
}
