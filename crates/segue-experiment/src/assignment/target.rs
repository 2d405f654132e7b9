//! Who is asked about, and who is eligible.

use segue_types::Surface;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Unit;

/// The ids of one request, by unit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Units<'a> {
    /// External user id; absent for a stranger.
    pub user: Option<&'a str>,
    /// Session id.
    pub session: Option<&'a str>,
    /// Request id.
    pub request: Option<&'a str>,
}

impl<'a> Units<'a> {
    /// A listener and nothing else.
    #[must_use]
    pub const fn user(id: &'a str) -> Self {
        Self { user: Some(id), session: None, request: None }
    }

    /// The id of one unit.
    #[must_use]
    pub const fn of(&self, unit: Unit) -> Option<&'a str> {
        match unit {
            Unit::User => self.user,
            Unit::Session => self.session,
            Unit::Request => self.request,
        }
    }
}

/// What is known of a request. An absent attribute matches no predicate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes<'a> {
    /// Market, such as `SE`.
    pub market: Option<&'a str>,
    /// Plan, such as `premium`.
    pub plan: Option<&'a str>,
    /// Platform, such as `ios`.
    pub platform: Option<&'a str>,
    /// Version of the client, such as `8.9.42`.
    pub app_version: Option<&'a str>,
    /// Surface asked for.
    pub surface: Option<Surface>,
}

/// Predicates on a request; each one given has to hold, none given holds for all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Target {
    /// Any of these markets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub market: Vec<String>,
    /// Any of these plans.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
    /// Any of these platforms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platform: Vec<String>,
    /// Any of these surfaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub surface: Vec<Surface>,
    /// A range of client versions, such as `>=8.9, <9`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_version: Option<VersionRange>,
}

impl Target {
    /// Whether every predicate holds.
    #[must_use]
    pub fn matches(&self, attributes: &Attributes<'_>) -> bool {
        let any = |allowed: &[String], value: Option<&str>| {
            allowed.is_empty() || value.is_some_and(|v| allowed.iter().any(|a| a == v))
        };
        any(&self.market, attributes.market)
            && any(&self.plan, attributes.plan)
            && any(&self.platform, attributes.platform)
            && (self.surface.is_empty() || attributes.surface.is_some_and(|s| self.surface.contains(&s)))
            && self.app_version.as_ref().is_none_or(|r| attributes.app_version.is_some_and(|v| r.contains(v)))
    }

    /// Whether no predicate is given.
    #[must_use]
    pub fn is_everyone(&self) -> bool {
        *self == Self::default()
    }
}

/// Up to four numbers of a dotted version, compared number by number; missing ones are 0.
type Version = [u32; 4];

/// A range of versions: comparisons joined by commas, all of which hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange {
    text: String,
    comparisons: Vec<(Comparison, Version)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    AtLeast,
    AtMost,
    Above,
    Below,
    Equal,
}

impl VersionRange {
    /// Reads `>=8.9, <9`; the comparisons are `>=`, `<=`, `>`, `<` and `=`.
    ///
    /// # Errors
    /// A sentence that names what could not be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        const SIGNS: [(&str, Comparison); 5] = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            (">", Comparison::Above),
            ("<", Comparison::Below),
            ("=", Comparison::Equal),
        ];
        let comparisons = text
            .split(',')
            .map(|part| {
                let part = part.trim();
                SIGNS
                    .iter()
                    .find_map(|(sign, c)| part.strip_prefix(sign).map(|rest| (*c, rest.trim())))
                    .and_then(|(c, rest)| version(rest).map(|v| (c, v)))
                    .ok_or_else(|| {
                        format!(
                            "`{part}` is not a comparison of versions; write one such as `>=8.9`, joined by commas"
                        )
                    })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { text: text.to_owned(), comparisons })
    }

    /// Whether a version lies in the range; text that is not a dotted number does not.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        version(text).is_some_and(|v| {
            self.comparisons.iter().all(|(c, bound)| match c {
                Comparison::AtLeast => v >= *bound,
                Comparison::AtMost => v <= *bound,
                Comparison::Above => v > *bound,
                Comparison::Below => v < *bound,
                Comparison::Equal => v == *bound,
            })
        })
    }
}

impl Serialize for VersionRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for VersionRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A dotted version without allocating; what follows `-` or `+` (a pre-release, a build) is left out.
fn version(text: &str) -> Option<Version> {
    let numbers = text.split(['-', '+']).next()?;
    let mut version = Version::default();
    for (at, part) in numbers.split('.').enumerate() {
        *version.get_mut(at)? = part.parse().ok()?;
    }
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number_and_nonsense_matches_nothing() {
        let range = VersionRange::parse(">=8.9, <9").unwrap();
        for (version, inside) in [
            ("8.9", true),
            ("8.10.1", true),
            ("8.9.0-beta", true),
            ("9.0", false),
            ("8.8.99", false),
            ("x", false),
        ] {
            assert_eq!(range.contains(version), inside, "{version}");
        }
        assert!(VersionRange::parse("8.9").is_err() && VersionRange::parse(">=a").is_err());
    }

    #[test]
    fn an_absent_attribute_matches_no_predicate() {
        let target = Target { market: vec!["SE".into(), "NO".into()], ..Target::default() };
        assert!(!target.matches(&Attributes::default()));
        assert!(target.matches(&Attributes { market: Some("NO"), ..Attributes::default() }));
        assert!(Target::default().matches(&Attributes::default()));
    }
}
