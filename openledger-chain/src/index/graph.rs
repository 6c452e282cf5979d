//! The attribution graph: Datanets, contributions, models, batches of receipts, grants, agents.

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{
    Address, Amount, B256, ContributionId, DatanetId, DatanetVersion, Result, U256,
};

use super::{
    map::Map,
    numbered,
    wrong::{known, wrong},
};
use crate::{
    ContributionStatus, Kind, ModelOffer,
    abi::{
        access_grants::AccessGrants::AccessGrantsEvents as Grants,
        agent_registry::AgentRegistry::AgentRegistryEvents as Agents,
        attribution_log::AttributionLog::AttributionLogEvents as Log,
        contribution_registry::ContributionRegistry::ContributionRegistryEvents as Contributions,
        datanet_registry::DatanetRegistry::DatanetRegistryEvents as Datanets,
        model_registry::ModelRegistry::ModelRegistryEvents as Models,
    },
};

/// A Datanet.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Datanet {
    /// Who decides about it.
    pub owner: Address,
    /// Whom the owner offered it.
    pub offered_to: Option<Address>,
    /// Its name, the first owner's choice.
    pub name: String,
    /// Digest of its description.
    pub metadata: B256,
    /// What its rows are.
    #[borsh(
        serialize_with = "numbered::kind::serialize",
        deserialize_with = "numbered::kind::deserialize"
    )]
    pub kind: Kind,
    /// Whether only approved accounts contribute.
    pub is_private: bool,
    /// Whether it takes nothing more.
    pub closed: bool,
    /// How many versions there are.
    pub versions: u64,
}

/// A version of a Datanet.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Version {
    /// The root of its rows.
    pub root: B256,
    /// How many they are.
    pub rows: u64,
}

/// A contribution: an edge from a contributor to a Datanet.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Contributed {
    /// What became of it.
    #[borsh(
        serialize_with = "numbered::contribution::serialize",
        deserialize_with = "numbered::contribution::deserialize"
    )]
    pub status: ContributionStatus,
    /// How many rows; nothing if it was withdrawn before it came.
    pub rows: Option<u64>,
    /// Where its rows are published; nothing if the owner recorded it.
    pub da: Option<B256>,
    /// What the contributor signed; nothing unless the owner recorded it.
    pub signed: Option<ContributionId>,
    /// Who withdrew it.
    pub revoked_by: Option<Address>,
    /// The block that it came in.
    pub block: u64,
}

/// A registered model, with the Datanets it was trained on.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Model {
    /// The model it builds on, perhaps one that is registered nowhere; zero for none.
    pub parent: B256,
    /// Digest of its training record.
    pub record: B256,
    /// What it was trained on, by its owner's word: the registry checks that these exist.
    pub datanets: Vec<DatanetVersion>,
    /// For 1,000 tokens in.
    pub price_in: Amount,
    /// For 1,000 tokens out.
    pub price_out: Amount,
    /// Whether it is offered.
    #[borsh(
        serialize_with = "numbered::offer::serialize",
        deserialize_with = "numbered::offer::deserialize"
    )]
    pub offer: ModelOffer,
    /// What its owner recommends in its place.
    pub successor: Option<B256>,
    /// The block that it came in.
    pub block: u64,
}

/// A batch of receipts of a model.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// The node's epoch.
    pub epoch: u64,
    /// The model.
    pub model: B256,
    /// Keccak-256 of the published receipts.
    pub body: B256,
    /// How many they are.
    pub receipts: u64,
    /// Challenges that are open.
    pub open_challenges: u64,
    /// A challenge succeeded: it is never final.
    pub rejected: bool,
    /// The block that it came in.
    pub block: u64,
}

/// A node that logs batches, or did.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Node {
    /// Whether it may log now.
    pub admitted: bool,
    /// Seconds in which its next batch can be challenged.
    pub window: u64,
    /// Batches, but those rejected.
    pub batches: u64,
    /// Receipts, but those of batches rejected.
    pub receipts: u64,
    /// Batches that were rejected.
    pub rejected: u64,
}

/// How contributions fared.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// They wait for the owner.
    pub pending: u64,
    /// They were taken and stand.
    pub accepted: u64,
    /// They were not taken.
    pub rejected: u64,
    /// They were withdrawn, by whomever.
    pub revoked: u64,
}

/// A grant of access.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Granted {
    /// The Datanet.
    pub datanet: DatanetId,
    /// Who may use it.
    pub grantee: Address,
    /// What was granted; nothing if it was revoked before it was brought.
    pub terms: Option<GrantTerms>,
    /// Whether the owner took it back.
    pub revoked: bool,
}

/// What a grant allows.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct GrantTerms {
    /// The version, zero for all.
    pub version: u64,
    /// The use, see [`Scope`](openledger_core::message::Scope).
    pub scope: u8,
    /// Digest of the purpose.
    pub purpose: B256,
    /// From when.
    pub not_before: u64,
    /// Until when.
    pub not_after: u64,
}

/// A request for access.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// It waits.
    Open,
    /// The owner refused.
    Denied,
    /// A grant for its purpose came.
    Granted,
}

/// An agent.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Agent {
    /// Whom it acts for.
    pub owner: Address,
    /// Its name.
    pub name: String,
    /// Digest of its description.
    pub card: B256,
    /// The account it acts by.
    pub wallet: Option<Address>,
    /// Its ERC-8004 identity: the registry and the token. Who holds that now, only the registry tells.
    pub identity: Option<(Address, U256)>,
    /// Whether it acts.
    pub standing: Standing,
}

/// Whether an agent acts.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Standing {
    /// It does.
    Active,
    /// Its owner took it out of service.
    Retired,
    /// It was thrown out.
    Revoked,
}

/// Everything that is attributed to somebody.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Graph {
    pub(super) datanets: Map<DatanetId, Datanet>,
    pub(super) versions: Map<(DatanetId, u64), Version>,
    pub(super) approved: Map<(DatanetId, Address), bool>,
    pub(super) contributions: Map<(DatanetId, Address, B256), Contributed>,
    pub(super) contributors: Map<Address, Counts>,
    pub(super) fared: Map<DatanetId, Counts>,
    pub(super) models: Map<(B256, Address), Model>,
    pub(super) trained: Map<(DatanetId, B256, Address), u64>,
    pub(super) batches: Map<(Address, B256), Batch>,
    pub(super) nodes: Map<Address, Node>,
    pub(super) used: Map<B256, u64>,
    pub(super) grants: Map<B256, Granted>,
    pub(super) requests: Map<(DatanetId, Address, B256), Request>,
    pub(super) agents: Map<B256, Agent>,
}

impl Graph {
    pub(super) fn datanet(&mut self, event: &Datanets) -> Result<()> {
        match event {
            Datanets::DatanetCreated(e) => {
                let kind = numbered::kind::of(e.kind);
                let datanet = Datanet {
                    owner: e.owner,
                    offered_to: None,
                    name: e.name.clone(),
                    metadata: e.metadata,
                    kind: known(kind, "kind of Datanet", e.kind)?,
                    is_private: e.isPrivate,
                    closed: false,
                    versions: 0,
                };
                let id = e.datanet.into();
                if self.datanets.has(&id) {
                    return Err(wrong(format!("Datanet {id} created twice")));
                }
                self.datanets.put(id, datanet);
            }
            Datanets::MetadataChanged(e) => self.the_datanet(e.datanet)?.metadata = e.metadata,
            Datanets::PrivacyChanged(e) => self.the_datanet(e.datanet)?.is_private = e.isPrivate,
            Datanets::ContributorApproval(e) => {
                self.approved.put((e.datanet.into(), e.contributor), e.approved);
            }
            Datanets::OwnershipOffered(e) => {
                let to = (!e.to.is_zero()).then_some(e.to);
                self.the_datanet(e.datanet)?.offered_to = to;
            }
            Datanets::OwnershipTransferred(e) => {
                let datanet = self.the_datanet(e.datanet)?;
                (datanet.owner, datanet.offered_to) = (e.to, None);
            }
            Datanets::VersionPublished(e) => {
                let datanet = self.the_datanet(e.datanet)?;
                if datanet.versions.checked_add(1) != Some(e.version) {
                    let (last, next) = (datanet.versions, e.version);
                    return Err(wrong(format!("version {next} after version {last}")));
                }
                datanet.versions = e.version;
                let version = Version { root: e.root, rows: e.rows };
                self.versions.put((e.datanet.into(), e.version), version);
            }
            Datanets::DatanetClosed(e) => self.the_datanet(e.datanet)?.closed = true,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn contribution(&mut self, event: &Contributions, block: u64) -> Result<()> {
        use ContributionStatus::{Accepted, Pending, Rejected, Revoked};
        let new = Contributed {
            status: Pending,
            rows: None,
            da: None,
            signed: None,
            revoked_by: None,
            block,
        };
        match event {
            Contributions::Submitted(e) => {
                let new = Contributed { rows: Some(1), da: Some(e.da), ..new };
                self.add((e.datanet.into(), e.contributor, e.root), new)
            }
            Contributions::SubmittedBatch(e) => {
                let new = Contributed { rows: Some(e.rows), da: Some(e.da), ..new };
                self.add((e.datanet.into(), e.contributor, e.root), new)
            }
            Contributions::Contributed(e) => {
                let signed = Some(e.contribution.into());
                let new = Contributed { status: Accepted, rows: Some(e.rows), signed, ..new };
                self.add((e.datanet.into(), e.contributor, e.root), new)
            }
            Contributions::Accepted(e) => {
                self.decide((e.datanet.into(), e.contributor, e.root), Accepted)
            }
            Contributions::Rejected(e) => {
                self.decide((e.datanet.into(), e.contributor, e.root), Rejected)
            }
            Contributions::Revoked(e) => {
                let key = (e.datanet.into(), e.contributor, e.root);
                let before = self.contributions.at(&key).copied();
                if before.is_some_and(|before| before.status == Revoked) {
                    return Err(wrong(format!("contribution {} revoked twice", e.root)));
                }
                // Consent can be withdrawn before the contribution comes, so that it never does.
                let revoked_by = Some(e.by);
                let now = Contributed { status: Revoked, revoked_by, ..before.unwrap_or(new) };
                self.contributions.put(key, now);
                self.count(key, before.map(|before| before.status), Revoked)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn model(&mut self, event: &Models, block: u64) -> Result<()> {
        match event {
            Models::ModelRegistered(e) => {
                let datanets = e.datanets.iter().map(|version| DatanetVersion {
                    datanet: version.datanet.into(),
                    version: version.version,
                    root: version.root,
                });
                let model = Model {
                    parent: e.parent,
                    record: e.record,
                    datanets: datanets.collect(),
                    price_in: Amount::ZERO,
                    price_out: Amount::ZERO,
                    offer: ModelOffer::Active,
                    successor: None,
                    block,
                };
                let key = (e.model, e.owner);
                if self.models.has(&key) {
                    return Err(wrong(format!("model {} registered twice", e.model)));
                }
                for version in &model.datanets {
                    let edge = (version.datanet, e.model, e.owner);
                    self.trained.change(edge, |latest| *latest = version.version.max(*latest));
                }
                self.models.put(key, model);
            }
            Models::PriceChanged(e) => {
                let model = self.the_model(e.model, e.owner)?;
                model.price_in = Amount::new(U256::from(e.priceIn));
                model.price_out = Amount::new(U256::from(e.priceOut));
            }
            Models::ModelDeprecated(e) => {
                let model = self.the_model(e.model, e.owner)?;
                model.offer = ModelOffer::Deprecated;
                model.successor = (!e.successor.is_zero()).then_some(e.successor);
            }
            Models::ModelRevoked(e) => {
                self.the_model(e.model, e.owner)?.offer = ModelOffer::Revoked;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn log(&mut self, event: &Log, block: u64) -> Result<()> {
        match event {
            Log::NodeAdmitted(e) => self.nodes.change(e.node, |node| {
                (node.admitted, node.window) = (true, e.window.to());
            }),
            Log::NodeSynced(e) => self.nodes.change(e.node, |node| node.window = e.window.to()),
            Log::NodeExpelled(e) => {
                let node = known(self.nodes.at_mut(&e.node), "node", e.node)?;
                (node.admitted, node.window) = (false, 0);
            }
            Log::BatchLogged(e) => {
                let batch = Batch {
                    epoch: e.epoch,
                    model: e.model,
                    body: e.body,
                    receipts: e.receipts.to(),
                    open_challenges: 0,
                    rejected: false,
                    block,
                };
                let key = (e.node, e.root);
                if self.batches.has(&key) {
                    return Err(wrong(format!("batch {} logged twice", e.root)));
                }
                self.batches.put(key, batch);
                let node = known(self.nodes.at_mut(&e.node), "node", e.node)?;
                node.batches += 1;
                let receipts = node.receipts.checked_add(batch.receipts);
                node.receipts = known(receipts, "count of so many receipts of", e.node)?;
                let used = self.used.at(&e.model).copied().unwrap_or_default();
                let used = used.checked_add(batch.receipts);
                self.used.put(e.model, known(used, "count of so many receipts of", e.model)?);
            }
            Log::BatchHeld(e) => {
                self.the_batch(e.node, e.root)?.open_challenges = e.openChallenges.into();
            }
            Log::BatchReleased(e) => {
                self.the_batch(e.node, e.root)?.open_challenges = e.openChallenges.into();
            }
            Log::BatchRejected(e) => {
                let batch = self.the_batch(e.node, e.root)?;
                batch.open_challenges = e.openChallenges.into();
                // Two challenges of a batch can both succeed; its receipts are lost once.
                if !std::mem::replace(&mut batch.rejected, true) {
                    let Batch { model, receipts, .. } = *batch;
                    let node = known(self.nodes.at_mut(&e.node), "node", e.node)?;
                    let rest = node.receipts.checked_sub(receipts);
                    node.receipts = known(rest, "such receipts of", e.node)?;
                    node.batches = known(node.batches.checked_sub(1), "batch of", e.node)?;
                    node.rejected += 1;
                    let used = known(self.used.at_mut(&model), "receipt of", model)?;
                    *used = known(used.checked_sub(receipts), "such receipts of", model)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn grant(&mut self, event: &Grants) -> Result<()> {
        match event {
            Grants::AccessRequested(e) => {
                let key = (e.datanet.into(), e.grantee, e.purpose);
                if self.requests.has(&key) {
                    return Err(wrong(format!("access for {} requested twice", e.purpose)));
                }
                self.requests.put(key, Request::Open);
            }
            Grants::AccessDenied(e) => {
                let key = (e.datanet.into(), e.grantee, e.purpose);
                match known(self.requests.at_mut(&key), "request of", e.grantee)? {
                    request @ Request::Open => *request = Request::Denied,
                    other => return Err(wrong(format!("a request denied that is {other:?}"))),
                }
            }
            Grants::AccessGranted(e) => {
                if self.grants.has(&e.grant) {
                    return Err(wrong(format!("grant {} came twice", e.grant)));
                }
                let (datanet, grantee) = (e.datanet.into(), e.grantee);
                let terms = Some(GrantTerms {
                    version: e.version,
                    scope: e.scope,
                    purpose: e.purpose,
                    not_before: e.notBefore,
                    not_after: e.notAfter,
                });
                self.grants.put(e.grant, Granted { datanet, grantee, terms, revoked: false });
                let request = self.requests.at_mut(&(datanet, grantee, e.purpose));
                if let Some(request @ Request::Open) = request {
                    *request = Request::Granted;
                }
            }
            Grants::AccessRevoked(e) => {
                let (datanet, grantee) = (e.datanet.into(), e.grantee);
                let new = Granted { datanet, grantee, terms: None, revoked: false };
                let before = self.grants.at(&e.grant).copied().unwrap_or(new);
                if before.revoked {
                    return Err(wrong(format!("grant {} revoked twice", e.grant)));
                }
                self.grants.put(e.grant, Granted { revoked: true, ..before });
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn agent(&mut self, event: &Agents) -> Result<()> {
        match event {
            Agents::AgentRegistered(e) => {
                if self.agents.has(&e.agent) {
                    return Err(wrong(format!("agent {} registered twice", e.agent)));
                }
                let agent = Agent {
                    owner: e.owner,
                    name: e.name.clone(),
                    card: e.card,
                    wallet: None,
                    identity: None,
                    standing: Standing::Active,
                };
                self.agents.put(e.agent, agent);
            }
            Agents::CardChanged(e) => self.the_agent(e.agent)?.card = e.card,
            Agents::WalletChanged(e) => {
                let wallet = (!e.wallet.is_zero()).then_some(e.wallet);
                self.the_agent(e.agent)?.wallet = wallet;
            }
            Agents::IdentityLinked(e) => {
                self.the_agent(e.agent)?.identity = Some((e.registry, e.token));
            }
            Agents::IdentityUnlinked(e) => self.the_agent(e.agent)?.identity = None,
            Agents::AgentRetired(e) => self.the_agent(e.agent)?.standing = Standing::Retired,
            Agents::AgentRevoked(e) => self.the_agent(e.agent)?.standing = Standing::Revoked,
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, key: (DatanetId, Address, B256), new: Contributed) -> Result<()> {
        if self.contributions.has(&key) {
            return Err(wrong(format!("contribution {} came twice", key.2)));
        }
        self.contributions.put(key, new);
        self.count(key, None, new.status)
    }

    fn decide(&mut self, key: (DatanetId, Address, B256), to: ContributionStatus) -> Result<()> {
        let contribution = known(self.contributions.at_mut(&key), "contribution", key.2)?;
        if contribution.status != ContributionStatus::Pending {
            let status = contribution.status;
            return Err(wrong(format!("a contribution decided that is {status:?}")));
        }
        contribution.status = to;
        self.count(key, Some(ContributionStatus::Pending), to)
    }

    /// Moves a contribution from one count to another, of its contributor and of its Datanet.
    fn count(
        &mut self,
        (datanet, who, _): (DatanetId, Address, B256),
        from: Option<ContributionStatus>,
        to: ContributionStatus,
    ) -> Result<()> {
        let mut of_who = self.contributors.at(&who).copied().unwrap_or_default();
        let mut of_datanet = self.fared.at(&datanet).copied().unwrap_or_default();
        for counts in [&mut of_who, &mut of_datanet] {
            if let Some(count) = from.and_then(|from| counts.of(from)) {
                *count = known(count.checked_sub(1), "such contribution of", who)?;
            }
            if let Some(count) = counts.of(to) {
                *count += 1;
            }
        }
        self.contributors.put(who, of_who);
        self.fared.put(datanet, of_datanet);
        Ok(())
    }

    fn the_datanet(&mut self, id: B256) -> Result<&mut Datanet> {
        known(self.datanets.at_mut(&id.into()), "Datanet", id)
    }

    fn the_model(&mut self, model: B256, owner: Address) -> Result<&mut Model> {
        known(self.models.at_mut(&(model, owner)), "model", model)
    }

    fn the_batch(&mut self, node: Address, root: B256) -> Result<&mut Batch> {
        known(self.batches.at_mut(&(node, root)), "batch", root)
    }

    fn the_agent(&mut self, id: B256) -> Result<&mut Agent> {
        known(self.agents.at_mut(&id), "agent", id)
    }
}

impl Counts {
    fn of(&mut self, status: ContributionStatus) -> Option<&mut u64> {
        match status {
            ContributionStatus::None => None,
            ContributionStatus::Pending => Some(&mut self.pending),
            ContributionStatus::Accepted => Some(&mut self.accepted),
            ContributionStatus::Rejected => Some(&mut self.rejected),
            ContributionStatus::Revoked => Some(&mut self.revoked),
        }
    }
}
