//! A Datanet: an append-only log of contributions in a store, and versions of it.
//!
//! ```text
//! file ─▶ intake ─▶ drafts ─▶ review ─▶ kept ─▶ Submission::sign ─▶ accept ─▶ log ─▶ publish ─▶ Version
//! ```
//!
//! In the store, heads are `datanets/<id>/info`, `datanets/<id>/log/<number>` and
//! `datanets/<id>/versions/<u64::MAX - number>` (the newest is listed first); rows are blobs.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{
    Address, B256, ContentHash, ContributionId, DatanetId, DatanetVersion, Error, ErrorKind,
    Fingerprint, Result, Row, Store, decode, encode,
    message::{Domain, Nonces},
    store::Head,
};

use crate::{Checks, Draft, Finding, Limits, Record, Review, Submission, Version, limits::Totals};

const DAY: u64 = 24 * 60 * 60;

/// What is fixed when a Datanet is created.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Info {
    /// The name, unique among the owner's Datanets.
    pub name: String,
    /// Who owns it.
    pub owner: Address,
    /// The registry that knows it, of which its id is.
    pub registry: Domain,
    /// Where contributions are recorded, for which they are signed.
    pub contributions: Domain,
    /// SPDX identifier of the licence that contributions must carry.
    pub licence: String,
    /// How much may come in.
    pub limits: Limits,
}

impl Info {
    /// Describes a Datanet with the usual limits.
    pub fn new(
        name: impl Into<String>,
        owner: Address,
        registry: Domain,
        licence: impl Into<String>,
    ) -> Self {
        let (name, licence) = (name.into(), licence.into());
        let limits = Limits::default();
        Self { name, owner, registry, contributions: registry, licence, limits }
    }

    /// Returns this with contributions recorded by another contract than the registry.
    #[must_use]
    pub const fn with_contributions(mut self, contributions: Domain) -> Self {
        self.contributions = contributions;
        self
    }

    /// Returns this with other limits.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Returns the id that the registry gives to it.
    pub fn id(&self) -> DatanetId {
        DatanetId::derive(&self.registry, self.owner, &self.name)
    }
}

/// A handle on a Datanet in a store.
///
/// Many handles, in one process or many, may accept and publish at once: the store lets one of
/// them write each entry of the log, and the others look again.
#[derive(Debug)]
pub struct Datanet {
    store: Store,
    id: DatanetId,
    info: Info,
    checks: Checks,
    log: Log,
}

/// The log as far as it was read.
#[derive(Debug, Default)]
struct Log {
    entries: Vec<Taken>,
    records: Vec<Record>,
    fingerprints: HashMap<Fingerprint, ContributionId>,
    nonces: Nonces,
}

/// One entry of the log.
#[derive(Clone, Copy, Debug)]
struct Taken {
    contributor: Address,
    size: u64,
    at: u64,
    /// Records up to here, this entry's included.
    records: usize,
}

/// An entry as it is stored.
#[derive(BorshDeserialize, BorshSerialize)]
enum Entry {
    /// A contribution was taken in; the submission is a blob.
    Contribution { submission: ContentHash, at: u64 },
}

/// A version as it is stored: a prefix of the log.
#[derive(BorshDeserialize, BorshSerialize)]
struct Manifest {
    entries: u64,
    root: B256,
    published_at: u64,
}

impl Datanet {
    /// Creates a Datanet.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it exists; [`ErrorKind::Invalid`] without a name or licence;
    /// [`ErrorKind::Unavailable`].
    pub async fn create(store: Store, info: Info, checks: Checks) -> Result<Self> {
        if info.name.trim().is_empty() || info.licence.trim().is_empty() {
            return Err(Error::invalid("a Datanet needs a name and a licence"));
        }
        let id = info.id();
        store.create(&head(id, "info")?, encode(&info).into()).await.map_err(|e| {
            Error::new(e.kind(), format!("cannot create the Datanet `{}`", info.name))
                .with_source(e)
        })?;
        Ok(Self { store, id, info, checks, log: Log::default() })
    }

    /// Opens a Datanet and reads its log.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Corrupt`] if what is stored is not what was signed;
    /// [`ErrorKind::Unavailable`].
    pub async fn open(store: Store, id: DatanetId, checks: Checks) -> Result<Self> {
        let info: Info = decode(&store.read(&head(id, "info")?).await?)?;
        let mut datanet = Self { store, id, info, checks, log: Log::default() };
        datanet.refresh().await?;
        Ok(datanet)
    }

    /// Returns the id.
    pub const fn id(&self) -> DatanetId {
        self.id
    }

    /// Returns what was fixed at creation.
    pub const fn info(&self) -> &Info {
        &self.info
    }

    /// Returns the rows taken in so far, published or not.
    pub fn records(&self) -> &[Record] {
        &self.log.records
    }

    /// Judges drafts before anybody signs: runs the checks, and finds exact duplicates among them
    /// and of rows taken in.
    pub fn review(&self, drafts: Vec<Draft>) -> Review {
        let mut review = Review::default();
        let mut seen = HashMap::new();
        for draft in drafts {
            let fingerprint = draft.row.fingerprint();
            if let Some(first) = seen.get(&fingerprint) {
                let reason = format!("the same text as {first}");
                review.refuse(draft.origin, reason);
            } else if let Some(contribution) = self.log.fingerprints.get(&fingerprint) {
                let reason =
                    format!("the same text is there already, by contribution {contribution}");
                review.refuse(draft.origin, reason);
            } else if let Finding::Refuse(reason) = self.checks.check(&draft) {
                review.refuse(draft.origin, reason);
            } else {
                seen.insert(fingerprint, draft.origin.clone());
                review.kept.push(draft);
            }
        }
        review
    }

    /// Takes a contribution in: all of it, or nothing.
    ///
    /// `now` is Unix time.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] for a signature that does not count;
    /// [`ErrorKind::Invalid`] if the signature covers other rows or terms, is for another Datanet,
    /// the licence is another, or a row fails a check; [`ErrorKind::Conflict`] naming the first row
    /// that is there already; [`ErrorKind::Limit`] naming the limit; [`ErrorKind::Unavailable`].
    pub async fn accept(&mut self, submission: &Submission, now: u64) -> Result<ContributionId> {
        loop {
            self.refresh().await?;
            self.judge(submission, now)?;
            let blob = self.store.put(encode(submission).into()).await?;
            let entry = Entry::Contribution { submission: blob, at: now };
            let place = head(self.id, &format!("log/{:020}", self.log.entries.len()))?;
            match self.store.create(&place, encode(&entry).into()).await {
                Ok(()) => {
                    self.log.take(submission, now);
                    return Ok(submission.signed().unverified().id());
                }
                // Somebody else wrote this entry: judge again with theirs counted.
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Publishes the rows taken in so far as the next version.
    ///
    /// `now` is Unix time.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if nothing came in since the last version;
    /// [`ErrorKind::Conflict`] if another handle published meanwhile; [`ErrorKind::Unavailable`].
    pub async fn publish(&mut self, now: u64) -> Result<Version> {
        self.refresh().await?;
        let newest = self.newest().await?;
        let published = match newest {
            Some(version) => self.manifest(version).await?.entries,
            None => 0,
        };
        let entries = self.log.entries.len() as u64;
        if entries == published {
            return Err(Error::invalid("nothing came in since the last version"));
        }
        let root = Version::root_of(&self.log.records)?;
        let version = newest.unwrap_or(0) + 1;
        let manifest = Manifest { entries, root, published_at: now };
        self.store.create(&self.version_head(version)?, encode(&manifest).into()).await?;
        let pin = DatanetVersion { datanet: self.id, version, root };
        Version::new(pin, Arc::from(&self.log.records[..]))
    }

    /// Opens a published version and checks its root.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Corrupt`] if its rows have another root;
    /// [`ErrorKind::Unavailable`].
    pub async fn version(&self, version: u64) -> Result<Version> {
        let manifest = self.manifest(version).await?;
        let entries = usize::try_from(manifest.entries).unwrap_or(usize::MAX);
        let taken = entries.checked_sub(1).and_then(|last| self.log.entries.get(last));
        let taken =
            taken.ok_or_else(|| Error::corrupt(format!("version {version} is past the log")))?;
        let pin = DatanetVersion { datanet: self.id, version, root: manifest.root };
        Version::new(pin, Arc::from(&self.log.records[..taken.records]))
    }

    /// Reads entries that other handles wrote.
    async fn refresh(&mut self) -> Result<()> {
        loop {
            let place = head(self.id, &format!("log/{:020}", self.log.entries.len()))?;
            let Entry::Contribution { submission, at } = match self.store.read(&place).await {
                Ok(bytes) => decode(&bytes)?,
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(e),
            };
            let submission: Submission = decode(&self.store.get(submission).await?)?;
            submission.check_contents()?;
            submission.signed().verify(&self.info.contributions, at, &mut self.log.nonces)?;
            self.log.take(&submission, at);
        }
    }

    fn judge(&self, submission: &Submission, now: u64) -> Result<()> {
        let said = submission.signed().unverified();
        if said.datanet != self.id {
            let other = said.datanet;
            return Err(Error::invalid(format!("the contribution is for Datanet {other}")));
        }
        if submission.terms().licence != self.info.licence {
            return Err(Error::invalid(format!(
                "licence `{}`, this Datanet takes `{}`",
                submission.terms().licence,
                self.info.licence
            )));
        }
        self.info.limits.check_submission("the contribution", said.size)?;
        submission.check_contents()?;
        submission.signed().verify(&self.info.contributions, now, &mut self.log.nonces.clone())?;
        self.log.check_day(&self.info.limits, said.contributor, said.size, now)?;
        let mut seen = HashSet::new();
        for (place, (row, _)) in (1..).zip(submission.rows()) {
            let fingerprint = row.fingerprint();
            if !seen.insert(fingerprint) || self.log.fingerprints.contains_key(&fingerprint) {
                let message = format!("row {place} of the contribution is there already");
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            self.judge_row(place, row)?;
        }
        Ok(())
    }

    fn judge_row(&self, place: usize, row: &Row) -> Result<()> {
        if row.len() as u64 > self.info.limits.row {
            let message =
                format!("row {place}: {} bytes, over {} a row", row.len(), self.info.limits.row);
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let draft = Draft::new(row.clone(), crate::Origin::new("contribution", place));
        match self.checks.check(&draft) {
            Finding::Pass => Ok(()),
            Finding::Refuse(reason) => Err(Error::invalid(format!("row {place}: {reason}"))),
        }
    }

    async fn newest(&self) -> Result<Option<u64>> {
        let heads = self.store.heads(&head(self.id, "versions")?).await?;
        let number = |head: &Head| head.name().parse::<u64>().ok().map(|name| u64::MAX - name);
        Ok(heads.first().and_then(number))
    }

    async fn manifest(&self, version: u64) -> Result<Manifest> {
        decode(&self.store.read(&self.version_head(version)?).await?)
    }

    fn version_head(&self, version: u64) -> Result<Head> {
        head(self.id, &format!("versions/{:020}", u64::MAX - version))
    }
}

impl Log {
    fn take(&mut self, submission: &Submission, at: u64) {
        let said = submission.signed().unverified();
        // Spent when the entry was read; not yet when it was just written.
        let _ = self.nonces.spend(said.contributor, said.nonce);
        let contribution = said.id();
        for (row, salt) in submission.rows() {
            self.fingerprints.insert(row.fingerprint(), contribution);
            self.records.push(Record {
                id: row.id(salt),
                row: row.clone(),
                contributor: said.contributor,
                contribution,
            });
        }
        self.entries.push(Taken {
            contributor: said.contributor,
            size: said.size,
            at,
            records: self.records.len(),
        });
    }

    /// Checks the limits of a day with a contribution of `size` bytes counted.
    fn check_day(&self, limits: &Limits, contributor: Address, size: u64, now: u64) -> Result<()> {
        let recent = || self.entries.iter().filter(|taken| taken.at + DAY > now);
        let of_contributor = recent().filter(|taken| taken.contributor == contributor);
        let totals = of_contributor.fold(Totals { bytes: size, contributions: 1 }, |sum, taken| {
            Totals { bytes: sum.bytes + taken.size, contributions: sum.contributions + 1 }
        });
        limits.check_day(totals, size + recent().map(|taken| taken.size).sum::<u64>())
    }
}

fn head(id: DatanetId, name: &str) -> Result<Head> {
    format!("datanets/{id}/{name}").parse()
}
