//! Claims on a data layer, before their root is on chain.

use futures::future::try_join_all;
use openledger_core::{Address, Amount, B256, Error, Result, decode, encode};

use super::{Claim, Distributor, Settlement};
use crate::{
    Rewards, Sent,
    da::{Availability, Certificate},
};

/// Claims in one part: 52 bytes each make 12.4 MiB, below EigenDA's 16.
const PART_CLAIMS: usize = 250_000;

/// The most parts that are read: 32 million claims, 1.7 GB.
const MAX_PARTS: usize = 128;

/// The format's name, first in every manifest.
const FORMAT: &str = "openledger.claims.1";

/// What a data layer holds for a root: format, chain id, distributor, token, root, and the
/// certificates of the parts; each part is a list of (account, cumulative), ascending.
///
/// 6 bytes of JSON for every byte of this would say the same, and 100,000 claims in OpenZeppelin's
/// JSON are 33 MB, twice what EigenDA takes. Leaves and tree follow from the claims:
/// [`Settlement::dump_to`] makes that JSON from what was loaded.
type Manifest = (String, u64, Address, Address, B256, Vec<Vec<u8>>);

/// Claims that anybody can fetch. Only these can be [submitted](Self::submit).
///
/// # Examples
/// ```
/// use openledger_chain::da::{Availability, Local};
/// use openledger_chain::settlement::{Before, Claim, Distributor, EpochBuilder, FeeSplit, Published};
/// # use openledger_chain::FeeAccounts;
/// # use openledger_core::{Address, Amount, Store};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # let split = FeeSplit::default();
/// # let accounts = FeeAccounts { treasury: Address::ZERO, staking_pool: Address::ZERO };
/// # let distributor = Distributor { chain_id: 1, contract: Address::ZERO, token: Address::ZERO };
/// let da = Availability::new(Local::new(Store::memory()));
/// let account = Address::repeat_byte(1);
/// let before = Before::new([Claim { account, cumulative: 70.into() }])?;
/// let epoch = EpochBuilder::new(split, accounts, before);
/// let published = epoch.build(&distributor, 70.into())?.publish(&da).await?;
///
/// // Somebody else, who knows the certificate and reads the root from the chain:
/// let root = published.settlement().root();
/// let loaded = Published::load(&da, published.certificate(), root).await?;
/// let (claim, proof) = loaded.settlement().claim(account)?;
/// assert_eq!(claim.cumulative, Amount::from(70));
/// assert_eq!(loaded.settlement().claimable(account, 50.into()), 20.into());
/// # Ok::<(), openledger_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Published {
    settlement: Settlement,
    certificate: Certificate,
}

impl Settlement {
    /// Puts the claims on a data layer.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for more than 32 million claims;
    /// those of the layer. Call it again: what lies there already is not in the way.
    pub async fn publish(self, da: &Availability) -> Result<Published> {
        if self.claims().len() > MAX_PARTS * PART_CLAIMS {
            let (count, most) = (self.claims().len(), MAX_PARTS * PART_CLAIMS);
            return Err(Error::invalid(format!("{count} claims, {most} at most can be read")));
        }
        let puts = self.claims().chunks(PART_CLAIMS).map(|claims| {
            let part: Vec<_> =
                claims.iter().map(|claim| (claim.account, claim.cumulative)).collect();
            da.put(encode(&part))
        });
        let parts: Vec<Certificate> = try_join_all(puts).await?;
        let Distributor { chain_id, contract, token } = *self.distributor();
        let parts: Vec<Vec<u8>> = parts.iter().map(Certificate::encode).collect();
        let manifest: Manifest = (FORMAT.to_owned(), chain_id, contract, token, self.root(), parts);
        // Last, so that what it names is there.
        let certificate = da.put(encode(&manifest)).await?;
        Ok(Published { settlement: self, certificate })
    }
}

impl Published {
    /// Fetches the claims of `root`, which the chain names, and checks that they are its claims.
    ///
    /// # Errors
    /// Those of the layer; [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if the
    /// published claims are not in their one form, or make another root.
    pub async fn load(da: &Availability, certificate: &Certificate, root: B256) -> Result<Self> {
        let manifest: Manifest = decode(&da.get(certificate).await?)?;
        let (format, chain_id, contract, token, named, parts) = manifest;
        if format != FORMAT || parts.len() > MAX_PARTS {
            let message = format!("{} parts of `{format}`, expected `{FORMAT}`", parts.len());
            return Err(Error::corrupt(message));
        }
        if named != root {
            return Err(Error::corrupt(format!("the claims published are of {named}, not {root}")));
        }
        let mut claims: Vec<Claim> = Vec::new();
        for part in &parts {
            let part = da.get(&Certificate::decode(part)?).await?;
            let part: Vec<(Address, Amount)> = decode(&part)?;
            claims.extend(
                part.into_iter().map(|(account, cumulative)| Claim { account, cumulative }),
            );
        }
        if let Some(pair) = claims.windows(2).find(|pair| pair[0].account >= pair[1].account) {
            let account = pair[1].account;
            return Err(Error::corrupt(format!("the claim of {account} is out of order or twice")));
        }
        if let Some(claim) = claims.iter().find(|claim| claim.cumulative == Amount::ZERO) {
            return Err(Error::corrupt(format!("a claim of nothing by {}", claim.account)));
        }
        let settlement = Settlement::new(Distributor { chain_id, contract, token }, claims)
            .map_err(|e| Error::corrupt("published claims make no tree").with_source(e))?;
        if settlement.root() != root {
            let found = settlement.root();
            return Err(Error::corrupt(format!("the published claims make {found}, not {root}")));
        }
        Ok(Self { settlement, certificate: certificate.clone() })
    }

    /// Returns the claims, to prove them.
    pub const fn settlement(&self) -> &Settlement {
        &self.settlement
    }

    /// Returns where the claims are. Its hash goes on chain with the root.
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Submits the root; returns its number.
    ///
    /// # Errors
    /// Those of the chain.
    pub async fn submit(&self, rewards: &(impl Rewards + ?Sized)) -> Result<Sent<u64>> {
        let Self { settlement, certificate } = self;
        rewards.submit_root(settlement.root(), certificate.hash(), settlement.total()).await
    }
}
